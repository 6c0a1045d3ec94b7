"""How targets move, and what a filter believes of one. Eqs. (57)-(60) of docs/sensing.md."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Belief:
    """Normal belief about a target.

    Attributes:
        mean: position, m, then velocity, m/s.
        covariance: of both.
    """

    mean: Float[Tensor, "6"]
    covariance: Float[Tensor, "6 6"]

    @property
    def position(self) -> Float[Tensor, "3"]:
        """Mean position, m."""
        return self.mean[:3]

    @property
    def spread(self) -> Float[Tensor, "3 3"]:
        """Covariance of the position, m2."""
        return self.covariance[:3, :3]


@dataclass(frozen=True)
class ConstantVelocity:
    """Constant velocity driven by white acceleration, independent along the three axes.

    Attributes:
        step: time between two looks, s.
        acceleration: power spectral density of the horizontal acceleration, m2/s3.
        climb: the same of the vertical one.
    """

    step: float
    acceleration: float = 0.5
    climb: float = 0.02

    def transition(self, like: Tensor) -> Float[Tensor, "6 6"]:
        """F of state' = F state + noise, eq. (57)."""
        matrix = torch.eye(6, dtype=like.dtype, device=like.device)
        matrix[:3, 3:] = self.step * matrix[:3, :3]
        return matrix

    def noise(self, like: Tensor) -> Float[Tensor, "6 6"]:
        """Covariance of the noise of one step, eq. (58)."""
        density = torch.diag(like.new_tensor([self.acceleration, self.acceleration, self.climb]))
        t = self.step
        return torch.cat(
            [torch.cat([density * t**3 / 3, density * t**2 / 2], 1), torch.cat([density * t**2 / 2, density * t], 1)]
        )

    def predict(self, belief: Belief) -> Belief:
        """The belief one step later."""
        matrix = self.transition(belief.mean)
        return Belief(matrix @ belief.mean, matrix @ belief.covariance @ matrix.T + self.noise(belief.mean))

    def move(self, state: Float[Tensor, "*shape 6"], generator: torch.Generator) -> Float[Tensor, "*shape 6"]:
        """States one step later, each with noise of its own."""
        root = torch.linalg.cholesky(self.noise(state))
        drawn = torch.randn(state.shape, generator=generator, dtype=state.dtype, device=state.device)
        return state @ self.transition(state).T + drawn @ root.T


def absorb(belief: Belief, position: Float[Tensor, "3"], information: Float[Tensor, "3 3"]) -> Belief:
    """The belief after a look whose likelihood, together with it, peaks at `position` (m), eqs. (59)-(60).

    Args:
        belief: before the look.
        position: maximum of log likelihood plus log belief.
        information: curvature of the log likelihood alone there, 1/m2; singular where the look tells nothing.
    """
    before = torch.linalg.inv(belief.spread)
    after = torch.linalg.inv(before + information)
    gain = belief.covariance[:, :3] @ before
    mean = belief.mean + gain @ (position - belief.position)
    covariance = belief.covariance - gain @ (belief.spread - after) @ gain.T
    return Belief(mean, 0.5 * (covariance + covariance.T))
