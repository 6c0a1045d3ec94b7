"""Allocators of the pilot system against each other on the same fresh drops: table, summary.json, CSV."""

from __future__ import annotations

import csv
import json
import time
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isac_torch.allocation import Allocation, Allocator, Status, allocate
from isac_torch.allocators.pilot import FullPower, MinMaxNmse, PaperSca
from isac_torch.allocators.pilot_learned import PilotFirstOrder, PilotLearned
from isac_torch.errors import IsacError
from isac_torch.evaluation.files import writable_folder, written_whole
from isac_torch.nn.checkpoint import load_network
from isac_torch.nn.pilot_network import PilotNetwork
from isac_torch.pilot.build import power_problem
from isac_torch.pilot.problem import MinMaxNmseProblem

if TYPE_CHECKING:
    from pathlib import Path

    from isac_torch.pilot.scenario import PilotScenario

CRB_SLACK = 1.01
"""A UE counts as violated where its bound exceeds this times Gamma."""
TIGHT = 1e-3
"""A localisation bound within this share of Gamma at the optimum counts as active."""
NAMES = ("full", "full_ngo", "sca_paper", "first_order", "gnn", "nmse_optimal")

Problem = MinMaxNmseProblem


def allocator(name: str, checkpoint: str | Path | None = None) -> Allocator[Problem]:
    """The allocator of that name; `gnn` needs the path of its weights. IsacError for any other name."""
    from pathlib import Path

    simple: dict[str, Allocator[Problem]] = {
        "full": FullPower(),
        "full_ngo": FullPower("estimate"),
        "sca_paper": PaperSca(),
        "first_order": PilotFirstOrder(),
        "nmse_optimal": MinMaxNmse(max_boxes=0),
    }
    if name in simple:
        return simple[name]
    if name != "gnn":
        raise IsacError(f"allocator {name!r} is not one of {', '.join(NAMES)}")
    if checkpoint is None:
        raise IsacError("allocator 'gnn' needs its weights; give checkpoint=.../model.pt")
    return PilotLearned(load_network(Path(checkpoint), PilotNetwork)[0])


def score(problem: Problem, answer: Allocation, best: Allocation) -> dict[str, float]:
    """The table's row of one allocator, against the optimum of the same drops.

    nmse_ratio_*: largest NMSE over the optimum's, on the drops whose localisation bounds can be met. A drop on which the
    allocator breaks a bound by more than a per cent counts in crb_violation_rate; its ratio still counts.
    """
    feasible = best.status != Status.INFEASIBLE
    ratio = (best.value / answer.value)[feasible]
    broken = broken_bounds(problem, answer.power)[feasible]
    return {
        "nmse_ratio_mean": float(ratio.mean()),
        "nmse_ratio_p95": float(ratio.quantile(0.95)),
        "nmse_ratio_max": float(ratio.max()),
        "crb_violation_rate": float(broken.double().mean()),
        "budget_violation_max": float(problem.violations(answer.power).budget.max()),
        "largest_nmse_mean": float(answer.value.reciprocal()[feasible].mean()),
        "power_share_mean": float((answer.power.sum(-1) / problem.budget.sum(-1))[feasible].mean()),
        "ms_per_drop": 1e3 * answer.seconds / problem.num_drops,
    }


def broken_bounds(problem: Problem, power: Float[Tensor, "drop link"]) -> Bool[Tensor, " drop"]:
    """Drops on which some UE's bound exceeds CRB_SLACK Gamma; `power` in W."""
    return (problem.crb(power) > CRB_SLACK * problem.crb_max).any(-1)


def benchmark(
    scenario: PilotScenario,
    allocators: list[str],
    num_drops: int,
    seed: int,
    output: str | Path,
    checkpoint: str | Path | None = None,
) -> dict[str, Any]:
    """Judge allocators on `num_drops` fresh drops; write summary.json and drops.csv to a folder and return the summary.

    Args:
        scenario: the road.
        allocators: names among NAMES.
        num_drops: drops.
        seed: of the drops.
        output: folder; made if need be.
        checkpoint: weights for `gnn`.
    """
    chosen = {name: allocator(name, checkpoint) for name in allocators}
    folder = writable_folder(output)
    drop = scenario.sample(num_drops, generator=torch.Generator().manual_seed(seed))
    problem = power_problem(drop, scenario)
    best = allocate(problem, MinMaxNmse(max_boxes=0))
    feasible = best.status != Status.INFEASIBLE
    if not bool(feasible.any()):
        raise IsacError(f"none of {num_drops} drops of {scenario.name} can be located to {scenario.crb_max} m2; raise crb_max")
    tight = ((problem.crb(best.power) / problem.crb_max).amax(-1) >= 1.0 - TIGHT)[feasible]
    missed_by_full = broken_bounds(problem, FullPower().propose(problem).power)[feasible]
    rows, scores = [], {}
    for name, one in chosen.items():
        one.propose(problem.select(torch.arange(min(8, num_drops))))  # warm-up
        start = time.process_time()
        answer = allocate(problem, one)
        scores[name] = score(problem, answer, best) | {"cpu_ms_per_drop": 1e3 * (time.process_time() - start) / num_drops}
        crb = problem.crb(answer.power).amax(-1)
        columns = (answer.value.reciprocal(), best.value.reciprocal(), crb, answer.power.sum(-1), answer.status)
        rows += [(name, i, *(float(column[i]) for column in columns)) for i in range(num_drops)]
    summary = {
        "scenario": scenario.name,
        "num_drops": num_drops,
        "seed": seed,
        "infeasible_share": 1.0 - float(feasible.double().mean()),
        "crb_active_share": float(tight.double().mean()),
        "crb_missed_by_full_share": float(missed_by_full.double().mean()),
        "threads": torch.get_num_threads(),
        "allocators": scores,
    }
    with written_whole(folder / "summary.json") as partial:
        partial.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    header = ("allocator", "drop", "largest_nmse", "least_nmse", "largest_crb_m2", "power_w", "status")
    with written_whole(folder / "drops.csv") as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    return summary


def table(summary: dict[str, Any]) -> str:
    """The summary as aligned text."""
    columns = ("nmse_ratio_mean", "nmse_ratio_p95", "nmse_ratio_max", "crb_violation_rate", "power_share_mean", "ms_per_drop")
    lines = [f"{'allocator':<14}" + "".join(f"{name:>20}" for name in columns)]
    lines += [f"{name:<14}" + "".join(f"{row[c]:>20.4f}" for c in columns) for name, row in summary["allocators"].items()]
    facts = (
        f"{summary['scenario']}: {summary['num_drops']} drops, {summary['infeasible_share']:.1%} infeasible; localisation "
        f"active on {summary['crb_active_share']:.1%} of the feasible ones, missed by full power on "
        f"{summary['crb_missed_by_full_share']:.1%}"
    )
    return "\n".join([facts, *lines])
