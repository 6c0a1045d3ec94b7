"""Scenarios: valid ones give consistent drops, impossible ones are refused in one line."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from isac_torch.errors import ScenarioError
from isac_torch.tracking.drop import TrackingDrop
from isac_torch.tracking.scenario import TrackingScenario

PAPER = TrackingScenario()


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _all_aps(drop: TrackingDrop) -> Tensor:
    return torch.cat([drop.tx_position, drop.rx_position], dim=1)


@given(
    num_aps=st.integers(2, 20),
    num_ues=st.integers(1, 24),
    num_targets=st.integers(0, 9),
    links=st.integers(1, 6),
    pilots=st.integers(1, 30),
    pilot_assignment=st.sampled_from(["round_robin", "greedy"]),
)
@settings(max_examples=40, deadline=None)
def test_every_valid_scenario_has_consistent_drops(
    num_aps: int, num_ues: int, num_targets: int, links: int, pilots: int, pilot_assignment: str
) -> None:
    scenario = TrackingScenario(
        num_aps=num_aps,
        num_ues=num_ues,
        num_targets=num_targets,
        serving_aps=links,
        sensing_aps=links,
        pilot_length=pilots,
        pilot_assignment=pilot_assignment,
    )
    drop = scenario.sample(2, generator=_seeded(num_aps))
    assert scenario.transmit_aps + scenario.receive_aps == num_aps
    assert drop.serving_ap.shape == (2, num_ues, min(links, scenario.transmit_aps))
    assert drop.sensing_ap.shape == (2, num_targets, min(links, scenario.transmit_aps))
    assert drop.listening_ap.shape == (2, num_targets, 1)
    for index, size in (
        (drop.serving_ap, scenario.transmit_aps),
        (drop.sensing_ap, scenario.transmit_aps),
        (drop.listening_ap, scenario.receive_aps),
        (drop.pilot, pilots),
    ):
        assert index.numel() == 0 or 0 <= int(index.min()) <= int(index.max()) < size
    assert all(len(set(row)) == len(row) for row in drop.serving_ap.flatten(0, 1).tolist())
    assert scenario.data_share == pytest.approx((50 - pilots) / 50)
    if pilots >= num_ues:
        assert all(len(set(row)) == num_ues for row in drop.pilot.tolist())


@given(
    st.sampled_from(
        ["ap_power", "pilot_power", "bandwidth", "carrier_frequency", "shadowing_db", "angle_error", "sir_min_db", "area_m2"]
    ),
    st.sampled_from([math.nan, math.inf, -math.inf]),
)
def test_numbers_must_be_finite(name: str, value: float) -> None:
    with pytest.raises(ScenarioError) as caught:
        TrackingScenario(**{name: value})
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "bad",
    [
        {"num_ues": 0},
        {"num_aps": 1},
        {"num_aps": -3},
        {"num_targets": -1},
        {"num_antennas": 0},
        {"num_receive_aps": 0},
        {"num_receive_aps": 16},
        {"listening_aps": 5},
        {"serving_aps": 0},
        {"sensing_aps": 0},
        {"pilot_length": 0},
        {"pilot_length": 50},
        {"num_ues": 20, "coherence_length": 20},
        {"coherence_length": 0},
        {"ap_power": 0.0},
        {"pilot_power": -1e-4},
        {"area_m2": 0.0},
        {"shadowing_db": -1.0},
        {"target_height_min": 120.0},
        {"target_height_min": 0.0},
    ],
    ids=str,
)
def test_impossible_scenarios_are_refused_in_one_line(bad: dict[str, object]) -> None:
    with pytest.raises(ScenarioError) as caught:
        TrackingScenario(**bad)
    message = str(caught.value)
    assert "\n" not in message
    assert any(name in message for name in bad), message


@pytest.mark.parametrize("name", ["receive_selection", "receive_assignment", "pilot_assignment", "echo_gain"])
def test_unknown_choices_are_refused(name: str) -> None:
    scenario = TrackingScenario()
    object.__setattr__(scenario, name, "best")  # past the type checks that tests run under
    with pytest.raises(ScenarioError, match=f"{name}='best' must be one of"):
        scenario.__post_init__()


@pytest.mark.parametrize("size", ["16x16", "16x16x4x", "axbxc", "", "16 x 16 x 4"])
def test_sizes_that_are_not_sizes(size: str) -> None:
    with pytest.raises(ScenarioError, match="16x16x4"):
        TrackingScenario.of_size(size)


def test_size_classes() -> None:
    """The paper's AP density, a quarter of the APs receives, blocks of 200 above 24 UEs."""
    large = TrackingScenario.of_size("64x32x8", pilot_length=16)
    assert (large.receive_aps, large.transmit_aps, large.block_length) == (16, 48, 200)
    assert large.side**2 == pytest.approx(2e6)
    assert TrackingScenario.of_size("16x24x4").block_length == 50
    assert TrackingScenario.of_size("2x2x2").receive_aps == 1
    assert PAPER.name == "16x16x4_tau16_sir-5"


def test_no_drops_are_refused() -> None:
    with pytest.raises(ScenarioError, match="num_drops=0"):
        PAPER.sample(0, generator=_seeded())
