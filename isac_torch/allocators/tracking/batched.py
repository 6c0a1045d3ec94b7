"""Certified optima for whole batches of drops: the engine that makes labels.

Each chunk of drops goes through the structured interior-point method of `interior`, whose dual variables give the certificate
of `certificate`. A drop whose sensing constraints are proven to be out of reach is solved again at the best SIR it can reach.
A drop that misses its gap is solved again with more care, then as cones by Clarabel, then by the reference; what none of them
settles is returned with the bound it has.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isac_torch.allocation import FEASIBILITY_TOLERANCE, Proposal, equal_split
from isac_torch.allocators.parts import in_parts
from isac_torch.allocators.tracking.drop_by_drop import SENSING_SLACK, Priority, sensing_suffix
from isac_torch.solvers.tracking import interior
from isac_torch.solvers.tracking.certificate import relaxed_leakage, upper_bound, with_tangents
from isac_torch.solvers.tracking.common_factor import largest_factor
from isac_torch.solvers.tracking.fair_powers import fair_powers
from isac_torch.solvers.tracking.feasibility import best_effort, largest_sir, repair
from isac_torch.solvers.tracking.level_program import max_min_program
from isac_torch.solvers.tracking.objectives import least_power, lexicographic, most_power
from isac_torch.solvers.tracking.scaling import own_sinrs, scaled
from isac_torch.solvers.tracking.settling import settled
from isac_torch.solvers.tracking.warm_start import WARM_LEVEL, push_inside
from isac_torch.tracking.problem import MaxMinSinrProblem

Tie = Literal["least_power", "most_power", "lexicographic", "fair", "none"]


@dataclass(frozen=True)
class _Attempt:
    """How to run the interior-point method once.

    load: share of each AP's budget at the start. safety: solver tolerance over the gap asked for (residuals add up, and the
    certificate must still fit). to_boundary: as in `interior.solve`. max_iterations: cap on Newton steps.
    """

    load: float
    safety: float
    to_boundary: float
    max_iterations: int


_ATTEMPTS = (_Attempt(0.5, 0.5, 0.95, 40), _Attempt(0.1, 0.2, 0.8, 60), _Attempt(0.5, 0.1, 0.6, 120))
"""Fast first; what misses its gap is tried again with more care. About 1 % of drops need the second, 0.1 % the third."""


_GIVEN_SHARE = 0.9
"""Share of the gap that the smallest SINR gives away for the largest mean log rate, or for the most power."""
_FAIR_LOSS = 0.2
"""Share of the gap by which lexicographic max-min, which solves the first stage again, may fall short of it."""
_REUSE_GAP = 0.03
"""With shared pilots the bound is that of a relaxation; only drops above this gap are tried again."""


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
        found = _first_stage(problem, stage_gap, start)
        lost = found.infeasible.nonzero()[:, 0]
        if len(lost):
            problem, proven, best_sir = self._reachable(problem, lost, best_sir)
            infeasible = infeasible | proven
            found = _insert(found, _first_stage(problem.select(lost), stage_gap), lost)
        found = _refer(problem, found, stage_gap)
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


@dataclass(frozen=True)
class _Found:
    """First-stage powers in W, their bound, and whether SIR0 is proven to be out of reach."""

    power: Float[Tensor, "drop link"]
    upper_bound: Float[Tensor, " drop"]
    infeasible: Bool[Tensor, " drop"]


def _insert(old: _Found, new: _Found, index: Tensor) -> _Found:
    return _Found(
        old.power.index_copy(0, index, new.power),
        old.upper_bound.index_copy(0, index, new.upper_bound),
        old.infeasible.index_copy(0, index, new.infeasible),
    )


def _first_stage(problem: MaxMinSinrProblem, gap: float, start: Tensor | None = None) -> _Found:
    """Largest minimum SINR: feasible powers and their certificate, with further attempts for the drops that miss the gap.

    Powers `start` (W), if any, take part: as the first attempt's start, and as an answer. So do the powers that the requirement
    compares with, which meet it where its factors are at most one, as an answer.
    """
    found = _attempt(problem, gap, _ATTEMPTS[0], start)
    for known in (start, problem.reference):
        if known is not None:
            unknown = torch.full_like(found.upper_bound, torch.inf)
            found = _better(problem, found, _Found(known, unknown, torch.zeros_like(found.infeasible)))
    enough = max(gap, _REUSE_GAP) if problem.has_pilot_reuse else gap
    for attempt in _ATTEMPTS[1:]:
        again = (~found.infeasible & ~_fine(problem, found, enough)).nonzero()[:, 0]
        if len(again) == 0:
            break
        part = problem.select(again)
        found = _insert(found, _better(part, _keep(found, again), _attempt(part, gap, attempt)), again)
    return found


def _attempt(problem: MaxMinSinrProblem, gap: float, attempt: _Attempt, known: Tensor | None = None) -> _Found:
    """One run from an even start, or from powers `known` (W)."""
    limit = problem.link_budget
    start = attempt.load * equal_split(problem) / limit
    if known is not None:
        start = push_inside(known / limit, start)
    scale = problem.objective(start * limit).clamp_min(1e-300)
    level = torch.full_like(scale, 0.5 if known is None else WARM_LEVEL)
    program = max_min_program(problem, scale)
    options = attempt.safety * gap, attempt.max_iterations, attempt.to_boundary, known is not None
    found = interior.solve(program, start, level, *options)
    power = _within_budget(problem, found.power * limit)
    bound = _certify(problem, power, found, scale)
    if problem.has_pilot_reuse:
        relaxed = replace(program, leakage=relaxed_leakage(problem, power) * limit.unsqueeze(1), coherent=None)
        bound = torch.minimum(bound, _certify(problem, power, interior.solve(relaxed, start, level, *options), scale))
    return _Found(power, bound, found.infeasible)


def _fine(problem: MaxMinSinrProblem, found: _Found, gap: float) -> Tensor:
    """Drops that meet every constraint and their gap."""
    short = (found.upper_bound - problem.objective(found.power)) <= gap * found.upper_bound
    return short & found.upper_bound.isfinite() & (problem.violations(found.power).worst <= FEASIBILITY_TOLERANCE)


def _better(problem: MaxMinSinrProblem, old: _Found, new: _Found) -> _Found:
    """The better powers of two answers, whose bounds both hold."""

    def worth(power: Tensor) -> Tensor:
        usable = power.isfinite().all(-1) & (problem.violations(power).worst <= FEASIBILITY_TOLERANCE)
        return torch.where(usable, problem.objective(power), -1.0)

    power = torch.where((worth(new.power) > worth(old.power)).unsqueeze(-1), new.power, old.power)
    bound = torch.minimum(old.upper_bound.nan_to_num(torch.inf), new.upper_bound.nan_to_num(torch.inf))
    return _Found(power, bound, old.infeasible | new.infeasible)


def _keep(found: _Found, index: Tensor) -> _Found:
    return _Found(found.power[index], found.upper_bound[index], found.infeasible[index])


def _certify(problem: MaxMinSinrProblem, power: Tensor, found: interior.InteriorPoint, scale: Tensor) -> Tensor:
    """The bound that the dual variables prove where the solver stopped; `power` (W) bounds products of shared pilots."""
    limit = problem.link_budget
    own = found.power * limit
    relaxed = with_tangents(problem, own)
    if problem.has_pilot_reuse:
        relaxed = replace(relaxed, leakage=relaxed_leakage(problem, power), coherent=torch.zeros_like(problem.coherent))
    return upper_bound(
        relaxed, own, found.ue_dual / scale.unsqueeze(-1), found.sensing_dual, found.budget_dual / problem.budget
    )


def _within_budget(problem: MaxMinSinrProblem, power: Tensor) -> Tensor:
    """Powers (W) scaled down, drop by drop, until no AP exceeds its budget; SIR does not depend on scale."""
    power = power.clamp_min(0.0)
    return power / (problem.ap_load(power) / problem.budget).amax(-1, keepdim=True).clamp_min(1.0)


def _refer(problem: MaxMinSinrProblem, found: _Found, gap: float) -> _Found:
    """Drops that no attempt could settle, solved by Clarabel on cones, then by the readable reference; best answers count."""
    enough = 1.0 if problem.has_pilot_reuse else gap
    if problem.position is not None:  # the cones of both know linear constraints only
        return found
    for solve in (_by_clarabel, _by_reference):
        again = (~_fine(problem, found, enough)).nonzero()[:, 0]
        if len(again) == 0:
            break
        part, old = problem.select(again), _keep(found, again)
        power, bound = solve(part.to("cpu"), gap)
        new = _Found(power.to(found.power.device), bound.to(found.power.device), old.infeasible)
        found = _insert(found, _better(part, old, new), again)
    return found


def _by_clarabel(problem: MaxMinSinrProblem, gap: float) -> tuple[Tensor, Tensor]:
    from isac_torch.solvers.tracking.cones import dinkelbach

    eased, inside = _with_interior(problem)
    power, bound = dinkelbach(eased, repair(eased, equal_split(eased), inside), inside, "clarabel", gap)
    return settled(problem, power), bound


def _by_reference(problem: MaxMinSinrProblem, gap: float) -> tuple[Tensor, Tensor]:
    from isac_torch.solvers.tracking.reference import solve_drop

    eased, inside = _with_interior(problem)
    solved = [
        solve_drop(drop, equal_split(drop), inside[index], gap=2.0 * gap, tie="none")
        for index in torch.arange(problem.num_drops).split(1)
        for drop in [eased.select(index)]
    ]
    return settled(problem, torch.cat([best.power for best in solved])), torch.cat([best.upper_bound for best in solved])


def _with_interior(problem: MaxMinSinrProblem) -> tuple[MaxMinSinrProblem, Tensor]:
    """The drops with an SIR0 that leaves room where it is the largest that can be reached, and powers (W) that meet it."""
    limit = largest_sir(problem)
    return best_effort(problem, limit), limit.power
