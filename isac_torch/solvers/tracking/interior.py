"""A batched primal-dual interior-point method for problems of the max-min SINR family.

It solves the `EpigraphProgram`: maximise t - cost^T x over constraints u >= (w t + f) v. The method is Newton's on the
perturbed optimality conditions, with Mehrotra's predictor and corrector. The product t * v(x) is linearised at the current
point, which is a Dinkelbach step folded into each Newton step: so every linear system is that of a convex problem. With
shared pilots v has a concave part; its tangent at the current point takes its place in each Newton step (the majoriser of a
sequential convex method, likewise folded in), so the end is a point where the optimality conditions hold, not always the
global optimum.

The linear systems are in `newton`. A drop that has converged leaves the batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from isac_torch import interior_point
from isac_torch.interior_point import Iterate, Rule
from isac_torch.solvers.tracking.elimination import Point
from isac_torch.solvers.tracking.epigraph_program import EpigraphProgram
from isac_torch.solvers.tracking.newton import Linearised, direction, linearise
from isac_torch.solvers.tracking.warm_start import warm_point
from isac_torch.tensors import map_tensors, tensor_fields

BatchT = TypeVar("BatchT", bound=Any)

_FIRST_GAP = 0.1
"""Sum of complementarity products at the start of a program with utilities, relative to what they can change by."""
FIXED_ROW_TOLERANCE = 5e-7
"""Largest relative shortfall of a constraint without t at which a point counts as converged."""


@dataclass(frozen=True)
class InteriorPoint:
    """Where the method stopped.

    Attributes:
        power: x, relative to the AP's budget. epigraph: t. ue_dual: multiplier of u_k >= (w_k t + f_k) v_k. sensing_dual:
        multiplier of C x >= 0. budget_dual: multiplier of A x <= 1. bound_dual: multiplier of x >= 0. slack: of the UEs, the
        sensing constraints and the APs. converged: whether all residuals fell below the tolerance. infeasible: whether
        sensing_dual proves that no powers but zero meet the constraints without t (a Farkas certificate); where
            constraints have noise, that no powers do.
        iterations: Newton steps taken.
    """

    power: Float[Tensor, "drop link"]
    epigraph: Float[Tensor, " drop"]
    ue_dual: Float[Tensor, "drop ue"]
    sensing_dual: Float[Tensor, "drop sensing_constraint"]
    budget_dual: Float[Tensor, "drop ap"]
    bound_dual: Float[Tensor, "drop link"]
    slack: Float[Tensor, "drop constraint"]
    converged: Bool[Tensor, " drop"]
    infeasible: Bool[Tensor, " drop"]
    iterations: Int[Tensor, " drop"]


def solve(
    program: EpigraphProgram,
    power: Float[Tensor, "drop link"],
    epigraph: Float[Tensor, " drop"],
    tolerance: float = 1e-4,
    max_iterations: int = 60,
    to_boundary: float = 0.95,
    warm: bool = False,
) -> InteriorPoint:
    """Solve a batch from a start.

    Args:
        program: the problems.
        power: x > 0 with every AP's load below 1; the other constraints need not be met.
        epigraph: t of the start, best at or below what `power` reaches.
        tolerance: bound on complementarity, on the constraints' and on the dual residuals, each relative to the objective.
        max_iterations: cap on Newton steps.
        to_boundary: share of the way to the nearest bound that a step may go; smaller is slower and steadier.
        warm: the powers are good and pushed inside their bounds (`warm_start`): find dual variables to match.
    """
    scale = program.echo.amax(-1, keepdim=True).clamp_min(1e-300)
    units = torch.cat([scale[..., 0], program.weight.new_ones(len(power), program.num_ratios - _linear(program))], 1)
    program = replace(
        program,
        echo=program.echo / scale,
        cross_echo=program.cross_echo / scale,
        constraint_noise=program.constraint_noise / scale[..., 0],
        offset=program.offset / scale[..., 0],
    )
    point = warm_point(program, power, epigraph) if warm else _start(program, power, epigraph)
    drops = len(power)
    converged = torch.zeros(drops, dtype=torch.bool, device=power.device)
    infeasible = torch.zeros_like(converged)
    iterations = torch.full((drops,), max_iterations, device=power.device)

    def leaves(alive: Tensor, step: int, _program: _Engine, _point: Iterate, newton: _Newton) -> Tensor:
        here = newton.point
        done, lost = _converged(newton.tangent, here, newton.system, tolerance), _proven_infeasible(newton.tangent, here)
        leave = done | ~here.power.isfinite().all(-1) | lost
        converged[alive], infeasible[alive] = done, lost
        iterations[alive[leave]] = step
        return leave

    rule = Rule(to_boundary) if program.fairness is None else Rule(to_boundary, most=1.0)
    last = _point(program, interior_point.solve(_Engine(program), _iterate(point), max_iterations, leaves, rule))
    ues, ratios = program.amplitude.shape[1], program.num_ratios
    return InteriorPoint(
        power=last.power,
        epigraph=last.epigraph,
        ue_dual=last.dual[:, :ues],
        sensing_dual=last.dual[:, ues:ratios] / units,
        budget_dual=last.dual[:, ratios:],
        bound_dual=last.bound_dual,
        slack=torch.cat([last.slack[:, :ues], last.slack[:, ues:ratios] * units, last.slack[:, ratios:]], 1),
        converged=converged,
        infeasible=infeasible,
        iterations=iterations,
    )


def solve_carefully(
    program: EpigraphProgram,
    power: Float[Tensor, "drop link"],
    epigraph: Float[Tensor, " drop"],
    tolerance: float,
    max_iterations: int = 80,
) -> InteriorPoint:
    """`solve`, and again with shorter steps for the drops that neither converged nor proved infeasible."""
    found = solve(program, power, epigraph, tolerance, max_iterations)
    for to_boundary in (0.8, 0.6):
        again = (~found.converged & ~found.infeasible).nonzero()[:, 0]
        if len(again) == 0:
            break
        new = solve(_keep(program, again), power[again], epigraph[again], tolerance, 2 * max_iterations, to_boundary)
        old, fresh = tensor_fields(found), tensor_fields(new)
        found = replace(found, **{name: old[name].index_copy(0, again, fresh[name]) for name in old})
    return found


def correction(program: EpigraphProgram, found: InteriorPoint) -> Float[Tensor, "drop link"]:
    """Newton correction of the powers with complementarity held: zero at a solution, but with its gradient.

    Added to the powers of a converged point it makes them differentiable in the program's coefficients (implicit
    differentiation of the perturbed optimality conditions): all that the Newton system is made of is constant to first order
    there except the residuals. Exact where the program has no constraint with t and no shared pilots.
    """
    dual = torch.cat([found.ue_dual, found.sensing_dual, found.budget_dual], 1)
    point = Point(found.power, found.epigraph, found.slack, dual, found.bound_dual)
    curves = program.curves(point.power)
    system = linearise(program.at(point.power, curves), point, curves)
    return direction(point, system, torch.zeros_like(dual), torch.zeros_like(found.power))[0]


def _keep(batch: BatchT, index: Tensor) -> BatchT:
    return map_tensors(batch, lambda tensor: tensor[index])


@dataclass(frozen=True)
class _Engine:
    """Programs as the shared method wants them."""

    program: EpigraphProgram

    def select(self, index: Tensor) -> _Engine:
        return _Engine(_keep(self.program, index))

    def newton(self, iterate: Iterate) -> _Newton:
        point = _point(self.program, iterate)
        curves = self.program.curves(point.power)
        tangent = self.program.at(point.power, curves)
        return _Newton(tangent, point, linearise(tangent, point, curves), iterate.lead * iterate.partner)


@dataclass(frozen=True)
class _Newton:
    """Newton's equations of a batch at a point."""

    tangent: EpigraphProgram
    point: Point
    system: Linearised
    product: Tensor

    @property
    def residual(self) -> Tensor:
        """Shortfall of the constraints, weighted with the dual variables.

        Where utilities are the objective: what its slope leaves, if that is more.
        """
        rows = (self.point.dual * self.system.row_residual.abs()).sum(-1)
        slope = (self.point.power * self.system.dual_residual.abs()).sum(-1)
        return torch.where(self.system.stake > 0.0, torch.maximum(rows, slope), rows)

    def select(self, index: Tensor) -> _Newton:
        return _keep(self, index)

    def direction(self, wanted: Tensor | None) -> tuple[Tensor, Tensor]:
        change = -self.product if wanted is None else (wanted - 1.0) * self.product
        rows = self.point.dual.shape[1]
        power, dual, epigraph = direction(self.point, self.system, change[:, :rows], change[:, rows:])
        return torch.cat([dual / self.point.dual, power / self.point.power], 1), epigraph


def _iterate(point: Point) -> Iterate:
    return Iterate(torch.cat([point.dual, point.power], 1), torch.cat([point.slack, point.bound_dual], 1), point.epigraph)


def _point(program: EpigraphProgram, iterate: Iterate) -> Point:
    rows = program.num_ratios + program.num_aps
    return Point(
        power=iterate.lead[:, rows:],
        epigraph=iterate.epigraph,
        slack=iterate.partner[:, :rows],
        dual=iterate.lead[:, :rows],
        bound_dual=iterate.partner[:, rows:],
    )


def _linear(program: EpigraphProgram) -> int:
    """UEs and linear sensing constraints."""
    return program.amplitude.shape[1] + program.echo.shape[1]


def _start(program: EpigraphProgram, power: Tensor, epigraph: Tensor) -> Point:
    """Slacks from the powers (kept off zero) and dual variables on the central path of their mean complementarity."""
    curves = program.curves(power)
    program = program.at(power, curves)
    wanted, unwanted = program.wanted(power), program.unwanted(power)
    goal = program.goal(epigraph) * unwanted
    slack = torch.maximum(wanted - goal, 0.1 * torch.maximum(wanted, goal))
    load = power.new_zeros(len(power), program.num_aps).scatter_add(1, program.link_ap, power)
    slack = torch.cat([slack, (1.0 - load).clamp_min(0.05)], 1)
    rises = (program.weight > 0).any(-1)
    pull = (program.weight * unwanted / slack[:, : program.num_ratios]).sum(-1)
    count = slack.shape[1] + power.shape[1]
    stake = (program.cost.abs() * power).sum(-1)
    if curves is not None and curves.merit is not None:
        stake = _FIRST_GAP * curves.merit.size
    centre = torch.where(rises, 1.0 / pull, stake / count).unsqueeze(-1)
    return Point(power, epigraph, slack, centre / slack, centre / power)


def _converged(program: EpigraphProgram, point: Point, system: Linearised, tolerance: float) -> Tensor:
    """Whether complementarity, dual residuals and the residuals of the constraints are all small against the objective.

    The residuals of the constraints are weighted with the dual variables.
    """
    products = (point.dual * point.slack).sum(-1) + (point.bound_dual * point.power).sum(-1)
    rows = (point.dual * system.row_residual.abs()).sum(-1)
    # what the dual variables lack lifts the bound by its share of the noise's and the cost's part of them, which is `fixed`
    fixed = point.dual[:, program.num_ratios :].sum(-1) + (program.cost.abs() * point.power).sum(-1)
    rises = (program.weight > 0).any(-1).to(fixed.dtype)
    fixed = (fixed - rises * _row_noise(program, point.dual)).clamp_min(0.0)
    limit = tolerance * (fixed + system.stake)
    # ... unless raising t pays for it at every link
    proven = (system.missing_dual.sum(-1) <= limit) | (system.relative_missing_dual <= tolerance)
    proven &= system.epigraph_residual.abs() <= tolerance
    short = -system.value[:, : program.num_ratios] / system.goal.clamp_min(1e-300)
    met = (short <= torch.where(program.weight > 0, tolerance, min(tolerance, FIXED_ROW_TOLERANCE))).all(-1)
    return (products <= limit) & (rows <= limit) & proven & met


def _proven_infeasible(program: EpigraphProgram, point: Point) -> Tensor:
    """Whether sum_l y_l (S_le - f_l I_le) < 0 for all links e, which rules out all powers but zero.

    Constraints with noise are out of reach where the best link of every AP together earns less than sum_l y_l f_l n_l.
    """
    ues, ratios = program.amplitude.shape[1], program.num_ratios
    if ues == ratios:
        return torch.zeros_like(point.epigraph, dtype=torch.bool)
    dual = point.dual[:, ues:ratios]
    fixed = (program.weight[:, ues:] == 0).all(-1)
    dual = dual / dual.amax(-1, keepdim=True).clamp_min(1e-300)
    gain = torch.einsum("dl,dle->de", dual, program.echo)
    loss = torch.einsum("dl,dle->de", dual * program.floor[:, ues:], program.cross_echo)
    top = gain.new_zeros(len(gain), program.num_aps)
    earned = top.scatter_reduce(1, program.link_ap, gain - loss, "amax", include_self=True).sum(-1)
    needed = (dual * (program.floor[:, ues:] * program.constraint_noise - program.offset)).sum(-1)
    return fixed & ((gain < loss * (1.0 - 1e-9)).all(-1) | (earned < needed * (1.0 - 1e-9)))


def _row_noise(program: EpigraphProgram, dual: Tensor) -> Tensor:
    """Noise that the sensing constraints must overcome where t does not matter, at these dual variables of all constraints."""
    ues, ratios = program.amplitude.shape[1], program.num_ratios
    return (dual[:, ues:ratios] * (program.floor[:, ues:] * program.constraint_noise - program.offset)).sum(-1)
