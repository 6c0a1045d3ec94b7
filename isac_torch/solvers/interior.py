"""A batched primal-dual interior-point method for problems of the max-min SINR family.

It solves the `LevelProgram`: maximise t - cost^T x over rows u >= (w t + f) v. The method is Newton's on the perturbed
optimality conditions, with Mehrotra's predictor and corrector. The product t * v(x) is linearised at the current point, which
is a Dinkelbach step folded into each Newton step: so every linear system is that of a convex problem. With shared pilots v has
a concave part; its tangent at the current point takes its place in each Newton step (the majoriser of a sequential convex
method, likewise folded in), so the end is a point where the optimality conditions hold, not always the global optimum.

Structure: the Hessian has one block per UE, a diagonal minus a rank-one term, and is diagonal on sensing links. Eliminating
the powers leaves a positive definite system with one row per UE, sensing row and AP (32 in place of 80 links at 16x16x4).
A drop that has converged leaves the batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from isac_torch.solvers.level_program import LevelProgram
from isac_torch.tensors import map_tensors, tensor_fields

BatchT = TypeVar("BatchT", bound=Any)

_CENTRALITY = 1e-3
"""Smallest complementarity product relative to the mean one."""
FIXED_ROW_TOLERANCE = 5e-7
"""Largest relative shortfall of a row with a fixed level at which a point counts as converged."""


@dataclass(frozen=True)
class InteriorPoint:
    """Where the method stopped.

    Attributes:
        power: x, relative to the AP's budget.
        level: t.
        ue_price: multiplier of u_k >= (w_k t + f_k) v_k.
        row_price: multiplier of C x >= 0.
        ap_price: multiplier of A x <= 1.
        bound_price: multiplier of x >= 0.
        slack: of the UEs, the sensing rows and the APs.
        converged: whether all residuals fell below the tolerance.
        infeasible: whether row_price proves that no powers but zero meet the rows of fixed level (a Farkas certificate).
        iterations: Newton steps taken.
    """

    power: Float[Tensor, "drop link"]
    level: Float[Tensor, " drop"]
    ue_price: Float[Tensor, "drop ue"]
    row_price: Float[Tensor, "drop row"]
    ap_price: Float[Tensor, "drop ap"]
    bound_price: Float[Tensor, "drop link"]
    slack: Float[Tensor, "drop constraint"]
    converged: Bool[Tensor, " drop"]
    infeasible: Bool[Tensor, " drop"]
    iterations: Int[Tensor, " drop"]


@dataclass(frozen=True)
class _Point:
    """Iterate: powers, level, slacks and prices of all inequality rows (UEs, sensing rows, APs), prices of x >= 0."""

    power: Tensor
    level: Tensor
    slack: Tensor
    price: Tensor
    bound_price: Tensor


@dataclass(frozen=True)
class _Linearised:
    """Residuals and the eliminated Newton system at a point; see `_linearise`."""

    overprice: Tensor
    relative_overprice: Tensor
    value: Tensor
    goal: Tensor
    jacobian: Tensor
    raise_by: Tensor
    dual_residual: Tensor
    level_residual: Tensor
    row_residual: Tensor
    inverse_diagonal: Tensor
    block: Tensor
    block_weight: Tensor
    factor: Tensor
    raised: Tensor
    pivot: Tensor


def solve(
    program: LevelProgram,
    power: Float[Tensor, "drop link"],
    level: Float[Tensor, " drop"],
    tolerance: float = 1e-4,
    max_iterations: int = 60,
    to_boundary: float = 0.95,
) -> InteriorPoint:
    """Solve a batch from a start.

    Args:
        program: the problems.
        power: x > 0 with every AP's load below 1; the other rows need not be met.
        level: t of the start, best at or below the smallest level that `power` reaches.
        tolerance: bound on complementarity, on the rows' and on the dual residuals, each relative to the objective.
        max_iterations: cap on Newton steps.
        to_boundary: share of the way to the nearest bound that a step may go; smaller is slower and steadier.
    """
    scale = program.echo.amax(-1, keepdim=True).clamp_min(1e-300)
    program = replace(program, echo=program.echo / scale, cross_echo=program.cross_echo / scale)
    point = _start(program, power, level)
    drops = len(power)
    alive = torch.arange(drops, device=power.device)
    last = point
    converged = torch.zeros(drops, dtype=torch.bool, device=power.device)
    infeasible = torch.zeros_like(converged)
    iterations = torch.full((drops,), max_iterations, device=power.device)
    for step in range(max_iterations + 1):
        system = _linearise(program, point)
        done = _converged(program, point, system, tolerance)
        broken = ~point.power.isfinite().all(-1)
        lost = _proven_infeasible(program, point)
        leave = done | broken | lost
        if bool(leave.any()) or step == max_iterations:
            last = _Point(*(old.index_copy(0, alive, new) for old, new in zip(_fields(last), _fields(point), strict=True)))
            converged[alive] = done
            infeasible[alive] = lost
            iterations[alive[leave]] = step
            keep = (~leave).nonzero()[:, 0]
            if len(keep) == 0 or step == max_iterations:
                break
            alive = alive[keep]
            program, point, system = _keep(program, keep), _keep(point, keep), _keep(system, keep)
        point = _advance(point, system, to_boundary)
    ues, ratios = program.amplitude.shape[1], program.num_ratios
    return InteriorPoint(
        power=last.power,
        level=last.level,
        ue_price=last.price[:, :ues],
        row_price=last.price[:, ues:ratios] / scale[..., 0],
        ap_price=last.price[:, ratios:],
        bound_price=last.bound_price,
        slack=torch.cat([last.slack[:, :ues], last.slack[:, ues:ratios] * scale[..., 0], last.slack[:, ratios:]], 1),
        converged=converged,
        infeasible=infeasible,
        iterations=iterations,
    )


def solve_carefully(
    program: LevelProgram,
    power: Float[Tensor, "drop link"],
    level: Float[Tensor, " drop"],
    tolerance: float,
    max_iterations: int = 80,
) -> InteriorPoint:
    """`solve`, and again with shorter steps for the drops that neither converged nor proved infeasible."""
    found = solve(program, power, level, tolerance, max_iterations)
    for to_boundary in (0.8, 0.6):
        again = (~found.converged & ~found.infeasible).nonzero()[:, 0]
        if len(again) == 0:
            break
        new = solve(_keep(program, again), power[again], level[again], tolerance, 2 * max_iterations, to_boundary)
        old, fresh = tensor_fields(found), tensor_fields(new)
        found = replace(found, **{name: old[name].index_copy(0, again, fresh[name]) for name in old})
    return found


def correction(program: LevelProgram, found: InteriorPoint) -> Float[Tensor, "drop link"]:
    """Newton correction of the powers with complementarity held: zero at a solution, but with its gradient.

    Added to the powers of a converged point it makes them differentiable in the program's coefficients (implicit
    differentiation of the perturbed optimality conditions): all that the Newton system is made of is constant to first order
    there except the residuals. Exact where the program has no rising level and no shared pilots.
    """
    price = torch.cat([found.ue_price, found.row_price, found.ap_price], 1)
    point = _Point(found.power, found.level, found.slack, price, found.bound_price)
    return _direction(point, _linearise(program, point), torch.zeros_like(price), torch.zeros_like(found.power)).power


def _keep(batch: BatchT, index: Tensor) -> BatchT:
    return map_tensors(batch, lambda tensor: tensor[index])


def _fields(point: _Point) -> tuple[Tensor, ...]:
    return point.power, point.level, point.slack, point.price, point.bound_price


def _start(program: LevelProgram, power: Tensor, level: Tensor) -> _Point:
    """Slacks from the powers (kept off zero) and prices on the central path of their mean complementarity."""
    wanted, unwanted = program.wanted(power), program.unwanted(power)
    goal = program.goal(level) * unwanted
    slack = torch.maximum(wanted - goal, 0.1 * torch.maximum(wanted, goal))
    load = power.new_zeros(len(power), program.num_aps).scatter_add(1, program.link_ap, power)
    slack = torch.cat([slack, (1.0 - load).clamp_min(0.05)], 1)
    rises = (program.weight > 0).any(-1)
    pull = (program.weight * unwanted / slack[:, : program.num_ratios]).sum(-1)
    count = slack.shape[1] + power.shape[1]
    centre = torch.where(rises, 1.0 / pull, (program.cost * power).sum(-1) / count).unsqueeze(-1)
    return _Point(power, level, slack, centre / slack, centre / power)


def _linearise(program: LevelProgram, point: _Point) -> _Linearised:
    """Residuals of the optimality conditions and the Newton system after elimination of slacks, bound prices and powers.

    With y the prices, J the Jacobian of the rows and W = -sum y_k d2u_k + diag(z/x) (block diagonal), the system left is
    (J W^-1 J^T + diag(slack/y)) dy - (w v) dt = right side,  (w v)^T dy = -level residual.
    Block k of W is diag(d) - h q q^T, q = (du_k/dx)/u_k: its inverse is diag(1/d) + (q/d)(q/d)^T h / (1 - h q^T(q/d)), whose
    denominator is formed as sum_e theta_e z_e x_e / (h theta_e + z_e x_e), theta = q x, which cannot cancel.
    """
    x, y = point.power, point.price
    drops, ues, serving = program.amplitude.shape
    comm, ratios = ues * serving, program.num_ratios
    signal, slope = program.signal(x)
    unwanted = program.unwanted(x)
    leakage = program.tangent_leakage(x)
    goal = program.goal(point.level)
    jacobian = x.new_zeros(drops, ratios + program.num_aps, x.shape[1])
    jacobian[:, :ues] = -goal[:, :ues].unsqueeze(-1) * leakage
    jacobian[:, :ues, :comm].view(drops, ues, ues, serving).diagonal(dim1=1, dim2=2).add_(slope.transpose(1, 2))
    jacobian[:, ues:ratios] = program.echo - goal[:, ues:].unsqueeze(-1) * program.cross_echo
    jacobian[:, ratios:].scatter_(1, program.link_ap.unsqueeze(1), -1.0)

    linear = torch.bmm(jacobian[:, ues:], x.unsqueeze(-1))[..., 0]
    linear[:, ratios - ues :] += 1.0
    value = torch.cat([signal - goal[:, :ues] * unwanted[:, :ues], linear], 1)
    raise_by = torch.zeros_like(y)
    raise_by[:, :ratios] = program.weight * unwanted
    rises = (program.weight > 0).any(-1).to(x.dtype)
    dual_residual = program.cost - torch.bmm(y.unsqueeze(1), jacobian)[:, 0] - point.bound_price
    level_residual = (raise_by * y).sum(-1) - rises

    own = x[:, :comm].reshape(drops, ues, serving)
    theta = slope * own / signal.unsqueeze(-1)
    half = 0.5 * y[:, :ues] * signal
    curvature = half.unsqueeze(-1) * theta
    product = (point.bound_price * x)[:, :comm].reshape(drops, ues, serving)
    diagonal = point.bound_price / x
    diagonal[:, :comm] += (curvature / own.square()).flatten(1)
    inverse = 1.0 / diagonal
    block = (theta / own).flatten(1) * inverse[:, :comm]
    block_weight = half / (theta * product / (curvature + product)).sum(-1)

    along = (jacobian[:, :, :comm] * block.unsqueeze(1)).view(drops, jacobian.shape[1], ues, serving).sum(-1)
    matrix = torch.bmm(jacobian * inverse.unsqueeze(1), jacobian.transpose(1, 2))
    matrix = torch.baddbmm(matrix, along * block_weight.unsqueeze(1), along.transpose(1, 2))
    matrix.diagonal(dim1=1, dim2=2).add_(point.slack / y)
    factor, _ = torch.linalg.cholesky_ex(matrix)
    raised = torch.cholesky_solve(raise_by.unsqueeze(-1), factor)[..., 0]
    link_cost = dual_residual + point.bound_price
    link_cost[:, :comm] += (y[:, :ues].unsqueeze(-1) * slope).flatten(1)
    short = _overprice(program, link_cost, y[:, :ues])
    moved = y[:, :ratios] * program.weight * goal
    moving = torch.einsum("dk,dke->de", moved[:, :ues], leakage)
    moving = moving + torch.einsum("dl,dle->de", moved[:, ues:], program.cross_echo)
    worst = short.new_zeros(drops, program.num_aps).scatter_reduce(1, program.link_ap, short, "amax")
    return _Linearised(
        overprice=worst,
        relative_overprice=(short / moving.clamp_min(1e-300)).amax(-1),
        value=value,
        goal=goal * unwanted,
        jacobian=jacobian,
        raise_by=raise_by,
        dual_residual=dual_residual,
        level_residual=level_residual,
        row_residual=value - point.slack,
        inverse_diagonal=inverse,
        block=block.view(drops, ues, serving),
        block_weight=block_weight,
        factor=factor,
        raised=raised,
        pivot=torch.where(rises > 0, (raise_by * raised).sum(-1), torch.inf),
    )


def _converged(program: LevelProgram, point: _Point, system: _Linearised, tolerance: float) -> Tensor:
    """Whether complementarity, priced row residuals and dual residuals are all small against the objective."""
    products = (point.price * point.slack).sum(-1) + (point.bound_price * point.power).sum(-1)
    rows = (point.price * system.row_residual.abs()).sum(-1)
    # what the prices lack lifts the bound by its share of the noise's and the cost's part of them, which is `fixed`
    fixed = point.price[:, program.num_ratios :].sum(-1) + (program.cost * point.power).sum(-1)
    limit = tolerance * fixed
    # ... unless raising t pays for it at every link
    proven = (system.overprice.sum(-1) <= limit) | (system.relative_overprice <= tolerance)
    proven &= system.level_residual.abs() <= tolerance
    short = -system.value[:, : program.num_ratios] / system.goal.clamp_min(1e-300)
    met = (short <= torch.where(program.weight > 0, tolerance, min(tolerance, FIXED_ROW_TOLERANCE))).all(-1)
    return (products <= limit) & (rows <= limit) & proven & met


def _proven_infeasible(program: LevelProgram, point: _Point) -> Tensor:
    """Whether the row prices make every link lose: sum_l y_l (S_le - f_l I_le) < 0 for all e rules out all powers but zero."""
    ues, ratios = program.amplitude.shape[1], program.num_ratios
    if ues == ratios:
        return torch.zeros_like(point.level, dtype=torch.bool)
    price = point.price[:, ues:ratios]
    fixed = (program.weight[:, ues:] == 0).all(-1)
    price = price / price.amax(-1, keepdim=True).clamp_min(1e-300)
    gain = torch.einsum("dl,dle->de", price, program.echo)
    loss = torch.einsum("dl,dle->de", price * program.floor[:, ues:], program.cross_echo)
    return fixed & (gain < loss * (1.0 - 1e-9)).all(-1)


def _overprice(program: LevelProgram, link_cost: Tensor, ue_price: Tensor) -> Tensor:
    """How far each link's cost c_e falls short of what proves a bound.

    A link costs c_e = cost_e + pi_m + sum_k y_k goal_k N_ke - sum_l y_l (S_le - goal_l I_le). A sensing link must not pay:
    c_e >= 0. A UE must not either: y_k sum_e a_e^2 / c_e <= 1, or every c_e of it is short by the excess factor.
    """
    drops, ues, serving = program.amplitude.shape
    comm = ues * serving
    own = link_cost[:, :comm].reshape(drops, ues, serving)
    value = program.amplitude.square() / own.clamp_min(1e-300)
    short = (ue_price * value.sum(-1) - 1.0).clamp_min(0.0).unsqueeze(-1) * own.clamp_min(1e-300)
    short = torch.where(own > 0, short, torch.inf)
    return torch.cat([short.flatten(1), -link_cost[:, comm:].clamp_max(0.0)], 1)


def _direction(point: _Point, system: _Linearised, row_product: Tensor, bound_product: Tensor) -> _Point:
    """Newton step that drives slack * price to `row_product` and power * bound price to `bound_product`, to first order."""
    gradient = bound_product / point.power - system.dual_residual
    pulled = _inverse_hessian(system, gradient)
    right = row_product / point.price - system.row_residual - torch.bmm(system.jacobian, pulled.unsqueeze(-1))[..., 0]
    free = torch.cholesky_solve(right.unsqueeze(-1), system.factor)[..., 0]
    level = (-system.level_residual - (system.raise_by * free).sum(-1)) / system.pivot
    price = free + system.raised * level.unsqueeze(-1)
    power = pulled + _inverse_hessian(system, torch.bmm(price.unsqueeze(1), system.jacobian)[:, 0])
    bound_price = (bound_product - point.bound_price * power) / point.power
    slack = (row_product - point.slack * price) / point.price
    return _Point(power, level, slack, price, bound_price)


def _inverse_hessian(system: _Linearised, vector: Tensor) -> Tensor:
    """W^-1 times one vector of the power space a drop."""
    drops, ues, serving = system.block.shape
    result = system.inverse_diagonal * vector
    own = vector[:, : ues * serving].reshape(drops, ues, serving)
    scale = (system.block * own).sum(-1) * system.block_weight
    result[:, : ues * serving] += (system.block * scale.unsqueeze(-1)).flatten(1)
    return result


def _advance(point: _Point, system: _Linearised, to_boundary: float) -> _Point:
    """One predictor-corrector step; powers, slacks and prices stay positive and roughly central."""
    rows, bounds = point.price * point.slack, point.bound_price * point.power
    count = rows.shape[1] + bounds.shape[1]
    mean = (rows.sum(-1) + bounds.sum(-1)) / count
    trial = _direction(point, system, -rows, -bounds)
    length = _longest(point, trial).clamp_max(1.0).unsqueeze(-1)
    ahead_rows = (point.price + length * trial.price) * (point.slack + length * trial.slack)
    ahead_bounds = (point.bound_price + length * trial.bound_price) * (point.power + length * trial.power)
    ahead = (ahead_rows.sum(-1) + ahead_bounds.sum(-1)) / count
    # complementarity must not run ahead of the curved rows' residuals, or the iterates stick to the boundary
    residual = (point.price * system.row_residual.abs()).sum(-1) * 10.0 / count
    target = torch.maximum((ahead / mean).clamp(0.0, 1.0) ** 3 * mean, 0.1 * torch.minimum(residual, mean)).unsqueeze(-1)
    rows, bounds = rows + trial.price * trial.slack, bounds + trial.bound_price * trial.power
    step = _direction(point, system, target - rows, target - bounds)
    length = (to_boundary * _longest(point, step)).clamp_max(1.0).unsqueeze(-1)
    for _ in range(6):
        rows = (point.price + length * step.price) * (point.slack + length * step.slack)
        bounds = (point.bound_price + length * step.bound_price) * (point.power + length * step.power)
        floor = _CENTRALITY * (rows.sum(-1, keepdim=True) + bounds.sum(-1, keepdim=True)) / count
        central = torch.minimum(rows.amin(-1, keepdim=True), bounds.amin(-1, keepdim=True)) >= floor
        if bool(central.all()):
            break
        length = torch.where(central, length, 0.8 * length)
    return _Point(
        power=point.power + length * step.power,
        level=point.level + length[:, 0] * step.level,
        slack=point.slack + length * step.slack,
        price=point.price + length * step.price,
        bound_price=point.bound_price + length * step.bound_price,
    )


def _longest(point: _Point, step: _Point) -> Tensor:
    """Longest step along which every positive quantity stays so."""
    shrink = torch.stack(
        [
            (-step.power / point.power).amax(-1),
            (-step.slack / point.slack).amax(-1),
            (-step.price / point.price).amax(-1),
            (-step.bound_price / point.bound_price).amax(-1),
        ]
    ).amax(0)
    return 1.0 / shrink.clamp_min(1e-12)
