"""Snapshots from anybody: every wrong one ends in one DropError line, and what passes the check has sound coefficients."""

import json
import math
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isac_torch.deployment.files import encode_json
from isac_torch.deployment.guard import guard
from isac_torch.deployment.snapshot import Snapshot
from isac_torch.deployment.statistics import coefficients
from isac_torch.errors import DropError
from isac_torch.tracking.fractional import fractional_power
from isac_torch.tracking.scenario import TrackingScenario

SCENARIO = TrackingScenario.of_size("6x3x2", pilot_length=2)
WHOLE = Snapshot.from_drop(SCENARIO.sample(1, generator=torch.Generator().manual_seed(900_500)), 0, SCENARIO)
GIVEN: dict[str, Any] = {item.name: getattr(WHOLE, item.name) for item in fields(Snapshot)}
ARRAYS = [name for name, value in GIVEN.items() if isinstance(value, np.ndarray)]


def _checked(**change: Any) -> Snapshot:
    snapshot = Snapshot.from_mapping(GIVEN | change)
    snapshot.check()
    return snapshot


def test_lists_of_json_are_as_good_as_arrays() -> None:
    again = Snapshot.from_mapping(json.loads(encode_json([WHOLE])))
    again.check()
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(again, name), GIVEN[name])
        assert getattr(again, name).dtype == GIVEN[name].dtype
    for dtype in (np.float32, np.float16, np.longdouble, np.int32):
        assert _checked(tx_orientation=np.ones(len(WHOLE.tx_position), dtype)).tx_orientation.dtype == np.float64
    assert _checked(pilot=np.array([0.0, 1.0, 0.0])).pilot.dtype == np.int64  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ue_gain": 10 * np.log10(GIVEN["ue_gain"])}, "not dB"),
        ({"ue_gain": GIVEN["ue_gain"].T}, "same sizes"),
        ({"tx_orientation": np.degrees(GIVEN["tx_orientation"]) + 90.0}, "radians, not degrees"),
        ({"ap_power": [33.0] * 3 + [-3.0]}, "W, not dBm"),
        ({"noise_power": -94.0}, "not dBm"),
        ({"carrier_frequency": 2.0}, "Hz"),
        ({"target_position": [[1.0, 2.0]]}, "[target, 3]"),
        ({"target_position": [[1.0, 2.0, math.nan], [1.0, 2.0, 3.0]]}, "NaN"),
        ({"tx_position": [["a", "b", "c"]]}, "real numbers"),
        ({"tx_position": [[1, 2, 3], [1, 2]]}, "no array of numbers"),
        ({"tx_position": [[True, False, True]] * 4}, "real numbers"),
        ({"tx_position": None}, "tx_position is missing"),
        ({"rx_position": [], "rx_orientation": []}, "receive AP"),
        ({"serving_ap": [[0, 4], [0, 1], [0, 1]]}, "start at 0"),
        ({"serving_ap": [[0, -1], [0, 1], [0, 1]]}, "start at 0"),
        ({"serving_ap": [[0, 0], [0, 1], [0, 1]]}, "twice"),
        ({"serving_ap": [[0.5, 1], [0, 1], [0, 1]]}, "whole numbers"),
        ({"serving_ap": [[0, 1e300], [0, 1], [0, 1]]}, "whole numbers"),
        ({"serving_ap": np.zeros((3, 0), int)}, "no AP"),
        ({"sensing_ap": np.zeros((2, 0), int)}, "no AP"),
        ({"pilot": [0, 1, 2]}, "start at 0"),
        ({"pilot_symbols": 2.5}, "whole number"),
        ({"num_antennas": True}, "must be a number"),
        ({"num_antennas": 10**400}, "finite"),
        ({"sir_min_db": "high"}, "must be a number"),
        ({"sir_min_db": math.inf}, "finite"),
        ({"echo_gain": ["radar"]}, "'radar' or 'product'"),
        ({"ue_position": None}, "leave it out only where"),
        ({"ue_azimuth": np.zeros((3, 4))}, "belong together"),
        ({"ue_position": [], "ue_gain": None, "pilot_power": None, "pilot": None, "serving_ap": None}, "no links"),
        ({"colour": 1}, "no field of a drop"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_refusals_name_the_field_and_the_remedy(change: dict[str, Any], words: str) -> None:
    with pytest.raises(DropError) as refused:
        _checked(**change)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_no_targets_in_any_spelling() -> None:
    spellings: tuple[list[list[float]] | np.ndarray, ...] = ([], np.zeros((0, 3)), np.zeros(0))
    for empty in spellings:
        bare = _checked(target_position=empty, sensing_ap=None, listening_ap=None)
        assert bare.target_position.shape == (0, 3)
        assert coefficients([bare]).num_constraints == 0
    assert (
        coefficients(
            [_checked(target_position=[], sensing_ap=[], listening_ap=[], rx_position=[], rx_orientation=[])]
        ).num_targets
        == 0
    )


junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.complex_numbers(),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.recursive(st.one_of(st.floats(), st.integers(), st.text(max_size=2), st.none()), lambda x: st.lists(x, max_size=4)),
)
extremes = st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, 1e-300, 1e-12, 1.0, 9.99, 1e7, 1e300, -1e7, -1.0])


@settings(max_examples=250, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(GIVEN)), junk)
def test_anything_in_a_field_is_refused_in_one_line_or_allocated(name: str, value: Any) -> None:
    _allocated_or_refused({name: value})


@settings(max_examples=250, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(ARRAYS), st.integers(0, 100), extremes), min_size=1, max_size=6))
def test_extreme_numbers_are_refused_in_one_line_or_allocated(places: list[tuple[str, int, float]]) -> None:
    change: dict[str, Any] = {}
    for name, index, value in places:
        array = change.setdefault(name, GIVEN[name].astype(float))
        array.flat[index % array.size] = value
    _allocated_or_refused(change)


def _allocated_or_refused(change: dict[str, Any]) -> None:
    refusal = ""
    try:
        problem = coefficients([_checked(**change)])
    except DropError as error:
        refusal = str(error)
    if refusal:
        assert "\n" not in refusal
        assert len(refusal) < 400
        return
    for name in ("signal", "leakage", "coherent", "echo", "cross_echo", "budget", "link_gain"):
        assert np.isfinite(getattr(problem, name)).all(), name
    answer = guard(problem, fractional_power(problem, 0.0, 1.0))
    assert np.isfinite(answer.power).all()
    assert answer.power.min() >= 0.0
    assert problem.violations(answer.power).budget.max() <= 1e-9
    assert np.isfinite(problem.sinr(answer.power)).all()


@pytest.mark.parametrize("height", [0.0, 10.0])
def test_everything_at_one_place_is_a_network(height: float) -> None:
    """Coincident positions count as the least distance; nothing is known of their direction, nothing breaks."""
    point = [5.0, 5.0, height]
    spots = {"tx_position": [point] * 4, "rx_position": [point] * 2, "ue_position": [point] * 3, "target_position": [point] * 2}
    _allocated_or_refused(spots | {"ue_gain": None})
    problem = coefficients([_checked(**spots, ue_gain=None)])
    assert problem.sinr(np.full((1, problem.num_links), 0.1)).min() > 0.0


def test_far_away_is_weak_but_sound() -> None:
    far = replace(
        WHOLE, ue_gain=None, serving_ap=None, ue_position=np.full((3, 3), 9.9e6), target_position=np.full((2, 3), -9.9e6)
    )
    far.check()
    problem = coefficients([far])
    problem.check()
    assert np.isfinite(problem.sinr(np.ones((1, problem.num_links)))).all()
