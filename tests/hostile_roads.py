"""Random and adversarial roads for fuzzing, as `tests.hostile_drops` has them for networks of the tracking system."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.hostile_drops import Fields, entry, unknown, wrong_type

SIZES = ((2, 1), (2, 2), (3, 2), (4, 3), (8, 2), (8, 6), (5, 8))
"""APs, UEs."""


def plain(rng: np.random.Generator) -> Fields:
    """A road as an engineer would send it: APs on both sides, UEs between them."""
    aps, ues = SIZES[rng.integers(len(SIZES))]
    length = 40.0 * aps
    return {
        "ap_position": np.column_stack([rng.uniform(0, length, aps), 100.0 * (np.arange(aps) % 2)]),
        "ue_position": np.column_stack([rng.uniform(0, length, ues), rng.uniform(20, 80, ues)]),
        "crb_max": np.full(ues, rng.choice([0.3, 1.0, 10.0])),
    }


def _shape(road: Fields) -> tuple[int, int]:
    return len(road["ue_position"]), len(road["ap_position"])


def with_gains(rng: np.random.Generator, road: Fields) -> Fields:
    """The same road with measured gains in place of the path-loss model."""
    return road | {"gain": 10.0 ** rng.uniform(-13, -6, _shape(road))}


def _gains(low: float, high: float) -> Any:
    def change(rng: np.random.Generator, road: Fields) -> Fields:
        return road | {"gain": 10.0 ** rng.uniform(low, high, _shape(road))}

    return change


def _zero_gains(rng: np.random.Generator, road: Fields) -> Fields:
    return road | {"gain": np.where(rng.random(_shape(road)) < 0.5, 0.0, 1e-10)}


def _on_one_line(rng: np.random.Generator, road: Fields) -> Fields:
    """Nobody can be located across the line."""
    ues, aps = _shape(road)
    across = {"ap_position": np.zeros((aps, 2)), "ue_position": np.zeros((ues, 2))}
    across["ap_position"][:, 0], across["ue_position"][:, 0] = np.arange(1.0, aps + 1), -np.arange(1.0, ues + 1)
    return road | across


def _same_place(rng: np.random.Generator, road: Fields) -> Fields:
    return road | {"ue_position": np.repeat(road["ue_position"][:1], len(road["ue_position"]), 0)}


def _subsets(rng: np.random.Generator, road: Fields) -> Fields:
    serves = (rng.random(_shape(road)) < 0.5).astype(float)
    serves[:, 0] = 1.0
    return road | {"serves": serves}


def _one_pilot(rng: np.random.Generator, road: Fields) -> Fields:
    return road | {"pilot": np.zeros(len(road["ue_position"]), int), "downlink_correlation": float(rng.choice([0.0, 0.5, 1.0]))}


def _receivers(rng: np.random.Generator, road: Fields) -> Fields:
    return road | {"receiver": str(rng.choice(["projection", "ignorant"])), "downlink_correlation": float(rng.random())}


def _uneven_power(rng: np.random.Generator, road: Fields) -> Fields:
    return road | {"ap_power": rng.choice([1e-9, 0.2, 1e4], len(road["ap_position"]))}


def _hard_bounds(rng: np.random.Generator, road: Fields) -> Fields:
    ues = len(road["ue_position"])
    return road | {"crb_max": rng.choice([1e-9, 1e-3, 1e12], ues), "weight": rng.choice([1e-6, 1.0, 1e6], ues)}


def _few_receive(rng: np.random.Generator, road: Fields) -> Fields:
    ues, aps = _shape(road)
    return road | {"receive_ap": np.array([rng.integers(aps)]), "path_cross_section": rng.uniform(0, 2, (ues, aps, aps))}


def _extreme_physics(rng: np.random.Generator, road: Fields) -> Fields:
    return road | {
        "noise_density_dbm_hz": float(rng.choice([-250.0, -50.0])),
        "bandwidth": float(rng.choice([1e3, 1e12])),
        "downlink_symbols": int(rng.choice([1, 100_000])),
        "uplink_symbols": int(rng.choice([1, 100_000])),
    }


EDGES = {
    "plain": lambda rng, road: road,
    "gains": with_gains,
    "huge gains": _gains(-2, 0),
    "tiny gains": _gains(-25, -20),
    "wild gains": _gains(-24, 0),
    "zero gains": _zero_gains,
    "on one line": _on_one_line,
    "same place": _same_place,
    "subsets": _subsets,
    "one pilot": _one_pilot,
    "receivers": _receivers,
    "uneven power": _uneven_power,
    "hard bounds": _hard_bounds,
    "few receive": _few_receive,
    "extreme physics": _extreme_physics,
}
"""Changes after which a road is still one."""


def _wrong_shape(rng: np.random.Generator, road: Fields) -> Fields:
    name = str(rng.choice(["ap_position", "ue_position"]))
    array = road[name]
    twisted = [array.T[None], array[:, None], array[:, :1], array.ravel()[:-1], float(array.flat[0])]
    return with_gains(rng, road) | {name: twisted[rng.integers(len(twisted))]}


def _missing(rng: np.random.Generator, road: Fields) -> Fields:
    name = rng.choice(["ap_position", "ue_position"])
    return {key: value for key, value in road.items() if key != name}


def _out_of_range(rng: np.random.Generator, road: Fields) -> Fields:
    ues, aps = _shape(road)
    wrong: list[Fields] = [
        {"pilot": np.full(ues, 99)},
        {"pilot": np.full(ues, -1)},
        {"receive_ap": np.array([0, 0])},
        {"receive_ap": np.array([aps])},
        {"serves": np.zeros((ues, aps))},
        {"serves": np.full((ues, aps), 0.5)},
        {"gain": np.full((ues, aps), -90.0)},
        {"crb_max": np.zeros(ues)},
        {"crb": "expected"},
        {"receiver": "magic"},
        {"downlink_symbols": 0},
        {"uplink_symbols": 2.5},
        {"bandwidth": -1.0},
        {"gram_real": np.zeros((ues, ues))},
        {"gram_imag": np.zeros((ues, ues))},
        {"ue_position": road["ap_position"]},
    ]
    return road | wrong[rng.integers(len(wrong))]


def _nobody(rng: np.random.Generator, road: Fields) -> Fields:
    return road | {str(rng.choice(["ap_position", "ue_position"])): np.zeros((0, 2))}


FAULTS = {
    "NaN": entry(np.nan),
    "inf": entry(np.inf),
    "-inf": entry(-np.inf),
    "1e300": entry(1e300),
    "wrong shape": _wrong_shape,
    "wrong type": wrong_type,
    "missing": _missing,
    "unknown": unknown,
    "out of range": _out_of_range,
    "nobody": _nobody,
}
"""Ways to get a road wrong."""
