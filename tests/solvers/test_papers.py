"""The paper's Algorithm 1 as the baseline: feasible, never above the optimum, dependent on its start."""

from typing import Any

import pytest
import torch

from isac_torch.allocation import Status, allocate, equal_split
from isac_torch.allocators.tracking.drop_by_drop import GlobalOptimal, PaperOpc
from isac_torch.solvers.tracking.feasibility import best_effort, largest_sir
from isac_torch.solvers.tracking.papers import Start, algorithm_1, start_point
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.scenario import TrackingScenario


def drops(count: int, seed: int = 3, **parameters: Any) -> MaxMinSinrProblem:
    scenario = TrackingScenario(**{"num_aps": 8, "num_ues": 6, "num_targets": 3, **parameters})
    return power_problem(scenario.sample(count, generator=torch.Generator().manual_seed(seed)), scenario)


@pytest.mark.parametrize("start", ["nearest_uniform", "slack_lp"])
def test_start_points_are_feasible(start: Start) -> None:
    problem = drops(5)
    limit = largest_sir(problem)
    problem = best_effort(problem, limit)
    for index in torch.arange(5).split(1):
        power = start_point(problem.select(index), limit.power[index], start)
        assert float(problem.select(index).violations(power).worst) <= 1e-9


def test_nearest_start_is_the_equal_split_where_that_is_feasible() -> None:
    problem = drops(2, sir_min_db=-60.0)
    for index in torch.arange(2).split(1):
        one = problem.select(index)
        start = start_point(one, equal_split(one))
        # Clarabel stops at 1e-8 of the objective, which is the squared distance.
        torch.testing.assert_close(start, equal_split(one), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("parameters", [{}, {"pilot_length": 3}])
@pytest.mark.parametrize("start", ["nearest_uniform", "slack_lp"])
def test_never_above_the_optimum(start: Start, parameters: dict[str, int]) -> None:
    problem = drops(2, **parameters)
    paper, best = allocate(problem, PaperOpc(start=start)), allocate(problem, GlobalOptimal())
    feasible = best.status != Status.INFEASIBLE
    assert bool((paper.status[feasible] == Status.FEASIBLE).all())
    assert bool((paper.value <= best.upper_bound)[feasible].all())
    assert bool((best.value >= paper.value * (1.0 - 1e-3))[feasible].all())


def test_improves_on_its_start() -> None:
    problem = drops(2)
    limit = largest_sir(problem)
    problem = best_effort(problem, limit)
    for index in torch.arange(2).split(1):
        one = problem.select(index)
        start = start_point(one, limit.power[index])
        assert bool(one.objective(algorithm_1(one, start)) >= one.objective(start) * (1.0 - 1e-9))


def test_global_where_nothing_is_sensed() -> None:
    # Without C3 the amplitude form is quasi-convex too, so that bisection ends at the optimum up to eps1.
    problem = drops(2, num_targets=1)
    paper, best = allocate(problem, PaperOpc()), allocate(problem, GlobalOptimal(tie="none"))
    torch.testing.assert_close(paper.value, best.value, rtol=2e-3, atol=0.0)


def test_sensing_priority_and_infeasible_drops() -> None:
    problem = drops(1, num_targets=4, num_receive_aps=1, sir_min_db=0.0)
    allocation = allocate(problem, PaperOpc())
    assert allocation.status.tolist() == [Status.INFEASIBLE]
    reached = problem.sir(allocation.power).amin(-1)
    assert bool((reached >= 0.95 * allocation.best_quality * (1.0 - 1e-6)).all())
    assert PaperOpc(start="slack_lp", priority="sensing").name == "opc_paper_slack_lp_sensing"


@pytest.mark.slow
def test_papers_setting_on_forty_drops() -> None:
    scenario = TrackingScenario()
    problem = power_problem(scenario.sample(40, generator=torch.Generator().manual_seed(21)), scenario)
    paper, best = allocate(problem, PaperOpc()), allocate(problem, GlobalOptimal())
    feasible = best.status != Status.INFEASIBLE
    assert float(best.gap.max()) <= 1e-3
    assert bool((best.value >= paper.value * (1.0 - 1e-3))[feasible].all())
    assert float(best.violation[feasible].max()) <= 1e-6
