"""The expected and the outage localisation bound: against simulated fading, laws, and the solvers that hold them."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocation import Status, allocate, equal_split
from isac_torch.allocators.downlink_pilots.classical import MinMaxNmse
from isac_torch.downlink_pilots.build import power_problem
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
from isac_torch.errors import ProblemError, ScenarioError
from isac_torch.solvers.downlink_pilots.cuts import tangents


def faded(problem, power, blocks, seed):
    """CRB [drop, ue, block] of simulated blocks, by the inverse of every 2 x 2 matrix."""
    by_ue = problem.per_ue(power)
    generator = torch.Generator().manual_seed(seed)
    part = torch.randn(2, blocks, problem.num_aps, generator=generator, dtype=torch.float64)
    strength = 0.5 * part.square().sum(0)  # |g_hat|^2 over its mean
    xx, yy, xy = ((fisher * by_ue) @ strength.mT for fisher in (problem.fisher_xx, problem.fisher_yy, problem.fisher_xy))
    matrix = torch.stack([torch.stack([xx, xy], -1), torch.stack([xy, yy], -1)], -1)
    return torch.linalg.inv(matrix).diagonal(dim1=-2, dim2=-1).sum(-1)


def drops(count, **changes):
    scenario = DownlinkPilotScenario(**changes)
    return power_problem(scenario.sample(count, generator=torch.Generator().manual_seed(5)), scenario)


def uneven(problem):
    """Powers (W) that favour two APs of each UE."""
    share = 0.02 + problem.estimate / problem.estimate.amax(-1, keepdim=True)
    return (share / share.sum(1, keepdim=True) * problem.budget.unsqueeze(1)).flatten(1)


@pytest.mark.parametrize("ues", [1, 2, 6])
@pytest.mark.parametrize("split", [equal_split, uneven])
def test_expected_bound_against_simulated_fading(ues, split):
    problem = drops(2, num_ues=ues)
    simulated = faded(problem, split(problem), 30_000, seed=7).mean(-1)
    assert_close(replace(problem, fading="expected").crb(split(problem)), simulated, rtol=0.02, atol=0)


def test_two_aps_have_a_mean_and_one_has_none():
    problem = replace(drops(1, num_ues=1), fading="expected")
    alone, two = torch.zeros(2, 1, 8, dtype=torch.float64)
    alone[0, 1], two[0, :2] = 0.2, 0.2
    assert problem.crb(alone).isinf().all()
    assert problem.crb(two).isfinite().all()


def test_outage_bound_against_simulated_fading():
    problem = replace(drops(2, num_ues=2), fading="outage", outage_percent=10)
    power = uneven(problem)
    simulated = faded(problem, power, 30_000, seed=8)
    exceeded = (simulated > problem.crb(power).unsqueeze(-1)).double().mean(-1)
    assert_close(exceeded, torch.full_like(exceeded, 0.10), rtol=0.06, atol=0)  # four standard errors and the fixed blocks


@pytest.mark.parametrize("fading", ["expected", "outage"])
def test_laws(fading):
    problem = replace(drops(3, num_ues=3), fading=fading)
    power = uneven(problem)
    assert_close(problem.crb(0.5 * power), 2 * problem.crb(power), rtol=1e-9, atol=0)
    assert problem.crb(torch.zeros_like(power)).isinf().all()
    assert_close(problem.cast(torch.float32).crb(power.float()).double(), problem.crb(power), rtol=1e-4, atol=0)
    if fading == "expected":  # Jensen
        assert (problem.crb(power) > replace(problem, fading="mean_power").crb(power)).all()


def test_tangents_lie_above_one_over_the_expected_bound():
    problem = replace(drops(1, num_ues=2), fading="expected")
    cuts = tangents(problem, uneven(problem))
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        share = torch.rand(1, 2, 8, generator=generator, dtype=torch.float64).square()
        reached = problem.crb_max / problem.crb((share * problem.budget.unsqueeze(1)).flatten(1))
        above = torch.as_tensor(cuts.rows).mul(share[0]).sum((1, 2))
        assert (above >= reached[0] * (1 - 1e-6)).all()


def test_optimum_holds_the_mean_over_simulated_fading():
    """Every drop called feasible keeps its mean CRB, simulated, within 1 % of Gamma; the value is certified."""
    problem = drops(4, num_ues=2, downlink_symbols=6, uplink_symbols=14, crb="expected")
    answer = allocate(problem, MinMaxNmse(gap=1e-2))
    assert (answer.status == Status.OPTIMAL).all()
    mean = faded(problem, answer.power, 60_000, seed=9).mean(-1)
    assert (mean <= 1.01 * problem.crb_max).all()
    loose = allocate(replace(problem, fading="mean_power"), MinMaxNmse(gap=1e-2))
    assert (answer.value <= loose.upper_bound).all()


def test_out_of_reach_in_the_mean_is_proven():
    problem = drops(3, num_ues=2, downlink_symbols=2, uplink_symbols=18, crb="expected")
    answer = allocate(problem, MinMaxNmse())
    assert (answer.status == Status.INFEASIBLE).all()
    assert (answer.best_quality < 1.0).all()


def test_outage_is_held():
    problem = drops(2, num_ues=2, crb="outage", crb_outage_percent=10)
    answer = allocate(problem, MinMaxNmse())
    assert (answer.status <= Status.FEASIBLE).all()
    assert ((faded(problem, answer.power, 20_000, seed=3) > 1.0).double().mean(-1) < 0.11).all()
    assert (answer.value <= answer.upper_bound).all()


def test_unknown_readings_are_refused():
    scenario, problem = DownlinkPilotScenario(), drops(1)
    object.__setattr__(scenario, "crb", "mean")  # around the type checks of the tests
    with pytest.raises(ScenarioError, match="mean_power, expected, outage"):
        scenario.__post_init__()
    with pytest.raises(ScenarioError, match="1 to 50"):
        DownlinkPilotScenario(crb_outage_percent=0)
    object.__setattr__(problem, "fading", "mean")
    with pytest.raises(ProblemError, match="fading='mean'"):
        problem.check()
    with pytest.raises(ProblemError, match="1 to 50"):
        replace(drops(1), outage_percent=70).check()
