"""Batched primal-dual interior-point method for programmes whose curvature is block diagonal in the UEs.

    maximise t   subject to   g_i(x, t) >= 0,   x > 0,   g_i concave in the shares x [ue, ap] near the current point

Newton's method on the perturbed optimality conditions with Mehrotra's predictor and corrector, as
`isac_torch.solvers.tracking.interior` does it for the tracking system. Steps are relative to x, so that nothing is divided by a
vanishing share. With prices y, slacks s, A = (curvature + diag(z x)) one block a UE, J = x dg/dx, j = dg/dt,

    (J A^-1 J^T + diag(s / y)) dy + j dt = m / y - g - J A^-1 (J^T y + n),     j^T dy = -(1 + j^T y),
    dx = x A^-1 (J^T (y + dy) + n)

m and n are the products y s and z x to be reached. A drop that is done leaves the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from isac_torch.tensors import map_tensors

BatchT = TypeVar("BatchT", bound=Any)

_TO_BOUNDARY = 0.95
_CENTRALITY = 1e-3
"""Smallest complementarity product relative to the mean one."""
_RIDGE = 1e-13
"""Added to the blocks' diagonals, relative: rounding must not make them indefinite."""


ProgrammeT = TypeVar("ProgrammeT", bound="Programme")


@dataclass(frozen=True)
class Rows:
    """Inequalities at a point.

    Attributes:
        value: g_i, of order one.
        slope: x dg_i/dx.
        raising: dg_i/dt.
        size: magnitude against which a shortfall of the row is judged.
    """

    value: Float[Tensor, "drop constraint"]
    slope: Float[Tensor, "drop row ue ap"]
    raising: Float[Tensor, "drop constraint"]
    size: Float[Tensor, "drop constraint"]


@runtime_checkable
class Programme(Protocol):
    """A batch of programmes."""

    def select(self: ProgrammeT, index: Int[Tensor, " chosen"]) -> ProgrammeT:
        """The programmes at `index`."""
        ...

    def rows(self, share: Float[Tensor, "drop ue ap"], level: Float[Tensor, " drop"]) -> Rows:
        """All inequalities but x > 0."""
        ...

    def curvature(
        self, share: Float[Tensor, "drop ue ap"], price: Float[Tensor, "drop constraint"]
    ) -> Float[Tensor, "drop ue ap ap"]:
        """Minus the priced sum of the rows' second derivatives, times x on either side; positive semidefinite."""
        ...


@dataclass(frozen=True)
class Iterate:
    """Shares, level, slacks and prices of the rows, prices of x > 0 times x."""

    share: Float[Tensor, "drop ue ap"]
    level: Float[Tensor, " drop"]
    slack: Float[Tensor, "drop constraint"]
    price: Float[Tensor, "drop constraint"]
    bound: Float[Tensor, "drop ue ap"]


@dataclass(frozen=True)
class Found:
    """Where the method stopped.

    Attributes:
        iterate: the last one.
        converged: whether complementarity and all residuals fell below the tolerance.
        left: whether the caller's test ended the drop.
    """

    iterate: Iterate
    converged: Bool[Tensor, " drop"]
    left: Bool[Tensor, " drop"]


def solve(
    programme: ProgrammeT,
    share: Float[Tensor, "drop ue ap"],
    level: Float[Tensor, " drop"],
    *,
    tolerance: float = 1e-6,
    max_iterations: int = 50,
    leave: Callable[[ProgrammeT, Iterate], Bool[Tensor, " drop"]] | None = None,
) -> Found:
    """Solve a batch from shares inside the budgets and a level; the other rows need not be met there.

    Args:
        programme: the batch.
        share: x > 0.
        level: t.
        tolerance: on complementarity and residuals, relative to an objective of order one.
        max_iterations: Newton steps.
        leave: which drops need not go on, asked after every step.
    """
    point = _start(programme, share, level)
    alive = torch.arange(len(level), device=level.device)
    last = point
    converged = torch.zeros_like(level, dtype=torch.bool)
    left = torch.zeros_like(converged)
    for step in range(max_iterations + 1):
        rows = programme.rows(point.share, point.level)
        done = _converged(point, rows, tolerance) | ~point.share.isfinite().all(-1).all(-1)
        enough = torch.zeros_like(done) if leave is None or step == 0 else leave(programme, point)
        out = done | enough
        if bool(out.any()) or step == max_iterations:
            last = Iterate(*(old.index_copy(0, alive, new) for old, new in zip(_parts(last), _parts(point), strict=True)))
            converged[alive], left[alive] = done, enough
            keep = (~out).nonzero()[:, 0]
            if len(keep) == 0 or step == max_iterations:
                break
            alive = alive[keep]
            programme, point, rows = programme.select(keep), _select(point, keep), _select(rows, keep)
        point = _advance(programme, point, rows)
    converged &= last.share.isfinite().all(-1).all(-1)
    return Found(last, converged, left)


def _select(batch: BatchT, index: Tensor) -> BatchT:
    return map_tensors(batch, lambda tensor: tensor[index])


def _parts(point: Iterate) -> tuple[Tensor, ...]:
    return point.share, point.level, point.slack, point.price, point.bound


def _start(programme: Programme, share: Tensor, level: Tensor) -> Iterate:
    """Slacks kept off zero, prices on the central path that balances the level."""
    rows = programme.rows(share, level)
    slack = torch.maximum(rows.value, 0.1 * rows.size)
    centre = 1.0 / (-rows.raising / slack).sum(-1, keepdim=True)
    return Iterate(share, level, slack, centre / slack, centre.unsqueeze(-1).expand_as(share).contiguous())


def _converged(point: Iterate, rows: Rows, tolerance: float) -> Tensor:
    """Complementarity, the rows' shortfall, and the conditions on shares and level, all within the tolerance."""
    products = (point.price * point.slack).sum(-1) + point.bound.sum((-1, -2))
    short = ((point.slack - rows.value).abs() / rows.size).amax(-1)
    dual = torch.einsum("dr,drkm->dkm", point.price, rows.slope) + point.bound
    balance = 1.0 + (rows.raising * point.price).sum(-1)
    small = (products <= tolerance) & (dual.abs().sum((-1, -2)) <= tolerance)
    return small & (short <= tolerance) & (balance.abs() <= tolerance)


def _advance(programme: Programme, point: Iterate, rows: Rows) -> Iterate:
    """One predictor-corrector step; shares, slacks and prices stay positive and roughly central."""
    products, bounds = point.price * point.slack, point.bound
    count = products.shape[1] + bounds[0].numel()
    mean = (products.sum(-1) + bounds.sum((-1, -2))) / count
    newton = _Newton(programme, point, rows)
    trial = newton.step(torch.zeros_like(products), torch.zeros_like(bounds))
    length = _longest(point, trial).clamp_max(1.0)
    ahead = (
        ((point.price + length[:, None] * trial.price) * (point.slack + length[:, None] * trial.slack)).sum(-1)
        + ((1.0 + length[:, None, None] * trial.share) * (bounds + length[:, None, None] * trial.bound)).sum((-1, -2))
    ) / count
    target = (ahead / mean).clamp(0.0, 1.0) ** 3 * mean
    target = torch.maximum(target, 0.1 * torch.minimum((point.price * (rows.value - point.slack).abs()).sum(-1) / count, mean))
    step = newton.step(target[:, None] - trial.price * trial.slack, target[:, None, None] - trial.share * trial.bound)
    length = (_TO_BOUNDARY * _longest(point, step)).clamp_max(1.0)
    return _move(point, step, length, count)


def _move(point: Iterate, step: Iterate, length: Tensor, count: int) -> Iterate:
    """The point after the step, cut until no complementarity product falls far behind the others."""
    for last in (False, False, False, True):
        wide, blocks = length[:, None], length[:, None, None]
        slack, price = point.slack + wide * step.slack, point.price + wide * step.price
        grown = 1.0 + blocks * step.share
        # `step.bound` is the change of the price of x > 0 times x: the product follows the share.
        bound = (point.bound + blocks * step.bound) * grown
        products = slack * price
        floor = _CENTRALITY * (products.sum(-1) + bound.sum((-1, -2))) / count
        central = (products.amin(-1) >= floor) & (bound.amin((-1, -2)) >= floor)
        if last or bool(central.all()):
            break
        length = torch.where(central, length, 0.7 * length)
    return Iterate(point.share * grown, point.level + length * step.level, slack, price, bound)


def _longest(point: Iterate, step: Iterate) -> Tensor:
    """Longest step along which every positive quantity stays so."""
    shrink = torch.stack(
        [
            (-step.slack / point.slack).amax(-1),
            (-step.price / point.price).amax(-1),
            (-step.share).amax((-1, -2)),
            (-step.bound / point.bound).amax((-1, -2)),
        ]
    ).amax(0)
    return 1.0 / shrink.clamp_min(1e-12)


class _Newton:
    """The eliminated system of one iterate, factored once for predictor and corrector."""

    def __init__(self, programme: Programme, point: Iterate, rows: Rows) -> None:
        self._point, self._rows = point, rows
        block = programme.curvature(point.share, point.price)
        diagonal = block.diagonal(dim1=-2, dim2=-1)
        diagonal += point.bound + _RIDGE * diagonal.amax(-1, keepdim=True)
        self._block = torch.linalg.cholesky_ex(block)[0]
        slope = rows.slope.transpose(1, 2)  # drop, ue, row, ap
        self._slope = slope
        self._pulled = torch.linalg.solve_triangular(self._block, slope.mT, upper=False)  # drop, ue, ap, row
        drops, ues, aps, count = self._pulled.shape
        flat = self._pulled.reshape(drops, ues * aps, count)
        matrix = flat.mT @ flat
        matrix.diagonal(dim1=-2, dim2=-1).add_(point.slack / point.price)
        self._factor = torch.linalg.cholesky_ex(matrix)[0]
        self._raised = torch.cholesky_solve(rows.raising.unsqueeze(-1), self._factor)[..., 0]
        self._pivot = (rows.raising * self._raised).sum(-1)

    def step(self, product: Tensor, bound_product: Tensor) -> Iterate:
        """Change that brings price * slack to `product` and the products of x > 0 to `bound_product`, to first order.

        `share` is relative to the share, `bound` the change of the price of x > 0, times x.
        """
        point, rows = self._point, self._rows
        pulled = torch.einsum("dkrm,dr->dkm", self._slope, point.price) + bound_product
        half = torch.linalg.solve_triangular(self._block, pulled.unsqueeze(-1), upper=False)
        met = (self._pulled.mT @ half)[..., 0].sum(1)
        right = product / point.price - rows.value - met
        free = torch.cholesky_solve(right.unsqueeze(-1), self._factor)[..., 0]
        need = 1.0 + (rows.raising * point.price).sum(-1)
        level = ((rows.raising * free).sum(-1) + need) / self._pivot
        price = free - self._raised * level.unsqueeze(-1)
        full = half + self._pulled @ price[:, None, :, None]
        share = torch.linalg.solve_triangular(self._block.mT, full, upper=True)[..., 0]
        slack = product / point.price - point.slack - point.slack / point.price * price
        bound = bound_product - point.bound - point.bound * share
        return Iterate(share, level, slack, price, bound)
