"""Sensing rows with a constant term: every solver, certificate and judge against search, linear programmes and each other."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch.testing import assert_close

from isac_torch.allocation import Status, allocate
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.allocators.tracking.conic import ConicOptimal
from isac_torch.allocators.tracking.drop_by_drop import GlobalOptimal, PaperOpc
from isac_torch.solvers.tracking.certificate import upper_bound
from isac_torch.solvers.tracking.differentiable import optimal_sinr
from isac_torch.solvers.tracking.fair_powers import fair_powers
from isac_torch.solvers.tracking.feasibility import largest_sir
from isac_torch.solvers.tracking.objectives import least_power, lexicographic
from isac_torch.tensors import map_tensors
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.scenario import TrackingScenario
from tests.oracles.brute_force import Game, random_search


def noisy(count: int, noise: float = 0.2, seed: int = 3, **parameters: object) -> MaxMinSinrProblem:
    """Rows whose noise is `noise` times the largest own echo of a watt."""
    scenario = TrackingScenario(**{"num_aps": 8, "num_ues": 6, "num_targets": 3, **parameters})
    problem = power_problem(scenario.sample(count, generator=torch.Generator().manual_seed(seed)), scenario)
    return replace(problem, echo_noise=noise * problem.echo.amax(-1))


def test_zero_noise_is_no_noise() -> None:
    problem = noisy(3, 0.0)
    plain, zero = (allocate(p, BatchedOptimal()) for p in (replace(problem, echo_noise=None), problem))
    assert_close(zero.power, plain.power, rtol=0, atol=0)


def test_optimum_agrees_with_random_search() -> None:
    scenario = TrackingScenario(
        num_aps=4, num_receive_aps=2, num_ues=2, num_targets=2, serving_aps=2, sensing_aps=2, area_m2=1e5, sir_min_db=-2.0
    )
    problem = power_problem(scenario.sample(3, generator=torch.Generator().manual_seed(11)), scenario)
    problem = replace(problem, echo_noise=0.5 * problem.echo.amax(-1))
    found = allocate(problem, BatchedOptimal(tie="none"))
    assert bool((found.status == Status.OPTIMAL).any())
    names = ("signal", "leakage", "coherent", "echo", "cross_echo", "sir_min", "budget", "link_ap", "constraint_noise")
    for drop in (found.status == Status.OPTIMAL).nonzero()[:, 0].tolist():
        game = Game(**{name: getattr(problem, name)[drop].numpy() for name in names})
        searched = random_search(game, samples=600, polished=4, seed=drop)
        assert searched == pytest.approx(float(found.value[drop]), rel=0.01)
        # SLSQP's own constraint tolerance is 1e-6
        assert float(found.upper_bound[drop]) >= searched * (1.0 - 1e-4)


def test_all_solvers_agree_and_noise_costs_rate() -> None:
    problem = noisy(4)
    ours = allocate(problem, BatchedOptimal(tie="none"))
    assert bool((ours.status == Status.OPTIMAL).all())
    for other in (GlobalOptimal(tie="none"), ConicOptimal()):
        theirs = allocate(problem, other)
        assert bool((theirs.status == Status.OPTIMAL).all())
        assert_close(theirs.value, ours.value, rtol=1e-3, atol=0.0)  # each is within 1e-3 of the optimum
    paper = allocate(problem, PaperOpc())
    assert bool((paper.status == Status.FEASIBLE).all())
    assert bool((paper.value <= ours.upper_bound * (1.0 + 1e-6)).all())
    free = allocate(replace(problem, echo_noise=None), BatchedOptimal(tie="none"))
    assert bool((ours.value <= free.value * (1.0 + 1e-3)).all())
    assert float((ours.value / free.value).min()) < 0.995


def test_bound_holds_for_any_prices(generator: torch.Generator) -> None:
    problem = noisy(4)
    best = allocate(problem, BatchedOptimal(tie="none"))
    for _ in range(20):
        ue, row = (torch.rand(size, generator=generator, dtype=torch.float64) for size in ((4, 6), (4, 3)))
        assert bool((upper_bound(problem, best.power, ue, 3.0 * row) >= best.value * (1.0 - 1e-9)).all())


def test_largest_quality_is_that_of_a_linear_programme() -> None:
    """With noise budgets bind: bisection on the quality, a linear programme in watts at each."""
    problem = noisy(3)
    limit = largest_sir(problem)
    assert_close(limit.margin_bound, limit.margin, rtol=1e-6, atol=0.0)
    assert_close((problem.sir(limit.power) / problem.sir_min).amin(-1), limit.margin, rtol=1e-9, atol=0.0)
    for drop in range(3):
        echo, other, needed = (getattr(problem, name)[drop].numpy() for name in ("echo", "cross_echo", "constraint_noise"))
        member = np.arange(problem.num_aps)[:, None] == problem.link_ap[drop].numpy()
        low, high = 0.0, 10.0 * float(limit.margin[drop])
        for _ in range(40):
            middle = 0.5 * (low + high)
            quality = middle * problem.sir_min[drop].numpy()
            rows = -(echo - quality[:, None] * other)
            reached = linprog(
                np.zeros(echo.shape[1]),
                A_ub=np.vstack([rows, member]),
                b_ub=np.append(-quality * needed, problem.budget[drop].numpy()),
                method="highs",
            )
            low, high = (middle, high) if reached.status == 0 else (low, middle)
        assert low == pytest.approx(float(limit.margin[drop]), rel=1e-5)


@pytest.mark.parametrize("excess", [0.999, 1.001])
def test_feasibility_is_decided_around_the_edge(excess: float) -> None:
    problem = noisy(4)
    edge = replace(problem, sir_min=problem.sir_min * (excess * largest_sir(problem).margin).unsqueeze(-1))
    for allocator in (BatchedOptimal(tie="none"), GlobalOptimal(tie="none")):
        found = allocate(edge, allocator)
        assert bool(((found.status == Status.INFEASIBLE) == (excess > 1.0)).all())


def test_one_row_is_enough_with_noise() -> None:
    """A single target has no SIR row; with noise its row asks for power."""
    problem = noisy(3, num_targets=2)
    one = replace(
        problem,
        echo=problem.echo[:, :1],
        cross_echo=0.0 * problem.cross_echo[:, :1],
        sir_min=problem.sir_min[:, :1],
        echo_noise=5.0 * problem.echo[:, :1].amax(-1),
    )
    found = allocate(one, BatchedOptimal())
    assert bool((found.status == Status.OPTIMAL).all())
    assert float(found.violation.max()) <= 1e-6
    free = allocate(replace(one, echo_noise=None), BatchedOptimal())
    assert float((one.sir(free.power) / one.sir_min).min()) < 1.0


def test_further_objectives_keep_noisy_rows() -> None:
    problem = noisy(3, seed=6)
    best = allocate(problem, BatchedOptimal(tie="none"))
    goal = 0.5 * best.value.unsqueeze(-1).expand(-1, problem.num_ues)
    cheap = least_power(problem, goal)
    assert bool(cheap.solved.all())
    assert bool((cheap.lower_bound <= cheap.power.sum(-1) * (1.0 + 1e-9)).all())
    assert_close(cheap.lower_bound, cheap.power.sum(-1), rtol=1e-4, atol=0.0)
    fair = lexicographic(problem)
    assert bool(fair.solved.all())
    assert float(problem.violations(fair.power).worst.max()) <= 1e-6
    proportional = fair_powers(problem)
    assert bool(proportional.solved.all())
    assert float(problem.violations(proportional.power).worst[proportional.solved].max()) <= 1e-6


def test_value_falls_with_noise_as_its_gradient_says() -> None:
    problem = noisy(2, 0.1, seed=5)  # of seed 4 one solve in thirty, whatever the rounding, stops short of 1e-7
    assert problem.echo_noise is not None
    level = problem.echo_noise.clone().requires_grad_()
    (slope,) = torch.autograd.grad(optimal_sinr(replace(problem, echo_noise=level)).sum(), level)
    step = 1e-3
    for row in range(problem.num_constraints):
        change = torch.zeros_like(level)
        change[:, row] = step * problem.echo_noise[:, row]
        up, down = (optimal_sinr(replace(problem, echo_noise=problem.echo_noise + s * change), 1e-7) for s in (1, -1))
        # the curvature of the optimum and the solver's tolerance leave about a per cent of the largest slope
        expected = (up - down) / (2 * step * problem.echo_noise[:, row])
        assert_close(slope[:, row], expected, rtol=0.02, atol=0.01 * float(slope.abs().max()))


def test_drops_keep_their_noise_when_selected() -> None:
    problem = noisy(3)
    part = problem.select(torch.tensor([2, 0]))
    assert problem.echo_noise is not None
    assert part.echo_noise is not None
    assert_close(part.echo_noise, problem.echo_noise[[2, 0]])
    assert map_tensors(replace(problem, echo_noise=None), lambda t: t[:1]).echo_noise is None
