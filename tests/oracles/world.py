"""Every table that the loop oracles and the simulation need of a network. NumPy only: nothing here may import isac_torch."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tests.oracles import estimation, geometry
from tests.oracles.geometry import Array
from tests.oracles.metrics import World


def network_world(
    tx: Array,
    axes: Array,
    rx: Array,
    ues: Array,
    targets: Array,
    gain: Array,
    pilots: Array,
    pilot_power: Array,
    listening: Sequence[Sequence[int]],
    **options: Any,
) -> World:
    """Covariances, estimates, beams and echo gains of one network from its positions.

    `tx`, `rx`, `ues`, `targets` are positions in m, `axes` the array axes of the transmit APs, `gain[k, m]` the large-scale
    fading with shadowing, `pilots` unit-norm rows, `listening[l]` the receive APs that listen for target l.
    Options: num_antennas, spread_rad, error_rad, noise_power (W), wavelength_m, rcs (m2).
    """
    size, error, noise = options["num_antennas"], options["error_rad"], options["noise_power"]
    covariance = np.zeros((len(ues), len(tx), size, size), dtype=complex)
    for k in range(len(ues)):
        for m in range(len(tx)):
            pair = geometry.angles(tx[m], ues[k], axes[m])
            covariance[k, m] = gain[k, m] * geometry.local_scattering(*pair, options["spread_rad"], size)
    response = np.zeros((len(targets), len(tx), size), dtype=complex)
    beam = np.zeros((len(targets), len(tx), size, size), dtype=complex)
    azimuth, elevation = np.zeros((len(targets), len(tx))), np.zeros((len(targets), len(tx)))
    echo_gain = np.zeros((len(targets), len(rx), len(tx)))
    for t in range(len(targets)):
        for m in range(len(tx)):
            azimuth[t, m], elevation[t, m] = geometry.angles(tx[m], targets[t], axes[m])
            response[t, m] = geometry.steering(tx[m], targets[t], axes[m], size)
            beam[t, m] = geometry.tracking_beam_covariance(azimuth[t, m], elevation[t, m], error, size)
            for r in range(len(rx)):
                legs = geometry.distance(tx[m], targets[t]), geometry.distance(rx[r], targets[t])
                echo_gain[t, r, m] = geometry.bistatic_gain(*legs, options["wavelength_m"])
    args = covariance, pilots, pilot_power, noise
    return {
        "covariance": covariance,
        "estimate": estimation.estimate_covariance(*args),
        "mmse": estimation.mmse_matrix(*args),
        "beam": beam,
        "response": response,
        "echo_gain": echo_gain,
        "rcs": options["rcs"],
        "listening": [list(row) for row in listening],
        "pilots": pilots,
        "pilot_power": np.asarray(pilot_power),
        "noise_power": noise,
        "draw_beam": _beam_drawer(azimuth, elevation, error, size),
    }


def world_of_drop(drop: Any, scenario: Any, index: int = 0) -> World:
    """The tables of one drop of a batch, from its positions, sets and gains only (any object with those attributes)."""

    def rows(name: str) -> Array:
        table: Array = getattr(drop, name)[index].detach().numpy()
        return table

    turn = rows("tx_orientation")
    return network_world(
        rows("tx_position"),
        np.column_stack([-np.sin(turn), np.cos(turn)]),
        rows("rx_position"),
        rows("ue_position"),
        rows("target_position"),
        rows("ue_gain"),
        estimation.pilot_book(rows("pilot"), scenario.pilot_symbols),
        rows("pilot_power"),
        rows("listening_ap").tolist(),
        num_antennas=scenario.num_antennas,
        spread_rad=math.radians(scenario.azimuth_spread_deg),
        error_rad=scenario.angle_error,
        noise_power=scenario.noise_power,
        wavelength_m=geometry.SPEED_OF_LIGHT / scenario.carrier_frequency,
        rcs=10.0,
    )


def power_tables(power: Any, drop: Any, index: int = 0) -> tuple[Array, Array]:
    """Powers per link of one drop as tables data_power[ue, ap] and sensing_power[target, ap], W."""
    serving, sensing = drop.serving_ap[index].tolist(), drop.sensing_ap[index].tolist()
    data = np.zeros((len(serving), drop.tx_position.shape[1]))
    probe = np.zeros((len(sensing), drop.tx_position.shape[1]))
    link = 0
    for table, sets in ((data, serving), (probe, sensing)):
        for row, aps in enumerate(sets):
            for ap in aps:
                table[row, ap] = float(power[index, link])
                link += 1
    return data, probe


def _beam_drawer(
    azimuth: Array, elevation: Array, error_rad: float, num_antennas: int
) -> Callable[[np.random.Generator, int], Array]:
    """A function (rng, count) -> unit-norm sensing beams [draw, target, ap, antenna] with drawn angle errors [B 12]."""

    def draw(rng: np.random.Generator, count: int) -> Array:
        first = azimuth + error_rad * rng.standard_normal((count, *azimuth.shape))
        second = elevation + error_rad * rng.standard_normal((count, *azimuth.shape))
        along = (np.sin(first) * np.cos(second))[..., None]
        beams: Array = np.exp(1j * np.pi * np.arange(num_antennas) * along) / math.sqrt(num_antennas)
        return beams

    return draw
