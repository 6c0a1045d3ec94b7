"""Likelihood ratio tests against dense oracles, simulation and the laws of statistics."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.testing import assert_close

from isac_torch.errors import ScenarioError
from isac_torch.sensing.clutter import Clutter, clutter_statistics, sample_clutter, temporal_covariance
from isac_torch.sensing.conditions import Nearby
from isac_torch.sensing.echoes import EchoScene, echo_scene, observe, sample_reflectivity
from isac_torch.sensing.glrt import (
    Glrt,
    estimated_reflectivity,
    local_statistics,
    moments,
    statistic,
)
from isac_torch.sensing.projection import rank
from isac_torch.sensing.quality import OperatingPoint, StatisticLaw, echo_quality, miss_probability, threshold_of
from isac_torch.tracking.detection import reflectivity_correlation
from isac_torch.tracking.laws import chi_square_threshold, weighted_exceedance, weighted_threshold
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.tracking.setup import SensingSetup
from isac_torch.tracking.whitening import nlos_probability
from tests.oracles import detection as dense

SMALL = TrackingScenario(num_aps=7, num_receive_aps=2, num_ues=3, num_targets=3, serving_aps=2, sensing_aps=2, num_antennas=3)
SETUP = SensingSetup(clutter_factor=1.0)
TESTS = [Glrt(form, known) for form in ("single", "paper", "joint") for known in (True, False)]
NEAR = [
    Glrt("single", near=Nearby(aps=2)),
    Glrt("single", False, near=Nearby(aps=3)),
    Glrt("paper", near=Nearby(aps=3)),
    Glrt("joint", near=Nearby(aps=2)),
    Glrt("joint", near=Nearby(targets=1)),
    Glrt("joint", near=Nearby(aps=3, targets=0)),
    Glrt("joint", False, near=Nearby(aps=3, targets=1)),
]
"""Tests that know of near APs and targets only; of 5 transmit APs and 2 other targets."""
SAMPLES = 8


def _id(test: Glrt) -> str:
    near = "".join(f"-{value}{name}" for value, name in ((test.near.aps, "aps"), (test.near.targets, "targets")) if value)
    return f"{test.form}-{'clutter' if test.clutter_statistics else 'noise'}{near}"


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.complex128)


def _covariance(*shape: int, size: int, seed: int) -> Tensor:
    factor = _normal(*shape, size, size, seed=seed)
    return factor @ factor.mH / size


def _scene(
    colour: bool = False, listeners: int = 1, seed: int = 0, echo: float = 1.0, drops: int = 2, targets: int = 3
) -> EchoScene:
    """Geometry of random drops; strengths are set so that echoes, clutter and noise all matter."""
    scenario = replace(SMALL, listening_aps=listeners, num_targets=targets)
    scene = echo_scene(scenario.sample(drops, generator=torch.Generator().manual_seed(seed)), scenario, SETUP)
    power = scene.clutter.power / scene.clutter.power.mean()
    scale = echo * scene.scale / scene.scale.square().mean((2, 3), keepdim=True).sqrt()
    root = receive = None
    if colour:
        root = _normal(2, 2, 5, 3, 3, seed=seed + 1) / 3**0.5
        receive = _covariance(2, 2, size=3, seed=seed + 2)
    return replace(scene, scale=scale, clutter=Clutter(power, root, receive))


def _pair(echo: float, listeners: int = 1) -> EchoScene:
    """Two targets in one drop: enough for statistics over many blocks."""
    return _scene(listeners=listeners, echo=echo, drops=1, targets=2)


def _sent(num_blocks: int = 2, seed: int = 3, samples: int = SAMPLES, drops: int = 2) -> Tensor:
    return _normal(drops, num_blocks, 5, samples, 3, seed=seed)


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
@pytest.mark.parametrize("test", [*TESTS, *NEAR], ids=_id)
def test_statistic_and_moments_match_the_dense_oracle(test: Glrt, colour: bool) -> None:
    """To 1e-7: projectors of nearly parallel columns lose half the digits, solves and singular vectors alike."""
    scene, sent = _scene(colour, listeners=2), _sent()
    observed = _normal(2, 2, 2, SAMPLES, 3, seed=9)
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
@pytest.mark.parametrize("test", TESTS, ids=_id)
def test_knowing_of_as_many_aps_and_targets_as_there_are_is_the_full_test(test: Glrt, colour: bool) -> None:
    """To rounding of nearly parallel columns."""
    scene, sent = _scene(colour, listeners=2), _sent()
    observed = _normal(2, 2, 2, SAMPLES, 3, seed=9)
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
    scene, sent = _scene(colour), _sent(1, samples=3)
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


def _simulate(scene: EchoScene, sent: Tensor, seed: int, present: tuple[bool, ...], fixed: Tensor | None = None) -> Tensor:
    """Observations with noise, clutter and the echoes of some targets. `fixed` reflectivities, or drawn ones."""
    generator = torch.Generator().manual_seed(seed)
    drops, blocks = sent.shape[:2]
    if fixed is None:
        once = replace(scene, listening=torch.arange(2).expand(drops, len(present), 2))
        reflectivity = sample_reflectivity(once, blocks, generator)
    else:
        reflectivity = fixed
    mask = torch.tensor(present)[:, None, None]
    quiet = sample_clutter(sent, scene.clutter, generator)
    noise = torch.randn(quiet.shape, generator=generator, dtype=quiet.dtype)
    return quiet + noise + observe(sent, scene, reflectivity * mask)


@pytest.mark.parametrize("test", [*TESTS, NEAR[0], NEAR[-2]], ids=_id)
def test_every_detector_keeps_its_false_alarm_rate(test: Glrt) -> None:
    """Each by its own H0 law, the other target present where the test knows of it: 4 binomial deviations of 5000 draws."""
    _check_false_alarms(test, 5e-2, 250)


@pytest.mark.slow
@pytest.mark.parametrize("test", TESTS, ids=_id)
def test_every_detector_keeps_its_false_alarm_rate_at_one_per_cent(test: Glrt) -> None:
    """4 binomial deviations of 100000 draws: 12 % of the rate."""
    _check_false_alarms(test, 1e-2, 5000)


def _check_false_alarms(test: Glrt, false_alarm: float, repeats: int) -> None:
    blocks = 20
    scene, sent = _pair(0.3), _sent(blocks, drops=1)
    threshold = threshold_of(moments(sent, scene, test), test, false_alarm)
    repeated = sent.repeat(1, repeats, 1, 1, 1)
    crowd = test.form != "single"
    observed = _simulate(scene, repeated, 5, (False, crowd))
    alarms = statistic(observed, repeated, scene, test)[..., 0] > threshold[..., 0].repeat(1, repeats)
    count = alarms.numel()
    assert abs(float(alarms.double().mean()) - false_alarm) < 4 * (false_alarm * (1 - false_alarm) / count) ** 0.5


@pytest.mark.parametrize("test", [Glrt("single"), Glrt("joint")], ids=_id)
def test_estimated_reflectivities_reach_the_cramer_rao_bound(test: Glrt) -> None:
    """Fixed reflectivities in drawn clutter and noise: no bias, and K^-1 as error covariance, within the draws' spread."""
    repeats, crowd = 6000, test.form == "joint"
    # Without clutter correlation the responses of five APs over many samples are independent: K is regular.
    scene, sent = _pair(1.0), _normal(1, 1, 5, 16, 3, seed=11)
    fixed = _normal(1, 1, 2, 2, 5, seed=12)
    repeated = sent.expand(-1, repeats, -1, -1, -1)
    observed = _simulate(scene, repeated, 13, (True, crowd), fixed.expand(-1, repeats, -1, -1, -1))
    error = estimated_reflectivity(observed, repeated, scene, test)[0, :, 0, 0] - fixed[0, 0, 0, scene.listening[0, 0, 0]]
    bound = torch.linalg.inv(moments(sent, scene, test).gram[0, 0, 0, 0])
    size = bound.diagonal().real.sqrt()
    assert bool((error.mean(0).abs() < 5.0 * size / repeats**0.5).all())
    found = error.mT @ error.conj() / repeats / (size[:, None] * size)
    assert_close(found, bound / (size[:, None] * size), rtol=0, atol=5.0 / repeats**0.5)


def test_what_the_aps_send_adds_up_to_the_statistic() -> None:
    scene, sent = _scene(listeners=2), _sent()
    observed = _normal(2, 2, 2, SAMPLES, 3, seed=9)
    for test in TESTS:
        sides = local_statistics(observed, sent, scene, test)
        assert sides.shape == (2, 2, 3, 2)
        assert bool((sides >= 0.0).all())
        assert_close(sides.sum(-1), statistic(observed, sent, scene, test))


def test_the_printed_tracking_test_alarms_too_often_at_the_chi_square_threshold() -> None:
    """Echoes of other targets leak into the printed projection; the joint test is blind to them, however strong."""
    scene, sent = _pair(3.0), _sent(3000, drops=1)
    observed = _simulate(scene, sent, 6, (False, True))
    rates = {}
    for form in ("paper", "joint"):
        test = Glrt(form)
        found = moments(sent, scene, test)
        size = rank(found.gram, found.reference).sum(-1)
        rates[form] = float((statistic(observed, sent, scene, test) > chi_square_threshold(size, 1e-2))[..., 0].double().mean())
    assert rates["paper"] > 0.2
    assert rates["joint"] == pytest.approx(1e-2, abs=4 * (1e-2 / 3000) ** 0.5)


@pytest.mark.parametrize("test", [*TESTS, NEAR[0], NEAR[-2]], ids=_id)
def test_miss_probability_matches_simulation(test: Glrt) -> None:
    """Swerling-I targets, 2500 draws over 10 blocks: 4 binomial deviations of the average. Two listening APs."""
    blocks, repeats = 10, 250
    scene, sent = _pair(0.5, listeners=2), _sent(blocks, drops=1)
    found = moments(sent, scene, test)
    predicted, threshold = miss_probability(found, test, 1e-2), threshold_of(found, test, 1e-2)
    repeated = sent.repeat(1, repeats, 1, 1, 1)
    crowd = test.form != "single"
    observed = _simulate(scene, repeated, 7, (True, crowd))
    missed = statistic(observed, repeated, scene, test)[..., 0] <= threshold[..., 0].repeat(1, repeats)
    mean = float(predicted[..., 0].mean())
    assert 0.02 < mean < 0.98
    assert abs(float(missed.double().mean()) - mean) < 4 * (mean * (1 - mean) / missed.numel()) ** 0.5


@pytest.mark.parametrize("test", TESTS, ids=_id)
def test_operating_points_are_the_scenes_of_their_cross_sections(test: Glrt) -> None:
    """Misses at other cross-sections, from one filter, are those of a scene whose echoes are computed at that cross-section."""
    scene, sent = _pair(0.5, listeners=2), _sent(4, drops=1)
    law = StatisticLaw(moments(sent, scene, test), test)
    for brightness, false_alarm in ((1.0, 1e-2), (0.04, 1e-2), (25.0, 1e-3)):
        own = moments(sent, replace(scene, scale=scene.scale * brightness**0.5), test)
        expected = miss_probability(own, test, false_alarm)
        assert_close(law.miss(OperatingPoint(brightness, false_alarm)), expected, rtol=1e-6, atol=1e-8)


def test_detection_of_a_fixed_reflectivity_is_noncentral_chi_square() -> None:
    """Twice the statistic: 2 sum r degrees, non-centrality 2 alpha^H D^H Psi^-1 D alpha."""
    scene, sent = _scene(listeners=2, targets=2), _sent(1)
    alpha = 0.3 * _normal(2, 1, 2, 2, 5, seed=4)
    alpha[:, :, 1:] = 0.0
    found = moments(sent, scene, Glrt())
    own = torch.stack([alpha[d, 0, 0, scene.listening[d, 0]] for d in range(2)])  # drop listening ap
    shift = torch.einsum("dji,djik,djk->d", own.conj(), found.gram[:, 0, 0], own).real
    size = rank(found.gram, found.reference).sum(-1)[:, 0, 0]
    repeated, again = sent.expand(-1, 3000, -1, -1, -1), alpha.expand(-1, 3000, -1, -1, -1)
    value = statistic(_simulate(scene, repeated, 8, (True, True), again), repeated, scene, Glrt())[..., 0]
    for d in range(2):
        law = stats.ncx2(2 * int(size[d]), 2 * float(shift[d]))
        assert stats.kstest(2 * value[d].numpy(), law.cdf).pvalue > 1e-4


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
