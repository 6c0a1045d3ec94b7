"""One Newton step of the interior-point method: residuals, the linear system, and its solution by `elimination`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isac_torch.solvers.tracking.elimination import ByLinks, ByRows, Curvature, Point
from isac_torch.solvers.tracking.epigraph_program import Curves, EpigraphProgram


@dataclass(frozen=True)
class Linearised:
    """Residuals at a point and the eliminated Newton system there; see `linearise`.

    Attributes:
        value: of every constraint, w.r.t. 0: u - (w t + f) v, then 1 - load.
        goal: (w t + f) v of UEs and sensing constraints.
        missing_dual: how much each AP's dual variable must rise to prove a bound.
        relative_missing_dual: by which share t must rise instead.
        dual_residual: of the powers' stationarity.
        epigraph_residual: of the stationarity of t.
        row_residual: value less slack.
        jacobian: of the constraints in the powers; raise_by: minus that in t.
        inner: what solves for the step.
        stake: what the utilities can change by, 0 where there are none: gaps are relative to it.
    """

    value: Tensor
    goal: Tensor
    missing_dual: Tensor
    relative_missing_dual: Tensor
    dual_residual: Tensor
    epigraph_residual: Tensor
    row_residual: Tensor
    jacobian: Tensor
    raise_by: Tensor
    inner: ByRows | ByLinks
    stake: Tensor


def linearise(program: EpigraphProgram, point: Point, curves: Curves | None = None) -> Linearised:
    """Residuals of the optimality conditions, and the Newton system after elimination of slacks and dual variables of bounds.

    With y the dual variables, J the constraints' Jacobian and W = -sum y_k d2u_k - sum y_l d2h_l + diag(z/x), what is left is

        W dx - J^T dy = gradient,   J dx - (w v) dt + diag(slack/y) dy = right,   (w v)^T dy = need .

    `program` has tangents at the point in the place of `curves`: see `EpigraphProgram.at`.
    """
    x, y, ratios = point.power, point.dual, program.num_ratios
    signal, slope = program.signal(x)
    unwanted, leakage, goal = program.unwanted(x), program.tangent_leakage(x), program.goal(point.epigraph)
    jacobian = row_slopes(program, slope, leakage, goal)
    ues = signal.shape[1]
    linear = torch.bmm(jacobian[:, ues:], x.unsqueeze(-1))[..., 0]
    linear[:, : ratios - ues] += program.offset - goal[:, ues:] * program.constraint_noise
    linear[:, ratios - ues :] += 1.0
    value = torch.cat([signal - goal[:, :ues] * unwanted[:, :ues], linear], 1)
    raise_by = torch.zeros_like(y)
    raise_by[:, :ratios] = program.weight * unwanted
    rises = (program.weight > 0).any(-1).to(x.dtype)
    charge = program.cost - torch.bmm(y.unsqueeze(1), jacobian)[:, 0]
    inner: ByRows | ByLinks
    stake = torch.zeros_like(point.epigraph)
    if curves is None:
        inner = ByRows.of(point, signal, slope, jacobian, raise_by)
    else:
        squares, diagonal = _curvature(curves, y[:, :ratios], x)
        bulge = None if curves.merit is None else curves.merit.bulge
        inner = ByLinks.of(point, signal, slope, jacobian, raise_by, Curvature(squares, diagonal, bulge))
        stake = stake if curves.merit is None else curves.merit.size
    missing_dual, relative = _missing_dual(program, point, charge, slope, leakage, goal)
    if curves is not None and curves.merit is not None:  # a tangent at the point bounds every concave part, u_k's too
        missing_dual = _worst_of_each_ap(program, -charge.clamp_max(0.0))
    return Linearised(
        value=value,
        goal=goal * unwanted,
        missing_dual=missing_dual,
        relative_missing_dual=relative,
        dual_residual=charge - point.bound_dual,
        epigraph_residual=(raise_by * y).sum(-1) - rises,
        row_residual=value - point.slack,
        jacobian=jacobian,
        raise_by=raise_by,
        inner=inner,
        stake=stake,
    )


def _curvature(curves: Curves, dual: Tensor, power: Tensor) -> tuple[Tensor, Tensor]:
    """squares^T squares + diag(diagonal) of h, weighted with its dual variables, and of the utilities."""
    squares, diagonal = [], torch.zeros_like(power)
    if curves.position is not None:
        last = dual[:, dual.shape[1] - curves.position.value.shape[1] :]
        squares.append((curves.position.curve * last.sqrt()[..., None, None]).flatten(1, 2))
    if curves.merit is not None:
        squares.append(curves.merit.squares)
        diagonal = curves.merit.diagonal
    return torch.cat(squares, 1), diagonal


def row_slopes(program: EpigraphProgram, slope: Tensor, leakage: Tensor, goal: Tensor) -> Tensor:
    """Slopes of all constraints over the powers: UEs, sensing, APs. `slope` is that of u_k, `goal` what ratios must reach."""
    drops, ues, serving = slope.shape
    ratios = program.num_ratios
    jacobian = slope.new_zeros(drops, ratios + program.num_aps, leakage.shape[2])
    jacobian[:, :ues] = -goal[:, :ues].unsqueeze(-1) * leakage
    own = jacobian[:, :ues, : ues * serving].view(drops, ues, ues, serving)
    own.diagonal(dim1=1, dim2=2).add_(slope.transpose(1, 2))
    jacobian[:, ues:ratios] = program.echo - goal[:, ues:].unsqueeze(-1) * program.cross_echo
    jacobian[:, ratios:].scatter_(1, program.link_ap.unsqueeze(1), -1.0)
    return jacobian


def _missing_dual(
    program: EpigraphProgram, point: Point, charge: Tensor, slope: Tensor, leakage: Tensor, goal: Tensor
) -> tuple[Tensor, Tensor]:
    """What the dual variables lack to prove a bound: the rise of each AP's, and the share by which t must rise instead.

    A link costs c_e = cost_e + pi_m + sum_k y_k goal_k N_ke - sum_l y_l (S_le - goal_l I_le), which is `charge` less what it
    earns for its own UE. A sensing link must not pay: c_e >= 0. A UE must not either: y_k sum_e a_e^2 / c_e <= 1, or every
    c_e of it is short by the excess factor.
    """
    _, ues, serving = slope.shape
    comm = ues * serving
    dual = point.dual[:, :ues].unsqueeze(-1)
    own = charge[:, :comm].reshape(slope.shape) + dual * slope
    floor = own.clamp_min(1e-300)
    excess = (dual * (program.amplitude.square() / floor).sum(-1, keepdim=True) - 1.0).clamp_min(0.0)
    short = torch.cat([torch.where(own > 0, excess * floor, torch.inf).flatten(1), -charge[:, comm:].clamp_max(0.0)], 1)
    moved = point.dual[:, : program.num_ratios] * (goal - program.floor)
    moving = torch.einsum("dk,dke->de", moved[:, :ues], leakage)
    moving = moving + torch.einsum("dl,dle->de", moved[:, ues:], program.cross_echo)
    return _worst_of_each_ap(program, short), (short / moving.clamp_min(1e-300)).amax(-1)


def _worst_of_each_ap(program: EpigraphProgram, short: Tensor) -> Tensor:
    return short.new_zeros(len(short), program.num_aps).scatter_reduce(1, program.link_ap, short, "amax")


def direction(point: Point, system: Linearised, row_change: Tensor, bound_change: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Newton step that changes slack * dual by `row_change` and power * dual of its bound by `bound_change`, to first order.

    Changes of the powers, of the dual variables of the constraints and of t; those of their partners follow.
    """
    gradient = bound_change / point.power - system.dual_residual
    right = row_change / point.dual - system.row_residual
    return system.inner.solve(gradient, right, -system.epigraph_residual)
