"""Distances and directions between positions in metres; the z axis points up."""

import torch
from jaxtyping import Float
from torch import Tensor

MIN_DISTANCE = 10.0
"""Distances below this (m) count as this in every path-loss model, which hold in the far field only."""


def offsets(origin: Float[Tensor, "*drop a 3"], target: Float[Tensor, "*drop b 3"]) -> Float[Tensor, "*drop a b 3"]:
    """Vectors (m) from every origin to every target."""
    return target.unsqueeze(-3) - origin.unsqueeze(-2)


def distance(origin: Float[Tensor, "*drop a 3"], target: Float[Tensor, "*drop b 3"]) -> Float[Tensor, "*drop a b"]:
    """3-D distance (m) from every origin to every target, at least MIN_DISTANCE."""
    squared = offsets(origin, target).square().sum(-1)
    return squared.clamp_min(MIN_DISTANCE**2).sqrt()


def array_axis(orientation: Float[Tensor, "*drop ap"]) -> Float[Tensor, "*drop ap 3"]:
    """Unit vector along a horizontal uniform linear array whose broadside has azimuth `orientation` (rad)."""
    zero = torch.zeros_like(orientation)
    return torch.stack([-orientation.sin(), orientation.cos(), zero], dim=-1)


def angles(
    position: Float[Tensor, "*drop ap 3"], orientation: Float[Tensor, "*drop ap"], target: Float[Tensor, "*drop point 3"]
) -> tuple[Float[Tensor, "*drop ap point"], Float[Tensor, "*drop ap point"]]:
    """Azimuth from broadside and elevation above the horizon (rad) at which each AP sees each point."""
    vector = offsets(position, target)
    azimuth = torch.atan2(vector[..., 1], vector[..., 0]) - orientation.unsqueeze(-1)
    elevation = torch.atan2(vector[..., 2], torch.hypot(vector[..., 0], vector[..., 1]))
    return azimuth, elevation
