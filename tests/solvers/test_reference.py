"""The reference optimum and the largest reachable SIR: certificates, laws, pilot reuse, best effort."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocation import Status, allocate, equal_split
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.allocators.tracking.drop_by_drop import GlobalOptimal
from isac_torch.solvers.tracking.feasibility import best_effort, largest_sir, repair
from isac_torch.solvers.tracking.reference import majorised_leakage
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.scenario import TrackingScenario


def drops(count: int, seed: int = 3, **parameters: Any) -> MaxMinSinrProblem:
    scenario = TrackingScenario(**{"num_aps": 8, "num_ues": 6, "num_targets": 3, **parameters})
    return power_problem(scenario.sample(count, generator=torch.Generator().manual_seed(seed)), scenario)


def random_power(problem: MaxMinSinrProblem, seed: int) -> torch.Tensor:
    """Feasible budgets: a random split of each, log-uniform over three decades."""
    noise = torch.rand(problem.link_gain.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    power = 10.0 ** (-3.0 * noise)
    return power / (problem.ap_load(power) / problem.budget).gather(1, problem.link_ap)


# The largest reachable SIR


def test_margin_is_reached_and_bounded() -> None:
    problem = drops(20)
    limit = largest_sir(problem)
    reached = (problem.sir(limit.power) / problem.sir_min).amin(-1)
    assert_close(reached, limit.margin, rtol=1e-9, atol=0.0)
    # HiGHS works to 1e-10; the dual bound inherits it.
    assert bool((limit.margin_bound >= limit.margin).all())
    assert bool((limit.margin_bound <= limit.margin * (1.0 + 1e-6)).all())
    assert_close((problem.ap_load(limit.power) / problem.budget).amax(-1), torch.ones(20, dtype=torch.float64))


def test_no_random_powers_beat_the_margin_bound() -> None:
    problem = drops(10)
    limit = largest_sir(problem)
    for seed in range(50):
        quality = (problem.sir(random_power(problem, seed)) / problem.sir_min).amin(-1)
        assert bool((quality <= limit.margin_bound * (1.0 + 1e-12)).all())


def test_targets_that_share_a_receive_ap_reach_the_known_ceiling() -> None:
    # n targets seen by the same antenna share the same echoes: the worst has at most 1 / (n - 1).
    limit = largest_sir(drops(10, num_targets=4, num_receive_aps=1))
    assert bool((limit.best_sir <= (1.0 + 1e-9) / 3.0).all())


def test_margin_ignores_units_and_scales_with_the_requirement() -> None:
    problem = drops(5)
    limit = largest_sir(problem)
    row_scale = torch.tensor([1e-7, 1.0, 1e9], dtype=torch.float64)[:, None]
    rescaled = replace(problem, echo=problem.echo * row_scale, cross_echo=problem.cross_echo * row_scale)
    assert_close(largest_sir(rescaled).margin, limit.margin, rtol=1e-7, atol=0.0)
    stricter = largest_sir(replace(problem, sir_min=2.0 * problem.sir_min))
    assert_close(2.0 * stricter.margin, limit.margin, rtol=1e-7, atol=0.0)
    assert_close(stricter.best_sir, limit.best_sir, rtol=1e-7, atol=0.0)


def test_repair_keeps_every_constraint() -> None:
    problem = drops(10)
    limit = largest_sir(problem)
    problem = best_effort(problem, limit)
    wild = 5.0 * random_power(problem, 0) - 1e-3
    fixed = repair(problem, wild, limit.power)
    assert float(problem.violations(fixed).worst.max()) < 1e-12
    assert_close(repair(problem, fixed, limit.power), fixed, rtol=1e-8, atol=0.0)


# The optimum


def test_orthogonal_pilots_are_certified() -> None:
    problem = drops(6)
    allocation = allocate(problem, GlobalOptimal())
    feasible = allocation.status != Status.INFEASIBLE
    assert bool((allocation.status[feasible] == Status.OPTIMAL).all())
    assert float(allocation.gap.max()) <= 1e-3
    assert float(allocation.violation[feasible].max()) <= 1e-9
    assert bool((allocation.upper_bound >= allocation.value).all())
    for seed in range(20):
        power = random_power(problem, seed)
        met = problem.violations(power).worst <= 0.0
        assert bool((problem.objective(power)[met] <= allocation.upper_bound[met]).all())


def test_without_sensing_rows() -> None:
    problem = drops(2, num_targets=1)
    allocation = allocate(problem, GlobalOptimal())
    assert allocation.status.tolist() == [Status.OPTIMAL] * 2
    assert bool(allocation.best_quality.isnan().all())
    # Nobody needs the sensing beam, and least power does not pay for it.
    assert float(allocation.power[:, problem.num_comm_links :].max()) < 1e-6


def test_second_stage_saves_power_within_the_gap() -> None:
    problem = drops(3)
    first, second = (allocate(problem, GlobalOptimal(tie=tie)) for tie in ("none", "least_power"))
    solved = first.status == Status.OPTIMAL
    assert bool((second.power.sum(-1) <= first.power.sum(-1) + 1e-9)[solved].all())
    assert bool((second.value >= first.value * (1.0 - 1.1e-3))[solved].all())


def test_power_and_noise_scale_together() -> None:
    problem = drops(2)
    factor = 10.0
    louder = replace(
        problem,
        signal=problem.signal / factor**0.5,
        leakage=problem.leakage / factor,
        budget=problem.budget * factor,
    )
    before, after = allocate(problem, GlobalOptimal()), allocate(louder, GlobalOptimal())
    assert_close(after.value, before.value, rtol=1e-3, atol=0.0)
    assert_close(louder.objective(factor * before.power), before.value, rtol=1e-9, atol=0.0)


def test_more_budget_and_laxer_sensing_never_hurt() -> None:
    problem = drops(3)
    base = allocate(problem, GlobalOptimal())
    richer = allocate(replace(problem, budget=2.0 * problem.budget), GlobalOptimal())
    laxer = allocate(replace(problem, sir_min=0.5 * problem.sir_min), GlobalOptimal())
    assert bool((richer.upper_bound >= base.value).all())
    assert bool((laxer.upper_bound >= base.value)[base.status == Status.OPTIMAL].all())


def test_a_ue_without_signal_has_optimum_zero() -> None:
    """Asked directly: `allocate` leaves such a UE out, see tests/test_outage.py."""
    problem = drops(1)
    deaf = problem.signal.clone()
    deaf[0, 2] = 0.0
    problem = replace(problem, signal=deaf)
    found = GlobalOptimal().propose(problem)
    assert float(problem.objective(found.power)) == float(found.upper_bound) == 0.0
    assert float(problem.violations(found.power).worst) <= 1e-9


def test_infeasible_drop_gets_the_flagged_best_effort() -> None:
    problem = drops(2, num_targets=4, num_receive_aps=1, sir_min_db=0.0)
    allocation = allocate(problem, GlobalOptimal())
    assert allocation.status.tolist() == [Status.INFEASIBLE] * 2
    assert bool((allocation.best_quality < 1.0).all())
    # 5 % of the reachable SIR is left to communication.
    reached = problem.sir(allocation.power).amin(-1)
    assert bool((reached >= 0.95 * allocation.best_quality * (1.0 - 1e-6)).all())
    assert bool((allocation.value > 0.0).all())


def test_sensing_priority_trades_rate_for_sir() -> None:
    problem = drops(3)
    communication, sensing = allocate(problem, GlobalOptimal()), allocate(problem, GlobalOptimal(priority="sensing"))
    quality = problem.sir(sensing.power).amin(-1)
    assert bool((quality >= 0.95 * sensing.best_quality * (1.0 - 1e-6)).all())
    feasible = communication.status == Status.OPTIMAL
    assert bool((sensing.value <= communication.upper_bound)[feasible].all())


# Shared pilots


def test_majoriser_is_above_and_touches() -> None:
    problem = drops(4, pilot_length=2)
    assert problem.has_pilot_reuse
    anchor = random_power(problem, 1)
    leakage = majorised_leakage(problem, anchor)

    def majorised(power: torch.Tensor) -> torch.Tensor:
        return torch.einsum("dke,de->dk", leakage, power) + 1.0

    # Products of opposite signs are dropped, so it touches only where all amplitudes are positive.
    same_sign = bool((problem.coherent >= 0.0).all())
    if same_sign:
        assert_close(majorised(anchor), problem.interference(anchor), rtol=1e-9, atol=0.0)
    for seed in range(10):
        power = random_power(problem, seed + 2)
        assert bool((majorised(power) >= problem.interference(power) * (1.0 - 1e-12)).all())


def test_majoriser_with_opposite_signs() -> None:
    problem = drops(2, pilot_length=2)
    flipped = problem.coherent.clone()
    flipped[..., ::2] *= -1.0
    problem = replace(problem, coherent=flipped)
    leakage = majorised_leakage(problem, random_power(problem, 0))
    for seed in range(10):
        power = random_power(problem, seed)
        above = torch.einsum("dke,de->dk", leakage, power) + 1.0
        assert bool((above >= problem.interference(power) * (1.0 - 1e-12)).all())


@pytest.mark.parametrize("opposite", [False, True])
def test_shared_pilots_are_bounded(opposite: bool) -> None:
    problem = drops(2, pilot_length=3)
    if opposite:
        flipped = problem.coherent.clone()
        flipped[..., ::2] *= -1.0
        problem = replace(problem, coherent=flipped)
    allocation = allocate(problem, GlobalOptimal())
    feasible = allocation.status != Status.INFEASIBLE
    assert bool((allocation.status[feasible] <= Status.FEASIBLE).all())
    assert bool((allocation.upper_bound >= allocation.value).all())
    assert bool((allocation.value >= problem.objective(equal_split(problem)))[feasible].all())


def test_reference_and_engine_agree_under_dominate() -> None:
    """The position requirement as a cone of CVXPY against the engine's own Newton steps; both with their certificates."""
    scenario = TrackingScenario.of_size("8x4x2", listening_aps=2, requirement=Requirement("dominate"))
    problem = power_problem(scenario.sample(2, generator=torch.Generator().manual_seed(5)), scenario)
    cones, engine = allocate(problem, GlobalOptimal(tie="none")), allocate(problem, BatchedOptimal(tie="none"))
    assert cones.status.tolist() == engine.status.tolist() == [Status.OPTIMAL] * 2
    assert_close(cones.value, engine.value, rtol=1e-3, atol=0.0)  # each is within 1e-3 of the optimum
    assert bool((cones.value <= engine.upper_bound).all())
    assert bool((engine.value <= cones.upper_bound).all())


def test_reference_says_the_best_common_factor_where_the_requirement_is_out_of_reach() -> None:
    scenario = TrackingScenario.of_size("8x4x2", requirement=Requirement("dominate", scan=2.5, sicnr=2.5, position=2.5))
    problem = power_problem(scenario.sample(1, generator=torch.Generator().manual_seed(5)), scenario)
    found = allocate(problem, GlobalOptimal(tie="none"))
    assert found.status.tolist() == [Status.INFEASIBLE]
    assert 0.4 <= float(found.best_quality) < 1.0  # uniform power reaches 1 / 2.5
    position = problem.position
    assert position is not None
    reached = torch.cat([problem.sir(found.power) / problem.sir_min, position.h(found.power) / position.required], 1).amin()
    assert float(reached) >= 0.95 * float(found.best_quality) * (1.0 - 1e-6)


def test_a_requirement_out_of_reach_is_proven_although_uniform_power_is_at_hand():
    """Powers that the requirement compares with spare the search for reachable ones only where they meet it."""
    scenario = TrackingScenario.of_size("4x3x1", requirement=Requirement("dominate", scan=0.0, position=0.0))
    problem = power_problem(scenario.sample(1, generator=torch.Generator().manual_seed(2)), scenario)
    allocator = GlobalOptimal(gap=1e-2, tie="none")
    assert allocate(problem, allocator).status.item() == Status.OPTIMAL
    assert allocate(replace(problem, sir_min=1e4 * problem.sir_min), allocator).status.item() == Status.INFEASIBLE
