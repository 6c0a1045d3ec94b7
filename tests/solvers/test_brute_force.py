"""The reference optimum against a search that knows nothing of cones, dual variables or quasi-concavity."""

from typing import Any

import numpy as np
import pytest
import torch

from isac_torch.allocation import Status, allocate
from isac_torch.allocators.tracking.drop_by_drop import GlobalOptimal
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.scenario import TrackingScenario
from tests.oracles.brute_force import Game, random_search, smallest_sinr


def two_by_two(count: int, **parameters: Any) -> MaxMinSinrProblem:
    """2 transmit APs, 2 UEs and 2 targets on 0.1 km2. Targets that share a receive AP cannot both exceed 0 dB."""
    scenario = TrackingScenario(
        num_aps=4, num_receive_aps=2, num_ues=2, num_targets=2, serving_aps=2, sensing_aps=2, area_m2=1e5, **parameters
    )
    return power_problem(scenario.sample(count, generator=torch.Generator().manual_seed(11)), scenario)


def game(problem: MaxMinSinrProblem, drop: int) -> Game:
    names = ("signal", "leakage", "coherent", "echo", "cross_echo", "sir_min", "budget", "link_ap", "constraint_noise")
    return Game(**{name: getattr(problem, name)[drop].numpy() for name in names})


@pytest.mark.parametrize(("parameters", "count"), [({"sir_min_db": -2.0}, 4), ({"sir_min_db": -5.0, "pilot_length": 1}, 3)])
def test_optimum_agrees_with_random_search(parameters: dict[str, float], count: int) -> None:
    problem = two_by_two(count, **parameters)
    allocation = allocate(problem, GlobalOptimal(tie="none"))
    assert (allocation.status <= Status.FEASIBLE).any()
    for drop in range(count):
        if allocation.status[drop] == Status.INFEASIBLE:
            continue
        searched = random_search(game(problem, drop), samples=600, polished=4, seed=drop)
        value = float(allocation.value[drop])
        assert value >= 0.99 * searched
        # The certificate has to hold for the search's points too; SLSQP's own constraint tolerance is 1e-6.
        assert float(allocation.upper_bound[drop]) >= searched * (1.0 - 1e-4)
        assert searched >= 0.99 * value


def test_oracle_and_problem_agree_on_the_value() -> None:
    problem = two_by_two(1, pilot_length=1)
    power = torch.rand(1, problem.num_links, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    np.testing.assert_allclose(smallest_sinr(game(problem, 0), power[0].numpy()), float(problem.objective(power)), rtol=1e-12)
