"""Gradients of the optimal value and of the least powers against finite differences, away from active-set changes."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from isac_torch.errors import ProblemError
from isac_torch.solvers.tracking.differentiable import least_power_layer, optimal_sinr
from isac_torch.solvers.tracking.feasibility import largest_sir
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.scenario import TrackingScenario


def drops(count: int, seed: int = 11, **parameters: object) -> MaxMinSinrProblem:
    scenario = TrackingScenario(**{"num_aps": 6, "num_ues": 3, "num_targets": 2, **parameters})
    return power_problem(scenario.sample(count, generator=torch.Generator().manual_seed(seed)), scenario)


PROBLEM = drops(2)


@pytest.mark.parametrize("name", ["signal", "leakage", "echo", "cross_echo", "sir_min", "budget"])
def test_value_gradient_matches_finite_differences(name: str) -> None:
    best = largest_sir(PROBLEM).best_sir[:, None]
    problem = replace(PROBLEM, sir_min=0.8 * best.expand_as(PROBLEM.sir_min))  # so that sensing rows bind
    tensor = getattr(problem, name)
    noise = torch.rand(tensor.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.5
    direction = tensor * noise

    def value(step: float | torch.Tensor) -> torch.Tensor:
        return optimal_sinr(replace(problem, **{name: tensor + step * direction}), tolerance=1e-7)

    step = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(value(step).sum(), step)
    numeric = (value(1e-4) - value(-1e-4)).sum().detach() / 2e-4
    # the difference carries its own curvature error of 1e-8 and the solver's 1e-7 over the step
    assert_close(slope, numeric, rtol=3e-3, atol=1e-4 * float(value(0.0).sum()))


@pytest.mark.parametrize("name", ["signal", "leakage", "sinr_min"])
def test_power_gradient_matches_finite_differences(name: str) -> None:
    goal = 0.3 * optimal_sinr(PROBLEM).unsqueeze(-1).expand(-1, 3) * torch.tensor([1.0, 0.8, 0.6], dtype=torch.float64)
    tensor = goal if name == "sinr_min" else getattr(PROBLEM, name)
    noise = torch.rand(tensor.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 0.5
    weight = torch.rand(PROBLEM.link_gain.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def merit(step: float | torch.Tensor) -> torch.Tensor:
        moved = tensor + step * tensor * noise
        problem = PROBLEM if name == "sinr_min" else replace(PROBLEM, **{name: moved})
        return (weight * least_power_layer(problem, moved if name == "sinr_min" else goal, smoothing=1e-9)).sum()

    step = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(merit(step), step)
    numeric = (merit(1e-4) - merit(-1e-4)).detach() / 2e-4
    assert_close(slope, numeric, rtol=1e-2, atol=1e-5)


def test_more_budget_never_hurts() -> None:
    budget = PROBLEM.budget.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(optimal_sinr(replace(PROBLEM, budget=budget)).sum(), budget)
    assert bool((slope >= 0.0).all())


def test_the_layer_refuses_shared_pilots_and_unreachable_rows() -> None:
    with pytest.raises(ProblemError, match="orthogonal"):
        least_power_layer(drops(1, pilot_length=1), torch.full((1, 3), 0.01, dtype=torch.float64))
    with pytest.raises(ProblemError, match="infeasible"):
        optimal_sinr(replace(drops(1, num_receive_aps=1, num_targets=3), sir_min=torch.full((1, 3), 9.0, dtype=torch.float64)))
