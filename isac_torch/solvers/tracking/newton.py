"""One Newton step of the interior-point method: residuals, the eliminated linear system, and its solution.

The Hessian has one block per UE, a diagonal minus a rank-one term, and is diagonal on sensing links. Eliminating slacks, bound
prices and powers leaves a positive definite system with one row per UE, sensing row and AP: 32 in place of 80 links at 16x16x4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isac_torch.solvers.tracking.level_program import LevelProgram


@dataclass(frozen=True)
class Point:
    """Iterate: powers, level, slacks and prices of all inequality rows (UEs, sensing rows, APs), prices of x >= 0."""

    power: Tensor
    level: Tensor
    slack: Tensor
    price: Tensor
    bound_price: Tensor


@dataclass(frozen=True)
class Linearised:
    """Residuals at a point and the eliminated Newton system there; see `linearise`.

    Attributes:
        value: of every row, w.r.t. 0: u - (w t + f) v, then 1 - load.
        goal: (w t + f) v of UEs and sensing rows.
        overprice: how much each AP's price must rise to prove a bound.
        relative_overprice: by which share t must rise instead.
        dual_residual: of the powers' stationarity.
        level_residual: of the level's stationarity.
        row_residual: value less slack.
        jacobian: of the rows in the powers; raise_by: minus that in the level.
        inverse_diagonal: with block and block_weight, the inverse Hessian.
        factor: Cholesky factor of the eliminated matrix.
        raised: its solution for `raise_by`; pivot: their product.
    """

    value: Tensor
    goal: Tensor
    overprice: Tensor
    relative_overprice: Tensor
    dual_residual: Tensor
    level_residual: Tensor
    row_residual: Tensor
    jacobian: Tensor
    raise_by: Tensor
    inverse_diagonal: Tensor
    block: Tensor
    block_weight: Tensor
    factor: Tensor
    raised: Tensor
    pivot: Tensor


def linearise(program: LevelProgram, point: Point) -> Linearised:
    """Residuals of the optimality conditions and the Newton system after elimination of slacks, bound prices and powers.

    With y the prices, J the Jacobian of the rows and W = -sum y_k d2u_k + diag(z/x) (block diagonal), the system left is
    (J W^-1 J^T + diag(slack/y)) dy - (w v) dt = right side,  (w v)^T dy = -level residual.
    """
    x, y, ratios = point.power, point.price, program.num_ratios
    signal, slope = program.signal(x)
    unwanted, leakage, goal = program.unwanted(x), program.tangent_leakage(x), program.goal(point.level)
    jacobian = row_slopes(program, slope, leakage, goal)
    ues = signal.shape[1]
    linear = torch.bmm(jacobian[:, ues:], x.unsqueeze(-1))[..., 0]
    linear[:, : ratios - ues] -= goal[:, ues:] * program.constraint_noise
    linear[:, ratios - ues :] += 1.0
    value = torch.cat([signal - goal[:, :ues] * unwanted[:, :ues], linear], 1)
    raise_by = torch.zeros_like(y)
    raise_by[:, :ratios] = program.weight * unwanted
    rises = (program.weight > 0).any(-1).to(x.dtype)
    charge = program.cost - torch.bmm(y.unsqueeze(1), jacobian)[:, 0]
    inverse, block, block_weight = _hessian(point, signal, slope)
    factor = _eliminated(jacobian, inverse, block, block_weight, point.slack / y)
    raised = torch.cholesky_solve(raise_by.unsqueeze(-1), factor)[..., 0]
    overprice, relative = _overprice(program, point, charge, slope, leakage, goal)
    return Linearised(
        value=value,
        goal=goal * unwanted,
        overprice=overprice,
        relative_overprice=relative,
        dual_residual=charge - point.bound_price,
        level_residual=(raise_by * y).sum(-1) - rises,
        row_residual=value - point.slack,
        jacobian=jacobian,
        raise_by=raise_by,
        inverse_diagonal=inverse,
        block=block,
        block_weight=block_weight,
        factor=factor,
        raised=raised,
        pivot=torch.where(rises > 0, (raise_by * raised).sum(-1), torch.inf),
    )


def row_slopes(program: LevelProgram, slope: Tensor, leakage: Tensor, goal: Tensor) -> Tensor:
    """Slopes of all rows over the powers: UEs, sensing rows, APs. `slope` is that of u_k, `goal` the level of every ratio."""
    drops, ues, serving = slope.shape
    ratios = program.num_ratios
    jacobian = slope.new_zeros(drops, ratios + program.num_aps, leakage.shape[2])
    jacobian[:, :ues] = -goal[:, :ues].unsqueeze(-1) * leakage
    own = jacobian[:, :ues, : ues * serving].view(drops, ues, ues, serving)
    own.diagonal(dim1=1, dim2=2).add_(slope.transpose(1, 2))
    jacobian[:, ues:ratios] = program.echo - goal[:, ues:].unsqueeze(-1) * program.cross_echo
    jacobian[:, ratios:].scatter_(1, program.link_ap.unsqueeze(1), -1.0)
    return jacobian


def _hessian(point: Point, signal: Tensor, slope: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """W^-1 as its diagonal part, the vectors of its UE blocks' rank-one parts, and their weights.

    Block k of W is diag(d) - h q q^T, q = (du_k/dx)/u_k: its inverse is diag(1/d) + (q/d)(q/d)^T h / (1 - h q^T(q/d)), whose
    denominator is formed as sum_e theta_e z_e x_e / (h theta_e + z_e x_e), theta = q x, which cannot cancel.
    """
    _, ues, serving = slope.shape
    comm = ues * serving
    own = point.power[:, :comm].reshape(slope.shape)
    theta = slope * own / signal.unsqueeze(-1)
    half = 0.5 * point.price[:, :ues] * signal
    curvature = half.unsqueeze(-1) * theta
    product = (point.bound_price * point.power)[:, :comm].reshape(slope.shape)
    diagonal = point.bound_price / point.power
    diagonal[:, :comm] += (curvature / own.square()).flatten(1)
    inverse = 1.0 / diagonal
    block = theta / own * inverse[:, :comm].reshape(slope.shape)
    return inverse, block, half / (theta * product / (curvature + product)).sum(-1)


def _eliminated(jacobian: Tensor, inverse: Tensor, block: Tensor, block_weight: Tensor, looseness: Tensor) -> Tensor:
    """Cholesky factor of J W^-1 J^T + diag(slack / price)."""
    drops, ues, serving = block.shape
    rows, comm = jacobian.shape[1], ues * serving
    along = (jacobian[:, :, :comm] * block.flatten(1).unsqueeze(1)).view(drops, rows, ues, serving).sum(-1)
    matrix = torch.bmm(jacobian * inverse.unsqueeze(1), jacobian.transpose(1, 2))
    matrix = torch.baddbmm(matrix, along * block_weight.unsqueeze(1), along.transpose(1, 2))
    matrix.diagonal(dim1=1, dim2=2).add_(looseness)
    return torch.linalg.cholesky_ex(matrix)[0]


def _overprice(
    program: LevelProgram, point: Point, charge: Tensor, slope: Tensor, leakage: Tensor, goal: Tensor
) -> tuple[Tensor, Tensor]:
    """What the prices lack to prove a bound: the rise of each AP's price, and the share by which t must rise instead.

    A link costs c_e = cost_e + pi_m + sum_k y_k goal_k N_ke - sum_l y_l (S_le - goal_l I_le), which is `charge` less what it
    earns for its own UE. A sensing link must not pay: c_e >= 0. A UE must not either: y_k sum_e a_e^2 / c_e <= 1, or every
    c_e of it is short by the excess factor.
    """
    drops, ues, serving = slope.shape
    comm = ues * serving
    price = point.price[:, :ues].unsqueeze(-1)
    own = charge[:, :comm].reshape(slope.shape) + price * slope
    floor = own.clamp_min(1e-300)
    excess = (price * (program.amplitude.square() / floor).sum(-1, keepdim=True) - 1.0).clamp_min(0.0)
    short = torch.cat([torch.where(own > 0, excess * floor, torch.inf).flatten(1), -charge[:, comm:].clamp_max(0.0)], 1)
    moved = point.price[:, : program.num_ratios] * program.weight * goal
    moving = torch.einsum("dk,dke->de", moved[:, :ues], leakage)
    moving = moving + torch.einsum("dl,dle->de", moved[:, ues:], program.cross_echo)
    worst = short.new_zeros(drops, program.num_aps).scatter_reduce(1, program.link_ap, short, "amax")
    return worst, (short / moving.clamp_min(1e-300)).amax(-1)


def direction(point: Point, system: Linearised, row_product: Tensor, bound_product: Tensor) -> Point:
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
    return Point(power, level, slack, price, bound_price)


def _inverse_hessian(system: Linearised, vector: Tensor) -> Tensor:
    """W^-1 times one vector of the power space a drop."""
    drops, ues, serving = system.block.shape
    result = system.inverse_diagonal * vector
    own = vector[:, : ues * serving].reshape(drops, ues, serving)
    scale = (system.block * own).sum(-1) * system.block_weight
    result[:, : ues * serving] += (system.block * scale.unsqueeze(-1)).flatten(1)
    return result
