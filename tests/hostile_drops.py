"""Random and adversarial networks for fuzzing: valid ones at the edges of what is allowed, and every way to get one wrong.

Used by tests/test_hostile_drops.py, benchmarks/fuzz_deployment.py and benchmarks/soak_server.py.
"""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np

Fields = dict[str, Any]

SIZES = (
    (1, 0, 1, 0, 1),
    (1, 1, 1, 1, 1),
    (2, 1, 1, 2, 1),
    (3, 1, 2, 2, 2),
    (3, 2, 4, 1, 4),
    (4, 1, 3, 3, 4),
    (6, 2, 6, 4, 4),
    (5, 1, 8, 0, 3),
)
"""Transmit APs, receive APs, UEs, targets, antennas."""


def plain(rng: np.random.Generator, size: tuple[int, int, int, int, int] | None = None) -> Fields:
    """A network as an engineer would send it: positions in a square, everything else by default or drawn."""
    tx, rx, ues, targets, antennas = SIZES[rng.integers(len(SIZES))] if size is None else size
    side = 150.0 * np.sqrt(tx + rx)

    def ground(count: int, low: float, high: float) -> Any:
        return np.column_stack([rng.uniform(0, side, (count, 2)), rng.uniform(low, high, count)])

    return {
        "tx_position": ground(tx, 5, 15),
        "tx_orientation": rng.uniform(-np.pi, np.pi, tx),
        "rx_position": ground(rx, 5, 15),
        "ue_position": ground(ues, 1, 2),
        "target_position": ground(targets, 20, 100),
        "num_antennas": antennas,
        "sir_min_db": float(rng.choice([-20.0, -5.0, 0.0, 5.0])),
    }


def with_gains(rng: np.random.Generator, drop: Fields) -> Fields:
    """The same network with measured gains in place of the path-loss model."""
    shape = (len(drop["ue_position"]), len(drop["tx_position"]))
    return drop | {"ue_gain": 10.0 ** rng.uniform(-13, -6, shape)}


def _gains(low: float, high: float) -> Any:
    def change(rng: np.random.Generator, drop: Fields) -> Fields:
        shape = (len(drop["ue_position"]), len(drop["tx_position"]))
        return drop | {"ue_gain": 10.0 ** rng.uniform(low, high, shape)}

    return change


def _zero_gains(rng: np.random.Generator, drop: Fields) -> Fields:
    drop = with_gains(rng, drop)
    gain = drop["ue_gain"] * (rng.random(drop["ue_gain"].shape) < 0.5)
    gain[np.arange(len(gain)), rng.integers(gain.shape[1], size=len(gain))] = 1e-9
    return drop | {"ue_gain": gain, "serving_ap": gain.argmax(1)[:, None]}


def _coincident(rng: np.random.Generator, drop: Fields) -> Fields:
    point = drop["tx_position"][0]
    names = rng.choice(["tx_position", "rx_position", "ue_position", "target_position"], 2, replace=False)
    return drop | {name: np.broadcast_to(point, drop[name].shape).copy() for name in names}


def _overhead(rng: np.random.Generator, drop: Fields) -> Fields:
    """Targets and UEs straight above or below the APs: elevations of 90 degrees, azimuths undefined."""
    index = rng.integers(len(drop["tx_position"]), size=len(drop["target_position"]))
    target = drop["tx_position"][index] + [0.0, 0.0, 50.0]
    return drop | {"target_position": target}


def _idle_aps(rng: np.random.Generator, drop: Fields) -> Fields:
    """All UEs and targets on the first AP: the others have no links."""
    sets = {"serving_ap": np.zeros((len(drop["ue_position"]), 1), int)}
    return drop | sets | {"sensing_ap": np.zeros((len(drop["target_position"]), 1), int)}


def _everyone_everywhere(rng: np.random.Generator, drop: Fields) -> Fields:
    return drop | {"serving_aps": 64, "sensing_aps": 64, "listening_aps": max(1, len(drop["rx_position"]))}


def _shared_pilot(rng: np.random.Generator, drop: Fields) -> Fields:
    return drop | {"pilot_symbols": 1, "pilot": np.zeros(len(drop["ue_position"]), int)}


def _uneven_power(rng: np.random.Generator, drop: Fields) -> Fields:
    power = 10.0 ** rng.uniform(-6, 5, len(drop["tx_position"]))
    return drop | {"ap_power": power, "pilot_power": 10.0 ** rng.uniform(-9, 2, len(drop["ue_position"]))}


def _far(rng: np.random.Generator, drop: Fields) -> Fields:
    return drop | {"ue_position": drop["ue_position"] * [1e4, 1e4, 1.0]}


def _huge_coordinates(rng: np.random.Generator, drop: Fields) -> Fields:
    return {name: value * 1e4 if name.endswith("_position") else value for name, value in drop.items()}


def _hard_sensing(rng: np.random.Generator, drop: Fields) -> Fields:
    return drop | {"sir_min_db": float(rng.choice([-100.0, 30.0, 60.0, 100.0]))}


def _extreme_physics(rng: np.random.Generator, drop: Fields) -> Fields:
    ends = {
        "carrier_frequency": (1e8, 1e12),
        "noise_power": (1e-22, 1e-3),
        "azimuth_spread_deg": (0.0, 180.0),
        "angle_error": (0.0, 1.0),
        "num_antennas": (1, 16),
    }
    chosen = rng.choice(list(ends), 2, replace=False)
    return drop | {str(name): ends[str(name)][rng.integers(2)] for name in chosen}


def _product_echoes(rng: np.random.Generator, drop: Fields) -> Fields:
    return drop | {"echo_gain": "product"}


def _single_precision(rng: np.random.Generator, drop: Fields) -> Fields:
    return {name: value.astype(np.float32) if isinstance(value, np.ndarray) else value for name, value in drop.items()}


EDGES = {
    "plain": lambda rng, drop: drop,
    "gains": with_gains,
    "huge gains": _gains(-2, 0),
    "tiny gains": _gains(-25, -20),
    "wild gains": _gains(-24, 0),
    "zero gains": _zero_gains,
    "coincident": _coincident,
    "overhead": _overhead,
    "idle APs": _idle_aps,
    "everyone everywhere": _everyone_everywhere,
    "one pilot": _shared_pilot,
    "uneven power": _uneven_power,
    "far UEs": _far,
    "huge coordinates": _huge_coordinates,
    "hard sensing": _hard_sensing,
    "extreme physics": _extreme_physics,
    "product echoes": _product_echoes,
    "float32": _single_precision,
}
"""Changes after which a network is still one, or at least may be: an answer and a refusal are both right, a crash is not."""


def entry(value: float) -> Any:
    """Put `value` somewhere into one of the arrays."""

    def change(rng: np.random.Generator, drop: Fields) -> Fields:
        names = [name for name, item in drop.items() if isinstance(item, np.ndarray) and item.size]
        name = names[rng.integers(len(names))]
        array = np.array(drop[name], dtype=float)
        array.flat[rng.integers(array.size)] = value
        return drop | {name: array}

    return change


def _wrong_shape(rng: np.random.Generator, drop: Fields) -> Fields:
    name = rng.choice(["tx_position", "tx_orientation", "ue_position"])
    array = drop[name]
    twisted = [
        array.T[None],
        array[:, None],
        np.concatenate([array, array]),
        array[:0],
        array.ravel()[:-1],
        float(array.flat[0]),
    ]
    return with_gains(rng, drop) | {str(name): twisted[rng.integers(len(twisted))]}


def wrong_type(rng: np.random.Generator, drop: Fields) -> Fields:
    """Something of another type in one of the fields."""
    name = rng.choice(list(drop))
    wrong: list[Any] = ["text", None, True, [[]], {"a": 1}, [1, [2, 3]], object(), b"bytes", 1 + 2j, np.array(["a"]), 10**400]
    return drop | {str(name): wrong[rng.integers(len(wrong))]}


def _missing(rng: np.random.Generator, drop: Fields) -> Fields:
    name = rng.choice(["tx_position", "tx_orientation", "rx_position", "ue_position", "target_position"])
    return {key: value for key, value in drop.items() if key != name}


def unknown(rng: np.random.Generator, drop: Fields) -> Fields:
    """A field that does not exist."""
    return drop | {str(rng.choice(["ue_positions", "", "__class__", "check", "x" * 1000, "a\nb\x00"])): 1}


def _wrong_index(rng: np.random.Generator, drop: Fields) -> Fields:
    ues, targets = len(drop["ue_position"]), len(drop["target_position"])
    wrong: list[Fields] = [
        {"serving_ap": np.full((ues, 1), 99)},
        {"serving_ap": np.full((ues, 1), -1)},
        {"serving_ap": np.zeros((ues, 2), int)},
        {"serving_ap": np.full((ues, 1), 0.5)},
        {"serving_ap": np.zeros((ues, 0), int)},
        {"sensing_ap": np.full((targets + 1, 1), 0)},
        {"listening_ap": np.full((targets + 1, 1), 7)},
        {"pilot": np.full(ues, ues)},
        {"pilot": np.full(ues, 2**62)},
    ]
    return drop | wrong[rng.integers(len(wrong))]


def _out_of_range(rng: np.random.Generator, drop: Fields) -> Fields:
    wrong: list[Fields] = [
        {"carrier_frequency": 2.0},
        {"noise_power": -90.0},
        {"noise_power": 0.0},
        {"num_antennas": 0},
        {"num_antennas": 10**9},
        {"num_antennas": 2.5},
        {"sir_min_db": 1e9},
        {"azimuth_spread_deg": -1.0},
        {"pilot_symbols": 0},
        {"serving_aps": 0},
        {"echo_gain": "magic"},
        {"ap_power": np.zeros(len(drop["tx_position"]))},
        {"tx_orientation": np.full(len(drop["tx_position"]), 90.0)},
        {"ue_gain": np.full((len(drop["ue_position"]), len(drop["tx_position"])), -90.0)},
        {"ue_gain": np.full((len(drop["ue_position"]), len(drop["tx_position"])), 1e-30)},
    ]
    return drop | wrong[rng.integers(len(wrong))]


def _nobody(rng: np.random.Generator, drop: Fields) -> Fields:
    return drop | {str(rng.choice(["tx_position", "ue_position", "rx_position"])): np.zeros((0, 3))}


FAULTS = {
    "NaN": entry(np.nan),
    "inf": entry(np.inf),
    "-inf": entry(-np.inf),
    "1e300": entry(1e300),
    "1e-300": entry(1e-300),
    "wrong shape": _wrong_shape,
    "wrong type": wrong_type,
    "missing": _missing,
    "unknown": unknown,
    "wrong index": _wrong_index,
    "out of range": _out_of_range,
    "nobody": _nobody,
}
"""Ways to get a network wrong. A few of them leave a valid one by chance."""


def as_json(drop: Fields) -> bytes:
    """A network as a careless client would send it: NaN and inf by name."""
    table = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in drop.items()}
    return json.dumps(table, default=str).encode()


def as_npz(drop: Fields) -> bytes:
    """A network as an npz file; whatever is no array becomes an array of text."""
    buffer = io.BytesIO()
    keys = {name.replace("\x00", "0") or "empty": value for name, value in drop.items()}
    plain = (np.ndarray, int, float)
    arrays: Fields = {name: value if isinstance(value, plain) else str(value) for name, value in keys.items()}
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def damage(rng: np.random.Generator, data: bytes) -> bytes:
    """Bytes cut short, flipped, repeated or replaced by noise."""
    way = rng.integers(5)
    if way == 0:
        return data[: rng.integers(len(data))]
    if way == 1:
        return rng.bytes(int(rng.integers(1, 400)))
    if way == 2:
        first = int(rng.integers(len(data)))
        return data[:first] + data[first // 2 :]
    broken = bytearray(data)
    for place in rng.integers(len(broken), size=1 if way == 3 else 20):
        broken[place] = rng.integers(256)
    return bytes(broken)
