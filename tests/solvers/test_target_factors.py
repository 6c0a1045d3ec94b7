"""Factors on the targets' requirements at a kept smallest SINR: reachable, and none of them can be raised further."""

from dataclasses import replace

import torch

from isac_torch.allocation import allocate
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.solvers.tracking.target_factors import target_factors
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.scenario import TrackingScenario

SCENARIO = TrackingScenario(
    num_aps=10, num_ues=4, num_targets=3, num_antennas=2, requirement=Requirement("dominate", cell=300.0, enough_db=13.0)
)
DROPS = SCENARIO.sample(16, generator=torch.Generator().manual_seed(2)).select(torch.tensor([0, 3, 7]))
PROBLEM = power_problem(DROPS, SCENARIO)
BEST = BatchedOptimal(gap=1e-4, tie="none")
FLOOR = 0.7 * allocate(PROBLEM, BEST).value


def asking(factor: torch.Tensor) -> MaxMinSinrProblem:
    cells = torch.ones(PROBLEM.num_drops, PROBLEM.num_cells, dtype=torch.float64)
    return replace(PROBLEM, sir_min=PROBLEM.sir_min * torch.cat([factor, cells], 1))


def test_the_factors_are_reached_at_the_floor() -> None:
    factor = target_factors(PROBLEM, FLOOR, most=1e3)
    assert float(factor.amin()) > 1.0
    found = allocate(asking(factor), BEST)
    assert float(found.violation.max()) <= 1e-6
    assert bool((found.value >= FLOOR).all())


def test_no_factor_can_be_raised_alone() -> None:
    """Certified: with any one factor 2 % higher no powers keep the floor."""
    factor = target_factors(PROBLEM, FLOOR, most=1e3, rounds=10)
    for target in range(PROBLEM.num_targets):
        more = factor.clone()
        more[:, target] *= 1.02
        assert bool((allocate(asking(more), BEST).upper_bound < FLOOR).all())


def test_the_first_round_gives_the_largest_common_factor() -> None:
    common = target_factors(PROBLEM, FLOOR, most=1e3, rounds=1)
    assert bool((common == common[:, :1]).all())
    assert bool((allocate(asking(1.005 * common), BEST).upper_bound < FLOOR).all())
    further = target_factors(PROBLEM, FLOOR, most=1e3)
    assert bool((further >= common).all())
    assert (further / common).amax(-1).gt(1.5).tolist() == [False, True, True]


def test_no_factor_passes_the_cap_or_falls_below_one() -> None:
    factor = target_factors(PROBLEM, FLOOR, most=1.1)
    assert bool((factor == 1.1).any()), "the cap is reached"
    assert float(factor.amax()) <= 1.1


def test_an_unreachable_floor_raises_nothing() -> None:
    alone = power_problem(DROPS, replace(SCENARIO, requirement=Requirement("dominate", scan=0.0, position=0.0)))
    too_much = 2.0 * allocate(alone, BEST).value
    assert bool((target_factors(alone, too_much, most=2.0) == 1.0).all())
