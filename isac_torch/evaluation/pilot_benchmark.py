"""Allocators of the downlink-pilot system against each other on the same fresh drops: `isac-torch downlink-pilots evaluate`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isac_torch import __version__
from isac_torch.allocation import FEASIBILITY_TOLERANCE, Allocation, Allocator, Status, allocate
from isac_torch.allocators.downlink_pilots.batched import BatchedMinMaxNmse
from isac_torch.allocators.downlink_pilots.classical import FullPower, MinMaxNmse, PaperSca
from isac_torch.allocators.downlink_pilots.learned import DownlinkPilotFirstOrder, DownlinkPilotLearned
from isac_torch.downlink_pilots.build import power_problem
from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
from isac_torch.errors import AllocationError, IsacError
from isac_torch.evaluation.optimum import stored_allocate
from isac_torch.evaluation.run import check_run
from isac_torch.files import writable_folder
from isac_torch.nn.checkpoint import load_network
from isac_torch.nn.downlink_pilots.network import DownlinkPilotNetwork
from isac_torch.weights import shipped_weights

CRB_SLACK = 1.01
"""A UE counts as violated where its bound exceeds this times Gamma."""
TIGHT = 1e-3
"""A localisation bound within this share of Gamma at the optimum counts as active."""
OPTIMUM = "nmse_batched"
"""Whose certified answers all others are measured by."""
NAMES = ("full", "full_ngo", "sca_paper", "first_order", "gnn", "gnn_raw", "nmse_optimal", OPTIMUM)
_WARM_UP = 8

Problem = MinMaxNmseProblem


@dataclass(frozen=True)
class Setting:
    """One road with its drops and what the allocators made of them.

    Attributes:
        scenario: the road.
        problem: the drops' power problems.
        optimum: the certified optimum of every drop.
        answers: of each allocator, by the name of its row.
        cpu_seconds: processor time of each, s; none for an optimum that was stored before.
    """

    scenario: DownlinkPilotScenario
    problem: Problem
    optimum: Allocation
    answers: dict[str, Allocation]
    cpu_seconds: dict[str, float]

    @property
    def feasible(self) -> Bool[Tensor, " drop"]:
        """Drops whose localisation bounds can be met; the others are proven not to."""
        return self.optimum.status != Status.INFEASIBLE

    @property
    def active(self) -> Bool[Tensor, " drop"]:
        """Feasible drops on which some localisation bound is tight at the optimum."""
        worst = (self.problem.crb(self.optimum.power) / self.problem.crb_max).amax(-1)
        return self.feasible & (worst >= 1.0 - TIGHT)

    @property
    def summary(self) -> dict[str, Any]:
        """The setting's entry of summary.json."""
        feasible, gap = self.feasible, self.optimum.gap[self.feasible]
        missed = broken_bounds(self.problem, FullPower().propose(self.problem).power)
        scores = {name: score(self.problem, answer, self.optimum) for name, answer in self.answers.items()}
        for name, seconds in self.cpu_seconds.items():
            scores[name]["cpu_ms_per_drop"] = 1e3 * seconds / self.problem.num_drops
        return {
            "num_drops": self.problem.num_drops,
            "infeasible": int((~feasible).sum()),
            "crb_max_m2": self.scenario.crb_max,
            "crb_active_share": float(self.active[feasible].double().mean()),
            "crb_missed_by_full_share": float(missed[feasible].double().mean()),
            "certified_share": float((self.optimum.status == Status.OPTIMAL)[feasible].double().mean()),
            "optimum_gap_max": float(gap.max()),
            "allocators": scores,
        }


def allocator(name: str, checkpoint: str | Path | None = None) -> Allocator[Problem]:
    """The allocator of that name; gnn, and gnn_raw without its rescue, take the shipped weights unless given others.

    Raises:
        AllocationError: for any other name.
        CheckpointError: where the weights are missing, damaged or of another system.
    """
    simple: dict[str, Allocator[Problem]] = {
        "full": FullPower(),
        "full_ngo": FullPower("estimate"),
        "sca_paper": PaperSca(),
        "first_order": DownlinkPilotFirstOrder(),
        "nmse_optimal": MinMaxNmse(),
        OPTIMUM: BatchedMinMaxNmse(),
    }
    if name in simple:
        return simple[name]
    if name not in NAMES:
        raise AllocationError(f"allocator {name!r} is unknown; choose among {', '.join(NAMES)}")
    path = shipped_weights("downlink_pilots") if checkpoint is None else Path(checkpoint)
    network = load_network(path, DownlinkPilotNetwork)[0]
    return DownlinkPilotLearned(network) if name == "gnn" else DownlinkPilotLearned(network, rescue_steps=0)


def score(problem: Problem, answer: Allocation, best: Allocation) -> dict[str, float]:
    """The table's row of one allocator, against the optimum of the same drops.

    nmse_ratio_*: largest NMSE over the optimum's, on the drops whose localisation bounds can be met; at least 1 where the
    allocator breaks a constraint, as NMSE bought with missing accuracy is no achievement. crb_violation_rate: share of those
    drops on which a bound exceeds CRB_SLACK Gamma.
    """
    feasible = best.status != Status.INFEASIBLE
    ratio = best.value / answer.value
    ratio = torch.where(answer.violation <= FEASIBILITY_TOLERANCE, ratio, ratio.clamp_min(1.0))[feasible]
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
    scenarios: Sequence[DownlinkPilotScenario],
    allocators: Sequence[str],
    num_drops: int,
    seed: int,
    output: str | Path,
    checkpoint: str | Path | None = None,
    tensorboard: bool = True,
) -> dict[str, Any]:
    """Judge allocators on `num_drops` fresh drops of every scenario; write files to a folder and return summary.json.

    The certified optima are kept in `output`/optima under a checksum of the drops, for the next run.

    Args:
        scenarios: the roads.
        allocators: names among NAMES.
        num_drops: drops of each scenario.
        seed: of the drops, the same for each scenario.
        output: folder; made if need be.
        checkpoint: weights of gnn and gnn_raw; default the shipped ones.
        tensorboard: whether to write event files too.

    Raises:
        IsacError: one line, before any work, on unknown names, missing weights, equal scenarios or an output that cannot be
            written; later where no drop of a scenario can be located as well as asked.
    """
    from tqdm import tqdm

    from isac_torch.evaluation.pilot_results import write_results

    check_run(allocators, num_drops, seed)
    chosen = {name: allocator(name, checkpoint) for name in allocators}
    names = [scenario.name for scenario in scenarios]
    if not names or len(set(names)) < len(names):
        raise IsacError(f"variants={names} must name at least one setting, and none twice")
    folder = writable_folder(output)
    settings = []
    bar = tqdm(scenarios, unit="setting", disable=None)
    for scenario in bar:
        bar.set_description(scenario.name)
        settings.append(_judge(scenario, chosen, num_drops, seed, folder / "optima"))
    learned = any(name.startswith("gnn") for name in allocators)
    context = {
        "seed": seed,
        "version": __version__,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "checkpoint": None if not learned else "shipped" if checkpoint is None else str(checkpoint),
    }
    summary = {"settings": {setting.scenario.name: setting.summary for setting in settings}}
    tqdm.write(write_results(settings, summary, context, folder, tensorboard))
    return summary


def _judge(
    scenario: DownlinkPilotScenario, chosen: dict[str, Allocator[Problem]], num_drops: int, seed: int, optima: Path
) -> Setting:
    """Every allocator on the same drops of one scenario, timed after a warm-up."""
    drop = scenario.sample(num_drops, generator=torch.Generator().manual_seed(seed))
    problem = power_problem(drop, scenario)
    same: Any = problem  # stored_allocate reads what both systems' problems have
    optimal: Any = allocator(OPTIMUM)
    optimum, _ = stored_allocate(same, optimal, optima)
    if bool((optimum.status == Status.INFEASIBLE).all()):
        raise IsacError(f"none of {num_drops} drops of {scenario.name} can be located to {scenario.crb_max} m2; raise crb_max")
    answers, cpu = {}, {}
    for name, one in chosen.items():
        if name == OPTIMUM:
            answers[name] = optimum
            continue
        allocate(problem.select(torch.arange(min(_WARM_UP, num_drops))), one)
        start = time.process_time()
        answers[name] = allocate(problem, one)
        cpu[name] = time.process_time() - start
    return Setting(scenario, problem, optimum, answers, cpu)
