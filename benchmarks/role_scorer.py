"""Receive APs by rules, by the network that scores sets, and by searches: rate, true echoes, processor time.

python benchmarks/role_scorer.py --num_drops 60 --seed 998900
python benchmarks/role_scorer.py --num_drops 12 --seed 998900 --size 32x32x8
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from isac_torch.allocation import allocate
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.nn.checkpoint import load_network
from isac_torch.nn.tracking.set_scorer import Outlook, SetFeatures, SetScorer
from isac_torch.propagation.geometry import distance
from isac_torch.roles.held import Chosen, Held, default_standard, joined, worth
from isac_torch.roles.scored import ScoredSearch, scored_roles, shipped_scorer
from isac_torch.roles.search import Search, search_roles
from isac_torch.sensing.glrt import Glrt
from isac_torch.sensing.quality import assess
from isac_torch.tensors import to_db
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.communication import rate
from isac_torch.tracking.drop import TrackingDrop, all_aps
from isac_torch.tracking.fractional import fractional_power
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.roles import MOST_SETS, by_rule
from isac_torch.tracking.scenario import TrackingScenario

SMALL = Search(looked=40, solved=6, rounds=0, finalists=4)
TURN = 12
"""Drops after which the next choice has its turn, so that all are timed under the same load."""
BLOCKS = 4
RULES: dict[str, tuple[str, float | None]] = {
    "nearest_to_target": ("nearest_to_target", 1.0),
    "least_used": ("least_used", 1.0),
    "weakest_ue, reach 1": ("weakest_ue", 1.0),
    "weakest_ue, reach 1.3": ("weakest_ue", 1.3),
    "weakest_ue, any reach": ("weakest_ue", None),
}
Choice = Callable[[TrackingDrop], Chosen]
Row = dict[str, float | str]


class ByHand(nn.Module):
    """An order by the same features without learning: nepers that the weakest UE, cell and target keep at uniform power."""

    def forward(self, nodes: SetFeatures) -> Outlook:
        """The sum as log odds; no gain known."""
        ue, cell = nodes.ue[..., 0].amin(-1), nodes.cell[..., 0].amin(-1)
        target, place = nodes.target[..., 1].amin(-1), nodes.target[..., 2].clamp_max(0.0).amin(-1)
        kept = 0.5 * ue + cell + 0.5 * target + 3.0 * place
        return Outlook(kept / 10.0, torch.ones_like(kept))


def rule_values(drop: TrackingDrop, scenario: TrackingScenario) -> Tensor:
    """Smallest SINR with the default roles and with those of every rule [drop, 1 + rule]; 0 where the requirement is missed."""
    aps = all_aps(drop)
    gap = distance(drop.target_position, aps.position)
    sets = [aps.receive, *(by_rule(rule, aps.receive, gap, aps.gain, scenario.serving_links, r) for rule, r in RULES.values())]
    held = Held(drop, scenario, default_standard(drop, scenario))
    return held.each(torch.stack(sets, 1), lambda problem, _: worth(allocate(problem, BatchedOptimal())))


def choices(scenario: TrackingScenario, scorer: SetScorer) -> dict[str, Choice]:
    """What is compared besides the rules."""
    judge, listed = BatchedOptimal(), math.comb(scenario.num_aps, scenario.receive_aps) <= MOST_SETS

    def default(drop: TrackingDrop) -> Chosen:
        return Held(drop, scenario, default_standard(drop, scenario)).best(all_aps(drop).receive[:, None], judge)

    def scored(solved: int, network: nn.Module) -> Choice:
        return lambda drop: scored_roles(drop, scenario, judge, ScoredSearch(solved), network)  # type: ignore[arg-type]

    def searched(search: Search) -> Choice:
        return lambda drop: search_roles(drop, scenario, judge, search if listed else search.reduced())

    return {
        "default roles": default,
        "features by hand, 4 solved": scored(4, ByHand()),
        "scorer, 1 solved": scored(1, scorer),
        "scorer, 4 solved": scored(4, scorer),
        "scorer, 8 solved": scored(8, scorer),
        "small search": searched(SMALL),
        "search": searched(Search()),
    }


class World:
    """The drops of a seed with their default roles, and how well uniform power does there."""

    def __init__(self, scenario: TrackingScenario, num_drops: int, seed: int, first: int) -> None:
        """Draw drops and keep the first of them."""
        drop = scenario.sample(num_drops, generator=torch.Generator().manual_seed(seed))
        self.scenario, self.seed, self.drop = scenario, seed, drop.select(torch.arange(min(first, num_drops)))
        usual = power_problem(self.drop, scenario)
        self.power = fractional_power(usual)
        self.base = rate(usual.objective(self.power), scenario)

    def row(self, name: str, value: Tensor, seconds: float, chosen: Chosen | None) -> Row:
        """Rate over that of uniform power in as many drops as there are values; of a choice, which drops changed."""
        got, base = rate(value, self.scenario), self.base[: len(value)]
        ratio = got.mean() / base.mean()
        line: Row = {"roles": name, "drops": float(len(value)), "rate_over_upc": float(ratio)}
        line["rate_over_upc_se"] = _standard_error(got - ratio * base) / float(base.mean())
        line["ms_per_drop"] = 1e3 * seconds / len(value)
        if chosen is not None:
            line["changed"] = float(chosen.changed.double().mean())
            line["violation"] = float(chosen.allocation.violation.max())
        return line

    def sensed(self, chosen: Chosen, piece: Tensor) -> Tensor:
        """True SICNR (dB) and miss probability minus those of uniform power with the default roles: [drop, 2]."""
        usual = self._senses(self.drop.select(piece), self.power[piece])
        return self._senses(chosen.drop, chosen.allocation.power) - usual

    def _senses(self, drop: TrackingDrop, power: Tensor) -> Tensor:
        setup = self.scenario.sensing
        report = assess(drop, self.scenario, setup, power, Glrt("paper"), num_blocks=BLOCKS, seed=self.seed, with_miss=True)
        assert report.miss is not None
        return torch.stack([to_db(report.quality.ratio.mean(1)).mean(1), report.miss.mean(1).mean(1)], 1)


def _standard_error(values: Tensor) -> float:
    return float(values.std()) / math.sqrt(len(values))


def measure(world: World, every: dict[str, Choice]) -> list[Row]:
    """One row for each rule and choice, printed after each turn for the drops so far."""
    found: dict[str, list[Chosen]] = {name: [] for name in every}
    sensed: dict[str, list[Tensor]] = {name: [] for name in every}
    seconds, values = dict.fromkeys(["rules", *every], 0.0), []
    rows: list[Row] = []
    for piece in torch.arange(world.drop.num_drops).split(TURN):
        some = world.drop.select(piece)
        start = time.process_time()
        values.append(rule_values(some, world.scenario))
        seconds["rules"] += time.process_time() - start
        for name, choose in every.items():
            start = time.process_time()
            found[name].append(choose(some))
            seconds[name] += time.process_time() - start
            sensed[name].append(world.sensed(found[name][-1], piece))
        rules, spent = torch.cat(values), 2.0 * seconds["rules"] / (1 + len(RULES))
        rows = [world.row(name, rules[:, [0, place]].amax(1), spent, None) for place, name in enumerate(RULES, start=1)]
        rows.append(world.row("best rule of each drop", rules.amax(1), seconds["rules"], None))
        for name, parts in found.items():
            line = world.row(name, joined(parts).allocation.value, seconds[name], joined(parts))
            for quantity, change in zip(("sicnr_minus_upc_db", "miss_minus_upc"), torch.cat(sensed[name]).mT, strict=True):
                line |= {quantity: float(change.mean()), f"{quantity}_se": _standard_error(change)}
            rows.append(line)
        show(rows)
    return rows


def show(rows: list[Row]) -> None:
    for row in rows:
        print("  ".join(f"{x:8.3f}" if isinstance(x, float) else f"{x:28}" for x in row.values()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="16x16x4")
    parser.add_argument("--num_drops", type=int, default=60)
    parser.add_argument("--seed", type=int, default=970_000)
    parser.add_argument("--first", type=int, default=10_000, help="of the drops drawn, how many to measure")
    parser.add_argument("--choices", help="some of the choices, separated by semicolons; default all")
    parser.add_argument("--checkpoint", type=Path, help="weights of the scorer; default the shipped ones")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    scorer = load_network(options.checkpoint, SetScorer)[0] if options.checkpoint else shipped_scorer()
    scenario = TrackingScenario.of_size(options.size, requirement=Requirement("dominate", enough_db=13.0))
    every = choices(scenario, scorer)
    wanted = options.choices.split(";") if options.choices else list(every)
    world = World(scenario, options.num_drops, options.seed, options.first)
    rows = measure(world, {name: every[name] for name in wanted})
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
