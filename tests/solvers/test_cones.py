"""Clarabel and Moreau on the fixed-sparsity cones agree with the engine and prove it."""

import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocation import Status, allocate
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.allocators.tracking.conic import ConicOptimal
from isac_torch.solvers.tracking.cones import Backend
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.scenario import TrackingScenario


def drops(count: int, **parameters: object) -> MaxMinSinrProblem:
    scenario = TrackingScenario(**{"num_aps": 8, "num_ues": 6, "num_targets": 3, **parameters})
    return power_problem(scenario.sample(count, generator=torch.Generator().manual_seed(3)), scenario)


@pytest.mark.parametrize("backend", ["clarabel", "moreau"])
def test_agrees_with_the_engine_and_says_nothing(backend: Backend, capfd: pytest.CaptureFixture[str]) -> None:
    problem = drops(4)
    found, engine = allocate(problem, ConicOptimal(backend)), allocate(problem, BatchedOptimal(tie="none"))
    assert bool((found.status == Status.OPTIMAL).all())
    assert_close(found.value, engine.value, rtol=1e-3, atol=0.0)
    assert bool((engine.value <= found.upper_bound * (1.0 + 1e-6)).all())
    assert capfd.readouterr().out == ""


def test_shared_pilots_end_near_the_engines_local_optimum() -> None:
    problem = drops(3, pilot_length=3)
    found, engine = allocate(problem, ConicOptimal()), allocate(problem, BatchedOptimal(tie="none"))
    assert bool((found.status <= Status.FEASIBLE).all())
    # local optima of the same problem from different starts
    assert_close(found.value, engine.value, rtol=5e-2, atol=0.0)
    assert bool((torch.maximum(found.value, engine.value) <= found.upper_bound * (1.0 + 1e-6)).all())
