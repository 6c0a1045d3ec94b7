"""The closed forms against simulated signals: drawn channels, pilots, MMSE estimates, MRT, data and sensing symbols."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from isac_torch.tracking.build import power_problem
from isac_torch.tracking.drop import TrackingDrop
from isac_torch.tracking.scenario import TrackingScenario
from tests.oracles import metrics, signal_chain
from tests.oracles.world import power_tables, world_of_drop

# Small enough for 40,000 networks' worth of fading in a second, loud pilots so that few draws settle the means.
TINY = TrackingScenario(
    num_aps=4, num_receive_aps=1, num_ues=4, num_targets=3, serving_aps=2, sensing_aps=2, num_antennas=3, pilot_power=1e-2
)
CASES = [
    pytest.param({}, False, id="orthogonal"),
    pytest.param({"pilot_length": 2}, False, id="reuse"),
    pytest.param({"pilot_length": 2}, True, id="reuse-unequal"),
    pytest.param({"pilot_length": 1}, True, id="one-pilot-unequal"),
]


def _network(scenario: TrackingScenario, unequal: bool, seed: int) -> tuple[TrackingDrop, Any, Any]:
    """A drop, its problem and half of each AP's budget in random shares."""
    generator = torch.Generator().manual_seed(seed)
    drop = scenario.sample(1, generator=generator)
    if unequal:  # uplink powers over 20 dB
        spread = torch.rand(drop.pilot_power.shape, generator=generator, dtype=torch.float64)
        drop = replace(drop, pilot_power=drop.pilot_power * 10 ** (2 * spread - 1))
    problem = power_problem(drop, scenario)
    share = torch.rand(1, problem.num_links, generator=generator, dtype=torch.float64)
    load = problem.ap_load(share).clamp_min(1e-9)
    return drop, problem, share * (0.5 * problem.budget / load).gather(1, problem.link_ap)


@pytest.mark.parametrize(("options", "unequal"), CASES)
def test_sinr_of_simulated_signals(options: dict[str, int], unequal: bool) -> None:
    """Within 2 %: the means of 40,000 fading draws are good to about 0.7 %."""
    scenario = replace(TINY, **options)
    drop, problem, power = _network(scenario, unequal, seed=4)
    world, tables = world_of_drop(drop, scenario), power_tables(power, drop)
    simulated = signal_chain.sinr_by_simulation(world, *tables, count=40_000, rng=np.random.default_rng(0), batch=4000)
    np.testing.assert_allclose(problem.sinr(power)[0].numpy(), simulated, rtol=0.02)


def test_the_simulation_sees_unequal_pilot_powers() -> None:
    """The amplitude without sqrt(eta_k / eta_j), as the paper prints it, misses the simulation by far."""
    scenario = replace(TINY, pilot_length=1)
    drop, _, power = _network(scenario, True, seed=4)
    world, tables = world_of_drop(drop, scenario), power_tables(power, drop)
    printed = world | {"pilot_power": np.ones(4)}
    ratio = [metrics.sinr(k, printed, *tables) / metrics.sinr(k, world, *tables) for k in range(4)]
    assert max(abs(np.log(ratio))) > np.log(1.3)


def test_echoes_of_simulated_signals() -> None:
    """Mean echo over mean interference is the expected SIR within 1 %; the mean of their ratio is another number."""
    drop, problem, power = _network(TINY, False, seed=5)
    world, tables = world_of_drop(drop, TINY), power_tables(power, drop)
    rng = np.random.default_rng(1)
    echoes = np.concatenate([signal_chain.echoes_by_simulation(world, *tables, 2000, 50, rng) for _ in range(6)])
    own = np.einsum("dll->dl", echoes)
    other = echoes.sum(2) - own
    expected = problem.sir(power)[0].numpy()
    np.testing.assert_allclose(own.mean(0) / other.mean(0), expected, rtol=0.01)
    assert (np.abs((own / other).mean(0) / expected - 1) < 0.2).all()


def test_drawn_reflectivities_have_the_same_mean() -> None:
    """Swerling I targets: within 4 %, as the energies of a block are then nearly exponential."""
    drop, problem, power = _network(TINY, False, seed=5)
    world, tables = world_of_drop(drop, TINY), power_tables(power, drop)
    rng = np.random.default_rng(2)
    echoes = np.concatenate([signal_chain.echoes_by_simulation(world, *tables, 5000, 4, rng, True) for _ in range(4)])
    mean = echoes.mean(0)
    own = np.diagonal(mean)
    np.testing.assert_allclose(own / (mean.sum(1) - own), problem.sir(power)[0].numpy(), rtol=0.04)


@pytest.mark.slow
@pytest.mark.parametrize(("options", "unequal"), CASES[:3])
def test_sinr_of_simulated_signals_in_the_paper_setting(options: dict[str, int], unequal: bool) -> None:
    """M=16, K=16, L=4 within 2 %; reuse means 8 pilots here."""
    scenario = TrackingScenario(pilot_length=8 if options else None)
    drop, problem, power = _network(scenario, unequal, seed=6)
    world, tables = world_of_drop(drop, scenario), power_tables(power, drop)
    simulated = signal_chain.sinr_by_simulation(world, *tables, count=100_000, rng=np.random.default_rng(3), batch=1000)
    np.testing.assert_allclose(problem.sinr(power)[0].numpy(), simulated, rtol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(("options", "unequal"), CASES)
def test_sinr_of_received_samples(options: dict[str, int], unequal: bool) -> None:
    """From symbols alone, without looking at channels or beams: within 3 %, for 200,000 blocks of two symbols."""
    scenario = replace(TINY, **options)
    drop, problem, power = _network(scenario, unequal, seed=4)
    world, tables = world_of_drop(drop, scenario), power_tables(power, drop)
    simulated = signal_chain.sinr_from_symbols(world, *tables, 200_000, 2, np.random.default_rng(7))
    np.testing.assert_allclose(problem.sinr(power)[0].numpy(), simulated, rtol=0.03)


@pytest.mark.slow
def test_echoes_of_simulated_signals_in_the_paper_setting() -> None:
    scenario = TrackingScenario()
    drop, problem, power = _network(scenario, False, seed=8)
    world, tables = world_of_drop(drop, scenario), power_tables(power, drop)
    rng = np.random.default_rng(9)
    echoes = np.concatenate([signal_chain.echoes_by_simulation(world, *tables, 500, 50, rng) for _ in range(40)])
    own = np.einsum("dll->dl", echoes)
    other = echoes.sum(2) - own
    np.testing.assert_allclose(own.mean(0) / other.mean(0), problem.sir(power)[0].numpy(), rtol=0.01)
