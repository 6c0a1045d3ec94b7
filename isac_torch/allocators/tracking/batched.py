"""Certified optima for whole batches of drops: the engine that makes labels.

`first_stage` gives each chunk of drops the largest smallest SINR and its certificate. A drop whose sensing constraints are
proven to be out of reach is solved again at the best SIR it can reach. A second stage then makes the powers unique.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.allocation import Proposal
from isac_torch.allocators.parts import in_parts
from isac_torch.allocators.tracking.drop_by_drop import SENSING_SLACK, Priority, sensing_suffix
from isac_torch.solvers.tracking.common_factor import largest_factor
from isac_torch.solvers.tracking.fair_powers import fair_powers
from isac_torch.solvers.tracking.feasibility import best_effort
from isac_torch.solvers.tracking.first_stage import first_stage, refer
from isac_torch.solvers.tracking.objectives import least_power, lexicographic, most_power
from isac_torch.solvers.tracking.scaling import own_sinrs, scaled
from isac_torch.tracking.problem import MaxMinSinrProblem

Tie = Literal["least_power", "most_power", "lexicographic", "fair", "none"]


_GIVEN_SHARE = 0.9
"""Share of the gap that the smallest SINR gives away for the largest mean log rate, or for the most power."""
_FAIR_LOSS = 0.2
"""Share of the gap by which lexicographic max-min, which solves the first stage again, may fall short of it."""


@dataclass(frozen=True)
class BatchedOptimal:
    """Largest minimum SINR of every drop with a computed certificate: global with orthogonal pilots, local with shared ones.

    The same result as `GlobalOptimal`, for batches. A result depends on the drops of its chunk only, so chunks cut at the same
    places give the same bits whoever solves them.

    Attributes:
        gap: certified relative distance to the optimum. A second stage gives away half of it, "fair" and "most_power" nine
            tenths.
        tie: second stage that makes powers unique, at (1 - gap / 2) of the first stage's value: least total power; or
            lexicographic max-min, which also lifts the UEs that can do better than the worst; or fair, the largest mean log
            rate, or most_power, the largest total power (both want a gap of some per cent to be of use); or none.
        priority: "communication" keeps the problem's SIR0; "sensing" asks every drop for (1 - sensing_slack) times the largest
            SIR that it can reach, where that is more than SIR0.
        sensing_slack: share of the reachable SIR left to communication.
        chunk: drops solved together; only speed depends on it.

    Example:
        >>> import torch
        >>> from isac_torch import BatchedOptimal, TrackingScenario, allocate, power_problem
        >>> scenario = TrackingScenario.of_size("8x6x2")
        >>> problem = power_problem(scenario.sample(5, generator=torch.Generator().manual_seed(1)), scenario)
        >>> best = allocate(problem, BatchedOptimal(gap=1e-3))
        >>> bool((best.value <= best.upper_bound).all()), bool((best.gap <= 1e-3).all())   # SINR, linear
        (True, True)
    """

    gap: float = 1e-3
    tie: Tie = "least_power"
    priority: Priority = "communication"
    sensing_slack: float = SENSING_SLACK
    chunk: int = 256

    @property
    def name(self) -> str:
        """opc_batched, with what differs from the defaults; `named_allocator` reads it."""
        tie = "" if self.tie == "least_power" else f"_{self.tie}"
        gap = "" if self.gap == BatchedOptimal.gap else f"_{self.gap:g}"
        return f"opc_batched{tie}{gap}{sensing_suffix(self.priority, self.sensing_slack)}"

    def propose(self, problem: MaxMinSinrProblem) -> Proposal:
        """Powers (W), bound, proven infeasibility and largest reachable SIR of every drop; never raises for a drop."""
        return self._propose(problem, None)

    def improve(self, problem: MaxMinSinrProblem, power: Float[Tensor, "drop link"]) -> Proposal:
        """`propose` from given powers (W): about a third fewer steps where they are good, never a worse answer than they.

        Powers that break a constraint, or are not finite, are a start like any other.
        """
        return self._propose(problem, power)

    def _propose(self, problem: MaxMinSinrProblem, start: Tensor | None) -> Proposal:
        def answer(part: MaxMinSinrProblem, index: Tensor) -> Proposal:
            units = scaled(part)
            found = self._solve(units.problem, units.unit, None if start is None else start[index].to(units.unit))
            return units.restored(found)

        return in_parts(problem, self.chunk, answer)

    def _solve(self, problem: MaxMinSinrProblem, unit: Tensor, start: Tensor | None) -> Proposal:
        """One chunk: first stage, best effort where SIR0 is out of reach, reference where the gap is missed, second stage.

        The problem is in the units of `scaled`: its SINRs are those of the network over `unit` squared.
        """
        infeasible = torch.zeros(problem.num_drops, dtype=torch.bool, device=problem.budget.device)
        best_sir = torch.full_like(problem.budget[:, 0], torch.nan)
        if self.priority == "sensing":
            problem, infeasible, best_sir = self._reachable(problem, infeasible.logical_not().nonzero()[:, 0], best_sir)
        generous = self.tie in ("fair", "most_power")
        stage_gap = (1.0 if self.tie == "none" else 1.0 - _GIVEN_SHARE if generous else 0.5) * self.gap
        found = first_stage(problem, stage_gap, start)
        lost = found.infeasible.nonzero()[:, 0]
        if len(lost):
            problem, proven, best_sir = self._reachable(problem, lost, best_sir)
            infeasible = infeasible | proven
            found = found.put(first_stage(problem.select(lost), stage_gap), lost)
        found = refer(problem, found, stage_gap)
        power = found.power
        if generous:
            if self.tie == "fair":
                problem = own_sinrs(problem, unit)
            least_sinr = (1.0 - _GIVEN_SHARE * self.gap) * problem.objective(power)
            floor = least_sinr.unsqueeze(-1).expand(-1, problem.num_ues).contiguous()
            power = fair_powers(problem, floor, power).power if self.tie == "fair" else most_power(problem, floor, power)
        elif self.tie != "none":
            goal = (1.0 - 0.5 * self.gap) * problem.objective(power)
            least = least_power(problem, goal.unsqueeze(-1).expand(-1, problem.num_ues), power)
            power = least.power
            if self.tie == "lexicographic":
                fair = lexicographic(problem, 0.5 * self.gap)
                kept = fair.solved & (problem.objective(fair.power) >= goal * (1.0 - _FAIR_LOSS * self.gap))
                power = torch.where(kept.unsqueeze(-1), fair.power, power)
        return Proposal(power, found.upper_bound, infeasible, best_sir)

    def _reachable(
        self, problem: MaxMinSinrProblem, index: Tensor, best_sir: Tensor
    ) -> tuple[MaxMinSinrProblem, Tensor, Tensor]:
        """The drops at `index` with an SIR0 that they can reach; which are proven infeasible; all drops' best SIR."""
        proven = torch.zeros(problem.num_drops, dtype=torch.bool, device=problem.budget.device)
        if problem.num_constraints == 0 and problem.position is None:
            return problem, proven, best_sir
        part = problem.select(index)
        limit = largest_factor(part)
        eased = best_effort(part, limit, slack=self.sensing_slack, everywhere=self.priority == "sensing")
        proven[index] = limit.infeasible
        sir_min, position = problem.sir_min.index_copy(0, index, eased.sir_min), problem.position
        if position is not None and eased.position is not None:
            position = replace(position, required=position.required.index_copy(0, index, eased.position.required))
        reachable = replace(problem, sir_min=sir_min, position=position)
        return reachable, proven, best_sir.index_copy(0, index, limit.best_sir)
