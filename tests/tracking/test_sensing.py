"""Expected sensing SIR of the tracking system against NumPy loops, and its laws."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from isac_torch.tracking.build import power_problem
from isac_torch.tracking.channel import channel_statistics
from isac_torch.tracking.drop import TrackingDrop
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.tracking.sensing import echo_gain, illumination
from tests.oracles import geometry
from tests.oracles import metrics as loop
from tests.oracles.world import power_tables, world_of_drop

SMALL = TrackingScenario(num_aps=6, num_receive_aps=2, num_ues=4, num_targets=3, serving_aps=2, sensing_aps=2)


def _drop(scenario: TrackingScenario, num_drops: int = 2, seed: int = 0) -> TrackingDrop:
    return scenario.sample(num_drops, generator=torch.Generator().manual_seed(seed))


def _power(problem: MaxMinSinrProblem, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(problem.num_drops, problem.num_links, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(
    "scenario",
    [
        SMALL,
        replace(SMALL, listening_aps=2, pilot_length=2),
        replace(SMALL, num_targets=5, receive_assignment="balanced", angle_error=0.1),
        replace(SMALL, num_targets=2, angle_error=0.0, receive_selection="nearest_to_target"),
    ],
    ids=["nearest", "two-listeners", "balanced", "no-angle-error"],
)
def test_sir_matches_the_loop(scenario: TrackingScenario) -> None:
    """To 1e-10: the loop integrates the angle errors with its own rule, good to 1e-12, and scales nothing."""
    drop = _drop(scenario)
    problem = power_problem(drop, scenario)
    power = _power(problem)
    sir = problem.sir(power)
    for d in range(drop.num_drops):
        world, tables = world_of_drop(drop, scenario, d), power_tables(power, drop, d)
        for target in range(scenario.num_targets):
            assert sir[d, target].item() == pytest.approx(loop.sir(target, world, *tables), rel=1e-10)


def test_product_of_path_gains_matches_the_loop() -> None:
    scenario = replace(SMALL, echo_gain="product")
    drop = _drop(scenario, 1)
    problem = power_problem(drop, scenario)
    power = _power(problem)
    world = world_of_drop(drop, scenario)
    tx, rx, targets = (getattr(drop, f"{name}_position")[0].numpy() for name in ("tx", "rx", "target"))
    for t in range(3):
        for r in range(2):
            for m in range(4):
                loss = geometry.umi_los_loss_db(geometry.distance(tx[m], targets[t]), 2.0)
                loss += geometry.umi_los_loss_db(geometry.distance(rx[r], targets[t]), 2.0)
                world["echo_gain"][t, r, m] = 10 ** (-loss / 10)
    assert_close(echo_gain(drop, scenario)[0], torch.from_numpy(world["echo_gain"]), rtol=1e-12, atol=0.0)
    for target in range(3):
        expected = loop.sir(target, world, *power_tables(power, drop))
        assert problem.sir(power)[0, target].item() == pytest.approx(expected, rel=1e-10)


def test_a_perfect_beam_lights_its_target_with_the_whole_array() -> None:
    """|a^H w_0|^2 = N without angle errors, less with them, and never more than N towards anybody."""
    drop = _drop(SMALL)
    exact = replace(SMALL, angle_error=0.0)
    illuminated, blurred = (illumination(channel_statistics(drop, s)) for s in (exact, SMALL))
    sensing = slice(SMALL.num_ues * 2, None)
    own = torch.stack([illuminated[:, t, sensing].unflatten(1, (3, 2))[:, t] for t in range(3)], dim=1)
    assert_close(own, torch.full_like(own, 4.0))
    missed = torch.stack([blurred[:, t, sensing].unflatten(1, (3, 2))[:, t] for t in range(3)], dim=1)
    assert bool((missed < own).all())
    # 0.01 rad over an aperture of three half wavelengths costs at most (pi 0.01)^2 (N^2 - 1) / 12 for azimuth and elevation.
    assert bool((missed > own * (1 - 2 * (math.pi * 0.01) ** 2 * 15 / 12)).all())
    for each in (illuminated, blurred):
        assert float(each.min()) >= 0.0
        assert float(each.max()) <= 4.0 + 1e-12


def test_a_blind_beam_lights_every_target_like_an_isotropic_antenna() -> None:
    """With angle errors of many turns the average over the beam keeps 1/N of the gain, up to the lags that survive."""
    drop = _drop(SMALL)
    illuminated = illumination(channel_statistics(drop, replace(SMALL, angle_error=0.9)))[:, :, SMALL.num_ues * 2 :]
    assert 0.3 < float(illuminated.mean()) < 2.0


def test_scaling_all_powers_leaves_the_sir() -> None:
    problem = power_problem(_drop(SMALL), SMALL)
    power = _power(problem)
    for factor in (1e-6, 3.0, 1e6):
        assert_close(problem.sir(factor * power), problem.sir(power), rtol=1e-12, atol=0.0)


def test_echoes_are_linear_in_the_powers() -> None:
    problem = power_problem(_drop(SMALL), SMALL)
    first, second = _power(problem, 1), _power(problem, 2)

    def parts(power: Tensor) -> tuple[Tensor, Tensor]:
        return tuple(torch.einsum("dle,de->dl", table, power) for table in (problem.echo, problem.cross_echo))  # type: ignore[return-value]

    for mixed, one, two in zip(parts(2 * first + 3 * second), parts(first), parts(second), strict=True):
        assert_close(mixed, 2 * one + 3 * two, rtol=1e-12, atol=0.0)


def test_a_beam_helps_its_own_target() -> None:
    """More power on the beams of a target raises its SIR in the paper's setting, and never by more than the others lose."""
    scenario = TrackingScenario()
    problem = power_problem(_drop(scenario, 20), scenario)
    power = torch.full((20, problem.num_links), 0.1, dtype=torch.float64)
    better = 0
    for target in range(4):
        more = power.clone()
        start = problem.num_comm_links + 4 * target
        more[:, start : start + 4] *= 5
        better += int((problem.sir(more)[:, target] > problem.sir(power)[:, target]).sum())
    # Not always: a close pair of targets sits in the same beam.
    assert better >= 0.95 * 80


@pytest.mark.parametrize("num_targets", [2, 3, 5])
def test_targets_that_share_a_receive_ap_share_a_ceiling(num_targets: int) -> None:
    """x_l / (sum x - x_l) cannot exceed 1 / (n - 1) for all n targets at once, whatever the powers."""
    scenario = replace(SMALL, num_aps=5, num_receive_aps=1, num_targets=num_targets)
    problem = power_problem(_drop(scenario, 30), scenario)
    for seed in range(5):
        power = _power(problem, seed) ** 4
        sir = problem.sir(power)
        assert float(sir.amin(-1).max()) <= 1 / (num_targets - 1) + 1e-12
        # The echoes of one receive AP add up: sum_l SIR / (1 + SIR) = 1.
        assert_close((sir / (1 + sir)).sum(-1), torch.ones(30, dtype=torch.float64), rtol=1e-12, atol=0.0)


def test_equal_targets_have_equal_sir() -> None:
    """Two targets at one place: each hears the other as loud as itself, 0 dB."""
    drop = _drop(replace(SMALL, num_targets=2))
    twins = replace(
        drop,
        target_position=drop.target_position[:, :1].expand(-1, 2, -1),
        sensing_ap=drop.sensing_ap[:, :1].expand(-1, 2, -1),
        listening_ap=drop.listening_ap[:, :1].expand(-1, 2, -1),
    )
    problem = power_problem(twins, replace(SMALL, num_targets=2))
    sir = problem.sir(_power(problem))
    assert_close(sir, torch.ones_like(sir), rtol=1e-12, atol=0.0)


def test_required_sir_can_be_overridden() -> None:
    drop = _drop(SMALL)
    assert_close(power_problem(drop, SMALL).sir_min, torch.full((2, 3), 10**-0.5, dtype=torch.float64))
    problem = power_problem(drop, SMALL, sir_min_db=3.0)
    assert_close(problem.sir_min, torch.full((2, 3), 10**0.3, dtype=torch.float64))
    power = _power(problem)
    worst = (1 - problem.sir(power) / 10**0.3).amax(-1).clamp_min(0.0)
    assert_close(problem.violations(power).sensing, worst)


def test_zero_power_senses_nothing() -> None:
    problem = power_problem(_drop(SMALL), SMALL)
    zero = torch.zeros(2, problem.num_links, dtype=torch.float64)
    assert_close(problem.sir(zero), torch.zeros(2, 3, dtype=torch.float64))
    assert_close(problem.violations(zero).sensing, torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize("num_targets", [0, 1])
def test_fewer_than_two_targets_have_no_rows(num_targets: int) -> None:
    scenario = replace(SMALL, num_targets=num_targets)
    problem = power_problem(_drop(scenario), scenario)
    assert problem.num_constraints == 0
    assert problem.num_links == 8 + 2 * num_targets
    power = _power(problem)
    assert problem.sir(power).shape == (2, 0)
    assert_close(problem.violations(power).sensing, torch.zeros(2, dtype=torch.float64))
