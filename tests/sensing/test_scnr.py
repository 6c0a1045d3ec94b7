"""SCNR and SICNR of real networks: signals against their statistics, ranks, laws, gradients, chunks."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from isac_torch.allocators.tracking.heuristics import Fractional
from isac_torch.sensing import quality
from isac_torch.sensing.detection import one_at_a_time, sample_cells
from isac_torch.sensing.echoes import echo_scene
from isac_torch.sensing.glrt import Glrt, moments
from isac_torch.sensing.projection import rank
from isac_torch.sensing.quality import assess, echo_quality, miss_probability, mutual_information
from isac_torch.sensing.signals import condensed, transmitted
from isac_torch.tensors import map_tensors
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.tracking.setup import SensingSetup
from tests.sensing.blocks import SETUP, SMALL, make_blocks, make_drop, random_power, seeded


@pytest.mark.parametrize(("num_ues", "expected"), [(2, 2), (4, 4), (8, 8)])
def test_few_streams_span_few_directions(num_ues: int, expected: int) -> None:
    """Without sensing beams the APs send the UEs' symbols only: K columns of 12 are independent."""
    scenario = TrackingScenario(num_ues=num_ues, serving_aps=12)
    drop = make_drop(scenario, 2)
    power = random_power(drop)
    power[:, drop.serving_ap[0].numel() :] = 0.0
    scene = echo_scene(drop, scenario, SETUP)
    sent = transmitted(make_blocks(drop, scenario, 2, 50), drop, power)
    found = echo_quality(sent, scene, Glrt())
    assert bool((found.rank == expected).all())
    assert bool(found.ratio.isfinite().all())


def test_silent_aps_and_single_samples_lower_the_rank() -> None:
    drop = make_drop()
    scene = echo_scene(drop, SMALL, SETUP)
    power = torch.ones_like(random_power(drop))
    links = torch.cat([drop.serving_ap.flatten(1), drop.sensing_ap.flatten(1)], 1)
    silent = int(links[0, 0])
    active = [len(set(row.tolist()) - {silent}) for row in links]
    sent = transmitted(make_blocks(drop, SMALL, 2), drop, torch.where(links == silent, 0.0, power))
    for form in ("single", "paper", "joint"):
        found = echo_quality(sent, scene, Glrt(form))
        assert [int(found.rank[d].amax()) for d in range(2)] == active
        assert bool(found.ratio.isfinite().all())
    one = echo_quality(transmitted(make_blocks(drop, SMALL, 2, 1), drop, power), scene, Glrt())
    assert bool((one.rank == 1).all())


def test_silence_senses_nothing() -> None:
    drop = make_drop()
    for form in ("single", "paper", "joint"):
        for known in (True, False):
            test = Glrt(form, known)
            report = assess(drop, SMALL, SETUP, 0 * random_power(drop), test, num_blocks=2, seed=0, with_miss=True)
            assert float(report.quality.ratio.abs().max()) == 0.0
            assert int(report.quality.rank.max()) == 0
            assert report.miss is not None
            assert bool((report.miss == 1.0).all())


def test_powers_and_noise_scale_together() -> None:
    """Doubling all powers and the noise density leaves ratios and miss probabilities."""
    drop, louder = make_drop(), replace(SMALL, noise_figure_db=SMALL.noise_figure_db + 10.0)
    power = random_power(drop)
    blocks = make_blocks(drop, SMALL, 3)
    for test in (Glrt(), Glrt("paper"), Glrt("joint")):
        quiet = echo_quality(transmitted(blocks, drop, power), echo_scene(drop, SMALL, SETUP), test)
        loud = echo_quality(transmitted(blocks, drop, 10 * power), echo_scene(drop, louder, SETUP), test)
        assert_close(loud.ratio, quiet.ratio, rtol=1e-8, atol=0.0)


def test_reflectivity_variance_scales_signal_and_other_echoes() -> None:
    """What the sweeps over the cross-section use: one drawing serves all variances."""
    drop = make_drop()
    sent = transmitted(make_blocks(drop, SMALL, 2), drop, random_power(drop))
    dark, bright = (
        echo_quality(sent, echo_scene(drop, SMALL, replace(SETUP, rcs_variance_dbsm=level)), Glrt("paper"))
        for level in (0.0, 10.0)
    )
    assert_close(bright.signal, 10 * dark.signal)
    assert_close(bright.disturbance - bright.rank, 10 * (dark.disturbance - dark.rank), rtol=1e-6, atol=1e-6)


def test_targets_and_ues_can_be_renumbered() -> None:
    drop = make_drop()
    turn = torch.tensor([2, 0, 1])
    moved = replace(
        drop,
        target_position=drop.target_position[:, turn],
        sensing_ap=drop.sensing_ap[:, turn],
        listening_ap=drop.listening_ap[:, turn],
    )
    power = random_power(drop)
    comm = drop.serving_ap[0].numel()
    beams = power[:, comm:].unflatten(1, (3, 2))[:, turn].flatten(1)
    blocks = make_blocks(drop, SMALL, 2)
    turned = replace(blocks, probe_beam=blocks.probe_beam[:, :, turn], probe_symbol=blocks.probe_symbol[:, :, turn])
    for test in (Glrt(), Glrt("paper"), Glrt("joint")):
        first = echo_quality(transmitted(blocks, drop, power), echo_scene(drop, SMALL, SETUP), test)
        sent = transmitted(turned, moved, torch.cat([power[:, :comm], beams], 1))
        second = echo_quality(sent, echo_scene(moved, SMALL, SETUP), test)
        assert_close(second.ratio, first.ratio[:, :, turn], rtol=1e-7, atol=0.0)


@pytest.mark.parametrize("form", ["single", "paper"])
def test_ratio_is_differentiable_in_the_powers(form: str) -> None:
    drop = make_drop(num_drops=1)
    scene, blocks = echo_scene(drop, SMALL, SETUP), make_blocks(drop, SMALL, 1, 10)

    def ratio(power: Tensor) -> Tensor:
        return echo_quality(transmitted(blocks, drop, power), scene, Glrt(form)).ratio

    power = (0.5 + random_power(drop)).requires_grad_()
    assert torch.autograd.gradcheck(ratio, (power,), eps=1e-6, rtol=1e-4)
    some = power.detach().clone()
    some[:, 3] = 0.0
    ratio(some.requires_grad_()).sum().backward()
    assert some.grad is not None
    assert bool(some.grad.isfinite().all())


@pytest.mark.parametrize("silent", [False, True], ids=["all", "no-probes"])
@pytest.mark.parametrize("test", [Glrt(form, known) for form in ("single", "paper", "joint") for known in (True, False)])
def test_fewer_samples_are_judged_alike(test: Glrt, silent: bool) -> None:
    """Ten sequences, or the four of the UEs, in twenty samples: ten or four samples have the same moments."""
    drop, power = make_drop(), random_power(make_drop())
    if silent:
        power[:, drop.serving_ap[0].numel() :] = 0.0
    scene, blocks = echo_scene(drop, SMALL, SETUP), make_blocks(drop, SMALL, 3)
    short = condensed(blocks, drop, power)
    assert short.data_symbol.shape[-1] == (4 if silent else 10)
    found, expected = (moments(transmitted(each, drop, power), scene, test) for each in (short, blocks))
    for name in ("gram", "quiet", "loud", "reference"):
        assert_close(getattr(found, name), getattr(expected, name), rtol=1e-9, atol=1e-9 * float(expected.loud.abs().max()))


@pytest.mark.parametrize("test", [Glrt(form, known) for form in ("single", "paper") for known in (True, False)])
def test_single_precision_judges_alike(test: Glrt) -> None:
    """Ratios to 1e-4, misses to 1e-3 of those of the same samples in double precision; equal ranks. The paper's two tests."""

    def single(tensor: Tensor) -> Tensor:
        if tensor.is_complex():
            return tensor.to(torch.complex64)
        return tensor.float() if tensor.is_floating_point() else tensor

    drop = make_drop()
    scene, sent = echo_scene(drop, SMALL, SETUP), transmitted(make_blocks(drop, SMALL, 20), drop, random_power(drop))
    exact = echo_quality(sent, scene, test)
    close = echo_quality(single(sent), map_tensors(scene, single), test)
    assert close.signal.dtype == torch.float32
    assert torch.equal(close.rank, exact.rank)
    assert_close(close.ratio.double(), exact.ratio, rtol=1e-4, atol=0.0)
    expected = miss_probability(moments(sent, scene, test), test, 1e-2)
    found = miss_probability(moments(single(sent), map_tensors(scene, single), test), test, 1e-2)
    assert found.dtype == torch.float64
    assert_close(found, expected, rtol=1e-3, atol=1e-6)


def test_as_few_samples_as_sequences_stay() -> None:
    drop = make_drop()
    blocks = make_blocks(drop, SMALL, 3, samples=10)
    assert condensed(blocks, drop, random_power(drop)) is blocks
    assert condensed(blocks, drop, 0 * random_power(drop)) is blocks


def test_chunks_do_not_change_the_law(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shapes and averages stay when the blocks come in pieces; drawn blocks differ only by their order."""
    drop = make_drop()
    power = random_power(drop)
    whole = assess(drop, SMALL, SETUP, power, Glrt(), num_blocks=60, seed=0).quality
    monkeypatch.setattr(quality, "_CHUNK_ENTRIES", 100_000)
    pieces = assess(drop, SMALL, SETUP, power, Glrt(), num_blocks=60, seed=0).quality
    assert whole.ratio.shape == pieces.ratio.shape == (2, 60, 3)
    assert_close(whole.ratio.mean(1), pieces.ratio.mean(1), rtol=0.1, atol=0.0)
    again = assess(drop, SMALL, SETUP, power, Glrt(), num_blocks=60, seed=0).quality
    assert torch.equal(pieces.ratio, again.ratio)


def test_cells_lie_in_their_regions_and_networks_do_not_depend_on_their_number() -> None:
    scenario = TrackingScenario()
    nine = sample_cells(scenario, SensingSetup(), 20, generator=seeded())
    one = sample_cells(scenario, SensingSetup(num_regions=1), 20, generator=seeded())
    for name in ("tx_position", "rx_position", "ue_position", "ue_gain", "serving_ap", "rx_orientation"):
        assert torch.equal(getattr(nine.drop, name), getattr(one.drop, name)), name
    centre = nine.drop.target_position
    region = (centre[..., :2] / (scenario.side / 3)).floor()
    assert torch.equal(region[0], torch.cartesian_prod(torch.arange(3), torch.arange(3)).double())
    assert bool((region == region[:1]).all())
    assert float((nine.target_position - centre).abs().max()) <= 5.0
    assert float(centre[..., 2].min()) >= scenario.target_height_min
    assert nine.drop.sensing_ap.shape == (20, 9, 4)
    assert nine.scenario.angle_error == 0.0


def test_cells_in_turn_are_the_same_cells() -> None:
    cells = sample_cells(SMALL, SensingSetup(num_regions=4), 3, generator=seeded())
    single = one_at_a_time(cells)
    assert single.drop.num_drops == 12
    assert single.drop.sensing_ap.shape == (12, 1, 5)
    assert single.drop.listening_ap.shape == (12, 1, 2)
    assert torch.equal(single.target_position.reshape(3, 4, 3), cells.target_position)
    assert torch.equal(single.drop.ue_gain[4:8], cells.drop.ue_gain[1:2].expand(4, -1, -1))
    problem = power_problem(single.drop, single.scenario)
    assert problem.num_constraints == 0
    power = Fractional().propose(problem).power
    report = assess(single.drop, single.scenario, SETUP, power, Glrt(), num_blocks=2, seed=0, truth=single.truth)
    assert report.quality.ratio.shape == (12, 2, 1)


def test_mutual_information_counts_sensed_samples() -> None:
    scenario = TrackingScenario()
    sir = torch.tensor([0.0, 1.0, 3.0])
    assert_close(mutual_information(sir, scenario, SensingSetup()), 20e6 * torch.tensor([0.0, 1.0, 2.0]))
    assert_close(mutual_information(sir, scenario, SensingSetup(sensing_samples=25)), 10e6 * torch.tensor([0.0, 1.0, 2.0]))


def test_single_precision_works() -> None:
    """Within 2 % of float64: whitening in float32 keeps about three digits next to strong clutter."""
    drop = make_drop()
    blocks, power = make_blocks(drop, SMALL, 3), random_power(drop)
    scene = echo_scene(drop, SMALL, SETUP)
    sent = transmitted(blocks, drop, power)
    exact = echo_quality(sent, scene, Glrt())
    clutter = replace(scene.clutter, power=scene.clutter.power.float())
    rounded = replace(
        scene,
        response=scene.response.to(torch.complex64),
        listener_response=scene.listener_response.to(torch.complex64),
        scale=scene.scale.float(),
        reflectivity=scene.reflectivity.float(),
        clutter=clutter,
    )
    found = moments(sent.to(torch.complex64), rounded, Glrt())
    assert torch.equal(rank(found.gram).sum(-1), exact.rank)
    signal = (rounded.reflectivity[:, None, :, None] * found.gram.real).sum((-3, -2, -1))
    assert_close(signal.double(), exact.signal, rtol=0.02, atol=0.0)
