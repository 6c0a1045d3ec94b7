"""Loop oracle of what a set of receive APs does at uniform power, beams without direction. Nothing here may import isac_torch.

Every AP that does not listen sends its whole budget, the same in all directions; the filter of a receive AP knows powers alone.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.oracles.geometry import Array, Point, distance, steering, umi_nlos_loss_db


def passed_share(clutter: Sequence[float], antennas: int, samples: int) -> float:
    """delta with delta (1 + N sum_m c_m / (1 + tau delta c_m)) = 1, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        loss = sum(c / (1.0 + samples * middle * c) for c in clutter)
        low, high = (low, middle) if middle * (1.0 + antennas * loss) > 1.0 else (middle, high)
    return 0.5 * (low + high)


def clutter(first: Point, second: Point, world: Any) -> float:
    """Clutter on one antenna between two APs over the noise, by NLoS path loss and the probability of no sight."""
    metres = max(distance(first, second), 10.0)
    hidden = max(1.0 - 18.0 / metres, 0.0) * (1.0 - math.exp(-metres / 36.0))
    gain = 10.0 ** (-umi_nlos_loss_db(metres, world.carrier_ghz) / 10.0)
    return world.clutter_factor * gain * hidden * world.budget / world.antennas / world.noise


def echoes(chosen: Sequence[int], aps: Array, listener: int, point: Point, world: Any) -> dict[int, float]:
    """Energy over the noise of the echo from `point` that each transmit AP makes at one receive AP."""
    sending = [m for m in range(len(aps)) if m not in chosen]
    heard = {m: clutter(aps[listener], aps[m], world) for m in sending}
    passed = passed_share(list(heard.values()), world.antennas, world.samples)

    def leg(ap: int) -> float:
        return world.wavelength / ((4.0 * math.pi) ** 1.5 * max(distance(aps[ap], point), 10.0) ** 2)

    scale = world.antennas * world.samples * world.budget * world.rcs / world.noise
    return {m: scale * leg(listener) * leg(m) * passed / (1.0 + world.samples * passed * heard[m]) for m in sending}


def nearest(chosen: Sequence[int], aps: Array, point: Point) -> int:
    """The chosen AP nearest to a point."""
    return min(chosen, key=lambda ap: distance(aps[ap], point))


def crossed(
    energy: Sequence[float], target: int, listener: Point, axis: Point, places: Array, world: Any, active: int
) -> float:
    """Energy of the other targets' echoes at the same receive AP that comes from the target's direction."""
    own = steering(listener, places[target], axis, world.antennas)
    total = 0.0
    for other, place in enumerate(places):
        if other != target:
            alike = abs(np.vdot(own, steering(listener, place, axis, world.antennas))) ** 2 / world.antennas**2
            total += alike * energy[other] * min(1.0, active / world.samples)
    return total


def information(by_ap: dict[int, float], aps: Array, axes: Array, listener: int, place: Point, world: Any) -> float:
    """1 / tr_xy of the inverse of the position information, 1/m2, with numerical slopes of the phase between antennas."""

    def slope(ap: int) -> Array:
        def phase(at: Array) -> float:
            return math.pi * float(np.dot(at - aps[ap], axes[ap])) / float(np.linalg.norm(at - aps[ap]))

        step = 1e-3
        return np.array([(phase(place + step * e) - phase(place - step * e)) / (2.0 * step) for e in np.eye(3)])

    spread = (world.antennas**2 - 1) / 12.0
    free = max(0.0, 1.0 - (len(by_ap) - 1) / world.samples)
    matrix = np.diag([world.prior_horizontal**-2, world.prior_horizontal**-2, world.prior_vertical**-2])
    matrix = matrix + 2.0 * world.blocks * sum(by_ap.values()) * spread * np.outer(slope(listener), slope(listener))
    for ap, energy in by_ap.items():
        matrix = matrix + 2.0 * world.blocks * free * energy * spread * np.outer(slope(ap), slope(ap))
    inverse = np.linalg.inv(matrix)
    return 1.0 / float(inverse[0, 0] + inverse[1, 1])


def equal_split_sinrs(chosen: Sequence[int], gains: Array, gaps: Array, serving: int, sensing: int, world: Any) -> list[float]:
    """SINR of every UE where each AP divides its budget equally over its links. `gains`: [ue, ap], `gaps`: [target, ap]."""
    sending = [m for m in range(gains.shape[1]) if m not in chosen]
    serves = [sorted(sending, key=lambda m: -row[m])[:serving] for row in gains]
    lights = [sorted(sending, key=lambda m: row[m])[:sensing] for row in gaps]
    links = {m: sum(m in some for some in [*serves, *lights]) for m in sending}
    sinrs = []
    for row, some in zip(gains, serves, strict=True):
        amplitude = 0.0
        for m in some:
            pilot = row[m] * world.pilot_energy
            amplitude += math.sqrt(world.antennas * row[m] * pilot / (pilot + world.noise) / links[m])
        sinrs.append(amplitude**2 / (sum(row[m] for m in sending) + world.noise / world.budget))
    return sinrs
