"""Least power and lexicographic max-min: bounds that hold, unique answers, order of the SINRs."""

import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocation import Status, allocate
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.errors import ProblemError
from isac_torch.solvers.tracking.fair_powers import fair_powers
from isac_torch.solvers.tracking.feasibility import largest_sir, repair
from isac_torch.solvers.tracking.objectives import least_power, lexicographic
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.scenario import TrackingScenario


def drops(count: int, seed: int = 3, **parameters: object) -> MaxMinSinrProblem:
    scenario = TrackingScenario(**{"num_aps": 8, "num_ues": 6, "num_targets": 3, **parameters})
    return power_problem(scenario.sample(count, generator=torch.Generator().manual_seed(seed)), scenario)


PROBLEM = drops(12)
FIRST = allocate(PROBLEM, BatchedOptimal(tie="none"))
PROBLEM = PROBLEM.select((FIRST.status == Status.OPTIMAL).nonzero()[:, 0])
FIRST = allocate(PROBLEM, BatchedOptimal(tie="none"))


def common_sinr(share: float) -> torch.Tensor:
    return (share * FIRST.value)[:, None].expand(-1, PROBLEM.num_ues).contiguous()


@pytest.mark.parametrize("share", [0.999, 0.3])
def test_least_power_is_certified(share: float) -> None:
    found = least_power(PROBLEM, common_sinr(share))
    total = found.power.sum(-1)
    assert bool(found.solved.all())
    assert bool((PROBLEM.objective(found.power) >= share * FIRST.value * (1.0 - 1e-6)).all())
    assert float(PROBLEM.violations(found.power).worst.max()) <= 1e-6
    # the constraints are met to 1e-6 only, so the sum may pass the bound by a little more than rounding
    assert bool((found.lower_bound <= total * (1.0 + 1e-5)).all())
    assert bool((total - found.lower_bound <= 1e-4 * total).all())


def test_no_powers_that_do_the_same_cost_less_than_the_bound() -> None:
    found, inside = least_power(PROBLEM, common_sinr(0.2)), largest_sir(PROBLEM).power
    tried = 0
    for seed in range(200):
        noise = torch.rand(PROBLEM.link_gain.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        power = repair(PROBLEM, FIRST.power * 2.0 * noise, inside)
        reached = PROBLEM.objective(power) >= 0.2 * FIRST.value
        tried += int(reached.sum())
        assert bool((power.sum(-1)[reached] >= found.lower_bound[reached]).all())
    assert tried > 100


def test_least_power_does_not_depend_on_the_start() -> None:
    one, two = least_power(PROBLEM, common_sinr(0.999), FIRST.power), least_power(PROBLEM, common_sinr(0.999))
    assert_close(one.power, two.power, rtol=0.0, atol=1e-4)


def test_without_sensing_every_ue_sits_at_its_target() -> None:
    problem = drops(6, num_targets=0)
    goal = (0.5 * allocate(problem, BatchedOptimal(tie="none")).value)[:, None] * torch.linspace(
        0.5, 1.0, 6, dtype=torch.float64
    )
    assert_close(problem.sinr(least_power(problem, goal).power), goal, rtol=1e-5, atol=0.0)


def test_out_of_reach_is_not_called_solved() -> None:
    assert not bool(least_power(PROBLEM, common_sinr(2.0)).solved.any())


def test_lexicographic_keeps_the_worst_and_lifts_the_rest() -> None:
    found = lexicographic(PROBLEM)
    good = found.solved
    assert float(good.double().mean()) >= 0.9
    reached = PROBLEM.sinr(found.power)
    assert bool((reached >= (1.0 - 6e-4) * found.sinr)[good].all())
    # rounds are solved to 1e-4 and may give back 5e-4 of earlier ones
    assert bool((found.sinr.amin(-1) >= (1.0 - 1e-3) * FIRST.value)[good].all())
    assert bool((found.upper_bound >= found.sinr * (1.0 - 1e-4))[good].all())
    mean = torch.log2(1.0 + reached).mean(-1)
    plain = torch.log2(1.0 + PROBLEM.sinr(least_power(PROBLEM, common_sinr(0.999)).power)).mean(-1)
    assert bool((mean >= plain * (1.0 - 2e-3))[good].all())


def test_lexicographic_labels_through_the_engine() -> None:
    found = allocate(PROBLEM, BatchedOptimal(tie="lexicographic"))
    assert bool((found.status == Status.OPTIMAL).all())


def mean_log_rate(problem: MaxMinSinrProblem, power: torch.Tensor) -> torch.Tensor:
    return torch.log2(1.0 + problem.sinr(power)).log().mean(-1)


def test_proportional_fair_is_a_feasible_local_optimum_below_its_bound() -> None:
    problem = PROBLEM.select(torch.arange(6))
    found = fair_powers(problem)
    assert float(found.solved.double().mean()) >= 0.8
    assert float(problem.violations(found.power).worst.max()) <= 1e-6
    assert_close(mean_log_rate(problem, found.power), found.utility, rtol=1e-9, atol=1e-9)
    assert bool((found.utility > mean_log_rate(problem, FIRST.power[:6])).all())
    inside = largest_sir(problem).power
    for seed in range(100):
        noise = torch.randn(problem.link_gain.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        near = repair(problem, found.power * (0.05 * noise).exp(), inside)
        far = repair(problem, found.power * (2.0 * noise).exp(), inside)
        # the barrier stops short of the local optimum by less than 1e-3 per UE
        assert bool((mean_log_rate(problem, near) <= found.utility + 1e-3)[found.solved].all())
        assert bool((mean_log_rate(problem, far) <= found.upper_bound).all())


def test_negative_fairness_is_refused() -> None:
    with pytest.raises(ProblemError, match="alpha"):
        fair_powers(drops(1), alpha=-1.0)
