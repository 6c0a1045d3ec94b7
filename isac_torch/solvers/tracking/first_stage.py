"""The largest smallest SINR of a batch of drops with a certificate: the first stage of the engine that makes labels.

Each drop goes through the structured interior-point method of `interior`, whose dual variables give the certificate of
`certificate`. A drop that misses its gap is solved again with more care, then as cones by Clarabel, then by the reference; what
none of them settles keeps the bound it has.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from isac_torch.allocation import FEASIBILITY_TOLERANCE, equal_split
from isac_torch.solvers.tracking import interior
from isac_torch.solvers.tracking.certificate import relaxed_leakage, upper_bound, with_tangents
from isac_torch.solvers.tracking.epigraph_program import max_min_program
from isac_torch.solvers.tracking.feasibility import best_effort, largest_sir, repair
from isac_torch.solvers.tracking.settling import settled
from isac_torch.solvers.tracking.warm_start import WARM_EPIGRAPH, push_inside
from isac_torch.tensors import map_tensors
from isac_torch.tracking.problem import MaxMinSinrProblem


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
_REUSE_GAP = 0.03
"""With shared pilots the bound is that of a relaxation; only drops above this gap are tried again."""


@dataclass(frozen=True)
class Found:
    """First-stage powers in W, their bound, and whether SIR0 is proven to be out of reach."""

    power: Float[Tensor, "drop link"]
    upper_bound: Float[Tensor, " drop"]
    infeasible: Bool[Tensor, " drop"]

    def select(self, index: Int[Tensor, " some"]) -> Found:
        """The answers of the drops at `index`."""
        return map_tensors(self, lambda value: value[index])

    def put(self, new: Found, index: Int[Tensor, " some"]) -> Found:
        """These answers with those of `new` for the drops at `index`."""
        return Found(
            self.power.index_copy(0, index, new.power),
            self.upper_bound.index_copy(0, index, new.upper_bound),
            self.infeasible.index_copy(0, index, new.infeasible),
        )


def first_stage(problem: MaxMinSinrProblem, gap: float, start: Tensor | None = None) -> Found:
    """Largest minimum SINR: feasible powers and their certificate, with further attempts for the drops that miss the gap.

    Powers `start` (W), if any, take part: as the first attempt's start, and as an answer. So do the powers that the requirement
    compares with, which meet it where its factors are at most one, as an answer.
    """
    found = _attempt(problem, gap, _ATTEMPTS[0], start)
    for known in (start, problem.reference):
        if known is not None:
            unknown = torch.full_like(found.upper_bound, torch.inf)
            found = _better(problem, found, Found(known, unknown, torch.zeros_like(found.infeasible)))
    enough = max(gap, _REUSE_GAP) if problem.has_pilot_reuse else gap
    for attempt in _ATTEMPTS[1:]:
        again = (~found.infeasible & ~_fine(problem, found, enough)).nonzero()[:, 0]
        if len(again) == 0:
            break
        part = problem.select(again)
        found = found.put(_better(part, found.select(again), _attempt(part, gap, attempt)), again)
    return found


def _attempt(problem: MaxMinSinrProblem, gap: float, attempt: _Attempt, known: Tensor | None = None) -> Found:
    """One run from an even start, or from powers `known` (W)."""
    limit = problem.link_budget
    start = attempt.load * equal_split(problem) / limit
    if known is not None:
        start = push_inside(known / limit, start)
    scale = problem.objective(start * limit).clamp_min(1e-300)
    epigraph = torch.full_like(scale, 0.5 if known is None else WARM_EPIGRAPH)
    program = max_min_program(problem, scale)
    options = attempt.safety * gap, attempt.max_iterations, attempt.to_boundary, known is not None
    found = interior.solve(program, start, epigraph, *options)
    power = _within_budget(problem, found.power * limit)
    bound = _certify(problem, power, found, scale)
    if problem.has_pilot_reuse:
        relaxed = replace(program, leakage=relaxed_leakage(problem, power) * limit.unsqueeze(1), coherent=None)
        bound = torch.minimum(bound, _certify(problem, power, interior.solve(relaxed, start, epigraph, *options), scale))
    return Found(power, bound, found.infeasible)


def _fine(problem: MaxMinSinrProblem, found: Found, gap: float) -> Tensor:
    """Drops that meet every constraint and their gap."""
    short = (found.upper_bound - problem.objective(found.power)) <= gap * found.upper_bound
    return short & found.upper_bound.isfinite() & (problem.violations(found.power).worst <= FEASIBILITY_TOLERANCE)


def _better(problem: MaxMinSinrProblem, old: Found, new: Found) -> Found:
    """The better powers of two answers, whose bounds both hold."""

    def worth(power: Tensor) -> Tensor:
        usable = power.isfinite().all(-1) & (problem.violations(power).worst <= FEASIBILITY_TOLERANCE)
        return torch.where(usable, problem.objective(power), -1.0)

    power = torch.where((worth(new.power) > worth(old.power)).unsqueeze(-1), new.power, old.power)
    bound = torch.minimum(old.upper_bound.nan_to_num(torch.inf), new.upper_bound.nan_to_num(torch.inf))
    return Found(power, bound, old.infeasible | new.infeasible)


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


def refer(problem: MaxMinSinrProblem, found: Found, gap: float) -> Found:
    """Drops that no attempt could settle, solved by Clarabel on cones, then by the readable reference; best answers count."""
    enough = 1.0 if problem.has_pilot_reuse else gap
    if problem.position is not None:  # the cones of both know linear constraints only
        return found
    for solve in (_by_clarabel, _by_reference):
        again = (~_fine(problem, found, enough)).nonzero()[:, 0]
        if len(again) == 0:
            break
        part, old = problem.select(again), found.select(again)
        power, bound = solve(part.to("cpu"), gap)
        new = Found(power.to(found.power.device), bound.to(found.power.device), old.infeasible)
        found = found.put(_better(part, old, new), again)
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
