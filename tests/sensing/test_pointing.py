"""Errors of tracked angles of any density: draws against quadrature, and correlated clutter against its samples."""

import math
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from isac_torch.errors import ScenarioError
from isac_torch.propagation.geometry import angles
from isac_torch.sensing.clutter import clutter_statistics, sample_clutter, temporal_covariance
from isac_torch.sensing.conditions import AntennaCorrelation, Pointing
from isac_torch.sensing.pointing import draw_errors, mean_beam_lags
from isac_torch.tracking.channel import channel_statistics
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.tracking.setup import SensingSetup

SCENARIO = TrackingScenario(num_aps=6, num_ues=2, num_targets=2, sensing_aps=2, angle_error=0.1)
DROP = SCENARIO.sample(2, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("density", ["normal", "uniform", "laplace"])
def test_mean_beams_are_the_mean_of_drawn_ones(density: str) -> None:
    pointing = Pointing(density=density, elevation_ratio=0.5)
    true = angles(DROP.tx_position, DROP.tx_orientation, DROP.target_position)
    azimuth, elevation = (a.transpose(1, 2).gather(2, DROP.sensing_ap).unsqueeze(1) for a in true)
    errors = draw_errors(pointing, 0.1, (2, 40_000, 2, 2), azimuth, torch.Generator().manual_seed(2))
    assert_close(errors[0].std(), azimuth.new_tensor(0.1), rtol=0.02, atol=0)
    assert_close(errors[1].std(), azimuth.new_tensor(0.05), rtol=0.02, atol=0)
    phase = math.pi * torch.sin(azimuth + errors[0]) * torch.cos(elevation + errors[1])
    lags = mean_beam_lags(DROP, SCENARIO, pointing, DROP.target_position.unsqueeze(2)) * 4
    for d in range(1, 4):
        assert_close(lags[..., d], torch.cos(d * phase).mean(1), rtol=0, atol=0.01)  # five standard errors
        assert_close(lags[..., 3 + d], torch.sin(d * phase).mean(1), rtol=0, atol=0.01)


def test_each_target_has_its_own_deviation() -> None:
    """Draws and mean beams of target l are those of a scenario whose angles all err as much as those of target l."""
    pointing, like = Pointing(target_ratios=(0.5, 2.0)), torch.zeros((), dtype=torch.float64)
    sideways, upwards = draw_errors(pointing, 0.1, (1, 5_000, 2, 4), like, torch.Generator().manual_seed(0))
    for error in (sideways, upwards):
        assert_close(
            error.transpose(1, 2).flatten(2).std(-1), torch.tensor([[0.05, 0.2]], dtype=torch.float64), rtol=0.05, atol=0
        )
    places = DROP.target_position.unsqueeze(2)
    lags = mean_beam_lags(DROP, SCENARIO, pointing, places)
    for target, deviation in enumerate((0.05, 0.2)):
        alone = mean_beam_lags(DROP, replace(SCENARIO, angle_error=deviation), Pointing(), places)
        assert_close(lags[:, target], alone[:, target], rtol=0, atol=1e-9)


def test_normal_errors_at_the_true_position_are_those_of_the_statistics() -> None:
    lags = mean_beam_lags(DROP, SCENARIO, Pointing(), DROP.target_position.unsqueeze(2))
    assert_close(lags, channel_statistics(DROP, SCENARIO).beam_lags)


def test_an_error_of_the_target_is_seen_by_all_of_its_aps() -> None:
    like = torch.zeros((), dtype=torch.float64)
    for errs, spread in (("ap", True), ("target", False)):
        pointing = Pointing(errs=errs)
        error, _ = draw_errors(pointing, 1.0, (1, 3, 2, 4), like, torch.Generator().manual_seed(0))
        assert bool((error.std(-1) > 0).all()) == spread


def test_correlated_clutter_is_sampled_with_its_covariance() -> None:
    correlation = AntennaCorrelation(transmit=0.6, receive=(0.8, *[0.2] * (DROP.rx_position.shape[1] - 1)))
    clutter = clutter_statistics(DROP, SCENARIO, SensingSetup(), correlation)
    generator = torch.Generator().manual_seed(3)
    sent = torch.randn(2, 1, DROP.tx_position.shape[1], 3, 4, generator=generator, dtype=torch.complex128)
    heard = sample_clutter(sent.expand(-1, 20_000, -1, -1, -1), clutter, generator)  # drop block rx time antenna
    assert clutter.receive_covariance is not None
    wanted = torch.einsum("drts,drab->drtasb", temporal_covariance(sent, clutter)[:, 0], clutter.receive_covariance)
    found = torch.einsum("dfrta,dfrsb->drtasb", heard, heard.conj()) / heard.shape[1]
    assert_close(found, wanted, rtol=0, atol=0.05 * float(wanted.abs().max()))  # five standard errors


@pytest.mark.parametrize("bad", [{"elevation_ratio": -1.0}, {"positions": -1}])
def test_errors_that_are_none_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ScenarioError, match=next(iter(bad))):
        Pointing(**bad)


def test_correlations_that_are_none_are_refused() -> None:
    with pytest.raises(ScenarioError, match="receive"):
        AntennaCorrelation(receive=1.0)
    with pytest.raises(ScenarioError, match="receive"):
        AntennaCorrelation(receive=(0.5, -0.1))
    with pytest.raises(ScenarioError, match="one for each"):
        clutter_statistics(DROP, SCENARIO, SensingSetup(), AntennaCorrelation(receive=(0.5,) * 7))


def test_deviations_of_other_targets_than_there_are_are_refused() -> None:
    with pytest.raises(ScenarioError, match="target_ratios"):
        Pointing(target_ratios=(1.0, -1.0))
    with pytest.raises(ScenarioError, match="one for each"):
        mean_beam_lags(DROP, SCENARIO, Pointing(target_ratios=(1.0,) * 3), DROP.target_position.unsqueeze(2))
