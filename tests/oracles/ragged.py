"""Tables of networks of APs with different arrays, for the loop oracles. NumPy only: never imports isac_torch."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.oracles import estimation, geometry
from tests.oracles.geometry import Array
from tests.oracles.metrics import World

STEPS = np.linspace(-8.0, 8.0, 161)
"""Deviations of the trapezoidal rule over a normal variable."""


def table(rows: int, aps: int) -> Any:
    """Of matrices by row and AP, each of a size of its own."""
    return np.empty((rows, aps), dtype=object)


def estimates(covariance: Any, pilots: Array, pilot_power: Array, noise_power: float) -> tuple[Any, Any]:
    """Lambda and Phi of every UE at every AP, AP by AP, from C[k, m]."""
    rows, aps = covariance.shape
    mmse, estimate = table(rows, aps), table(rows, aps)
    for m in range(aps):
        here = np.array([[covariance[k, m]] for k in range(rows)])
        of_ap = estimation.mmse_matrix(here, pilots, pilot_power, noise_power)
        for k in range(rows):
            mmse[k, m] = of_ap[k, 0]
            estimate[k, m] = of_ap[k, 0] @ covariance[k, m]
    return mmse, estimate


def echo_gains(drop: Any, index: int, wavelength_m: float) -> Array:
    """beta[l, r, m] of one drop of a batch, 1/m2, from its positions."""
    targets, rx, tx = (getattr(drop, f"{name}_position")[index].numpy() for name in ("target", "rx", "tx"))
    gain = np.zeros((len(targets), len(rx), len(tx)))
    for t in range(len(targets)):
        for r in range(len(rx)):
            for m in range(len(tx)):
                legs = geometry.distance(tx[m], targets[t]), geometry.distance(rx[r], targets[t])
                gain[t, r, m] = geometry.bistatic_gain(*legs, wavelength_m)
    return gain


def antenna_places(count: int, circle: bool) -> list[tuple[float, float]]:
    """Places of antennas half a wavelength apart, in wavelengths: towards broadside and along the array."""
    if not circle:
        return [(0.0, 0.5 * n) for n in range(count)]
    radius = 0.25 / math.sin(math.pi / count)
    return [(radius * math.cos(2 * math.pi * n / count), radius * math.sin(2 * math.pi * n / count)) for n in range(count)]


def response(places: Sequence[tuple[float, float]], azimuth: float, elevation: float) -> Array:
    """Phases of a plane wave at the places, by the path that it saves to each of them."""
    saved = [math.cos(elevation) * (x * math.cos(azimuth) + y * math.sin(azimuth)) for x, y in places]
    return np.exp(2j * math.pi * np.array(saved))


def mean_outer(places: Sequence[tuple[float, float]], azimuth: float, elevation: float, spread: float, tilt: float) -> Array:
    """E[a a^H] with normal errors of deviations `spread` of the azimuth and `tilt` of the elevation, rad."""
    weights = np.exp(-STEPS * STEPS / 2.0)
    heights = [(0.0, 1.0)] if tilt == 0.0 else list(zip(tilt * STEPS, weights, strict=True))
    total, mass = np.zeros((len(places), len(places)), dtype=complex), 0.0
    for height, other in heights:
        for step, weight in zip(spread * STEPS, weights, strict=True):
            seen = response(places, azimuth + step, elevation + height)
            total += weight * other * np.outer(seen, seen.conj())
            mass += weight * other
    return total / mass


def world(drop: Any, scenario: Any, index: int, arrays: Sequence[tuple[int, bool]], rx_antennas: Sequence[int]) -> World:
    """The oracles' tables of one drop; arrays (antennas, circle) of transmit APs and antennas of receive APs in turns."""

    def of(name: str) -> Array:
        rows: Array = getattr(drop, name)[index].numpy()
        return rows

    tx, turn, gain, targets = of("tx_position"), of("tx_orientation"), of("ue_gain"), of("target_position")
    places = [antenna_places(*arrays[m % len(arrays)]) for m in range(len(tx))]
    covariance, beam, towards = table(len(gain), len(tx)), table(len(targets), len(tx)), table(len(targets), len(tx))
    for m in range(len(tx)):
        axis = np.array([-math.sin(turn[m]), math.cos(turn[m])])
        for k, position in enumerate(of("ue_position")):
            azimuth, elevation = _seen(tx[m], position, axis)
            spread = math.radians(scenario.azimuth_spread_deg)
            covariance[k, m] = gain[k, m] * mean_outer(places[m], azimuth, elevation, spread, 0.0)
        for t, position in enumerate(targets):
            azimuth, elevation = _seen(tx[m], position, axis)
            towards[t, m] = response(places[m], azimuth, elevation)
            error = scenario.angle_error
            beam[t, m] = mean_outer(places[m], azimuth, elevation, error, error) / len(places[m])
    found = world_of(drop, scenario, index, covariance, towards, beam)
    for r in range(found["echo_gain"].shape[1]):
        found["echo_gain"][:, r] *= rx_antennas[r % len(rx_antennas)]
    return found


def world_of(drop: Any, scenario: Any, index: int, covariance: Any, towards: Any, beam: Any) -> World:
    """The oracles' tables of one drop from tables of matrices by row and AP."""
    pilots, power = estimation.pilot_book(drop.pilot[index].numpy(), scenario.pilot_symbols), drop.pilot_power[index].numpy()
    mmse, estimate = estimates(covariance, pilots, power, scenario.noise_power)
    return {
        "covariance": covariance,
        "mmse": mmse,
        "estimate": estimate,
        "beam": beam,
        "response": towards,
        "echo_gain": echo_gains(drop, index, geometry.SPEED_OF_LIGHT / scenario.carrier_frequency),
        "rcs": 1.0,
        "listening": drop.listening_ap[index].tolist(),
        "pilots": pilots,
        "pilot_power": power,
        "noise_power": scenario.noise_power,
    }


def _seen(origin: Array, point: Array, axis: Array) -> tuple[float, float]:
    """Azimuth from broadside, all around, and elevation of a point, rad; `axis` is the array's."""
    gap = point - origin
    ahead, along = gap[0] * axis[1] - gap[1] * axis[0], gap[0] * axis[0] + gap[1] * axis[1]
    return math.atan2(along, ahead), math.atan2(gap[2], math.hypot(gap[0], gap[1]))
