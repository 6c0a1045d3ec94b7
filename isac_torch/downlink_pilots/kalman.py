"""A Kalman filter for vehicles that keep their velocity: eq. (P29) of docs/downlink_pilots.md."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.errors import ScenarioError


@dataclass(frozen=True)
class Track:
    """What is known of every vehicle.

    Attributes:
        mean: position (m) and velocity (m/s), x before y.
        covariance: of both, m2, m2/s and m2/s2.
    """

    mean: Float[Tensor, "drop ue 4"]
    covariance: Float[Tensor, "drop ue 4 4"]

    @property
    def position(self) -> Float[Tensor, "drop ue 2"]:
        """Expected position, m."""
        return self.mean[..., :2]

    def predicted(self, seconds: float, acceleration: float = 2.0) -> Track:
        """The track `seconds` later; `acceleration` (m/s2) is the standard deviation of what a vehicle does meanwhile.

        Raises:
            ScenarioError: for a time that does not run forward.
        """
        if seconds <= 0.0:
            raise ScenarioError(f"seconds={seconds} must be positive")
        moved = torch.eye(4, dtype=self.mean.dtype)
        moved[0, 2] = moved[1, 3] = seconds
        push = torch.tensor([[0.5 * seconds**2, 0.0], [0.0, 0.5 * seconds**2], [seconds, 0.0], [0.0, seconds]])
        push = push.to(self.mean) * acceleration
        return Track(self.mean @ moved.T, moved @ self.covariance @ moved.T + push @ push.T)

    def updated(self, position: Float[Tensor, "drop ue 2"], covariance: Float[Tensor, "drop ue 2 2"]) -> Track:
        """The track after a measured position (m) whose error has `covariance` (m2).

        Example:
            >>> import torch
            >>> track = Track(torch.zeros(1, 1, 4), torch.eye(4).expand(1, 1, 4, 4))
            >>> track.updated(torch.ones(1, 1, 2), torch.eye(2).expand(1, 1, 2, 2)).position   # m: half way, both as sure
            tensor([[[0.5000, 0.5000]]])
        """
        spread = self.covariance[..., :2, :2] + covariance
        gain = torch.linalg.solve(spread, self.covariance[..., :2, :]).mT
        mean = self.mean + (gain @ (position - self.position).unsqueeze(-1)).squeeze(-1)
        rest = self.covariance - gain @ self.covariance[..., :2, :]
        return Track(mean, 0.5 * (rest + rest.mT))
