"""Likelihood ratio tests against dense oracles and the laws of statistics."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.testing import assert_close

from isac_torch.errors import ScenarioError
from isac_torch.sensing.clutter import clutter_statistics, sample_clutter, temporal_covariance
from isac_torch.sensing.conditions import Nearby
from isac_torch.sensing.echoes import EchoScene
from isac_torch.sensing.glrt import (
    Glrt,
    local_statistics,
    moments,
    statistic,
)
from isac_torch.sensing.quality import OperatingPoint, StatisticLaw, echo_quality, miss_probability
from isac_torch.tracking.detection import reflectivity_correlation
from isac_torch.tracking.laws import chi_square_threshold, weighted_exceedance, weighted_threshold
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.tracking.setup import SensingSetup
from isac_torch.tracking.whitening import nlos_probability
from tests.oracles import detection as dense
from tests.sensing.scenes import NEAR, SAMPLES, SETUP, SMALL, TESTS, label, make_pair, make_scene, make_sent, normal


def _full_covariance(scene: EchoScene, d: int, r: int) -> np.ndarray:
    """Q = Q_t x Q_r of every transmit AP, as N^2 x N^2 matrices over stacked columns."""
    root, receive = scene.clutter.transmit_root, scene.clutter.receive_covariance
    if root is None or receive is None:
        return np.stack([np.eye(9)] * 5)
    return np.stack([np.kron((x @ x.mH).numpy(), receive[d, r].numpy()) for x in root[d, r]])


def _largest(values: np.ndarray, count: int | None) -> np.ndarray:
    """Positions of the largest values, all of them for None."""
    return np.argsort(-values)[: len(values) if count is None else count]


def _dense_case(scene: EchoScene, sent: Tensor, d: int, f: int, target: int, r: int, test: Glrt) -> tuple:
    signal, power, scale = sent[d, f].numpy(), scene.clutter.power[d, r].numpy(), scene.scale[d, :, r].numpy()
    shapes, clutter = _full_covariance(scene, d, r), _largest(power, test.near.aps)
    noise, known = (
        np.eye(signal.shape[1] * 3) + dense.clutter_covariance(signal[some], power[some], shapes[some])
        for some in (np.arange(5), clutter)
    )
    others = np.array([t for t in range(3) if t != target and test.form != "single"], dtype=int)
    order = [target, *others]
    echoes = {
        t: dense.echo_matrix(signal, scale[t], scene.response[d, t].numpy(), scene.listener_response[d, t, r].numpy())
        for t in order
    }
    reflectivity = [scene.reflectivity[d, t].numpy() for t in order]
    white = dense.inverse_root(known) if test.clutter_statistics else np.eye(len(noise))
    columns = {t: echoes[t][:, _largest(scale[t], test.near.aps)] for t in order}
    strength = np.array([np.sum(scale[t][_largest(scale[t], None)] ** 2) for t in others])
    near = others[_largest(strength, test.near.targets)]
    basis = dense.projection_basis(columns[target], [columns[t] for t in near], white, test.form)
    return [echoes[t] for t in order], reflectivity, noise, white, basis


@pytest.mark.parametrize("colour", [False, True], ids=["white", "kronecker"])
@pytest.mark.parametrize("test", [*TESTS, *NEAR], ids=label)
def test_statistic_and_moments_match_the_dense_oracle(test: Glrt, colour: bool) -> None:
    """To 1e-7: projectors of nearly parallel columns lose half the digits, solves and singular vectors alike."""
    scene, sent = make_scene(colour, listeners=2), make_sent()
    observed = normal(2, 2, 2, SAMPLES, 3, seed=9)
    got, found = statistic(observed, sent, scene, test), moments(sent, scene, test)
    quality = echo_quality(sent, scene, test)
    for d in range(2):
        for target in range(3):
            expected = signal = noise = 0.0
            for r in scene.listening[d, target].tolist():
                echoes, reflectivity, covariance, white, basis = _dense_case(scene, sent, d, 1, target, r, test)
                expected += dense.statistic(observed[d, 1, r].flatten().numpy(), basis, white)
                parts = dense.ratio_parts(echoes[0], echoes[1:], reflectivity, covariance, basis, white)
                signal, noise = signal + parts[0], noise + parts[1]
            assert got[d, 1, target].item() == pytest.approx(expected, rel=1e-7)
            law = StatisticLaw(found, test)
            weights = [float(law.weights(1.0, loud=loud)[d, 1, target].sum()) for loud in (False, True)]
            assert weights[0] == pytest.approx(noise, rel=1e-7)
            assert weights[1] - weights[0] == pytest.approx(signal, rel=1e-6)
            assert quality.signal[d, 1, target].item() == pytest.approx(signal, rel=1e-6)
            assert quality.disturbance[d, 1, target].item() == pytest.approx(noise, rel=1e-6)


@pytest.mark.parametrize("colour", [False, True], ids=["white", "kronecker"])
@pytest.mark.parametrize("test", TESTS, ids=label)
def test_knowing_of_as_many_aps_and_targets_as_there_are_is_the_full_test(test: Glrt, colour: bool) -> None:
    """To rounding of nearly parallel columns."""
    scene, sent = make_scene(colour, listeners=2), make_sent()
    observed = normal(2, 2, 2, SAMPLES, 3, seed=9)
    whole = replace(test, near=Nearby(aps=5, targets=2))
    assert_close(statistic(observed, sent, scene, whole), statistic(observed, sent, scene, test), rtol=1e-9, atol=0.0)
    ratio, known_ratio = (echo_quality(sent, scene, some).ratio for some in (whole, test))
    assert_close(ratio, known_ratio, rtol=1e-8, atol=0.0)
    got, expected = (miss_probability(moments(sent, scene, some), some, 1e-2) for some in (whole, test))
    assert_close(got, expected, rtol=1e-6, atol=1e-9)


def test_numbers_that_leave_no_test_are_refused() -> None:
    with pytest.raises(ScenarioError, match=r"near\.aps=0"):
        Nearby(aps=0)
    with pytest.raises(ScenarioError, match=r"near\.targets=-1"):
        Nearby(targets=-1)


@pytest.mark.parametrize("colour", [False, True], ids=["white", "kronecker"])
def test_simulated_clutter_has_the_dense_covariance(colour: bool) -> None:
    """Sample covariance of 8000 draws: entries err by about 1/sqrt(8000) of the diagonal, 1 %; the norm by a few per cent."""
    scene, sent = make_scene(colour), make_sent(1, samples=3)
    draws = sent[:, :1].expand(-1, 8_000, -1, -1, -1)
    clutter = sample_clutter(draws, scene.clutter, torch.Generator().manual_seed(1))
    for r in range(2):
        flat = clutter[0, :, r].flatten(1)
        sampled = (flat.T @ flat.conj() / len(flat)).numpy()
        expected = dense.clutter_covariance(
            sent[0, 0].numpy(), scene.clutter.power[0, r].numpy(), _full_covariance(scene, 0, r)
        )
        assert np.linalg.norm(sampled - expected) < 0.07 * np.linalg.norm(expected)
        receive = scene.clutter.receive_covariance
        over_antennas = torch.eye(3, dtype=torch.complex128) if receive is None else receive[0, r]
        fast = torch.kron(temporal_covariance(sent, scene.clutter)[0, 0, r].contiguous(), over_antennas.contiguous())
        assert np.allclose(fast.numpy(), expected, rtol=1e-10, atol=1e-10 * np.abs(expected).max())


def test_what_the_aps_send_adds_up_to_the_statistic() -> None:
    scene, sent = make_scene(listeners=2), make_sent()
    observed = normal(2, 2, 2, SAMPLES, 3, seed=9)
    for test in TESTS:
        sides = local_statistics(observed, sent, scene, test)
        assert sides.shape == (2, 2, 3, 2)
        assert bool((sides >= 0.0).all())
        assert_close(sides.sum(-1), statistic(observed, sent, scene, test))


@pytest.mark.parametrize("test", TESTS, ids=label)
def test_operating_points_are_the_scenes_of_their_cross_sections(test: Glrt) -> None:
    """Misses at other cross-sections, from one filter, are those of a scene whose echoes are computed at that cross-section."""
    scene, sent = make_pair(0.5, listeners=2), make_sent(4, drops=1)
    law = StatisticLaw(moments(sent, scene, test), test)
    for brightness, false_alarm in ((1.0, 1e-2), (0.04, 1e-2), (25.0, 1e-3)):
        own = moments(sent, replace(scene, scale=scene.scale * brightness**0.5), test)
        expected = miss_probability(own, test, false_alarm)
        assert_close(law.miss(OperatingPoint(brightness, false_alarm)), expected, rtol=1e-6, atol=1e-8)


def test_laws_match_scipy() -> None:
    for freedom in (1, 2, 12, 48):
        for probability in (0.3, 1e-2, 1e-5):
            exact = stats.chi2.isf(probability, 2 * freedom) / 2
            level = chi_square_threshold(torch.tensor([freedom]), probability)
            assert level.item() == pytest.approx(exact, rel=1e-10)
            equal = torch.full((1, freedom), 3.0, dtype=torch.float64)
            assert weighted_exceedance(equal, 3.0 * level).item() == pytest.approx(probability, abs=1e-8)
    weight = torch.tensor([[10.0, 1.0, 1.0, 0.1, 0.0], [2.0, 0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    level = weighted_threshold(weight, 1e-2)
    drawn = torch.empty(200_000, 2, 5, dtype=torch.float64).exponential_(generator=torch.Generator().manual_seed(0))
    rate = ((drawn * weight).sum(-1) > level).double().mean(0)
    assert_close(rate, torch.full_like(rate, 1e-2), rtol=0.0, atol=4 * (1e-2 / 200_000) ** 0.5)
    spread = 10 ** torch.randn(40, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for probability in (0.3, 1e-2, 1e-5):
        reached = weighted_exceedance(spread, weighted_threshold(spread, probability))
        assert_close(reached, torch.full_like(reached, probability), rtol=2e-3, atol=0.0)


def test_laws_are_the_same_in_numpy() -> None:
    spread = 10 ** torch.randn(6, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    level = weighted_threshold(spread, 1e-2)
    np.testing.assert_allclose(weighted_threshold(spread.numpy(), 1e-2), level.numpy(), rtol=1e-9)
    np.testing.assert_allclose(weighted_exceedance(spread.numpy(), level.numpy()), weighted_exceedance(spread, level).numpy())
    freedom = torch.tensor([[0, 7], [300, 7]])
    assert freedom.shape == chi_square_threshold(freedom, 0.1).shape
    np.testing.assert_allclose(
        chi_square_threshold(freedom.numpy(), 0.1), chi_square_threshold(freedom, 0.1).numpy(), rtol=1e-12
    )
    assert chi_square_threshold(freedom, 0.1)[1, 0].item() == pytest.approx(stats.chi2.isf(0.1, 600) / 2, rel=1e-10)


def test_laws_of_nothing() -> None:
    assert chi_square_threshold(torch.tensor([0, 1]), 0.1).isinf().tolist() == [True, False]
    nothing = torch.zeros(1, 4, dtype=torch.float64)
    assert weighted_threshold(nothing, 0.1).isinf().all()
    assert float(weighted_exceedance(nothing, torch.ones(1, dtype=torch.float64))) == 0.0
    some = torch.ones(1, 4, dtype=torch.float64)
    assert float(weighted_exceedance(some, torch.zeros(1, dtype=torch.float64))) == 1.0


def test_clutter_power_of_the_scenario() -> None:
    """kappa^2 = varsigma b (1 - p_LoS) over the noise; zero between APs that always see each other."""
    drop = SMALL.sample(2, generator=torch.Generator().manual_seed(0))
    power = clutter_statistics(drop, SMALL, SETUP).power
    for r in range(2):
        for m in range(5):
            metres = max(float((drop.rx_position[0, r] - drop.tx_position[0, m]).norm()), 10.0)
            seen = min(18 / metres, 1) * (1 - np.exp(-metres / 36)) + np.exp(-metres / 36)
            gain = 10 ** (-(36.7 * np.log10(metres) + 22.7 + 26 * np.log10(2.0)) / 10)
            assert float(power[0, r, m]) == pytest.approx(gain * (1 - seen) / SMALL.noise_power, rel=1e-9)
    assert nlos_probability(torch.tensor([5.0, 18.0])).tolist() == [0.0, 0.0]
    brighter = clutter_statistics(drop, SMALL, replace(SETUP, clutter_path="los")).power
    assert bool((brighter > 20 * power).all())


def test_reflectivities_are_correlated_by_the_angle_of_view() -> None:
    target = torch.tensor([[[0.0, 0.0, 50.0]]], dtype=torch.float64)
    ap = torch.tensor([[[100.0, 0.0, 50.0], [200.0, 0.0, 50.0], [0.0, 100.0, 50.0]]], dtype=torch.float64)
    correlation = reflectivity_correlation(target, ap, 0.5)[0, 0]
    expected = torch.tensor([[1.0, 1.0, np.exp(-4)], [1.0, 1.0, np.exp(-4)], [np.exp(-4), np.exp(-4), 1.0]])
    assert_close(correlation, expected.double())
    assert torch.equal(reflectivity_correlation(target, ap, 0.0)[0, 0], torch.eye(3, dtype=torch.float64))
    drop = TrackingScenario().sample(20, generator=torch.Generator().manual_seed(0))
    for width in (0.01, 0.17, 3.0):
        least = torch.linalg.eigvalsh(reflectivity_correlation(drop.target_position, drop.tx_position, width)).amin()
        assert float(least) > -1e-12


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"num_regions": 5}, "square number"),
        ({"false_alarm": 0.0}, "false_alarm"),
        ({"clutter_factor": -1.0}, "negative"),
        ({"rcs_variance_dbsm": float("nan")}, "finite"),
        ({"sensing_samples": 0}, "at least 1"),
    ],
)
def test_setups_that_describe_no_test_are_refused(change: dict[str, object], word: str) -> None:
    with pytest.raises(ScenarioError, match=word):
        replace(SETUP, **change)


def test_more_samples_than_a_block_has_are_refused() -> None:
    with pytest.raises(ScenarioError, match="coherence_length=50"):
        SensingSetup(sensing_samples=51).samples(SMALL)
    assert SensingSetup().samples(SMALL) == 50
