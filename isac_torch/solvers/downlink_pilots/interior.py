"""Batched primal-dual interior-point method for programmes whose curvature is block diagonal in the UEs.

    maximise t   subject to   g_i(x, t) >= 0,   x > 0,   g_i concave in the shares x [ue, ap] near the current point

The Newton system of the method that `isac_torch.interior_point` drives. Steps are relative to x, so that nothing is divided by
a vanishing share. With dual variables y, slacks s, A = (curvature + diag(z x)) one block per UE, J = x dg/dx, j = dg/dt,

    (J A^-1 J^T + diag(s / y)) dy + j dt = m / y - g - J A^-1 (J^T y + n),     j^T dy = -(1 + j^T y),
    dx = x A^-1 (J^T (y + dy) + n)

m and n are the products y s and z x to be reached.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from isac_torch import interior_point
from isac_torch.interior_point import Iterate, Rule
from isac_torch.tensors import map_tensors

_RULE = Rule(residual=0.1)
_RIDGE = 1e-13
"""Added to the blocks' diagonals, relative: rounding must not make them indefinite."""


ProgrammeT = TypeVar("ProgrammeT", bound="Programme")
BatchT = TypeVar("BatchT", "Point", "Constraints")


@dataclass(frozen=True)
class Constraints:
    """Inequalities at a point.

    Attributes:
        value: g_i, of order one.
        slope: x dg_i/dx.
        raising: dg_i/dt.
        size: magnitude against which a shortfall of the constraint is judged.
    """

    value: Float[Tensor, "drop constraint"]
    slope: Float[Tensor, "drop constraint ue ap"]
    raising: Float[Tensor, "drop constraint"]
    size: Float[Tensor, "drop constraint"]


@runtime_checkable
class Programme(Protocol):
    """A batch of programmes."""

    def select(self: ProgrammeT, index: Int[Tensor, " chosen"]) -> ProgrammeT:
        """The programmes at `index`."""
        ...

    def constraints(self, share: Float[Tensor, "drop ue ap"], epigraph: Float[Tensor, " drop"]) -> Constraints:
        """All inequalities but x > 0."""
        ...

    def curvature(
        self, share: Float[Tensor, "drop ue ap"], dual: Float[Tensor, "drop constraint"]
    ) -> Float[Tensor, "drop ue ap ap"]:
        """-sum_i y_i x (second derivative of g_i) x, y the dual variables `dual`; positive semidefinite."""
        ...


@dataclass(frozen=True)
class Point:
    """Shares, objective t (`epigraph`), slacks and dual variables of the constraints, dual variables of x > 0 times x."""

    share: Float[Tensor, "drop ue ap"]
    epigraph: Float[Tensor, " drop"]
    slack: Float[Tensor, "drop constraint"]
    dual: Float[Tensor, "drop constraint"]
    bound: Float[Tensor, "drop ue ap"]


@dataclass(frozen=True)
class Found:
    """Where the method stopped.

    Attributes:
        point: the last one.
        converged: whether complementarity and all residuals fell below the tolerance.
        left: whether the caller's test ended the drop.
    """

    point: Point
    converged: Bool[Tensor, " drop"]
    left: Bool[Tensor, " drop"]


def solve(
    programme: ProgrammeT,
    share: Float[Tensor, "drop ue ap"],
    epigraph: Float[Tensor, " drop"],
    *,
    tolerance: float = 1e-6,
    max_iterations: int = 50,
    leave: Callable[[ProgrammeT, Point], Bool[Tensor, " drop"]] | None = None,
) -> Found:
    """Solve a batch from shares inside the budgets and an objective t; the other constraints need not be met there.

    Args:
        programme: the batch.
        share: x > 0.
        epigraph: t.
        tolerance: on complementarity and residuals, relative to an objective of order one.
        max_iterations: Newton steps.
        leave: which drops need not go on, asked after every step.
    """
    converged = torch.zeros_like(epigraph, dtype=torch.bool)
    left = torch.zeros_like(converged)

    def leaves(alive: Tensor, step: int, engine: _Engine[ProgrammeT], _: Iterate, newton: _Newton) -> Tensor:
        point = newton.point
        done = _converged(point, newton.constraints, tolerance) | ~point.share.isfinite().all(-1).all(-1)
        enough = torch.zeros_like(done) if leave is None or step == 0 else leave(engine.programme, point)
        converged[alive], left[alive] = done, enough
        return done | enough

    start, shape = _start(programme, share, epigraph), share.shape[1:]
    last = interior_point.solve(_Engine(programme, shape), _iterate(start), max_iterations, leaves, _RULE)
    point = _point(last, shape)
    converged &= point.share.isfinite().all(-1).all(-1)
    return Found(point, converged, left)


@dataclass(frozen=True)
class _Engine(Generic[ProgrammeT]):
    """Programmes as the shared method wants them, with numbers of UEs and APs."""

    programme: ProgrammeT
    shape: torch.Size

    def select(self, index: Tensor) -> _Engine[ProgrammeT]:
        return _Engine(self.programme.select(index), self.shape)

    def newton(self, iterate: Iterate) -> _Newton:
        point = _point(iterate, self.shape)
        found = self.programme.constraints(point.share, point.epigraph)
        return _Newton(self.programme, point, found, iterate.lead * iterate.partner)


def _select(batch: BatchT, index: Tensor) -> BatchT:
    return map_tensors(batch, lambda tensor: tensor[index])


def _iterate(point: Point) -> Iterate:
    share = point.share.flatten(1)
    return Iterate(
        torch.cat([point.dual, share], 1), torch.cat([point.slack, point.bound.flatten(1) / share], 1), point.epigraph
    )


def _point(iterate: Iterate, shape: torch.Size) -> Point:
    count = iterate.lead.shape[1] - shape.numel()
    share = iterate.lead[:, count:]
    return Point(
        share=share.unflatten(1, shape),
        epigraph=iterate.epigraph,
        slack=iterate.partner[:, :count],
        dual=iterate.lead[:, :count],
        bound=(share * iterate.partner[:, count:]).unflatten(1, shape),
    )


def _start(programme: Programme, share: Tensor, epigraph: Tensor) -> Point:
    """Slacks kept off zero, dual variables on the central path that meet the condition on t."""
    found = programme.constraints(share, epigraph)
    slack = torch.maximum(found.value, 0.1 * found.size)
    centre = 1.0 / (-found.raising / slack).sum(-1, keepdim=True)
    return Point(share, epigraph, slack, centre / slack, centre.unsqueeze(-1).expand_as(share).contiguous())


def _converged(point: Point, found: Constraints, tolerance: float) -> Tensor:
    """Complementarity, the constraints' shortfall, and the conditions on shares and t, all within the tolerance."""
    products = (point.dual * point.slack).sum(-1) + point.bound.sum((-1, -2))
    short = ((point.slack - found.value).abs() / found.size).amax(-1)
    residual = torch.einsum("dr,drkm->dkm", point.dual, found.slope) + point.bound
    balance = 1.0 + (found.raising * point.dual).sum(-1)
    small = (products <= tolerance) & (residual.abs().sum((-1, -2)) <= tolerance)
    return small & (short <= tolerance) & (balance.abs() <= tolerance)


@dataclass(frozen=True)
class _Factored:
    """The eliminated system of one point, for predictor and corrector.

    Attributes:
        block: Cholesky factors of A. slope: J, UE by UE. pulled: block^-1 J^T.
        factor: Cholesky factor of the matrix of dy. raised: its solution for dg/dt. pivot: their product.
    """

    block: Tensor
    slope: Tensor
    pulled: Tensor
    factor: Tensor
    raised: Tensor
    pivot: Tensor


@dataclass(frozen=True)
class _Newton:
    """Newton's equations at a point, factored when a step is asked for: the drops that leave need none."""

    programme: Programme
    point: Point
    constraints: Constraints
    product: Tensor

    @cached_property
    def factored(self) -> _Factored:
        point, found = self.point, self.constraints
        block = self.programme.curvature(point.share, point.dual)
        diagonal = block.diagonal(dim1=-2, dim2=-1)
        diagonal += point.bound + _RIDGE * diagonal.amax(-1, keepdim=True)
        block = torch.linalg.cholesky_ex(block)[0]
        slope = found.slope.transpose(1, 2)  # drop, ue, constraint, ap
        pulled = torch.linalg.solve_triangular(block, slope.mT, upper=False)  # drop, ue, ap, row
        flat = pulled.flatten(1, 2)
        matrix = flat.mT @ flat
        matrix.diagonal(dim1=-2, dim2=-1).add_(point.slack / point.dual)
        factor = torch.linalg.cholesky_ex(matrix)[0]
        raised = torch.cholesky_solve(found.raising.unsqueeze(-1), factor)[..., 0]
        return _Factored(block, slope, pulled, factor, raised, (found.raising * raised).sum(-1))

    @property
    def residual(self) -> Tensor:
        """Shortfall of the constraints, weighted with the dual variables."""
        return (self.point.dual * (self.constraints.value - self.point.slack).abs()).sum(-1)

    def select(self, index: Tensor) -> _Newton:
        return _Newton(
            self.programme.select(index), _select(self.point, index), _select(self.constraints, index), self.product[index]
        )

    def direction(self, wanted: Tensor | None) -> tuple[Tensor, Tensor]:
        point, found, system = self.point, self.constraints, self.factored
        count = found.value.shape[1]
        product = torch.zeros_like(self.product) if wanted is None else wanted * self.product
        bound_product = product[:, count:].reshape(point.share.shape)
        pulled = torch.einsum("dkrm,dr->dkm", system.slope, point.dual) + bound_product
        half = torch.linalg.solve_triangular(system.block, pulled.unsqueeze(-1), upper=False)
        met = (system.pulled.mT @ half)[..., 0].sum(1)
        right = product[:, :count] / point.dual - found.value - met
        free = torch.cholesky_solve(right.unsqueeze(-1), system.factor)[..., 0]
        need = 1.0 + (found.raising * point.dual).sum(-1)
        epigraph = ((found.raising * free).sum(-1) + need) / system.pivot
        dual = free - system.raised * epigraph.unsqueeze(-1)
        full = half + system.pulled @ dual[:, None, :, None]
        share = torch.linalg.solve_triangular(system.block.mT, full, upper=True)[..., 0]
        return torch.cat([dual / point.dual, share.flatten(1)], 1), epigraph
