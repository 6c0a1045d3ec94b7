"""Distances and directions between positions in metres; the z axis points up."""

from __future__ import annotations

from jaxtyping import Float

from isac_torch.tensors import Array, at_least, namespace

MIN_DISTANCE = 10.0
"""Distances below this (m) count as this in every path-loss model, which hold in the far field only."""


def offsets(origin: Float[Array, "*drop a 3"], target: Float[Array, "*drop b 3"]) -> Float[Array, "*drop a b 3"]:
    """Vectors (m) from every origin to every target."""
    return namespace(origin).moveaxis(_coordinates(origin, target), -3, -1)


def _coordinates(origin: Float[Array, "*drop a 3"], target: Float[Array, "*drop b 3"]) -> Float[Array, "*drop 3 a b"]:
    """Of the vectors (m) from every origin to every target."""
    return target.mT[..., None, :] - origin.mT[..., None]


def distance(origin: Float[Array, "*drop a 3"], target: Float[Array, "*drop b 3"]) -> Float[Array, "*drop a b"]:
    """3-D distance (m) from every origin to every target, at least MIN_DISTANCE."""
    xp = namespace(origin)
    gap = _coordinates(origin, target)
    return xp.sqrt(at_least((gap * gap).sum(-3), MIN_DISTANCE**2))


def array_axis(orientation: Float[Array, "*drop ap"]) -> Float[Array, "*drop ap 3"]:
    """Unit vector along a horizontal uniform linear array whose broadside has azimuth `orientation` (rad)."""
    xp = namespace(orientation)
    return xp.stack([-xp.sin(orientation), xp.cos(orientation), xp.zeros_like(orientation)], axis=-1)


def angles(
    position: Float[Array, "*drop ap 3"], orientation: Float[Array, "*drop ap"], target: Float[Array, "*drop point 3"]
) -> tuple[Float[Array, "*drop ap point"], Float[Array, "*drop ap point"]]:
    """Azimuth from broadside and elevation above the horizon (rad) at which each AP sees each point."""
    xp = namespace(position)
    gap = _coordinates(position, target)
    x, y, z = gap[..., 0, :, :], gap[..., 1, :, :], gap[..., 2, :, :]
    return xp.atan2(y, x) - orientation[..., None], xp.atan2(z, xp.hypot(x, y))
