"""Allocators that solve every drop of the batch by itself: the reference optimum and the paper's algorithm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from isac_torch.allocation import Proposal, equal_split
from isac_torch.allocators.parts import in_parts
from isac_torch.errors import AllocationError
from isac_torch.solvers.tracking import papers, reference
from isac_torch.solvers.tracking.common_factor import largest_factor
from isac_torch.solvers.tracking.feasibility import SensingLimit, best_effort
from isac_torch.solvers.tracking.scaling import scaled
from isac_torch.solvers.tracking.settling import settled
from isac_torch.tracking.problem import MaxMinSinrProblem

Priority = Literal["communication", "sensing"]

SENSING_SLACK = 0.05
"""Share of the reachable SIR that is left to communication, where nothing else is said."""
_ROUND_OFF = 1e-9
"""Relative violation that rounding leaves of powers that meet a requirement exactly."""


def sensing_suffix(priority: Priority, slack: float) -> str:
    """What a name says of the priority: nothing, `_sensing`, or `_sensing_0.1` with an unusual slack."""
    if priority == "communication":
        return ""
    return "_sensing" if slack == SENSING_SLACK else f"_sensing_{slack:g}"


SolveDrop = Callable[[MaxMinSinrProblem, SensingLimit], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class GlobalOptimal:
    """Largest minimum SINR with a computed certificate: global with orthogonal pilots, a bounded local one with shared ones.

    A drop whose SIR0 is proven out of reach gets the best effort: the largest minimum SINR at (1 - sensing_slack) times the
    largest reachable SIR, and the bound of that problem.

    Attributes:
        gap: certified relative distance to the optimum.
        tie: second stage that makes the powers unique; see `reference.solve_drop`.
        priority: "communication" keeps the problem's SIR0; "sensing" asks every drop for (1 - sensing_slack) times the
            largest SIR that it can reach, where that is more than SIR0; its bounds are those of that harder problem.
        sensing_slack: share of the reachable SIR left to communication.

    Example:
        >>> import torch
        >>> from isac_torch import GlobalOptimal, TrackingScenario, allocate, power_problem
        >>> scenario = TrackingScenario.of_size("4x3x1")         # small: the readable reference takes seconds per drop
        >>> problem = power_problem(scenario.sample(1, generator=torch.Generator().manual_seed(1)), scenario)
        >>> bool((allocate(problem, GlobalOptimal(gap=1e-2, tie="none")).gap <= 1e-2).all())
        True
    """

    gap: float = 1e-3
    tie: reference.Tie = "least_power"
    priority: Priority = "communication"
    sensing_slack: float = SENSING_SLACK

    @property
    def name(self) -> str:
        """opc_global, with the suffix of the priority."""
        return f"opc_global{sensing_suffix(self.priority, self.sensing_slack)}"

    def propose(self, problem: MaxMinSinrProblem) -> Proposal:
        """Powers (W), bound, proven infeasibility and largest reachable SIR of every drop."""

        def solve(drop: MaxMinSinrProblem, limit: SensingLimit) -> tuple[Tensor, Tensor]:
            found = reference.solve_drop(drop, equal_split(drop), limit.power, gap=self.gap, tie=self.tie)
            return found.power, found.upper_bound

        return _drop_by_drop(problem, solve, self.priority, self.sensing_slack)


@dataclass(frozen=True)
class PaperOpc:
    """Optimal power control as printed by Liesegang et al. (2025), Algorithm 1 with the sign of its C3 corrected.

    Attributes:
        start: feasible point it starts from, which decides the local optimum it ends in; see `papers.start_point`.
        priority: as in `GlobalOptimal`.
        sensing_slack: as in `GlobalOptimal`.
        tolerance: eps1 and eps2 of the algorithm, both relative.

    Example:
        >>> import torch
        >>> from isac_torch import BatchedOptimal, PaperOpc, TrackingScenario, allocate, power_problem
        >>> scenario = TrackingScenario.of_size("8x6x2")
        >>> problem = power_problem(scenario.sample(5, generator=torch.Generator().manual_seed(1)), scenario)
        >>> first = problem.select(torch.tensor([0]))
        >>> bool((allocate(first, PaperOpc()).value <= allocate(first, BatchedOptimal(tie="none")).upper_bound).all())
        True
    """

    start: papers.Start = "nearest_uniform"
    priority: Priority = "communication"
    sensing_slack: float = SENSING_SLACK
    tolerance: float = 1e-3

    @property
    def name(self) -> str:
        """opc_paper, with what differs from the defaults."""
        name = "opc_paper" if self.start == "nearest_uniform" else f"opc_paper_{self.start}"
        return f"{name}{sensing_suffix(self.priority, self.sensing_slack)}"

    @property
    def gap(self) -> float:
        """No certificate is offered."""
        return 0.0

    def propose(self, problem: MaxMinSinrProblem) -> Proposal:
        """Powers (W), proven infeasibility and largest reachable SIR of every drop."""
        if problem.position is not None:
            raise AllocationError(f"{self.name} knows no requirement on positions; use opc_batched")

        def solve(drop: MaxMinSinrProblem, limit: SensingLimit) -> tuple[Tensor, Tensor]:
            start = papers.start_point(drop, limit.power, self.start)
            power = papers.algorithm_1(drop, start, tolerance=self.tolerance)
            return power, torch.full_like(power[:, 0], torch.inf)

        return _drop_by_drop(problem, solve, self.priority, self.sensing_slack)


def _drop_by_drop(problem: MaxMinSinrProblem, solve: SolveDrop, priority: Priority, slack: float) -> Proposal:
    """Decide feasibility, put reachable requirements in place, solve each drop in float64, and gather the answers."""

    def answer(drop: MaxMinSinrProblem, _: Tensor) -> Proposal:
        units = scaled(drop.to("cpu"))
        limit = _limit(units.problem)
        power, bound = solve(best_effort(units.problem, limit, slack=slack, everywhere=priority == "sensing"), limit)
        return units.restored(Proposal(settled(units.problem, power), bound, limit.infeasible, limit.best_sir))

    return in_parts(problem, 1, answer)


def _limit(problem: MaxMinSinrProblem) -> SensingLimit:
    """What one drop can reach at best; powers that the requirement compares with suffice where they meet it."""
    known = problem.reference
    if known is None or bool(problem.violations(known).worst > _ROUND_OFF):
        return largest_factor(problem)
    one = torch.ones_like(problem.budget[:, 0])
    return SensingLimit(one, torch.full_like(one, torch.inf), known, one)
