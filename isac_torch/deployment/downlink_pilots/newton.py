"""The min-max NMSE of one road by the interior-point method in numpy: what answers where the network misses a bound, (P30).

    maximise t   subject to   -log w_k NMSE_k(p) >= t,   log(Gamma_k / CRB_k(p)) >= margin,   sum_k p_km <= P_m,   p >= 0

The log of the strength of (P8) and log(Gamma / CRB) are concave; the log of the error of (P7) is replaced by its tangent at the
point (P19), so that its curvature is left out. Without the first constraints, and with t in place of the margin, the same
equations lead to the best localisation, `located`.

This is the Newton system; `isac_torch.interior_point` has the method. With shares x = p / P, dual variables y and slacks s of
the constraints g, dual variables z of x >= 0, J = x dg/dx, j = dg/dt and A = diag(z x) - sum_k y_k x (second derivative of
g_k) x, one block per UE,

    (J A^-1 J^T + diag(s / y)) (y + dy) + j dt = wanted s + s - g - J A^-1 (wanted z x),     j^T (y + dy) = -1,
    dx = x A^-1 (J^T (y + dy) + wanted z x),

where `wanted` asks each product of a dual variable and its slack to become so many times what it is. Links that carry no power
take part in the budgets only, which brings their shares to 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from isac_torch import interior_point
from isac_torch.deployment.patience import still_wanted
from isac_torch.interior_point import Iterate, Rule

if TYPE_CHECKING:
    from isac_torch.deployment.downlink_pilots.problem import RoadProblem

_STEPS = 60
"""At most."""
_GAP = 1e-4
"""Nepers of NMSE, or of Gamma / CRB, that the end may be away from the optimum."""
_MARGIN = 1e-5
"""Of log(Gamma / CRB), so that powers whose residuals are not quite zero meet the bound all the same."""
_SLACK = 1e-3
"""Of log(Gamma / CRB), at which the search for a place inside the bounds ends."""
_EVEN, _BELOW = 0.02, 0.02
"""Start: share of even powers mixed into the given ones, and of each budget that is left free."""
_LEAST = 0.1
"""Smallest slack of the start but for the budgets, nepers."""
_SHORTER = 3e-3
"""Added to A's diagonal where UEs share an uplink pilot: the tangent is no bound there, and shorter steps settle sooner."""
_RULE = Rule(residual=0.1)


def located(problem: RoadProblem, power: Float[ndarray, "ue ap"]) -> Float[ndarray, "ue ap"]:
    """Powers (W) near `power` that keep every localisation bound, or those of the best localisation where there are none."""
    return _solved(problem, power, locate=True)


def improved(problem: RoadProblem, power: Float[ndarray, "ue ap"]) -> Float[ndarray, "ue ap"]:
    """Powers (W) of a smaller largest NMSE that keep the localisation bounds as `power` does; `power` where none are found."""
    return _solved(problem, power, locate=False)


def _solved(problem: RoadProblem, power: Float[ndarray, "ue ap"], locate: bool) -> Float[ndarray, "ue ap"]:
    best, highest = power, -np.inf if locate else -_loss(problem, power)

    def leaves(_alive: ndarray, _step: int, _program: _Program, _point: Iterate[ndarray], system: _System) -> ndarray:
        nonlocal best, highest
        still_wanted()
        ues, value = len(system.share), system.constraints.value
        goal = float(value[:ues].min())
        inside = value[ues:].min() >= -0.9 * _MARGIN and system.share.sum(0).max() <= 1.0
        if inside and goal > highest:
            best, highest = problem.sent(system.share * problem.budget), goal
        left = max(float(system.product.sum()), float(system.residual[0]))
        return np.array([(left <= _GAP and inside) or (locate and highest > _SLACK) or not np.isfinite(left)])

    program = _Program(problem, locate)
    interior_point.solve(program, _start(program, power), _STEPS, leaves, _RULE)
    return best


def _loss(problem: RoadProblem, power: Float[ndarray, "ue ap"]) -> float:
    """The largest log of the weighted NMSE."""
    return float(np.log(problem.weight * problem.nmse(problem.positive(power))).max())


def _start(program: _Program, power: Float[ndarray, "ue ap"]) -> Iterate[ndarray]:
    """Shares inside the budgets, slacks kept off zero, dual variables that make all products the same."""
    share = (1.0 - _BELOW) * ((1.0 - _EVEN) * power / program.problem.budget + _EVEN / len(power))
    found = program.constraints(share)
    rising = found.raising < 0.0
    epigraph = float(found.value[rising].min()) - _LEAST
    value = found.value + found.raising * epigraph
    slack = np.concatenate([np.maximum(value[: -share.shape[1]], _LEAST), value[-share.shape[1] :]])
    product = 1.0 / (1.0 / slack[rising]).sum()
    flat = share.ravel()
    lead, partner = np.concatenate([product / slack, flat]), np.concatenate([slack, product / flat])
    return Iterate(lead[None], partner[None], np.array([epigraph]))


class _Constraints(NamedTuple):
    """The constraints at some shares.

    Attributes:
        value: g at t = 0, one per UE and kind, then those of the budgets.
        slope: J, UE by UE.
        raising: dg/dt.
        curvature: -x (second derivative of g) x of those that are not linear, in the UE's own shares.
    """

    value: Float[ndarray, " constraint"]
    slope: Float[ndarray, "ue constraint ap"]
    raising: Float[ndarray, " constraint"]
    curvature: Float[ndarray, "kind ue ap ap"]


@dataclass(frozen=True, eq=False)
class _Program:
    """A batch of one road. Its constraints: NMSE of every UE, but not to `locate`; localisation of every UE; budgets."""

    problem: RoadProblem
    locate: bool

    def select(self, index: ndarray) -> _Program:
        """The one road."""
        return self

    def newton(self, point: Iterate[ndarray]) -> _System:
        """Newton's equations at a point."""
        share = point.lead[0, -self.problem.gain.size :].reshape(self.problem.gain.shape)
        return _System(self, point, share, self.constraints(share))

    def constraints(self, share: Float[ndarray, "ue ap"]) -> _Constraints:
        """All but x >= 0, at shares of the budgets."""
        problem, power = self.problem, self.problem.sent(share * self.problem.budget)
        ues, aps = share.shape
        own, ap = np.arange(ues), np.arange(aps)
        kinds = [_accuracy(problem, power)] if self.locate else [_strength(problem, power), _accuracy(problem, power)]
        values, slopes, bends = zip(*kinds, strict=True)
        count = ues * len(values)
        slope = np.zeros((ues, count + aps, aps))
        for kind, part in enumerate(slopes):
            slope[own, own + kind * ues] = part
        slope[:, count + ap, ap] = -share
        value, raising = np.concatenate([*values, 1.0 - share.sum(0)]), np.zeros(count + aps)
        raising[:ues] = -1.0
        if not self.locate:
            error = problem.error(problem.positive(power))
            value[:ues] -= np.log(problem.weight * error.value)
            if error.slope.ndim == 2:
                slope[own, own] -= error.slope * power / error.value[:, None]
            else:
                slope[:, :ues] -= (error.slope * power / error.value[:, None, None]).swapaxes(0, 1)
            value[ues:count] -= _MARGIN
        return _Constraints(value, slope, raising, np.stack(bends))


def _strength(problem: RoadProblem, power: Float[ndarray, "ue ap"]) -> tuple[ndarray, ndarray, ndarray]:
    """Log of the strength of (P8), p times its slope, and -p (second derivative) p."""
    root = np.sqrt(problem.estimate * power)
    total = root.sum(-1, keepdims=True)
    spread = problem.gain * power
    value = total[:, 0] ** 2 + spread.sum(-1)
    slope = (total * root + spread) / value[:, None]
    bend = slope[:, :, None] * slope[:, None] - (0.5 / value)[:, None, None] * (root[:, :, None] * root[:, None])
    own = np.arange(power.shape[1])
    bend[:, own, own] += 0.5 * total * root / value[:, None]
    return np.log(value), slope, bend


def _accuracy(problem: RoadProblem, power: Float[ndarray, "ue ap"]) -> tuple[ndarray, ndarray, ndarray]:
    """log(Gamma / CRB), p times its slope, and -p (second derivative) p."""
    x, y, c = problem.fisher * power
    xx, yy, xy = x.sum(-1, keepdims=True), y.sum(-1, keepdims=True), c.sum(-1, keepdims=True)
    determinant, by_trace = xx * yy - xy * xy, (x + y) / (xx + yy)
    by_determinant = (yy * x + xx * y - 2.0 * xy * c) / determinant
    cross = x[:, :, None] * y[:, None]
    second = (cross + cross.swapaxes(1, 2) - 2.0 * c[:, :, None] * c[:, None]) / determinant[..., None]
    bend = by_determinant[:, :, None] * by_determinant[:, None] - second - by_trace[:, :, None] * by_trace[:, None]
    value = np.log(problem.crb_max * (determinant / (xx + yy))[:, 0])
    return value, by_determinant - by_trace, bend


@dataclass(frozen=True, eq=False)
class _System:
    """Newton's equations at a point; names as in the module's docstring."""

    program: _Program
    point: Iterate[ndarray]
    share: Float[ndarray, "ue ap"]
    constraints: _Constraints

    def select(self, index: ndarray) -> _System:
        """The one road."""
        return self

    @cached_property
    def product(self) -> Float[ndarray, "1 pair"]:
        """Lead times partner."""
        return self.point.lead * self.point.partner

    @property
    def value(self) -> Float[ndarray, " constraint"]:
        """g."""
        return self.constraints.value + self.constraints.raising * self.point.epigraph[0]

    @property
    def residual(self) -> Float[ndarray, " 1"]:
        """What the constraints lack of their slacks, times their dual variables."""
        count = len(self.constraints.value)
        lacking = np.abs(self.value - self.point.partner[0, :count])
        return np.array([self.point.lead[0, :count] @ lacking])

    @cached_property
    def _factored(self) -> tuple[ndarray, ndarray, ndarray]:
        """A^-1, A^-1 J^T, and the inverse of the matrix of y + dy and dt."""
        found, count, (ues, aps) = self.constraints, len(self.constraints.value), self.share.shape
        dual, slack = self.point.lead[0, :count], self.point.partner[0, :count]
        bent = dual[: count - aps].reshape(-1, ues, 1, 1) * found.curvature
        block = bent.sum(0)
        own = np.arange(aps)
        block[:, own, own] += self.product[0, count:].reshape(ues, aps)
        if self.program.problem.shared:
            block[:, own, own] += _SHORTER
        inverse = _inverse(block)
        pulled = found.slope @ inverse
        matrix = np.zeros((count + 1, count + 1))
        matrix[:count, :count] = (pulled @ found.slope.swapaxes(1, 2)).sum(0)
        matrix[np.arange(count), np.arange(count)] += slack / dual
        matrix[:count, count] = matrix[count, :count] = found.raising
        return inverse, pulled, _inverse(matrix)

    def direction(self, wanted: Float[ndarray, "1 pair"] | None) -> tuple[Float[ndarray, "1 pair"], Float[ndarray, " 1"]]:
        """Relative changes of dual variables and shares, and change of t."""
        found, count = self.constraints, len(self.constraints.value)
        inverse, pulled, whole = self._factored
        dual, slack = self.point.lead[0, :count], self.point.partner[0, :count]
        right = np.append(slack - self.value, -1.0)
        asked = np.zeros_like(self.share)
        if wanted is not None:
            asked = (wanted * self.product)[0, count:].reshape(asked.shape)
            right[:count] += slack * wanted[0, :count] - (pulled @ asked[..., None])[..., 0].sum(0)
        answer = whole @ right
        share = ((answer[:count] @ found.slope + asked)[:, None] @ inverse)[:, 0]
        return np.concatenate([answer[:count] / dual - 1.0, share.ravel()])[None], answer[count:]


def _inverse(matrix: Float[ndarray, "... n n"]) -> Float[ndarray, "... n n"]:
    """NaN where there is none."""
    try:
        return np.linalg.inv(matrix)
    except np.linalg.LinAlgError:
        return np.full_like(matrix, np.nan)
