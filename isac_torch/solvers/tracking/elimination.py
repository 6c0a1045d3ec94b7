"""Solutions of the interior-point method's linear system, whose Hessian W has one block per UE and is diagonal elsewhere.

    W dx - J^T dy = gradient,   J dx - r dt + diag(slack/dual) dy = right,   r^T dy = need

Block k of W is a diagonal minus a rank-one term. `ByRows` eliminates the powers: a positive definite system with one row per
UE, sensing constraint and AP is left, 32 in place of 80 links at 16x16x4. `ByLinks` eliminates the dual variables instead, for
programs with the curvature of position information, which couples all links of a target.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_RIDGE = 1e-14
"""Added to the diagonal of the links' system, relative: rounding must not make it indefinite."""


@dataclass(frozen=True)
class Point:
    """Iterate: powers, t, slacks and dual variables of all constraints (UEs, sensing, APs), dual variables of x >= 0."""

    power: Tensor
    epigraph: Tensor
    slack: Tensor
    dual: Tensor
    bound_dual: Tensor


@dataclass(frozen=True)
class ByRows:
    """The system of dual variables.

    Attributes:
        jacobian: J.
        raise_by: r, zero where nothing rises with t.
        inverse_diagonal: with block and block_weight, W^-1.
        factor: Cholesky factor of J W^-1 J^T + diag(slack/dual).
        raised: its solution for r; pivot: their product.
    """

    jacobian: Tensor
    raise_by: Tensor
    inverse_diagonal: Tensor
    block: Tensor
    block_weight: Tensor
    factor: Tensor
    raised: Tensor
    pivot: Tensor

    @staticmethod
    def of(point: Point, signal: Tensor, slope: Tensor, jacobian: Tensor, raise_by: Tensor) -> ByRows:
        """Factorised at a point; `signal` is u_k, `slope` its derivative over the serving links' powers."""
        inverse, block, block_weight = _inverse(point, signal, slope)
        factor = _eliminated(jacobian, inverse, block, block_weight, point.slack / point.dual)
        raised = torch.cholesky_solve(raise_by.unsqueeze(-1), factor)[..., 0]
        rises = (raise_by > 0).any(-1)
        pivot = torch.where(rises, (raise_by * raised).sum(-1), torch.inf)
        return ByRows(jacobian, raise_by, inverse, block, block_weight, factor, raised, pivot)

    def solve(self, gradient: Tensor, right: Tensor, need: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """dx, dy and dt."""
        pulled = self._inverse_times(gradient)
        right = right - torch.bmm(self.jacobian, pulled.unsqueeze(-1))[..., 0]
        free = torch.cholesky_solve(right.unsqueeze(-1), self.factor)[..., 0]
        epigraph = (need - (self.raise_by * free).sum(-1)) / self.pivot
        dual = free + self.raised * epigraph.unsqueeze(-1)
        power = pulled + self._inverse_times(torch.bmm(dual.unsqueeze(1), self.jacobian)[:, 0])
        return power, dual, epigraph

    def _inverse_times(self, vector: Tensor) -> Tensor:
        """W^-1 times one vector of the power space per drop."""
        drops, ues, serving = self.block.shape
        result = self.inverse_diagonal * vector
        own = vector[:, : ues * serving].reshape(drops, ues, serving)
        scale = (self.block * own).sum(-1) * self.block_weight
        result[:, : ues * serving] += (self.block * scale.unsqueeze(-1)).flatten(1)
        return result


@dataclass(frozen=True)
class Curvature:
    """Curvature besides the UEs' blocks: squares^T squares + diag(diagonal), and bulge^T bulge less where that is allowed.

    The last is taken off only in drops whose system stays positive definite.
    """

    squares: Tensor
    diagonal: Tensor
    bulge: Tensor | None = None


@dataclass(frozen=True)
class ByLinks:
    """The system of powers and t, with steps relative to the powers, so that nothing is divided by a vanishing one.

    Attributes:
        rows: J times the powers, and -r as a last column.
        stiffness: dual variable over slack of each constraint.
        power: x.
        factor: Cholesky factor of rows^T diag(stiffness) rows and W in relative steps.
    """

    rows: Tensor
    stiffness: Tensor
    power: Tensor
    factor: Tensor

    @staticmethod
    def of(point: Point, signal: Tensor, slope: Tensor, jacobian: Tensor, raise_by: Tensor, more: Curvature) -> ByLinks:
        """Factorised at a point; W is that of `ByRows` and `more`."""
        drops, ues, serving = slope.shape
        x, comm = point.power, ues * serving
        stiffness = point.dual / point.slack
        rows = torch.cat([jacobian * x.unsqueeze(1), -raise_by.unsqueeze(-1)], -1)
        bent = torch.nn.functional.pad(more.squares * x.unsqueeze(1), (0, 1))
        stiff = torch.cat([rows * stiffness.sqrt().unsqueeze(-1), bent], 1)
        matrix = stiff.mT @ stiff
        theta = slope * x[:, :comm].reshape(slope.shape) / signal.unsqueeze(-1)
        half = 0.5 * point.dual[:, :ues] * signal
        block = half[..., None, None] * (torch.diag_embed(theta) - theta.unsqueeze(-1) * theta.unsqueeze(-2))
        own = matrix[:, :comm, :comm].reshape(drops, ues, serving, ues, serving).clone()  # at some sizes it would be a view
        own.diagonal(dim1=1, dim2=3).add_(block.movedim(1, -1))
        matrix[:, :comm, :comm] = own.reshape(drops, comm, comm)
        pivots = matrix.diagonal(dim1=1, dim2=2)
        pivots.mul_(1.0 + _RIDGE)
        pivots[:, :-1] += point.bound_dual * x + more.diagonal * x.square()
        pivots[:, -1] += (~(raise_by > 0).any(-1)).to(x.dtype)  # a t that no constraint knows stays
        factor = torch.linalg.cholesky_ex(matrix)[0]
        if more.bulge is not None:
            bulge = torch.nn.functional.pad(more.bulge * x.unsqueeze(1), (0, 1))
            exact, failed = torch.linalg.cholesky_ex(matrix - bulge.mT @ bulge)
            factor = torch.where((failed == 0)[:, None, None], exact, factor)
        return ByLinks(rows, stiffness, x, factor)

    def solve(self, gradient: Tensor, right: Tensor, need: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """dx, dy and dt."""
        pulled = torch.cat([gradient * self.power, need.unsqueeze(-1)], 1)
        pulled = pulled + torch.bmm((self.stiffness * right).unsqueeze(1), self.rows)[:, 0]
        step = torch.cholesky_solve(pulled.unsqueeze(-1), self.factor)
        dual = self.stiffness * (right - torch.bmm(self.rows, step)[..., 0])
        return self.power * step[:, :-1, 0], dual, step[:, -1, 0]


def _inverse(point: Point, signal: Tensor, slope: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """W^-1 as its diagonal part, the vectors of its UE blocks' rank-one parts, and their weights.

    Block k of W is diag(d) - h q q^T, q = (du_k/dx)/u_k: its inverse is diag(1/d) + (q/d)(q/d)^T h / (1 - h q^T(q/d)), whose
    denominator is formed as sum_e theta_e z_e x_e / (h theta_e + z_e x_e), theta = q x, which cannot cancel.
    """
    _, ues, serving = slope.shape
    comm = ues * serving
    own = point.power[:, :comm].reshape(slope.shape)
    theta = slope * own / signal.unsqueeze(-1)
    half = 0.5 * point.dual[:, :ues] * signal
    curvature = half.unsqueeze(-1) * theta
    product = (point.bound_dual * point.power)[:, :comm].reshape(slope.shape)
    diagonal = point.bound_dual / point.power
    diagonal[:, :comm] += (curvature / own.square()).flatten(1)
    inverse = 1.0 / diagonal
    block = theta / own * inverse[:, :comm].reshape(slope.shape)
    return inverse, block, half / (theta * product / (curvature + product)).sum(-1)


def _eliminated(jacobian: Tensor, inverse: Tensor, block: Tensor, block_weight: Tensor, looseness: Tensor) -> Tensor:
    """Cholesky factor of J W^-1 J^T + diag(slack / dual)."""
    drops, ues, serving = block.shape
    rows, comm = jacobian.shape[1], ues * serving
    along = (jacobian[:, :, :comm] * block.flatten(1).unsqueeze(1)).view(drops, rows, ues, serving).sum(-1)
    matrix = torch.bmm(jacobian * inverse.unsqueeze(1), jacobian.transpose(1, 2))
    matrix = torch.baddbmm(matrix, along * block_weight.unsqueeze(1), along.transpose(1, 2))
    matrix.diagonal(dim1=1, dim2=2).add_(looseness)
    return torch.linalg.cholesky_ex(matrix)[0]
