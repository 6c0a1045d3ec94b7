"""Pilot lengths and powers of a frame: against enumeration of all lengths, grids of powers, a fixed frame, laws."""

import functools
import itertools
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocators.downlink_pilots.frame import best_frame, check_frame
from isac_torch.allocators.downlink_pilots.frame_energy import frame_energy, largest_payload, least_energy
from isac_torch.allocators.downlink_pilots.frame_powers import largest_rate, least_error, logits_of
from isac_torch.downlink_pilots.build import power_problem
from isac_torch.downlink_pilots.rate import achievable_rate
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
from isac_torch.errors import ScenarioError
from isac_torch.nn.downlink_pilots.shares import powers

SMALL = DownlinkPilotScenario(num_ues=2, num_aps=4, frame_symbols=7, uplink_symbols=3, downlink_symbols=2, crb_max=10.0)
RATE_MIN = 4e6


def drawn(scenario, count):
    return scenario.sample(count, generator=torch.Generator().manual_seed(3))


def paper_net_rate(problem, power, scenario):
    sinr = (1 - problem.nmse(power).amax(-1)) * scenario.num_aps / scenario.num_ues * 10 / 11
    return scenario.bandwidth * torch.log2(1 + sinr)


def solved(objective, problem, chosen):
    """Powers and what is to be large, for given lengths."""
    if objective == "energy":
        found = least_energy(problem, chosen, RATE_MIN)
        data = chosen.frame_symbols - chosen.pilot_symbols
        beams = found.power.sum(-1)
        sent = beams * chosen.downlink_symbols + beams * data * found.payload / chosen.pilot_power
        return found, -(sent + chosen.uplink_symbols * chosen.num_ues * chosen.pilot_power) / chosen.bandwidth
    if objective in ("rate", "overhead"):
        found = largest_rate(problem, chosen)
        return found, achievable_rate(problem, found.power, chosen).amin(-1)
    found = least_error(problem, chosen)
    if objective == "paper_rate":
        data = (chosen.frame_symbols - chosen.pilot_symbols) / chosen.frame_symbols
        return found, data * paper_net_rate(problem, found.power, chosen)
    nmse = problem.nmse(found.power) * problem.weight
    return found, -(nmse.sum(-1) if objective == "sum_nmse" else nmse.amax(-1))


@functools.cache
def enumerated(objective, weight):
    """(tau_d, tau_u) -> value of each drop, None where something is missed, over all lengths in nested loops."""
    scenario, table = SMALL, {}
    drop = drawn(scenario, 3)
    for downlink, uplink in itertools.product(range(2, 8), repeat=2):
        total = downlink + uplink
        if total >= scenario.frame_symbols or ("nmse" in objective and total != scenario.pilot_symbols):
            continue
        chosen = replace(scenario, downlink_symbols=downlink, uplink_symbols=uplink)
        problem = power_problem(drop, chosen)
        if weight:
            problem = replace(problem, weight=torch.tensor([weight], dtype=torch.float64).expand(drop.num_drops, -1))
        if objective == "sum_nmse":
            problem = replace(problem, merit="sum")
        found, value = solved(objective, problem, chosen)
        table[downlink, uplink] = torch.where(found.met, value, torch.nan)
    return table


@pytest.mark.parametrize(
    ("objective", "weight"),
    [
        ("rate", None),
        ("overhead", None),
        pytest.param("energy", None, marks=pytest.mark.slow),
        ("nmse", (1.0, 3.0)),
        ("sum_nmse", None),
        ("paper_rate", None),
    ],
)
def test_against_enumeration(objective, weight):
    drop = drawn(SMALL, 3)
    plan = best_frame(drop, SMALL, objective, weight=weight, rate_min=RATE_MIN if objective == "energy" else None)
    table = enumerated("rate" if objective == "overhead" else objective, weight)
    assert plan.feasible.any()
    for index in range(3):
        values = {lengths: float(value[index]) for lengths, value in table.items() if not value[index].isnan()}
        if not values:
            assert not plan.feasible[index]
            continue
        if objective == "overhead":
            least = min(map(sum, values))
            values = {lengths: value for lengths, value in values.items() if sum(lengths) == least}
        lengths = int(plan.downlink[index]), int(plan.uplink[index])
        assert values[lengths] == pytest.approx(max(values.values()), rel=1e-6)
        told = {"energy": -plan.energy, "rate": plan.rate, "overhead": plan.rate, "nmse": -plan.nmse, "sum_nmse": -plan.nmse}
        if objective in told:
            assert float(told[objective][index]) == pytest.approx(values[lengths], rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("crb", ["mean_power", "expected"])
@pytest.mark.parametrize("objective", ["rate", "energy"])
def test_powers_keep_every_limit(objective, crb):
    scenario = replace(SMALL, crb=crb, crb_max=20.0)
    drop = drawn(scenario, 3)
    rate_min = RATE_MIN if objective == "energy" else None
    plan = best_frame(drop, scenario, objective, rate_min=rate_min)
    assert plan.feasible.any()
    for index in plan.feasible.nonzero()[:, 0].tolist():
        lengths = {"downlink_symbols": int(plan.downlink[index]), "uplink_symbols": int(plan.uplink[index])}
        chosen = replace(scenario, **lengths)
        problem, power = power_problem(drop.select(torch.tensor([index])), chosen), plan.power[index, None]
        payload = plan.payload[index, None]
        assert problem.violations(power).worst <= 1e-6
        assert payload * problem.ap_load(power).amax() <= scenario.payload_power * scenario.pilot_power * (1 + 1e-9)
        assert_close(achievable_rate(problem, power, chosen, payload).amin(-1), plan.rate[index, None])
        assert plan.rate[index] >= (rate_min or 0.0)


@pytest.mark.slow
def test_powers_against_a_grid():
    """Two APs, two UEs: no powers on a grid give a larger smallest rate, or the same rate for less energy."""
    scenario = DownlinkPilotScenario(num_aps=2, crb_max=1e6, downlink_symbols=3, uplink_symbols=2, frame_symbols=10)
    drop = drawn(scenario, 2)
    problem = power_problem(drop, scenario)
    level = torch.tensor([0.0, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98, 1.0], dtype=torch.float64) * scenario.pilot_power
    grid = torch.cartesian_prod(*[level] * 4)
    grid = grid[((grid[:, 0] + grid[:, 2]) <= scenario.pilot_power) & ((grid[:, 1] + grid[:, 3]) <= scenario.pilot_power)]
    best, least = largest_rate(problem, scenario), least_energy(problem, scenario, RATE_MIN)
    assert best.met.all()
    assert least.met.all()
    for index in range(2):
        many = problem.select(torch.full((len(grid),), index))
        rate = achievable_rate(many, grid, scenario).amin(-1)
        reached = achievable_rate(problem, best.power, scenario).amin(-1)[index]
        assert reached >= 0.98 * rate.max()
        top = largest_payload(scenario, many.ap_load(grid))
        energy = torch.full_like(rate, torch.inf)
        for share in torch.logspace(-4, 0, 40, dtype=torch.float64):
            enough = achievable_rate(many, grid, scenario, share * top).amin(-1) >= RATE_MIN
            spent = torch.where(enough, frame_energy(scenario, grid, share * top), torch.inf)
            energy = torch.minimum(energy, spent)
        assert frame_energy(scenario, least.power, least.payload)[index] <= 1.02 * energy.min()


@pytest.mark.slow
def test_a_chosen_frame_beats_a_fixed_one():
    scenario = DownlinkPilotScenario()
    drop = drawn(scenario, 4)
    plan = best_frame(drop, scenario)
    assert plan.feasible.all()
    fixed = power_problem(drop, scenario)
    assert (plan.rate > achievable_rate(fixed, largest_rate(fixed, scenario).power, scenario).amin(-1)).all()
    assert plan.rate.mean() > 1.6 * achievable_rate(fixed, least_error(fixed, scenario).power, scenario).amin(-1).mean()


@pytest.mark.slow
def test_drops_are_chosen_for_one_by_one():
    drop = drawn(SMALL, 3)
    together = best_frame(drop, SMALL)
    alone = [best_frame(drop.select(torch.tensor([index])), SMALL) for index in range(3)]
    assert_close(together.rate, torch.cat([plan.rate for plan in alone]), rtol=1e-9, atol=0)
    assert together.downlink.tolist() == [int(plan.downlink) for plan in alone]


def test_logits_of_powers():
    scenario = DownlinkPilotScenario(num_ues=3)
    problem = power_problem(drawn(scenario, 2), scenario)
    power = 0.06 * torch.rand(2, 24, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert_close(powers(problem, logits_of(problem, power)), power, rtol=1e-9, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objective": "energy"}, "energy needs it"),
        ({"rate_min": 1e6}, "no other objective takes it"),
        ({"objective": "energy", "rate_min": 0.0}, "positive number of bit/s"),
        ({"weight": [1.0, 2.0]}, "belongs to nmse and sum_nmse"),
        ({"objective": "nmse", "weight": [1.0]}, "must be 2 positive numbers"),
        ({"objective": "nmse", "weight": [1.0, float("nan")]}, "must be 2 positive numbers"),
    ],
)
def test_requests_that_make_no_sense_say_why(change, message):
    with pytest.raises(ScenarioError, match=message):
        best_frame(drawn(SMALL, 1), SMALL, **change)


def test_an_unknown_objective_says_which_there_are():
    with pytest.raises(ScenarioError, match="objective='speed' must be one of rate, energy"):
        check_frame(drawn(SMALL, 1), SMALL, "speed", None, None)


@pytest.mark.parametrize("link", ["uplink", "downlink"])
def test_shared_pilots_are_refused(link):
    scenario = DownlinkPilotScenario(num_ues=4, **{f"{link}_symbols": 2})
    with pytest.raises(ScenarioError, match=f"share an? {link} pilot"):
        best_frame(drawn(scenario, 1), scenario)
