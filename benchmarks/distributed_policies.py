"""Policies that run at the APs: share of the optimum against rounds and bytes, and what coarse, lost and missing messages cost.

python benchmarks/distributed_policies.py --num_drops 300 --json distributed.json --png distributed.png
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from isac_torch.allocation import Status, allocate
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.allocators.tracking.distributed import Distributed
from isac_torch.files import written_whole
from isac_torch.nn.tracking.local_channels import Coarse, Lossy
from isac_torch.nn.tracking.local_traffic import traffic
from isac_torch.propagation.geometry import distance
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.local.rounds import clear
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.weights import shipped_weights

ROUNDS = (0, 1, 2, 4, 8)


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
        share = policy.policy.exits(problem.cast(torch.float32), rounds, **how)[-1].to(problem.budget)  # type: ignore[arg-type]
    power = share.exp() * problem.link_budget
    return power / (problem.ap_load(power) / problem.budget).clamp_min(1.0).gather(1, problem.link_ap)


def feasible(scenario: TrackingScenario, num_drops: int, seed: int) -> tuple[MaxMinSinrProblem, Tensor, Tensor]:
    """Drops with a certified optimum, its value, and which APs are within 500 m of which UEs."""
    drop = scenario.sample(num_drops, generator=torch.Generator().manual_seed(seed))
    problem = power_problem(drop, scenario)
    best = allocate(problem, BatchedOptimal())
    good = (best.status <= int(Status.FEASIBLE)).nonzero()[:, 0]
    near = distance(drop.ue_position, drop.tx_position) < 500.0
    return problem.select(good), best.value[good], near[good]


def measure(num_drops: int, seed: int, checkpoints: dict[str, str | None]) -> dict[str, object]:
    """Everything that the page on distributed policies shows."""
    found: dict[str, object] = {}
    policies = {kind: Distributed.load(path or shipped_weights(kind)) for kind, path in checkpoints.items()}
    problem, best, _ = feasible(TrackingScenario.of_size("16x16x4"), num_drops, seed)
    learned = policies["distributed"]
    for kind, policy in policies.items():
        counted = traffic(policy.policy, problem)
        found[f"{kind}_floats_per_ap_round"] = float(counted.each_round.mean())
        found["central_upload_floats_per_ap"] = float(counted.upload.mean())
        found[kind] = {rounds: judged(problem, power_of(policy, problem, rounds), best) for rounds in ROUNDS}
    channels: dict[str, Callable[[], Callable[[str, Tensor], Tensor]]] = {
        "clear": lambda: clear,
        "8 bits": lambda: Coarse(8),
        "6 bits": lambda: Coarse(6),
        "4 bits": lambda: Coarse(4),
        "5 % lost": lambda: Lossy(0.05, torch.Generator().manual_seed(1)),
        "20 % lost": lambda: Lossy(0.2, torch.Generator().manual_seed(1)),
    }
    found["channel"] = {
        name: {rounds: judged(problem, power_of(learned, problem, rounds, channel=make()), best) for rounds in (4, 8)}
        for name, make in channels.items()
    }
    large, top, near = feasible(TrackingScenario.of_size("64x64x8"), max(num_drops // 10, 8), seed + 1)
    found["hearing"] = {
        "all": judged(large, power_of(learned, large, 4), top),
        "500 m": judged(large, power_of(learned, large, 4, hears=near), top),
        "share_heard": float(near.double().mean()),
        "floats_all": float(traffic(learned.policy, large).each_round.mean()),
        "floats_500_m": float(traffic(learned.policy, large, near).each_round.mean()),
    }
    return found


def draw(found: dict[str, object], path: Path) -> None:
    """Share of the optimum against rounds, and against bytes per AP."""
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9.0, 3.6), sharey=True, layout="constrained")
    for kind, marker in (("distributed", "o"), ("unfolded", "s")):
        curve: dict[int, dict[str, float]] = found[kind]  # type: ignore[assignment]
        floats = float(found[f"{kind}_floats_per_ap_round"])  # type: ignore[arg-type]
        for name, style in (("valid_mean", "-"), ("strict_mean", "--")):
            label = f"{kind}, " + ("drops that meet all" if name == "valid_mean" else "missed count 0")
            share = [curve[rounds][name] for rounds in ROUNDS]
            left.plot(range(len(ROUNDS)), share, style, marker=marker, label=label)
            right.plot([4.0 * floats * rounds for rounds in ROUNDS], share, style, marker=marker)
    left.set_xticks(range(len(ROUNDS)), [str(rounds) for rounds in ROUNDS])
    left.set(xlabel="rounds of messages", ylabel="share of the central optimum", ylim=(0.0, 1.0))
    right.axvline(4.0 * float(found["central_upload_floats_per_ap"]), color="gray", linestyle=":")  # type: ignore[arg-type]
    right.text(4.0 * float(found["central_upload_floats_per_ap"]), 0.03, " upload to a centre", color="gray")  # type: ignore[arg-type]
    right.set(xlabel="bytes per AP, single precision", xlim=(-100.0, None))
    left.legend(fontsize=8, loc="lower right")
    for axis in (left, right):
        axis.grid(alpha=0.3)
    with written_whole(path) as staged:
        figure.savefig(staged, dpi=130, format="png")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_drops", type=int, default=300)
    parser.add_argument("--seed", type=int, default=981000)
    parser.add_argument("--distributed", help="weights other than those shipped")
    parser.add_argument("--unfolded", help="weights other than those shipped")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--png", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = measure(given.num_drops, given.seed, {"distributed": given.distributed, "unfolded": given.unfolded})
    print(json.dumps(found, indent=1))
    if given.json:
        with written_whole(given.json) as staged:
            staged.write_text(json.dumps(found, indent=1))
    if given.png:
        draw(found, given.png)


if __name__ == "__main__":
    main()
