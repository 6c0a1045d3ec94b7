"""Pilot lengths and powers of a frame: against enumeration of all lengths, against a fixed frame, laws."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocation import Status, allocate
from isac_torch.allocators.downlink_pilots.batched import BatchedMinMaxNmse
from isac_torch.allocators.downlink_pilots.frame import best_frame, net_rate
from isac_torch.downlink_pilots.build import power_problem
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
from isac_torch.errors import ScenarioError


def drawn(scenario, count):
    return scenario.sample(count, generator=torch.Generator().manual_seed(3))


def enumerated(drop, scenario):
    """(tau_d, tau_u) -> smallest net rate of each drop, -1 where a bound is missed, over all lengths in nested loops."""
    found = {}
    for downlink in range(scenario.num_ues, scenario.frame_symbols):
        for uplink in range(scenario.num_ues, scenario.frame_symbols - downlink):
            chosen = replace(scenario, downlink_symbols=downlink, uplink_symbols=uplink)
            problem = power_problem(drop, chosen)
            answer = allocate(problem, BatchedMinMaxNmse(max_boxes=0))
            data = (scenario.frame_symbols - downlink - uplink) / scenario.frame_symbols
            sinr = (1 - problem.nmse(answer.power).amax(-1)) * scenario.num_aps / scenario.num_ues * 10 / 11
            rate = data * scenario.bandwidth * torch.log2(1 + sinr)
            found[downlink, uplink] = torch.where(answer.status <= Status.FEASIBLE, rate, -1.0)
    return found


@pytest.mark.parametrize("objective", ["rate", "overhead"])
def test_against_enumeration(objective):
    scenario = DownlinkPilotScenario(num_ues=2, num_aps=6, frame_symbols=9, uplink_symbols=2, downlink_symbols=2)
    drop = drawn(scenario, 4)
    plan = best_frame(drop, scenario, objective)
    found = enumerated(drop, scenario)
    for index in range(4):
        rates = {lengths: float(rate[index]) for lengths, rate in found.items() if rate[index] > 0}
        if not rates:
            assert not plan.feasible[index]
            continue
        if objective == "overhead":
            least = min(map(sum, rates))
            rates = {lengths: rate for lengths, rate in rates.items() if sum(lengths) == least}
        assert float(plan.rate[index]) == pytest.approx(max(rates.values()), rel=1e-6)
        assert rates[int(plan.downlink[index]), int(plan.uplink[index])] == pytest.approx(max(rates.values()), rel=1e-6)
    assert int(plan.tried.max()) <= len(found)


def test_powers_meet_the_bounds_and_beat_a_fixed_frame():
    scenario = DownlinkPilotScenario()
    drop = drawn(scenario, 4)
    plan = best_frame(drop, scenario)
    assert plan.feasible.all()
    for index in range(4):
        lengths = {"downlink_symbols": int(plan.downlink[index]), "uplink_symbols": int(plan.uplink[index])}
        problem = power_problem(drop.select(torch.tensor([index])), replace(scenario, **lengths))
        power = plan.power[index, None]
        assert problem.violations(power).worst <= 1e-6
        assert_close(net_rate(problem.nmse(power), replace(scenario, **lengths)).amin(-1), plan.rate[index, None])
    fixed = power_problem(drop, scenario)
    rate = net_rate(fixed.nmse(allocate(fixed, BatchedMinMaxNmse(max_boxes=0)).power), scenario).amin(-1)
    assert (plan.rate >= rate).all()
    assert (plan.rate / rate).mean() >= 1.6


def test_shared_uplink_pilots_are_refused():
    scenario = DownlinkPilotScenario(num_ues=4, uplink_symbols=2)
    with pytest.raises(ScenarioError, match="share an uplink pilot"):
        best_frame(drawn(scenario, 1), scenario)
