"""Closed-form SINR and rate of the tracking system against NumPy loops, their laws and their gradients."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from isac_torch.allocators.tracking.heuristics import Fractional
from isac_torch.tensors import cast_floats
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.channel import channel_statistics
from isac_torch.tracking.communication import rate
from isac_torch.tracking.drop import TrackingDrop, build_drops
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.scenario import TrackingScenario
from tests.oracles import geometry
from tests.oracles import metrics as loop
from tests.oracles.world import power_tables, world_of_drop

SMALL = TrackingScenario(num_aps=6, num_receive_aps=2, num_ues=5, num_targets=3, serving_aps=2, sensing_aps=2)
REUSE = replace(SMALL, pilot_length=2)


def _drop(scenario: TrackingScenario, num_drops: int = 2, seed: int = 0, unequal: bool = False) -> TrackingDrop:
    generator = torch.Generator().manual_seed(seed)
    drop = scenario.sample(num_drops, generator=generator)
    if unequal:  # uplink powers over 20 dB
        spread = torch.rand(drop.pilot_power.shape, generator=generator, dtype=torch.float64)
        drop = replace(drop, pilot_power=drop.pilot_power * 10 ** (2 * spread - 1))
    return drop


def _power(problem: MaxMinSinrProblem, seed: int = 0) -> Tensor:
    """Random powers within every AP's budget, W."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(problem.num_drops, problem.num_links, generator=generator, dtype=problem.budget.dtype)
    load = problem.ap_load(draw)
    return draw * (problem.budget / load.clamp_min(1e-9)).clamp_max(1.0).gather(1, problem.link_ap)


@pytest.mark.parametrize(
    ("scenario", "unequal"),
    [(SMALL, False), (REUSE, False), (REUSE, True), (replace(REUSE, pilot_length=1, num_antennas=2), True)],
    ids=["orthogonal", "reuse", "reuse-unequal", "one-pilot"],
)
def test_sinr_rate_and_load_match_the_loops(scenario: TrackingScenario, unequal: bool) -> None:
    """To 1e-10: the same sums in another order, with quadratures that agree to 1e-12."""
    drop = _drop(scenario, unequal=unequal)
    problem = power_problem(drop, scenario)
    problem.check()
    power = _power(problem)
    sinr, rates, load = problem.sinr(power), rate(problem.sinr(power), scenario), problem.ap_load(power)
    for d in range(drop.num_drops):
        world, tables = world_of_drop(drop, scenario, d), power_tables(power, drop, d)
        for k in range(scenario.num_ues):
            expected = loop.sinr(k, world, *tables)
            assert sinr[d, k].item() == pytest.approx(expected, rel=1e-10)
            in_bits = loop.rate(expected, 50 - scenario.pilot_symbols, 50, 20e6)
            assert rates[d, k].item() == pytest.approx(in_bits, rel=1e-10)
        for m in range(scenario.transmit_aps):
            assert load[d, m].item() == pytest.approx(loop.ap_load(m, *tables), rel=1e-12)


@pytest.mark.parametrize(("kappa_ue", "kappa_target"), [(0.0, 0.0), (1.0, 1.0), (0.0, 1.0), (0.5, -1.0)])
def test_fractional_power_matches_the_loop(kappa_ue: float, kappa_target: float) -> None:
    """Few UEs and targets, so that some APs serve nobody, some sense nobody and some are silent."""
    scenario = replace(SMALL, num_aps=8, num_receive_aps=1, num_ues=3, num_targets=2)
    drop = _drop(scenario, 5)
    problem = power_problem(drop, scenario)
    power = Fractional(kappa_ue, kappa_target).propose(problem).power
    for d in range(5):
        served, sensed = power_tables(torch.ones_like(power), drop, d)
        target_gain = np.zeros(sensed.shape)
        for t, target in enumerate(drop.target_position[d].numpy()):
            for m, position in enumerate(drop.tx_position[d].numpy()):
                target_gain[t, m] = 10 ** (-geometry.umi_los_loss_db(geometry.distance(target, position), 2.0) / 10)
        tables = drop.ue_gain[d].numpy(), target_gain, served, sensed, problem.budget[d].numpy()
        expected = loop.fractional_power(*tables, kappa_ue, kappa_target)
        for table, wanted in zip(power_tables(power, drop, d), expected, strict=True):
            np.testing.assert_allclose(table, wanted, rtol=1e-10)


def test_sinr_matches_the_loop_in_the_paper_setting_with_reuse() -> None:
    scenario = TrackingScenario(pilot_length=8)
    drop = _drop(scenario, num_drops=1, seed=3)
    problem = power_problem(drop, scenario)
    power = _power(problem)
    world, tables = world_of_drop(drop, scenario), power_tables(power, drop)
    expected = [loop.sinr(k, world, *tables) for k in range(16)]
    assert_close(problem.sinr(power)[0], torch.tensor(expected, dtype=torch.float64), rtol=1e-10, atol=0.0)


def test_coherent_amplitudes_lose_no_imaginary_part() -> None:
    """With three UEs on a pilot C_k Lambda_j is no longer Hermitian, yet its trace is real: all matrices are Toeplitz."""
    world = world_of_drop(_drop(replace(REUSE, pilot_length=1), 1, unequal=True), replace(REUSE, pilot_length=1))
    traces = np.einsum("kmab,jmba->kjm", world["covariance"], world["mmse"])
    assert np.abs(traces.imag).max() < 1e-13 * np.abs(traces.real).max()


def test_statistics_are_covariances() -> None:
    statistics = channel_statistics(_drop(REUSE, 4), REUSE)
    for matrix in (statistics.covariance, statistics.estimate, statistics.sensing_beam):
        scale = matrix.abs().amax().item()
        assert_close(matrix, matrix.mH, rtol=1e-9, atol=1e-13 * scale)
        assert torch.linalg.eigvalsh(matrix).min().item() > -1e-12 * scale
    beams = statistics.sensing_beam.diagonal(dim1=-2, dim2=-1).sum(-1)
    assert_close(beams, torch.ones_like(beams))


def test_zero_power_has_zero_sinr_and_no_signal_only_adds_noise() -> None:
    problem = power_problem(_drop(REUSE), REUSE)
    zero = torch.zeros(2, problem.num_links, dtype=torch.float64)
    assert_close(problem.sinr(zero), torch.zeros(2, 5, dtype=torch.float64))
    assert_close(problem.interference(zero), torch.ones(2, 5, dtype=torch.float64))
    probing = zero.clone()
    probing[:, problem.num_comm_links :] = 1.0
    assert float(problem.sinr(probing).amax()) == 0.0
    assert float(problem.interference(probing).amin()) > 1.0


@pytest.mark.parametrize("factor", [1e-3, 7.0, 1e4])
def test_power_and_noise_scale_together(factor: float) -> None:
    """All powers, the pilots' too, and the noise times a factor: same SINR."""
    drop = _drop(REUSE, unequal=True)
    problem = power_problem(drop, REUSE)
    power = _power(problem)
    louder = replace(REUSE, noise_density_dbm_hz=REUSE.noise_density_dbm_hz + 10 * math.log10(factor))
    scaled = power_problem(replace(drop, pilot_power=factor * drop.pilot_power), louder)
    assert_close(scaled.sinr(factor * power), problem.sinr(power), rtol=1e-10, atol=0.0)
    assert_close(scaled.sir(factor * power), problem.sir(power), rtol=1e-10, atol=0.0)


def test_noise_and_interference_hurt() -> None:
    drop = _drop(SMALL)
    problem = power_problem(drop, SMALL)
    power = _power(problem)
    noisier = power_problem(drop, replace(SMALL, noise_figure_db=9.0))
    assert bool((noisier.sinr(power) < problem.sinr(power)).all())
    assert bool((problem.sinr(2 * power) > problem.sinr(power)).all()), "twice the power of everyone beats the noise"
    for ue in range(5):
        more = power.clone()
        more[:, 2 * ue : 2 * ue + 2] *= 3
        better = problem.sinr(more) > problem.sinr(power)
        assert bool(better[:, ue].all())
        assert int(better.sum()) == 2, "every other UE sees more interference"
    probing = power.clone()
    probing[:, problem.num_comm_links :] += 0.1
    assert bool((problem.sinr(probing) < problem.sinr(power)).all())


def test_sharing_pilots_hurts() -> None:
    """The same network with and without reuse, at the same pilot energy per UE."""
    drop = _drop(REUSE, 8)
    apart = replace(drop, pilot=torch.arange(5).expand(8, 5), pilot_power=drop.pilot_power * REUSE.pilot_symbols / 5)
    shared, orthogonal = power_problem(drop, REUSE), power_problem(apart, SMALL)
    assert shared.has_pilot_reuse
    assert not orthogonal.has_pilot_reuse
    assert bool((shared.signal < orthogonal.signal * (1 + 1e-12)).all())
    # Not UE by UE: a contaminated estimate bends the beam, now and then away from a third UE.
    loss = orthogonal.sinr(_power(shared)).log() - shared.sinr(_power(shared)).log()
    assert float(loss.mean()) > 0.05
    assert float(loss.min()) > -0.05


def _permuted(drop: TrackingDrop, ue: Tensor, target: Tensor, ap: Tensor) -> TrackingDrop:
    """The same networks with UEs, targets and transmit APs numbered otherwise: new number i is old number index[i]."""
    new_ap = torch.argsort(ap)
    return replace(
        drop,
        tx_position=drop.tx_position[:, ap],
        tx_orientation=drop.tx_orientation[:, ap],
        ue_position=drop.ue_position[:, ue],
        target_position=drop.target_position[:, target],
        ue_gain=drop.ue_gain[:, ue][:, :, ap],
        pilot_power=drop.pilot_power[:, ue],
        pilot=drop.pilot[:, ue],
        serving_ap=new_ap[drop.serving_ap[:, ue]],
        sensing_ap=new_ap[drop.sensing_ap[:, target]],
        listening_ap=drop.listening_ap[:, target],
    )


def test_numbering_changes_nothing() -> None:
    drop = _drop(REUSE, 3, unequal=True)
    generator = torch.Generator().manual_seed(5)
    ue, target, ap = (torch.randperm(n, generator=generator) for n in (5, 3, 4))
    first, second = power_problem(drop, REUSE), power_problem(_permuted(drop, ue, target, ap), REUSE)
    power = _power(first)
    data, probing = power[:, :10].unflatten(1, (5, 2)), power[:, 10:].unflatten(1, (3, 2))
    renumbered = torch.cat([data[:, ue].flatten(1), probing[:, target].flatten(1)], dim=1)
    assert_close(second.sinr(renumbered), first.sinr(power)[:, ue], rtol=1e-11, atol=0.0)
    assert_close(second.sir(renumbered), first.sir(power)[:, target], rtol=1e-11, atol=0.0)
    assert_close(second.ap_load(renumbered), first.ap_load(power)[:, ap], rtol=1e-12, atol=0.0)


def test_turning_and_moving_the_whole_network_changes_nothing() -> None:
    drop = _drop(SMALL)
    turn = 0.7
    matrix = torch.eye(3, dtype=torch.float64)
    rotation = [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]
    matrix[:2, :2] = torch.tensor(rotation, dtype=torch.float64)
    shift = torch.tensor([500.0, -200.0, 3.0], dtype=torch.float64)
    names = ("tx_position", "rx_position", "ue_position", "target_position")
    moved = replace(drop, **{name: getattr(drop, name) @ matrix.T + shift for name in names})
    moved = replace(moved, tx_orientation=drop.tx_orientation + turn)
    first, second = power_problem(drop, SMALL), power_problem(moved, SMALL)
    # Rounding of the positions (1e-13 m) grows with the distance over the step and the phase: 1e-9 leaves room.
    assert_close(second.sinr(_power(first)), first.sinr(_power(first)), rtol=1e-9, atol=0.0)
    assert_close(second.sir(_power(first)), first.sir(_power(first)), rtol=1e-9, atol=0.0)


def test_batch_of_one_and_select() -> None:
    drop = _drop(REUSE, 4)
    whole = power_problem(drop, REUSE)
    power = _power(whole)
    index = torch.tensor([2])
    for alone in (power_problem(drop.select(index), REUSE), whole.select(index)):
        assert_close(alone.sinr(power[index]), whole.sinr(power)[index], rtol=1e-12, atol=0.0)
        assert_close(alone.sir(power[index]), whole.sir(power)[index], rtol=1e-12, atol=0.0)


@pytest.mark.parametrize(("num_ues", "num_targets", "num_antennas"), [(1, 0, 1), (1, 1, 4), (2, 2, 1)])
def test_smallest_networks(num_ues: int, num_targets: int, num_antennas: int) -> None:
    scenario = TrackingScenario(num_aps=2, num_ues=num_ues, num_targets=num_targets, num_antennas=num_antennas)
    problem = power_problem(_drop(scenario, 3), scenario)
    problem.check()
    power = torch.full((3, problem.num_links), 0.1, dtype=torch.float64)
    assert problem.num_links == num_ues + num_targets
    assert problem.num_constraints == (num_targets if num_targets > 1 else 0)
    assert bool((problem.sinr(power) > 0).all())
    assert bool(problem.violations(power).worst.isfinite().all())


@pytest.mark.parametrize("scenario", [TrackingScenario(), TrackingScenario(pilot_length=8)], ids=["orthogonal", "reuse"])
def test_single_precision_agrees(scenario: TrackingScenario) -> None:
    """Statistics made in float32 from the start, and a float64 problem cast down: both within 1e-3 of float64."""
    drop = _drop(scenario, 8)
    problem = power_problem(drop, scenario)
    power = _power(problem)
    for rough in (power_problem(cast_floats(drop, torch.float32), scenario), problem.cast(torch.float32)):
        assert rough.signal.dtype == rough.echo.dtype == torch.float32
        assert_close(rough.sinr(power.float()).double(), problem.sinr(power), rtol=1e-3, atol=0.0)
        assert_close(rough.sir(power.float()).double(), problem.sir(power), rtol=1e-3, atol=0.0)


def test_single_precision_at_zero_power_has_no_nan() -> None:
    rough = power_problem(_drop(SMALL), SMALL).cast(torch.float32)
    zero = torch.zeros(2, rough.num_links)
    assert bool(rough.sinr(zero).isfinite().all())
    assert float(rough.violations(zero).sensing.amin()) == 1.0


def test_gradients_with_respect_to_powers() -> None:
    problem = power_problem(_drop(REUSE, 1), REUSE)
    power = (_power(problem) + 0.05).requires_grad_()
    assert torch.autograd.gradcheck(problem.sinr, (power,))
    assert torch.autograd.gradcheck(problem.sir, (power,))
    assert torch.autograd.gradcheck(problem.ap_load, (power,))


@pytest.mark.parametrize("who", ["ue_position", "target_position", "ap_position", "ap_orientation"])
def test_gradients_with_respect_to_positions(who: str) -> None:
    """Per metre, with the sets that the positions choose held where they are."""
    scenario = TrackingScenario(
        num_aps=4, num_receive_aps=1, num_ues=2, num_targets=2, serving_aps=2, sensing_aps=2, num_antennas=2, pilot_length=1
    )
    generator = torch.Generator().manual_seed(2)

    def placed(count: int, height: float) -> Tensor:
        flat = scenario.side * torch.rand(1, count, 2, generator=generator, dtype=torch.float64)
        return torch.cat([flat, torch.full((1, count, 1), height, dtype=torch.float64)], dim=-1)

    layout = {
        "ap_position": placed(4, 10.0),
        "ap_orientation": 6.0 * torch.rand(1, 4, generator=generator, dtype=torch.float64),
        "ue_position": placed(2, 1.65),
        "target_position": placed(2, 60.0),
        "shadowing_db": torch.zeros(1, 2, 4, dtype=torch.float64),
    }
    power = torch.full((1, 8), 0.3, dtype=torch.float64)

    def metrics(value: Tensor) -> Tensor:
        problem = power_problem(build_drops(scenario, **layout | {who: value}), scenario)
        return torch.cat([problem.sinr(power).log(), problem.sir(power).log()], dim=1)

    step = 1e-5 if who == "ap_orientation" else 1e-3
    assert torch.autograd.gradcheck(metrics, (layout[who].clone().requires_grad_(),), eps=step, atol=1e-6, rtol=1e-4)


def test_gradient_is_finite_where_a_link_is_silent():
    scenario = TrackingScenario.of_size("8x4x2", pilot_length=2)
    problem = power_problem(scenario.sample(3, generator=torch.Generator().manual_seed(3)), scenario)
    power = torch.full_like(problem.link_gain, 0.1)
    power[:, ::3] = 0.0
    power.requires_grad_()
    problem.sinr(power).log().sum().backward()
    assert power.grad is not None
    assert power.grad.isfinite().all()
