"""Expected echoes of points after the clutter's filter, per watt of each link. Eqs. (55) and (65) of docs/sensing.md."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

from jaxtyping import Complex, Float, Int

from isac_torch.propagation.arrays import steering
from isac_torch.propagation.geometry import MIN_DISTANCE, angles, array_axis, distance, offsets
from isac_torch.tensors import Array, at_columns, at_least, at_rows, namespace
from isac_torch.tracking.sensing import echo_leg

if TYPE_CHECKING:
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.physics import Physics
    from isac_torch.tracking.setup import SensingSetup
    from isac_torch.tracking.whitening import Beams, Whitening


@dataclass(frozen=True)
class Points(Generic[Array]):
    """Points that receive APs listen to.

    Attributes:
        response: array response of transmit AP m towards each point.
        listening: receive APs that listen to each point.
        strength: beta sigma_a^2 over the noise of the path m - point - r, for the listening r, 1/W.
    """

    response: Complex[Array, "drop point ap antenna"]
    listening: Int[Array, "drop point listening"]
    strength: Float[Array, "drop point listening ap"]


def seen_points(
    drop: TrackingDrop[Array],
    physics: Physics,
    setup: SensingSetup,
    position: Float[Array, "drop point 3"],
    listening: Int[Array, "drop point listening"],
) -> Points[Array]:
    """Points at `position` (m) as the APs of the drop see them."""
    azimuth, elevation = angles(drop.tx_position, drop.tx_orientation, position)
    out = echo_leg(distance(position, drop.tx_position), physics)
    back = at_columns(echo_leg(distance(position, drop.rx_position), physics), listening)
    strength = back[..., None] * out[:, :, None, :] * (setup.rcs_variance / physics.noise_power)
    return Points(steering(azimuth.mT, elevation.mT, physics.num_antennas), listening, strength)


def echo_rates(points: Points[Array], beams: Beams[Array], seen: Whitening[Array]) -> Float[Array, "drop point listening link"]:
    """Energy of each point's echo after the filter per watt of each link, over the noise, 1/W: the terms of (55)."""
    towards = _through(points.response, points.listening, beams, seen)
    return _by_point(points, _received(points, beams, seen) * at_least(_product(towards, beams, towards)[0], 0.0))


def echo_moments(
    points: Points[Array], beams: Beams[Array], seen: Whitening[Array]
) -> tuple[Float[Array, "drop point listening link"], ...]:
    """`echo_rates`, and the same with the derivative of the response by the phase from antenna to antenna (1/W).

    Returns:
        energy, cross term and energy of the derivative, eq. (65). Phases count from the middle of the array: the cross term
        then has no real part, because mean beams and filters of uniform linear arrays are persymmetric.
    """
    xp = namespace(points.strength)
    antennas = points.response.shape[-1]
    towards = _through(points.response, points.listening, beams, seen)
    index = xp.arange(antennas, dtype=points.strength.dtype) - 0.5 * (antennas - 1)
    turning = _through(points.response * index, points.listening, beams, seen)
    received = _received(points, beams, seen)
    cross = _product(turning, beams, towards)[1]
    own, spread = (at_least(_product(x, beams, x)[0], 0.0) for x in (towards, turning))
    return tuple(_by_point(points, received * value) for value in (own, cross, spread))


def phase_slope(
    ap: Float[Array, "drop ap 3"], orientation: Float[Array, "drop ap"], position: Float[Array, "drop point 3"]
) -> Float[Array, "drop point ap 3"]:
    """How fast the phase from antenna to antenna, pi sin(azimuth) cos(elevation), changes with a point's position, rad/m."""
    xp = namespace(ap)
    ray = xp.moveaxis(offsets(ap, position), 1, 2)
    length = at_least(xp.sqrt((ray * ray).sum(-1)), MIN_DISTANCE)[..., None]
    ray, axis = ray / length, array_axis(orientation)[:, None]
    return math.pi * (axis - ray * (ray * axis).sum(-1)[..., None]) / length


def _by_point(points: Points[Array], value: Float[Array, "drop sight link"]) -> Float[Array, "drop point listening link"]:
    return namespace(value).reshape(value, (*points.strength.shape[:3], value.shape[2]))


def _through(
    response: Array, listening: Array, beams: Beams[Array], seen: Whitening[Array]
) -> Complex[Array, "drop link antenna sight"]:
    """Responses after the filter of each listening receive AP, at every link's AP; a sight is a (point, receive AP) pair."""
    xp = namespace(response)
    drops, points, aps, antennas = response.shape
    sights = points * listening.shape[2]
    shrink = at_rows(seen.shrink, listening)  # drop point listening ap antenna antenna
    shrunk = (shrink @ response[:, :, None, :, :, None])[..., 0]
    by_ap = xp.permute_dims(xp.reshape(shrunk, (drops, sights, aps, antennas)), (0, 2, 3, 1))
    return at_rows(by_ap, beams.ap)


def _product(left: Array, beams: Beams[Array], right: Array) -> tuple[Array, Array]:
    """Real and imaginary part of left^H B right [drop, sight, link]."""
    xp = namespace(left)
    value = (xp.conj(left) * (beams.mean @ right)).sum(2)
    return xp.real(value).mT, xp.imag(value).mT


def _received(points: Points[Array], beams: Beams[Array], seen: Whitening[Array]) -> Float[Array, "drop sight link"]:
    """N tau_s delta_r beta sigma_a^2 omega_e over the noise, of every (point, receive AP) pair and link, 1/W."""
    xp = namespace(points.strength)
    drops, count, listening, aps = points.strength.shape
    links = beams.ap.shape[1]
    flat = xp.reshape(points.strength, (drops, count * listening, aps))
    at_links = xp.take_along_axis(flat, xp.broadcast_to(beams.ap[:, None], (drops, count * listening, links)), axis=2)
    passed = at_rows(seen.passed[..., None] * seen.weight, points.listening)  # drop point listening link
    return points.response.shape[-1] * seen.samples * at_links * xp.reshape(passed, at_links.shape)
