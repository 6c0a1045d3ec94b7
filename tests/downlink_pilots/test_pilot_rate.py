"""The achievable rate of the data: against simulated frames and symbols, a finer quadrature, laws."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocation import equal_split
from isac_torch.downlink_pilots import rate
from isac_torch.downlink_pilots.build import power_problem
from isac_torch.downlink_pilots.rate import achievable_rate, data_share, payload_noise, spectral_efficiency
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
from isac_torch.errors import ProblemError
from tests.oracles import pilot_chain

COMPLEX = np.array([[1, 0.5j, 0.2], [-0.5j, 1, -0.3], [0.2, -0.3, 1]])
CASES = {
    "default": {},
    "faint pilots": {"downlink_symbols": 3, "uplink_symbols": 3, "pilot_power": 4e-3},
    "faint data": {"payload_power": 5e-3},
}


def drawn(count=1, **parameters):
    scenario = DownlinkPilotScenario(**{"num_ues": 3, **parameters})
    return scenario, scenario.sample(count, generator=torch.Generator().manual_seed(3))


def unequal(problem, generator):
    """Powers (W) of which each AP gives most to some UE, all APs within their budgets."""
    share = torch.rand(problem.gain.shape, generator=generator, dtype=torch.float64).pow(3)
    return (share / share.sum(1, keepdim=True) * problem.budget.unsqueeze(1)).flatten(1)


@pytest.mark.parametrize("receiver", ["lmmse", "projection", "ignorant"])
@pytest.mark.parametrize("case", CASES)
def test_against_simulated_frames_and_data(case, receiver, generator):
    """Uplink pilots, estimates, beams, downlink pilots, the UE's estimator and data symbols, drawn 60,000 times: 2 %."""
    scenario, drop = drawn(receiver=receiver, **CASES[case])
    gram = torch.as_tensor(COMPLEX)[None]
    drop = replace(drop, gram_real=gram.real.contiguous(), gram_imag=gram.imag.contiguous())
    problem = power_problem(drop, scenario)
    power = unequal(problem, generator)
    per_watt = scenario.pilot_power / scenario.noise_power
    simulated = pilot_chain.simulated_rate(
        drop.gain[0].numpy(),
        problem.per_ue(power)[0].numpy() / scenario.pilot_power,
        drop.pilot[0].numpy(),
        COMPLEX,
        scenario.uplink_symbols * per_watt,
        scenario.downlink_symbols * per_watt,
        trials=60_000,
        seed=11,
        receiver=receiver,
        noise=scenario.noise_power / scenario.payload_power,
    )
    expected = simulated * scenario.bandwidth * (1 - scenario.pilot_symbols / scenario.frame_symbols)
    assert_close(achievable_rate(problem, power, scenario)[0], torch.as_tensor(expected), rtol=0.02, atol=0)


@pytest.mark.parametrize(("aps", "ues", "correlation"), [(8, 1, 0.0), (8, 2, 0.0), (8, 4, 0.4), (32, 2, 0.0)])
def test_against_many_more_nodes(aps, ues, correlation, generator, monkeypatch):
    scenario, drop = drawn(4, num_aps=aps, num_ues=ues, downlink_correlation=correlation)
    problem = power_problem(drop, scenario)
    power = unequal(problem, generator)
    got = achievable_rate(problem, power, scenario)
    for name, value in {"_RADII": 200, "_FIRST": -13.0, "_LAST": 3.5, "_ANGLES": 40}.items():
        monkeypatch.setattr(rate, name, value)
    rate._rule.cache_clear()
    assert_close(got, achievable_rate(problem, power, scenario), rtol=2e-4, atol=0)
    rate._rule.cache_clear()


@pytest.mark.parametrize("correlation", [0.0, 0.4])
def test_laws(correlation, generator):
    scenario, drop = drawn(3, downlink_correlation=correlation)
    problem = power_problem(drop, scenario)
    power = unequal(problem, generator)
    got = achievable_rate(problem, power, scenario)
    order = torch.tensor([2, 0, 1])
    moved = replace(drop, gain=drop.gain[:, order], pilot=drop.pilot[:, order], ue_position=drop.ue_position[:, order])
    moved_power = problem.per_ue(power)[:, order].flatten(1)
    assert_close(achievable_rate(power_problem(moved, scenario), moved_power, scenario), got[:, order], rtol=1e-9, atol=0)
    # Ten times all powers in ten times the noise change nothing.
    louder = replace(scenario, pilot_power=2.0, payload_power=2.0, noise_density_dbm_hz=scenario.noise_density_dbm_hz + 10.0)
    assert_close(achievable_rate(power_problem(drop, louder), 10 * power, louder), got, rtol=1e-9, atol=0)
    # No data power, no rate; more of it, more rate. Each drop may have its own.
    levels = torch.tensor([0.0, 1e-3, 0.2], dtype=torch.float64)
    rates = achievable_rate(problem, power, scenario, levels)
    assert (rates[0] < 1e-12 * got[0]).all()
    assert (rates[1] < got[1]).all()
    assert_close(rates[2], got[2])
    # A UE without power learns and hears nothing; the others hear less interference.
    silent = problem.per_ue(power).clone()
    silent[:, 0] = 0.0
    alone = achievable_rate(problem, silent.flatten(1), scenario)
    assert_close(alone[:, 0], torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-3)
    assert (alone[:, 1:] > got[:, 1:]).all()


def test_longer_pilots_raise_the_rate_of_a_data_symbol(generator):
    scenario, drop = drawn(5)
    rates = []
    for length in (3, 6, 12):
        chosen = replace(scenario, downlink_symbols=length, uplink_symbols=length)
        problem = power_problem(drop, chosen)
        rates.append(spectral_efficiency(problem, equal_split(problem), payload_noise(chosen)))
        assert data_share(chosen) == pytest.approx(1 - 2 * length / 40)
    assert (rates[0] < rates[1]).all()
    assert (rates[1] < rates[2]).all()


def test_gradient_and_batches(generator, monkeypatch):
    scenario, drop = drawn(3, num_ues=2)
    problem = power_problem(drop, scenario)
    power = unequal(problem, generator).requires_grad_()
    # The nodes gather around powers that the derivative takes as given: it is that of the integral.
    (slope,) = torch.autograd.grad(achievable_rate(problem, power, scenario).sum(), power)
    step = 1e-5 * torch.randn(power.shape, generator=generator, dtype=torch.float64) * power.detach()
    ahead, behind = (achievable_rate(problem, power.detach() + sign * step, scenario).sum() for sign in (1, -1))
    assert_close((slope * step).sum(), (ahead - behind) / 2, rtol=1e-3, atol=0)
    together = achievable_rate(problem, power.detach(), scenario)
    monkeypatch.setattr(rate, "_ELEMENTS", 1)
    assert_close(achievable_rate(problem, power.detach(), scenario), together, rtol=1e-12, atol=0)


def test_shared_uplink_pilots_are_refused():
    scenario, drop = drawn(num_ues=4, uplink_symbols=2)
    problem = power_problem(drop, scenario)
    with pytest.raises(ProblemError, match="no rate is known where UEs share an uplink pilot"):
        achievable_rate(problem, equal_split(problem), scenario)
