"""Zero-forcing and partial-MMSE beams: laws, and the real chain simulated by the oracle."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from isac_torch.deployment.snapshot import Snapshot
from isac_torch.errors import DropError, ScenarioError
from isac_torch.large.sample import sample_network
from isac_torch.propagation.arrays import vectors_back
from isac_torch.sensing.signals import draw_blocks
from isac_torch.tensors import map_tensors
from isac_torch.tracking.beam_setup import BeamSetup
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.channel import channel_statistics
from isac_torch.tracking.drawn_estimates import white_observations
from isac_torch.tracking.scenario import TrackingScenario
from tests.oracles import precoding, signal_chain
from tests.oracles.world import power_tables, world_of_drop

SMALL = TrackingScenario(
    num_aps=4, num_receive_aps=1, num_ues=4, num_targets=3, serving_aps=2, sensing_aps=2, num_antennas=3, pilot_power=1e-2
)
KINDS = [BeamSetup("zf"), BeamSetup("zf", nulls=2), BeamSetup("pmmse"), BeamSetup("pmmse", loading=0.1)]
NAMES = ["zf", "zf-2", "pmmse", "pmmse-loaded"]
each_kind = pytest.mark.parametrize("beams", KINDS, ids=NAMES)


def drawn(scenario, count=2, seed=4, unequal=False):
    generator = torch.Generator().manual_seed(seed)
    drop = scenario.sample(count, generator=generator)
    if unequal:  # uplink powers over 20 dB
        spread = torch.rand(drop.pilot_power.shape, generator=generator, dtype=torch.float64)
        drop = replace(drop, pilot_power=drop.pilot_power * 10 ** (2 * spread - 1))
    return drop


def random_power(problem, seed=7):
    share = torch.rand(problem.link_budget.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return share * (0.5 * problem.budget / problem.ap_load(share).clamp_min(1e-9)).gather(1, problem.link_ap)


def simulated(drop, scenario, power, count, batch, seed=0):
    """SINRs of the first drop by the oracle's chain."""
    world, tables = world_of_drop(drop, scenario), power_tables(power, drop)
    served = np.zeros(tables[0].shape, dtype=bool)
    for k, aps in enumerate(drop.serving_ap[0].tolist()):
        served[k, aps] = True
    beams = scenario.beams
    if beams.kind == "zf":
        form = precoding.zero_forcing(world, served, beams.nulls)
    else:
        loading = world["pilot_power"] if beams.loading is None else np.full(len(served), beams.loading)
        form = precoding.partial_mmse(world, served, loading)
    return signal_chain.sinr_by_simulation(world, *tables, count=count, rng=np.random.default_rng(seed), batch=batch, form=form)


def check_chain(scenario, unequal, seed, count, batch):
    """Problem and simulated chain within 2 % for every UE of a drop."""
    drop = drawn(scenario, 1, seed, unequal)
    problem = power_problem(drop, scenario)
    power = random_power(problem)
    wanted = simulated(drop, scenario, power, count, batch)
    np.testing.assert_allclose(problem.sinr(power)[0].numpy(), wanted, rtol=0.02)


@pytest.mark.parametrize(
    ("beams", "options"),
    [(BeamSetup("zf"), {}), (BeamSetup("pmmse"), {"pilot_length": 2})],
    ids=["zf-orthogonal", "pmmse-reuse-unequal"],
)
def test_sinr_of_simulated_signals(beams, options):
    """Within 2 %: the means of 24,000 draws of the oracle are good to about 0.8 %."""
    scenario = replace(SMALL, beams=replace(beams, samples=20_000), **options)
    check_chain(scenario, bool(options), seed=4, count=24_000, batch=2000)


@pytest.mark.slow
@each_kind
@pytest.mark.parametrize("options", [{}, {"pilot_length": 2}], ids=["orthogonal", "reuse-unequal"])
def test_sinr_of_many_simulated_signals(beams, options):
    """All kinds; with two nulls a beam of three antennas has one direction left and is seldom strong: many draws."""
    scenario = replace(SMALL, beams=replace(beams, samples=20_000), **options)
    check_chain(scenario, bool(options), seed=5, count=200_000, batch=2000)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # a minute and a half of processor time, on machines that may be busy
@each_kind
@pytest.mark.parametrize("options", [{}, {"pilot_length": 8}], ids=["orthogonal", "shared"])
def test_sinr_of_simulated_signals_in_the_paper_setting(beams, options):
    """M=16, K=16, L=4 with pilots of 10 mW."""
    scenario = TrackingScenario(beams=replace(beams, samples=20_000), pilot_power=1e-2, **options)
    check_chain(scenario, False, seed=6, count=100_000, batch=1000)


@each_kind
def test_renumbered_ues_have_the_same_beams(beams):
    scenario = replace(SMALL, beams=beams, pilot_length=2)
    drop = drawn(scenario, unequal=True)
    turn = torch.tensor([2, 0, 3, 1])
    by_ue = ("ue_position", "ue_gain", "pilot_power", "pilot", "serving_ap", "rx_gain")
    turned = replace(drop, **{name: getattr(drop, name)[:, turn] for name in by_ue})
    mine, theirs = power_problem(drop, scenario), power_problem(turned, scenario)
    assert_close(theirs.signal, mine.signal[:, turn])
    assert_close(theirs.coherent, mine.coherent[:, turn][:, :, turn])
    links = torch.cat([2 * turn[:, None] + torch.arange(2), torch.arange(8, 14).reshape(3, 2)]).flatten()
    assert_close(theirs.leakage, mine.leakage[:, turn][:, :, links])


@each_kind
def test_noise_and_powers_scale_together(beams):
    """The SINR sees ratios only; a loading is an uplink power too."""
    quiet = replace(SMALL, beams=beams, pilot_length=2)
    louder = replace(beams, loading=None if beams.loading is None else 100.0 * beams.loading)
    loud = replace(quiet, beams=louder, pilot_power=100.0 * quiet.pilot_power, noise_figure_db=20.0)
    problem, scaled = (power_problem(drawn(s), s) for s in (quiet, loud))
    power = random_power(problem)
    assert_close(scaled.sinr(100.0 * power), problem.sinr(power), rtol=1e-9, atol=0.0)


@each_kind
def test_a_drop_has_the_same_statistics_in_every_batch_and_library(beams):
    scenario = replace(SMALL, beams=beams, pilot_length=2)
    drop = drawn(scenario, 3)
    together = power_problem(drop, scenario)
    alone = power_problem(drop.select(torch.tensor([1])), scenario)
    in_numpy = power_problem(map_tensors(drop, lambda t: t.numpy()), scenario)
    for name in ("signal", "leakage", "coherent", "echo", "cross_echo"):
        value = getattr(together, name)
        assert_close(getattr(alone, name)[0], value[1])
        np.testing.assert_allclose(getattr(in_numpy, name), value.numpy(), rtol=1e-9, atol=1e-12 * float(value.abs().max()))


def test_beams_without_nulls_are_mrt():
    """Exactly: given the nulls, statistics are closed forms."""
    plain = replace(SMALL, pilot_length=2)
    scenario = replace(plain, beams=BeamSetup("zf", nulls=0, samples=100))
    drop = drawn(plain)
    mrt, same = power_problem(drop, plain), power_problem(drop, scenario)
    for name in ("signal", "leakage", "coherent", "echo", "cross_echo"):
        assert_close(getattr(same, name), getattr(mrt, name), rtol=1e-9, atol=1e-9)


def test_known_channels_are_nulled():
    """Without pilot noise UEs that share an AP hear nothing of each other's beams from there."""
    scenario = replace(SMALL, pilot_power=1e9, beams=BeamSetup("zf", nulls=2), serving_aps=1, num_ues=3)
    drop = drawn(scenario, 4)
    problem, mrt = power_problem(drop, scenario), power_problem(drop, replace(scenario, beams=BeamSetup()))
    together = (drop.serving_ap == drop.serving_ap.mT) & ~torch.eye(3, dtype=torch.bool)
    assert bool(together.any())
    assert float((problem.leakage / mrt.leakage)[:, :, :3][together].max()) < 1e-6


@each_kind
def test_drawn_beams_have_their_statistics(beams):
    """Covariances of 20,000 drawn beams within 6 %, of unit trace: those with two nulls have heavy tails."""
    scenario = replace(SMALL, beams=replace(beams, samples=20_000), pilot_length=2)
    drop = drawn(scenario, 1)
    statistics = channel_statistics(drop, scenario)
    sent = draw_blocks(drop, statistics, scenario, 20_000, 1, torch.Generator().manual_seed(2)).data_beam
    sampled = torch.einsum("dfksa,dfksb->dksab", sent, sent.conj()) / 20_000
    error = (sampled - statistics.data_beam).flatten(3).norm(dim=-1)
    assert float((error / statistics.data_beam.flatten(3).norm(dim=-1)).max()) < 0.06
    assert_close(statistics.data_beam.diagonal(0, -2, -1).sum(-1).real, torch.ones(1, 4, 2, dtype=torch.float64))


def test_white_observations_are_white():
    drawn_table = white_observations(3, 2, 200, 5).reshape(6, 200)
    np.testing.assert_allclose(drawn_table @ drawn_table.conj().T / 200, np.eye(6), atol=1e-12)


def test_turned_vectors_come_back():
    """Q is unitary with conjugate symmetric columns: real vectors become conjugate symmetric ones of the same length."""
    value = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).to(torch.complex128)
    back = vectors_back(value)
    assert_close(back, back.flip(-1).conj())
    assert_close(back.norm(dim=-1), value.norm(dim=-1))


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"kind": "zf", "nulls": -1}, "must not be negative"),
        ({"loading": 0.0}, "must be positive"),
        ({"samples": 10}, "100..1000000"),
        ({"seed": -1}, "must not be negative"),
    ],
)
def test_refused_settings(options, part):
    with pytest.raises(ScenarioError, match=part):
        BeamSetup(**options)


def test_refused_scenarios_and_snapshots():
    with pytest.raises(ScenarioError, match="must be less than num_antennas=3"):
        replace(SMALL, beams=BeamSetup("zf", nulls=3))
    with pytest.raises(ScenarioError, match="take 512 or more"):
        TrackingScenario(num_ues=32, pilot_length=64, beams=BeamSetup("pmmse", samples=200))
    scenario = replace(SMALL, beams=BeamSetup("zf"))
    with pytest.raises(DropError, match="deployed networks send MRT beams"):
        Snapshot.from_drop(drawn(scenario), 0, scenario)
    with pytest.raises(ScenarioError, match="must be 'mrt' in large networks"):
        sample_network(scenario, 1)
    assert scenario.name.endswith("_zf")
    assert TrackingScenario.from_mapping({"beams": {"kind": "zf"}}).beams == BeamSetup("zf")
