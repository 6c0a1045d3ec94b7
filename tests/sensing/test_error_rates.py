"""False alarms, misses and errors of estimates in simulated samples, as the laws say."""

from dataclasses import replace

import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.testing import assert_close

from isac_torch.sensing.clutter import sample_clutter
from isac_torch.sensing.echoes import EchoScene, observe, sample_reflectivity
from isac_torch.sensing.glrt import (
    Glrt,
    estimated_reflectivity,
    moments,
    statistic,
)
from isac_torch.sensing.projection import rank
from isac_torch.sensing.quality import OperatingPoint, StatisticLaw, miss_probability
from isac_torch.tracking.laws import chi_square_threshold
from tests.sensing.scenes import NEAR, TESTS, label, make_pair, make_scene, make_sent, normal


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


@pytest.mark.parametrize("test", [*TESTS, NEAR[0], NEAR[-2]], ids=label)
def test_every_detector_keeps_its_false_alarm_rate(test: Glrt) -> None:
    """Each by its own H0 law, the other target present where the test knows of it: 4 binomial deviations of 5000 draws."""
    _check_false_alarms(test, 5e-2, 250)


@pytest.mark.slow
@pytest.mark.parametrize("test", TESTS, ids=label)
def test_every_detector_keeps_its_false_alarm_rate_at_one_per_cent(test: Glrt) -> None:
    """4 binomial deviations of 100000 draws: 12 % of the rate."""
    _check_false_alarms(test, 1e-2, 5000)


def _check_false_alarms(test: Glrt, false_alarm: float, repeats: int) -> None:
    blocks = 20
    scene, sent = make_pair(0.3), make_sent(blocks, drops=1)
    threshold = StatisticLaw(moments(sent, scene, test), test).threshold(OperatingPoint(1.0, false_alarm))
    repeated = sent.repeat(1, repeats, 1, 1, 1)
    crowd = test.form != "single"
    observed = _simulate(scene, repeated, 5, (False, crowd))
    alarms = statistic(observed, repeated, scene, test)[..., 0] > threshold[..., 0].repeat(1, repeats)
    count = alarms.numel()
    assert abs(float(alarms.double().mean()) - false_alarm) < 4 * (false_alarm * (1 - false_alarm) / count) ** 0.5


@pytest.mark.parametrize("test", [Glrt("single"), Glrt("joint")], ids=label)
def test_estimated_reflectivities_reach_the_cramer_rao_bound(test: Glrt) -> None:
    """Fixed reflectivities in drawn clutter and noise: no bias, and K^-1 as error covariance, within the draws' spread."""
    repeats, crowd = 6000, test.form == "joint"
    # Without clutter correlation the responses of five APs over many samples are independent: K is regular.
    scene, sent = make_pair(1.0), normal(1, 1, 5, 16, 3, seed=11)
    fixed = normal(1, 1, 2, 2, 5, seed=12)
    repeated = sent.expand(-1, repeats, -1, -1, -1)
    observed = _simulate(scene, repeated, 13, (True, crowd), fixed.expand(-1, repeats, -1, -1, -1))
    error = estimated_reflectivity(observed, repeated, scene, test)[0, :, 0, 0] - fixed[0, 0, 0, scene.listening[0, 0, 0]]
    bound = torch.linalg.inv(moments(sent, scene, test).gram[0, 0, 0, 0])
    size = bound.diagonal().real.sqrt()
    assert bool((error.mean(0).abs() < 5.0 * size / repeats**0.5).all())
    found = error.mT @ error.conj() / repeats / (size[:, None] * size)
    assert_close(found, bound / (size[:, None] * size), rtol=0, atol=5.0 / repeats**0.5)


def test_the_printed_tracking_test_alarms_too_often_at_the_chi_square_threshold() -> None:
    """Echoes of other targets leak into the printed projection; the joint test is blind to them, however strong."""
    scene, sent = make_pair(3.0), make_sent(3000, drops=1)
    observed = _simulate(scene, sent, 6, (False, True))
    rates = {}
    for form in ("paper", "joint"):
        test = Glrt(form)
        found = moments(sent, scene, test)
        size = rank(found.gram, found.reference).sum(-1)
        rates[form] = float((statistic(observed, sent, scene, test) > chi_square_threshold(size, 1e-2))[..., 0].double().mean())
    assert rates["paper"] > 0.2
    assert rates["joint"] == pytest.approx(1e-2, abs=4 * (1e-2 / 3000) ** 0.5)


@pytest.mark.parametrize("test", [*TESTS, NEAR[0], NEAR[-2]], ids=label)
def test_miss_probability_matches_simulation(test: Glrt) -> None:
    """Swerling-I targets, 2500 draws over 10 blocks: 4 binomial deviations of the average. Two listening APs."""
    blocks, repeats = 10, 250
    scene, sent = make_pair(0.5, listeners=2), make_sent(blocks, drops=1)
    found = moments(sent, scene, test)
    predicted, threshold = miss_probability(found, test, 1e-2), StatisticLaw(found, test).threshold(OperatingPoint(1.0, 1e-2))
    repeated = sent.repeat(1, repeats, 1, 1, 1)
    crowd = test.form != "single"
    observed = _simulate(scene, repeated, 7, (True, crowd))
    missed = statistic(observed, repeated, scene, test)[..., 0] <= threshold[..., 0].repeat(1, repeats)
    mean = float(predicted[..., 0].mean())
    assert 0.02 < mean < 0.98
    assert abs(float(missed.double().mean()) - mean) < 4 * (mean * (1 - mean) / missed.numel()) ** 0.5


def test_detection_of_a_fixed_reflectivity_is_noncentral_chi_square() -> None:
    """Twice the statistic: 2 sum r degrees, non-centrality 2 alpha^H D^H Psi^-1 D alpha."""
    scene, sent = make_scene(listeners=2, targets=2), make_sent(1)
    alpha = 0.3 * normal(2, 1, 2, 2, 5, seed=4)
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
