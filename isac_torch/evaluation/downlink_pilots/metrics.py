"""What a line of the downlink-pilot system's table means: largest NMSE over the optimum's, localisation bounds, power."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isac_torch.allocation import FEASIBILITY_TOLERANCE, Allocation, Status, equal_split
from isac_torch.downlink_pilots.drop import DownlinkPilotDrop
from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
from isac_torch.evaluation.benchmark import Benchmark
from isac_torch.systems import DOWNLINK_PILOTS

CRB_SLACK = 1.01
"""A UE counts as violated where its localisation bound exceeds this times Gamma."""
TIGHT = 1e-3
"""A localisation bound within this share of Gamma at the optimum counts as active."""


@dataclass(frozen=True)
class Outcome:
    """What one allocator did on the drops of a setting.

    Attributes:
        name: the allocator, as in the table.
        power: W, of each link.
        value: 1 / largest NMSE of each drop.
        crb: largest localisation bound of each drop, m2.
        broken: drops on which some UE's bound exceeds CRB_SLACK Gamma.
        status: `Status` value of each drop.
        row: its line of summary.json.
    """

    name: str
    power: Float[Tensor, "drop link"]
    value: Float[Tensor, " drop"]
    crb: Float[Tensor, " drop"]
    broken: Bool[Tensor, " drop"]
    status: Tensor
    row: dict[str, float]

    @property
    def num_drops(self) -> int:
        """Drops that the allocator answered."""
        return self.power.shape[0]


PilotBenchmark: TypeAlias = Benchmark[DownlinkPilotScenario, DownlinkPilotDrop, MinMaxNmseProblem, Outcome]


def reference(found: PilotBenchmark) -> Allocation:
    """The certified optimum of every drop, with its powers."""
    return found.plain.certified[DOWNLINK_PILOTS.allocators.certified[0]]


def feasible_drops(found: PilotBenchmark) -> Bool[Tensor, " drop"]:
    """Drops whose localisation bounds can be met; the others are proven not to."""
    return ~found.optimum.infeasible


def active_drops(found: PilotBenchmark) -> Bool[Tensor, " drop"]:
    """Feasible drops on which some localisation bound is tight at the optimum."""
    worst = (found.problem.crb(reference(found).power) / found.problem.crb_max).amax(-1)
    return feasible_drops(found) & (worst >= 1.0 - TIGHT)


def outcome(found: PilotBenchmark, name: str) -> Outcome:
    """What the allocator called `name` did."""
    answer, problem = found.answers[name], found.problem
    power = answer.allocation.power
    return Outcome(
        name=name,
        power=power,
        value=answer.allocation.value,
        crb=problem.crb(power).amax(-1),
        broken=broken_bounds(problem, power),
        status=answer.allocation.status,
        row=score(problem, answer.allocation, reference(found), answer.cpu_seconds, answer.call_cpu_seconds),
    )


def score(
    problem: MinMaxNmseProblem,
    answer: Allocation,
    best: Allocation,
    cpu_seconds: float | None = None,
    call_cpu_seconds: float | None = None,
) -> dict[str, float]:
    """The table's line of one allocator, against the optimum of the same drops.

    nmse_ratio_*: largest NMSE over the optimum's, on the drops whose localisation bounds can be met; at least 1 where the
    allocator breaks a constraint, as NMSE bought with missing accuracy is no achievement. crb_violation_rate: share of those
    drops on which a bound exceeds CRB_SLACK Gamma; mean_crb_violation_rate: the same of the mean over the fading, whatever
    bound the problem asks for. cpu_ms_per_drop: processor time of all drops in a batch over their number; cpu_ms_single_call:
    of a call for one drop. Both are left out where the answers come from an earlier run.
    """
    feasible = best.status != Status.INFEASIBLE
    ratio = best.value / answer.value
    ratio = torch.where(answer.violation <= FEASIBILITY_TOLERANCE, ratio, ratio.clamp_min(1.0))[feasible]
    broken = broken_bounds(problem, answer.power)[feasible]
    over_blocks = problem if problem.fading == "per_block" else replace(problem, fading="expected")
    mean_broken = broken_bounds(over_blocks, answer.power)[feasible]
    row = {
        "nmse_ratio_mean": float(ratio.mean()),
        "nmse_ratio_p95": float(ratio.quantile(0.95)),
        "nmse_ratio_max": float(ratio.max()),
        "crb_violation_rate": float(broken.double().mean()),
        "mean_crb_violation_rate": float(mean_broken.double().mean()),
        "budget_violation_max": float(problem.violations(answer.power).budget.max()),
        "largest_nmse_mean": float(answer.value.reciprocal()[feasible].mean()),
        "power_share_mean": float((answer.power.sum(-1) / problem.budget.sum(-1))[feasible].mean()),
        "ms_per_drop": 1e3 * answer.seconds / problem.num_drops,
    }
    cpu = {} if cpu_seconds is None else {"cpu_ms_per_drop": 1e3 * cpu_seconds / problem.num_drops}
    call = {} if call_cpu_seconds is None else {"cpu_ms_single_call": 1e3 * call_cpu_seconds}
    return row | cpu | call


def broken_bounds(problem: MinMaxNmseProblem, power: Float[Tensor, "drop link"]) -> Bool[Tensor, " drop"]:
    """Drops on which some UE's bound exceeds CRB_SLACK Gamma; `power` in W."""
    return (problem.crb(power) > CRB_SLACK * problem.crb_max).any(-1)


def summarise(found: PilotBenchmark) -> dict[str, Any]:
    """The setting's entry of summary.json."""
    feasible, best = feasible_drops(found), reference(found)
    missed = broken_bounds(found.problem, equal_split(found.problem))
    return {
        "num_drops": found.problem.num_drops,
        "infeasible": int((~feasible).sum()),
        "crb_max_m2": found.scenario.crb_max,
        "crb_active_share": float(active_drops(found)[feasible].double().mean()),
        "crb_missed_by_full_share": float(missed[feasible].double().mean()),
        "certified_share": float((best.status == Status.OPTIMAL)[feasible].double().mean()),
        "optimum_gap_max": float(best.gap[feasible].max()),
        "allocators": {one.name: one.row for one in found.outcomes},
    }
