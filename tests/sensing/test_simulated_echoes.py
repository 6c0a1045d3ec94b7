"""Signals and echoes of simulated blocks against loops, closed forms and expectations."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from isac_torch.allocators.tracking.heuristics import Fractional
from isac_torch.sensing.clutter import sample_clutter
from isac_torch.sensing.echoes import at_listeners, echo_scene, illuminating, observe, sample_reflectivity
from isac_torch.sensing.glrt import Glrt, statistic
from isac_torch.sensing.quality import echo_quality
from isac_torch.sensing.signals import Blocks, transmitted
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.channel import channel_statistics
from isac_torch.tracking.drop import TrackingDrop
from isac_torch.tracking.scenario import TrackingScenario
from tests.sensing.blocks import SETUP, SMALL, make_blocks, make_drop, random_power, seeded


@pytest.mark.parametrize("pilots", [4, 2], ids=["orthogonal", "shared"])
def test_drawn_beams_have_their_statistics(pilots: int) -> None:
    """Covariances of 20000 estimates and probes within 4 %: entries err by about 1 %. UEs on one pilot err together."""
    scenario = replace(SMALL, pilot_length=pilots, angle_error=0.2)
    drop = make_drop(scenario, 1)
    statistics = channel_statistics(drop, scenario)
    blocks = make_blocks(drop, scenario, 20_000, 1)
    trace = statistics.estimate.diagonal(dim1=-2, dim2=-1).sum(-1).real
    pairs = [
        (blocks.data_beam, statistics.estimate / trace[..., None, None]),
        (blocks.probe_beam, statistics.sensing_beam),
    ]
    for drawn, expected in pairs:
        sampled = torch.einsum("dfksa,dfksb->dksab", drawn, drawn.conj()) / 20_000
        error = (sampled - expected).flatten(3).norm(dim=-1)
        assert float((error / expected.flatten(3).norm(dim=-1)).max()) < 0.04
    if pilots == 2:
        _check_contamination(drop, blocks, trace.sqrt(), statistics.mmse)


def _check_contamination(drop: TrackingDrop, blocks: Blocks, norm: Tensor, mmse: Tensor) -> None:
    """UEs 0 and 2 share a pilot: at a common AP both estimates are filterings of one observation."""
    common = [(i, j) for i in range(2) for j in range(2) if drop.serving_ap[0, 0, i] == drop.serving_ap[0, 2, j]]
    assert common
    for i, j in common:
        seen = [
            torch.linalg.solve(mmse[0, k, s], (norm[0, k, s] * blocks.data_beam[0, :, k, s]).T) for k, s in ((0, i), (2, j))
        ]
        assert_close(seen[0], seen[1], rtol=1e-6, atol=1e-6 * float(seen[0].abs().max()))


def test_sent_samples_match_the_loop() -> None:
    drop = make_drop(num_drops=1)
    power, blocks = random_power(drop), make_blocks(drop, SMALL, 2, 3)
    sent = transmitted(blocks, drop, power)
    expected = torch.zeros_like(sent)
    link = 0
    for beam, symbol, sets in (
        (blocks.data_beam, blocks.data_symbol.unsqueeze(3).expand(-1, -1, -1, 2, -1), drop.serving_ap),
        (blocks.probe_beam, blocks.probe_symbol, drop.sensing_ap),
    ):
        for owner in range(sets.shape[1]):
            for s in range(sets.shape[2]):
                ap = int(sets[0, owner, s])
                part = torch.einsum("fn,ft->ftn", beam[0, :, owner, s], symbol[0, :, owner, s])
                expected[0, :, ap] += power[0, link].sqrt() * part
                link += 1
    assert_close(sent, expected)


def realised_echoes(sent, scene):
    """Own echo and other targets' echoes of every drawn block, eq. (37): [drop, block, target] each."""
    gain = at_listeners(scene.scale.square().transpose(1, 2), scene.listening)
    echo = torch.einsum("dljem,dfem->dfle", gain, illuminating(sent, scene).abs().square().sum(3))
    own = echo.diagonal(dim1=-2, dim2=-1)
    return own, echo.sum(-1) - own


def test_realised_echoes_average_to_the_expected_sir() -> None:
    """Ratio of averages within 1.5 % at 3000 blocks; the average of ratios lies about 2 % higher at 50 samples."""
    scenario = TrackingScenario(num_ues=8)
    drop = make_drop(scenario, 2)
    problem = power_problem(drop, scenario)
    power = Fractional().propose(problem).power
    scene = echo_scene(drop, scenario, SETUP)
    own, others = realised_echoes(transmitted(make_blocks(drop, scenario, 3000, 50), drop, power), scene)
    assert_close(own.mean(1) / others.mean(1), problem.sir(power), rtol=0.015, atol=0.0)
    excess = (own / others).mean(1) / (own.mean(1) / others.mean(1))
    assert 1.005 < float(excess.mean()) < 1.1


@pytest.mark.parametrize("form", ["single", "paper", "joint"])
def test_ratio_matches_the_statistic_of_simulated_echoes(form: str) -> None:
    """Mean statistic with and without target over 8000 draws of clutter, noise, reflectivities: within 4 of its deviations."""
    test = Glrt(form)
    drop = make_drop(replace(SMALL, num_targets=2), 1)
    scenario, setup = replace(SMALL, num_targets=2), replace(SETUP, rcs_variance_dbsm=-10.0)
    scene = echo_scene(drop, scenario, setup)
    sent = transmitted(make_blocks(drop, scenario, 1), drop, random_power(drop))
    found = echo_quality(sent, scene, test)
    count = 4000
    many, generator = sent.expand(-1, count, -1, -1, -1), seeded(5)
    everyone = replace(scene, listening=torch.arange(2).expand(1, 2, 2))
    for present in (False, True):
        alpha = sample_reflectivity(everyone, count, generator)
        alpha[:, :, 0] *= float(present)
        if form == "single":
            alpha[:, :, 1] = 0.0
        clutter = sample_clutter(many, scene.clutter, generator)
        noise = torch.randn(clutter.shape, generator=generator, dtype=clutter.dtype)
        value = statistic(clutter + noise + observe(many, scene, alpha), many, scene, test)[0, :, 0]
        expected = found.disturbance[0, 0, 0] + present * found.signal[0, 0, 0]
        assert abs(float(value.mean() - expected)) < 4 * float(value.std()) / count**0.5
