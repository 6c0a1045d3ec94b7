"""Which APs listen: rules and searches under uniform power's sensing with the default roles, judged by true echoes.

python benchmarks/roles.py --num_drops 40 --json roles.json --png roles.png
python benchmarks/roles.py --num_drops 24 --seed 945500 --enough_db 13
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from isac_torch.allocation import allocate
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.files import written_whole
from isac_torch.propagation.geometry import distance
from isac_torch.roles.held import Chosen, Held, default_standard, worth
from isac_torch.roles.links import best_divided
from isac_torch.roles.numbers import best_numbers
from isac_torch.roles.policies import ROLE_POLICIES
from isac_torch.roles.search import SCREEN_GAP, Search, search_roles
from isac_torch.sensing.glrt import Glrt
from isac_torch.sensing.quality import assess
from isac_torch.tensors import to_db
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.communication import rate
from isac_torch.tracking.drop import TrackingDrop, all_aps
from isac_torch.tracking.fractional import fractional_power
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.roles import by_rule
from isac_torch.tracking.scenario import TrackingScenario

SMALL = Search(looked=40, solved=6, rounds=0)
"""A third of the effort of the default search."""
RULES = {
    "farthest_point (default)": ("farthest_point", 1.0),
    "nearest_to_target": ("nearest_to_target", 1.0),
    "least_used": ("least_used", 1.0),
    "weakest_ue, reach 1": ("weakest_ue", 1.0),
    "weakest_ue, reach 1.3": ("weakest_ue", 1.3),
    "weakest_ue, any reach": ("weakest_ue", None),
}
"""Rules by the name of their line, with the reach of their guard."""
BLOCKS = 4
NUMBERS = (3, 4, 5)
"""Of receive APs."""
WIDER = 8
"""APs that may serve a UE where the links are divided freely over the UEs."""
Row = dict[str, float | str]


class World:
    """The drops of a seed with their default roles, and how well uniform power does there."""

    def __init__(self, scenario: TrackingScenario, num_drops: int, seed: int) -> None:
        """Draw the drops and judge uniform power."""
        self.scenario, self.seed, self.num_drops = scenario, seed, num_drops
        self.drop = scenario.sample(num_drops, generator=torch.Generator().manual_seed(seed))
        problem = power_problem(self.drop, scenario)
        self.power = fractional_power(problem)
        self.rate = rate(problem.objective(self.power), scenario)
        self.sensed = self.senses(self.drop, self.power)
        self.standard = default_standard(self.drop, scenario)

    def senses(self, drop: TrackingDrop, power: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """True SICNR (dB), miss probability and bound on the position error (m) of every target."""
        report = assess(
            drop, self.scenario, self.scenario.sensing, power, Glrt("paper"), num_blocks=BLOCKS, seed=self.seed, with_miss=True
        )
        assert report.miss is not None
        position = power_problem(drop, replace(self.scenario, requirement=Requirement("dominate", scan=0.0))).position
        assert position is not None
        return to_db(report.quality.ratio.mean(1)), report.miss.mean(1), position.error(power)

    def row(self, name: str, choose: Callable[[], Chosen]) -> Row:
        """One line of the table: everything minus, or over, uniform power with the default roles; means over the drops."""
        start = time.process_time()
        found = choose()
        seconds = time.process_time() - start
        got = rate(found.allocation.value, self.scenario)
        ratio = got.mean() / self.rate.mean()
        sicnr, miss, error = (
            now - was for now, was in zip(self.senses(found.drop, found.allocation.power), self.sensed, strict=True)
        )
        row: Row = {
            "roles": name,
            "rate_over_upc": float(ratio),
            "rate_over_upc_se": _standard_error(got - ratio * self.rate) / float(self.rate.mean()),
            "sicnr_minus_upc_db": float(sicnr.mean()),
            "sicnr_minus_upc_db_se": _standard_error(sicnr.mean(1)),
            "miss_minus_upc": float(miss.mean()),
            "miss_minus_upc_se": _standard_error(miss.mean(1)),
            "position_error_minus_upc_m": float(error.mean()),
            "position_error_minus_upc_m_se": _standard_error(error.mean(1)),
            "changed": float(found.changed.double().mean()),
            "violation": float(found.allocation.violation.max()),
            "ms_per_drop": 1e3 * seconds / self.num_drops,
        }
        print("  ".join(f"{value:8.3f}" if isinstance(value, float) else f"{value:28}" for value in row.values()), flush=True)
        return row

    def rule(self, rule: str, reach: float | None = 1.0) -> Chosen:
        """The roles of a rule where they meet the requirement at a larger rate, else the default ones."""
        aps = all_aps(self.drop)
        gap = distance(self.drop.target_position, aps.position)
        receive = by_rule(rule, aps.receive, gap, aps.gain, self.scenario.serving_links, reach)
        return Held(self.drop, self.scenario, self.standard).best(torch.stack([aps.receive, receive], 1), BatchedOptimal())

    def ratio(self, name: str, value: Tensor) -> Row:
        """A line with the rate alone, of smallest SINRs that `worth` gave."""
        got = rate(value, self.scenario)
        ratio = got.mean() / self.rate.mean()
        error = _standard_error(got - ratio * self.rate) / float(self.rate.mean())
        row: Row = {"roles": name, "rate_over_upc": float(ratio), "rate_over_upc_se": error}
        print(row, flush=True)
        return row

    def served(self, receive: Tensor, serving_aps: int) -> Tensor:
        """Smallest SINR with these roles and that many links of each UE; 0 where the requirement is missed."""
        scenario = replace(self.scenario, serving_aps=serving_aps)
        problem = Held(self.drop, scenario, self.standard).problem(torch.arange(self.num_drops), receive)[1]
        return worth(allocate(problem, BatchedOptimal()))

    def divided(self, receive: Tensor) -> Chosen:
        """These roles with the links divided freely over the UEs where that is better, as many in all as usual."""
        held = Held(self.drop, self.scenario, self.standard)
        return best_divided(held, receive[:, None], BatchedOptimal(), WIDER, BatchedOptimal(gap=SCREEN_GAP, tie="none"))


def _standard_error(values: Tensor) -> float:
    return float(values.std()) / math.sqrt(len(values))


def measure(num_drops: int, seed: int, listening_aps: int, enough_db: float | None) -> list[Row]:
    scenario = TrackingScenario(listening_aps=listening_aps, requirement=Requirement("dominate", enough_db=enough_db))
    world = World(scenario, num_drops, seed)
    rows = [
        *(world.row(name, lambda r=rule: world.rule(*r)) for name, rule in RULES.items()),  # type: ignore[misc]
        world.row("small search", lambda: search_roles(world.drop, scenario, BatchedOptimal(), SMALL)),
        *(world.row(name, lambda p=policy: p.choose(world.drop, scenario)) for name, policy in ROLE_POLICIES.items()),  # type: ignore[misc]
    ]
    return [*rows, _best_rule(world), *_divided(world), *_numbers(world)]


def _best_rule(world: World) -> Row:
    """The best rule of each drop: what a search or a network has to beat."""
    values = [worth(world.rule(*rule).allocation) for rule in RULES.values()]
    return world.ratio("best rule of each drop", torch.stack(values).amax(0))


def _divided(world: World) -> list[Row]:
    """Links divided freely over the UEs, as many as usual in all, the usual ones where these are better; and twice as many."""
    default = all_aps(world.drop).receive
    found = search_roles(world.drop, world.scenario, BatchedOptimal(), SMALL).receive
    rows = []
    for name, receive in (("default roles", default), ("small search", found)):
        rows.append(world.ratio(name, world.served(receive, world.scenario.serving_aps)))
        rows.append(world.row(f"{name}, links divided", lambda roles=receive: world.divided(roles)))  # type: ignore[misc]
        rows.append(world.ratio(f"{name}, {WIDER} links a UE", world.served(receive, WIDER)))
    return rows


def _numbers(world: World) -> list[Row]:
    """How many receive APs: the best number of each drop, by the small search, with the usual links and with links divided."""
    rows: list[Row] = []
    for name, search in (("usual links", SMALL), ("links divided", replace(SMALL, most_serving_aps=WIDER))):
        parts = best_numbers(world.drop, world.scenario, BatchedOptimal(), NUMBERS, search)
        value = torch.zeros_like(world.rate)
        shares: Row = {}
        for part in parts:
            value[part.index] = worth(part.chosen.allocation)
            shares[f"{part.count} receive APs"] = len(part.index) / world.num_drops
        rows.append(world.ratio(f"best number of receive APs, {name}", value) | shares)
        print(shares, flush=True)
    return rows


def draw(path: Path, rows: list[Row]) -> None:
    """Rate against SICNR, with standard errors."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.2), dpi=130, layout="constrained")
    axes = figure.subplots()
    for row in (row for row in rows if "sicnr_minus_upc_db" in row):
        x, y = float(row["sicnr_minus_upc_db"]), float(row["rate_over_upc"])
        right, up = float(row["sicnr_minus_upc_db_se"]), float(row["rate_over_upc_se"])
        mark = "s" if str(row["roles"]).startswith("opc") else "o"
        axes.errorbar(x, y, xerr=right, yerr=up, fmt=mark, markersize=5, linewidth=0.8, label=str(row["roles"]))
    axes.axvline(0.0, color="0.6", linewidth=0.8)
    axes.set(
        xlabel="true SICNR minus that of uniform power with the default roles, mean (dB)",
        ylabel="smallest rate over that of uniform power",
    )
    axes.legend(fontsize=7, loc="upper right")
    axes.grid(alpha=0.3, linewidth=0.5)
    with written_whole(path) as partial:
        figure.savefig(partial, format="png", metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_drops", type=int, default=40)
    parser.add_argument("--seed", type=int, default=970_000)
    parser.add_argument("--listening_aps", type=int, default=1)
    parser.add_argument("--enough_db", type=float, help="echo to noise from which a scan cell counts as covered")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--png", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure(options.num_drops, options.seed, options.listening_aps, options.enough_db)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    if options.png:
        draw(options.png, rows)


if __name__ == "__main__":
    main()
