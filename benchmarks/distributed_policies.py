"""Policies that run at the APs: share of the optimum against rounds and bytes, and what coarse, lost and missing messages cost.

python benchmarks/distributed_policies.py --num_drops 200 --json distributed.json
python benchmarks/distributed_figures.py distributed.json docs/images
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isac_torch.allocation import Status, allocate
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.allocators.tracking.distributed import Distributed
from isac_torch.evaluation.studies.worlds import Loop
from isac_torch.files import written_whole
from isac_torch.nn.tracking.local_channels import OF_TARGETS, Coarse, Late, Lossy, Silent
from isac_torch.nn.tracking.local_traffic import traffic
from isac_torch.propagation.geometry import distance
from isac_torch.propagation.path_loss import umi_nlos_gain
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.drop import TrackingDrop
from isac_torch.tracking.local.policy import LocalState
from isac_torch.tracking.local.promises import settled
from isac_torch.tracking.local.rounds import Channel, clear, neighbourhoods
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.weights import shipped_weights

STEPS = (0.02, 0.1, 0.2, 0.5)
"""Seconds between two slots; the last one is that of the tracking loop."""
LATE = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
"""Shares of the messages that are late or lost."""
ROUNDS = (0, 1, 2, 4, 8)
FOLLOWING: dict[str, tuple[int, int, float | None]] = {
    **{f"{rounds} a slot": (rounds, 0, None) for rounds in (1, 2, 4)},
    "1 a slot, 2 exchanges": (1, 2, None),
    "1 a slot, 8 from nothing where a target is missed": (1, 0, 0.0),
    "1 a slot, 2 exchanges, 8 from nothing where a target is missed or rates fell": (1, 2, 0.9),
}
"""Rounds in a slot that follows; exchanges of promises after them, and after eight rounds from nothing; and which drops then
begin anew: where a target still misses its constraint, or the smallest rate is below this share of what it was after they had
last begun. None: none do.
"""


def judged(problem: MaxMinSinrProblem, power: Tensor, best: Tensor) -> dict[str, float]:
    """Mean share of the optimum's smallest rate over drops that meet all constraints, and over all with 0 for the others."""
    value = problem.objective(power)
    missed = problem.violations(power).worst > 1e-6
    ratio = torch.log2(1.0 + value) / torch.log2(1.0 + best)
    met = ratio[~missed]
    mean, low = (float(met.mean()), float(met.quantile(0.05))) if len(met) else (0.0, 0.0)
    strict = torch.where(missed, 0.0, ratio)
    error = float(strict.std() / len(strict) ** 0.5)
    return {
        "valid_mean": mean,
        "valid_p5": low,
        "strict_mean": float(strict.mean()),
        "se": error,
        "missed": float(missed.double().mean()),
    }


def power_of(policy: Distributed, problem: MaxMinSinrProblem, rounds: int, **how: object) -> Tensor:
    """Powers (W) of a policy over a channel."""
    with torch.no_grad():
        share = policy.policy.exits(problem.cast(torch.float32), rounds, **how)[-1]  # type: ignore[arg-type]
    return within(problem, share)


def within(problem: MaxMinSinrProblem, share: Tensor) -> Tensor:
    """Powers (W) at log shares of the budgets, rounded into the budgets."""
    power = share.to(problem.budget).exp() * problem.link_budget
    return power / (problem.ap_load(power) / problem.budget).clamp_min(1.0).gather(1, problem.link_ap)


def feasible(scenario: TrackingScenario, num_drops: int, seed: int) -> tuple[MaxMinSinrProblem, Tensor, Tensor]:
    """Drops with a certified optimum, its value, and which APs are within 500 m of which UEs."""
    drop = scenario.sample(num_drops, generator=torch.Generator().manual_seed(seed))
    problem = power_problem(drop, scenario)
    best = allocate(problem, BatchedOptimal())
    good = (best.status <= int(Status.FEASIBLE)).nonzero()[:, 0]
    near = distance(drop.ue_position, drop.tx_position) < 500.0
    return problem.select(good), best.value[good], near[good]


def dead_ap(policy: Distributed, problem: MaxMinSinrProblem) -> dict[str, object]:
    """One transmit AP of every drop dies before the first round and the others are not told; beside the optimum without it.

    Drops are left out that have no feasible powers without that AP.
    """
    dead = problem.link_ap == torch.arange(problem.num_drops)[:, None] % problem.num_aps
    gone = torch.arange(problem.num_aps) == torch.arange(problem.num_drops)[:, None] % problem.num_aps
    without = replace(problem, budget=torch.where(gone, 1e-9 * problem.budget, problem.budget))
    best = allocate(without, BatchedOptimal())
    good = (best.status <= int(Status.FEASIBLE)).nonzero()[:, 0]
    part, top, silent = problem.select(good), best.value[good], dead[good]
    found: dict[str, object] = {"drops": len(good)}
    for rounds in (4, 8):
        power = power_of(policy, part, rounds, channel=Silent(silent, gone[good]))
        found[str(rounds)] = judged(part, torch.where(silent, torch.zeros_like(power), power), top)
    return found


def slots(policy: Distributed, num_drops: int, seed: int, step: float, count: int = 6) -> dict[str, dict[str, float]]:
    """A few rounds a slot from the state of the slot before (`FOLLOWING`), beside eight rounds from nothing in every slot.

    Everything moves as in the tracking loop: targets at 10 m/s, UEs at 1.5 m/s (standard deviations along each axis).
    Shadowing, serving and sensing APs stay. Means over all slots but the first, which all begin alike.

    Args:
        policy: whose rounds.
        num_drops: 16x16x4.
        seed: of the drops.
        step: seconds from one slot to the next.
        count: of slots.
    """
    scenario, loop = TrackingScenario.of_size("16x16x4"), Loop()
    generator = torch.Generator().manual_seed(seed)
    drop = scenario.sample(num_drops, generator=generator)
    speed = torch.tensor([loop.speed, loop.speed, loop.climb_speed], dtype=torch.float64)
    velocity = torch.randn(drop.target_position.shape, generator=generator, dtype=torch.float64) * speed
    walking = torch.randn(drop.ue_position.shape, generator=generator, dtype=torch.float64) * 1.5
    walking[..., 2] = 0.0
    answers: dict[str, list[dict[str, float]]] = {}
    state: dict[str, LocalState] = {}
    least: dict[str, Tensor] = {}
    before: MaxMinSinrProblem | None = None
    for slot in range(count):
        problem = power_problem(drop, scenario)
        with torch.no_grad():
            cold = run_rounds(policy, problem, None, 8)
            settled_cold = promised(problem, cold, 2)
            found = {"8 from nothing": (cold, 8.0), "8 from nothing, 2 exchanges": (settled_cold, 8.0)}
            for name, (rounds, exchanges, share) in FOLLOWING.items():
                held = run_rounds(policy, problem, state.get(name), rounds if slot else 8, before)
                held, spent = promised(problem, held, exchanges), float(rounds)
                if share is not None:
                    again = began_anew(problem, held, share * least[name]) if slot else torch.ones(num_drops, dtype=torch.bool)
                    held = chosen(again, settled_cold if exchanges else cold, held)
                    spent += 8.0 * float(again.double().mean())
                    least[name] = torch.where(again, smallest_rate(problem, held), least.get(name, torch.zeros(num_drops)))
                state[name], found[name] = held, (held, spent)
        if slot:
            best = allocate(problem, BatchedOptimal())
            good = (best.status <= int(Status.FEASIBLE)).nonzero()[:, 0]
            for name, (now, spent) in found.items():
                row = judged(problem.select(good), within(problem, now.share)[good], best.value[good]) | {"rounds": spent}
                answers.setdefault(name, []).append(row)
        before, drop = problem, moved(drop, scenario, walking * step, velocity * step)
    return {name: {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]} for name, rows in answers.items()}


def run_rounds(
    policy: Distributed,
    problem: MaxMinSinrProblem,
    held: LocalState | None,
    rounds: int,
    before: MaxMinSinrProblem | None = None,
) -> LocalState:
    """What the nodes hold after the first rounds; where they held something after the slot `before`, after they went ahead and
    repeated the last round.
    """
    network, single = policy.policy, problem.cast(torch.float32)
    known = neighbourhoods(single)
    if held is None or before is None:
        state, first = network.begin(single, known), 0
    else:
        last = before.cast(torch.float32)
        state, first = network.go_ahead((last, neighbourhoods(last)), single, known, held), network.rounds
    for index in range(first, first + rounds):
        state = network.advance(single, known, state, index)
    return state


def promised(problem: MaxMinSinrProblem, state: LocalState, exchanges: int) -> LocalState:
    """What the nodes hold after exchanges of promises: only powers change."""
    single = problem.cast(torch.float32)
    return replace(state, share=settled(single, neighbourhoods(single), state.share, exchanges))


def smallest_rate(problem: MaxMinSinrProblem, state: LocalState) -> Tensor:
    """bit/s/Hz, of each drop."""
    return torch.log2(1.0 + problem.objective(within(problem, state.share)))


def began_anew(problem: MaxMinSinrProblem, state: LocalState, least: Tensor) -> Tensor:
    """Drops in which a target misses its constraint or the smallest rate is below `least`."""
    missed = problem.violations(within(problem, state.share)).sensing > 1e-6
    return missed | (smallest_rate(problem, state) < least)


def chosen(again: Tensor, cold: LocalState, went_on: LocalState) -> LocalState:
    """The state of eight rounds from nothing in the drops that begin anew."""

    def of(anew: Any, before: Any) -> Any:
        if anew is None:
            return None
        if isinstance(anew, tuple):
            return tuple(of(*both) for both in zip(anew, before, strict=True))
        if isinstance(anew, Tensor):
            return torch.where(again.reshape(-1, *(1,) * (anew.ndim - 1)), anew, before)
        return replace(anew, **{part.name: of(getattr(anew, part.name), getattr(before, part.name)) for part in fields(anew)})

    found: LocalState = of(cold, went_on)
    return found


def moved(drop: TrackingDrop, scenario: TrackingScenario, walked: Tensor, flown: Tensor) -> TrackingDrop:
    """The drop after UEs and targets moved (m), within the square; shadowing and roles stay."""
    ue = (drop.ue_position + walked).clamp(0.0, None)
    ue[..., :2] = ue[..., :2].clamp_max(scenario.side)
    target = (drop.target_position + flown).clamp_min(0.0)
    target[..., :2] = target[..., :2].clamp_max(scenario.side)
    target[..., 2] = target[..., 2].clamp(scenario.target_height_min, scenario.target_height_max)
    before, after = (
        umi_nlos_gain(distance(position, drop.tx_position), scenario.carrier_frequency) for position in (drop.ue_position, ue)
    )
    return replace(drop, ue_position=ue, target_position=target, ue_gain=drop.ue_gain * after / before)


def lossy(share: float, twice: tuple[str, ...] = ()) -> Lossy:
    """A channel that loses a share of the messages; kinds in `twice` are sent twice."""
    return Lossy(share, torch.Generator().manual_seed(1), twice)


def late(share: float, rounds: int) -> Late:
    """A channel on which a share of the messages arrive some rounds late."""
    return Late(share, torch.Generator().manual_seed(1), rounds)


def measure(num_drops: int, seed: int, checkpoints: dict[str, str | None]) -> dict[str, object]:
    """Everything that the page on distributed policies shows."""
    found: dict[str, object] = {}
    policies = {kind: Distributed.load(path or shipped_weights(kind)) for kind, path in checkpoints.items()}
    problem, best, _ = feasible(TrackingScenario.of_size("16x16x4"), num_drops, seed)
    learned = policies["distributed"]
    for kind, policy in policies.items():
        counted = traffic(policy.policy, problem)
        found[f"{kind}_floats_per_ap_round"] = float(counted.each_round.mean())
        found[f"{kind}_floats_of_targets"] = float(counted.of_targets.mean())
        found["central_upload_floats_per_ap"] = float(counted.upload.mean())
        found[kind] = {rounds: judged(problem, power_of(policy, problem, rounds), best) for rounds in ROUNDS}
    channels: dict[str, Callable[[], Channel]] = {
        "clear": lambda: clear,
        "8 bits": lambda: Coarse(8),
        "6 bits": lambda: Coarse(6),
        "4 bits": lambda: Coarse(4),
        **{f"{share:.0%} lost": partial(lossy, share) for share in LATE},
        **{f"{share:.0%} lost, of targets twice": partial(lossy, share, OF_TARGETS) for share in (0.05, 0.2)},
        **{f"{share:.0%} late by {rounds}": partial(late, share, rounds) for share in LATE for rounds in (1, 3)},
    }
    found["channel"] = {
        name: {rounds: judged(problem, power_of(learned, problem, rounds, channel=make()), best) for rounds in (4, 8)}
        for name, make in channels.items()
    }
    found["dead_ap"] = dead_ap(learned, problem)
    found["slots"] = {f"distributed, {step:g} s": slots(learned, max(num_drops // 3, 8), seed + 2, step) for step in STEPS}
    large, top, near = feasible(TrackingScenario.of_size("64x64x8"), max(num_drops // 10, 8), seed + 1)
    found["hearing"] = {
        "all": judged(large, power_of(learned, large, 4), top),
        "500 m": judged(large, power_of(learned, large, 4, hears=near), top),
        "share_heard": float(near.double().mean()),
        "floats_all": float(traffic(learned.policy, large).each_round.mean()),
        "floats_500_m": float(traffic(learned.policy, large, near).each_round.mean()),
    }
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_drops", type=int, default=200)
    parser.add_argument("--seed", type=int, default=981000)
    parser.add_argument("--distributed", help="weights other than those shipped")
    parser.add_argument("--unfolded", help="weights other than those shipped")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--classical", help="weights other than those shipped")
    given = parser.parse_args()
    torch.set_num_threads(1)
    checkpoints = {"distributed": given.distributed, "distributed_classical": given.classical, "unfolded": given.unfolded}
    found = measure(given.num_drops, given.seed, checkpoints)
    print(json.dumps(found, indent=1))
    if given.json:
        with written_whole(given.json) as staged:
            staged.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
