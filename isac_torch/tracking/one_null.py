"""Exact moments of the projection beside one drawn direction: zero-forcing beams with one null.

The avoided estimate is circular normal with covariance Phi = V diag(lambda) V^T (turned, so real); u is its direction. The
phases of the components of V^T u are independent and uniform, and with 1/S = int exp(-t S) dt over t > 0

    E|u_i|^2          = int lambda_i / (1 + lambda_i t) G(t) dt,                    G(t) = prod_k 1 / (1 + lambda_k t)
    E|u_i|^2 |u_j|^2  = (1 + [i = j]) int t lambda_i lambda_j / ((1 + lambda_i t) (1 + lambda_j t)) G(t) dt

Both integrals are smooth in log t, where the trapezoidal rule is exact to rounding. Eq. (91a) of docs/physics.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic

import numpy as np
from jaxtyping import Float

from isac_torch.tensors import Array, all_but_own, at_least, constant, namespace, tiniest

_STEP = 0.5
_LOG_T = np.arange(-36.0, 46.0, _STEP)
"""Nodes in log t for a largest lambda of 1; outside them nothing of double precision is left."""


@dataclass(frozen=True)
class NullMoments(Generic[Array]):
    """Moments of P = I - u u^H, u the direction of a circular normal vector.

    Attributes:
        axes: V, eigenvectors of its covariance.
        first: E|u_i|^2 along them.
        second: E|u_i|^2 |u_j|^2.
    """

    axes: Float[Array, "antenna antenna"]
    first: Float[Array, " antenna"]
    second: Float[Array, "antenna antenna"]

    def mean(self) -> Float[Array, "antenna antenna"]:
        """E P."""
        eye = self.axes @ self.axes.T
        return eye - (self.axes * self.first) @ self.axes.T

    def sandwich(self, inner: Float[Array, "antenna antenna"]) -> Float[Array, "antenna antenna"]:
        """E P A P of a symmetric matrix A."""
        turned = self.axes.T @ inner @ self.axes
        others = all_but_own(len(self.first), turned)
        sides = self.first[:, None] + self.first
        both = self.second * turned * others + self._on_diagonal(self.second @ turned.diagonal())
        return self.axes @ (turned - sides * turned + both) @ self.axes.T

    def trace_square(self, inner: Float[Array, "antenna antenna"]) -> Float[Array, ""]:
        """E |tr(P A)|^2 of any real matrix A."""
        turned = self.axes.T @ inner @ self.axes
        own, others = turned.diagonal(), all_but_own(len(self.first), turned)
        total = own.sum()
        both = own @ self.second @ own + (self.second * turned * turned * others).sum()
        return total * total - 2.0 * total * (self.first * own).sum() + both

    def _on_diagonal(self, value: Array) -> Array:
        return value[:, None] * (constant(1.0, value) - all_but_own(len(value), value))


def null_moments_of(covariance: Float[Array, "antenna antenna"]) -> NullMoments[Array]:
    """Moments of the projection beside a vector of this covariance, real and symmetric."""
    xp = namespace(covariance)
    value, axes = xp.linalg.eigh(covariance)
    share = at_least(value / at_least(value[-1], tiniest(value)), 0.0)
    t = constant(np.exp(_LOG_T), covariance)
    lifted = share[:, None] / (1.0 + share[:, None] * t)
    weight = _STEP * t * xp.prod(1.0 / (1.0 + share[:, None] * t), axis=0)
    second = (lifted * (t * weight)) @ lifted.T
    twice = constant(2.0, covariance) - all_but_own(len(value), covariance)
    return NullMoments(axes, lifted @ weight, second * twice)
