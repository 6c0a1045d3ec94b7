"""Downlink pilots: beams whose power is the same in every block, against simulation; what needs other beams refuses them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocation import Status, allocate, equal_split
from isac_torch.allocators.downlink_pilots.batched import BatchedMinMaxNmse
from isac_torch.allocators.registry import named_allocator
from isac_torch.downlink_pilots.build import power_problem
from isac_torch.downlink_pilots.rate import achievable_rate
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
from isac_torch.errors import ProblemError, ScenarioError
from tests.downlink_pilots.test_pilot_physics import given_gains, weak
from tests.oracles import pilot_chain, pilot_world


def test_nmse_of_beams_that_do_not_fade_against_simulated_pilots(generator):
    """Each AP's beams have the same power in every block: 2 %; the bound of every block is that of (P15)."""
    beta, share = weak(3, 4, seed=3)
    pilot = np.arange(3)
    simulated = pilot_chain.simulated_nmse(
        beta, share, pilot, np.eye(3, dtype=complex), 2.0, 5.0, 30_000, seed=11, receiver="lmmse", steady=True
    )
    gamma = pilot_world.estimate_gain(beta, pilot, 2.0)
    coherent = np.pi / 4 * gamma
    problem = replace(given_gains(beta - coherent, coherent, np.eye(3), pilot, 5.0), fading="per_block")
    problem.check()
    power = torch.as_tensor(share).reshape(1, -1)
    assert_close(problem.nmse(power)[0], torch.as_tensor(simulated), rtol=0.02, atol=0)
    scenario = DownlinkPilotScenario(crb="per_block")
    drop = scenario.sample(4, generator=generator)
    built, mean = power_problem(drop, scenario), power_problem(drop, replace(scenario, crb="mean_power"))
    built.check()
    assert_close(built.estimate, np.pi / 4 * mean.estimate)
    assert_close(built.gain + built.estimate, mean.gain)
    assert_close(built.crb(equal_split(built)), mean.crb(equal_split(mean)))


def test_beams_that_do_not_fade_need_orthogonal_pilots(generator):
    for change in ({"downlink_correlation": 0.3}, {"num_ues": 3, "uplink_symbols": 2}, {"num_ues": 3, "downlink_symbols": 2}):
        scenario = DownlinkPilotScenario(crb="per_block", **change)
        with pytest.raises(ScenarioError, match="orthogonal pilots"):
            power_problem(scenario.sample(2, generator=generator), scenario)
    scenario = DownlinkPilotScenario(crb="per_block")
    problem = power_problem(scenario.sample(2, generator=generator), scenario)
    with pytest.raises(ProblemError, match="do not fade"):
        achievable_rate(problem, equal_split(problem), scenario)


def test_optimum_against_that_of_fading_beams(generator):
    """Certified, and Gamma holds in every block. E|a|^2 is pi/4 G^2 + F - pi/4 sum gamma x in place of G^2 + F, and G^2 is at
    least sum gamma x: less than half is lost."""
    scenario = DownlinkPilotScenario(downlink_symbols=6, uplink_symbols=14, crb="per_block")
    drop = scenario.sample(6, generator=generator)
    problem, mean = power_problem(drop, scenario), power_problem(drop, replace(scenario, crb="mean_power"))
    best, free = (allocate(one, BatchedMinMaxNmse(gap=1e-3)) for one in (problem, mean))
    assert (best.status == Status.OPTIMAL).all()
    assert (problem.crb(best.power) <= problem.crb_max * (1 + 1e-6)).all()
    ratio = free.value / best.value
    assert (ratio > 1.0).all()
    assert (ratio < 2.0).all()
    for name in ("gnn", "first_order", "sca_paper"):
        answer = allocate(problem, named_allocator(name, system="downlink_pilots"))
        assert answer.power.isfinite().all()
        assert (answer.value <= best.upper_bound * (1 + 1e-9)).all() or name != "gnn"
