"""Operations of power control at a centre: formulas against what torch multiplies and what the cone solver factorises."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from isac_torch import TrackingScenario, named_allocator, power_problem
from isac_torch.allocation import equal_split
from isac_torch.evaluation.studies import centre_operations as formula
from isac_torch.evaluation.studies.centre_counts import centre_scenario, count, count_network, count_optimum, factor_operations
from isac_torch.evaluation.studies.operation_counter import OperationCounter
from isac_torch.nn.tracking.balance import balance, start_logits
from isac_torch.solvers.tracking import interior, papers
from isac_torch.solvers.tracking.epigraph_program import max_min_program
from isac_torch.solvers.tracking.scaling import scaled

SMALL = TrackingScenario(num_aps=10, num_receive_aps=2, num_ues=7, num_targets=3, pilot_length=7, serving_aps=3, sensing_aps=2)
SIZES = [SMALL, replace(SMALL, serving_aps=8), replace(SMALL, num_targets=1, sensing_aps=8)]
each_size = pytest.mark.parametrize("scenario", SIZES, ids=["few-links", "all-serve", "one-target"])


def problem_of(scenario, drops=1, seed=1):
    return power_problem(scenario.sample(drops, generator=torch.Generator().manual_seed(seed)), scenario)


def test_the_counter_counts_products_factors_and_solutions() -> None:
    square = torch.eye(6, dtype=torch.float64).expand(2, 6, 6).contiguous()
    with OperationCounter() as counter:
        factor = torch.linalg.cholesky_ex(square)[0]
        torch.cholesky_solve(square[..., :3].contiguous(), factor)
        _ = square @ square[..., :1]
    assert (counter.factorised, counter.solved) == (2, 6)
    assert counter.systems == 2 * 6**3 / 6 + 6 * 6**2
    assert counter.products == 2 * 6 * 6


@each_size
def test_a_run_of_the_interior_point_method_multiplies_what_the_formula_says(scenario) -> None:
    """Exactly, for the number of iterations that it took."""
    problem = scaled(problem_of(scenario)).problem
    start = 0.5 * equal_split(problem) / problem.link_budget
    scale = problem.objective(start * problem.link_budget)
    program = max_min_program(problem, scale)
    with OperationCounter() as counter:
        found = interior.solve(program, start, torch.full_like(scale, 0.5))
    steps = int(found.iterations)
    assert bool(found.converged)
    assert counter.total == pytest.approx(formula.certified_optimum(formula.Size.of(problem), steps + 1, steps), rel=1e-12)


@each_size
def test_the_certified_optimum_multiplies_little_besides(scenario) -> None:
    """Certificates, second stage and checks look at every link a few times, the iterations R times in each step."""
    found = count_optimum(problem_of(scenario))
    assert found.formula < found.counted < 1.06 * found.formula


@each_size
def test_the_network_multiplies_what_the_formula_says(scenario) -> None:
    """To the last one."""
    found = count_network(problem_of(scenario, seed=0))
    assert found.counted == pytest.approx(found.formula, rel=1e-12)


def test_searches_in_drops_unlike_the_training_are_in_the_formula(monkeypatch) -> None:
    monkeypatch.setattr(formula, "ASCENT_STEPS", 6)  # as the tests of this folder search
    problem = problem_of(SMALL, seed=0)
    uneven = replace(problem, budget=problem.budget * torch.linspace(1.0, 2.0, problem.num_aps, dtype=torch.float64))
    found, network = count_network(uneven), named_allocator("gnn").network  # type: ignore[attr-defined]
    assert found.iterations == formula.newton_steps(network, ascents=3)
    assert found.counted == pytest.approx(found.formula, rel=1e-12)


def test_layers_of_the_network() -> None:
    """The balancing layer and a message layer by themselves."""
    problem = problem_of(SMALL)
    size = formula.Size.of(problem)
    with OperationCounter() as counter:
        balance(problem, start_logits(problem), iterations=5, newton=2)
    assert counter.total == pytest.approx(formula.balancing(size, 5, 2), rel=1e-12)
    network = named_allocator("gnn").network  # type: ignore[attr-defined]
    more = replace(size, links=2 * size.links)
    grown = formula.message_layer(more, network.layers[0]) - formula.message_layer(size, network.layers[0])
    hidden = network.shape["hidden"]
    assert grown == size.links * (4 * size.nodes * hidden + (2 * hidden + 1) * hidden)


@pytest.mark.parametrize("association", ["utc", "uc", "tc", "cf"])
def test_factor_of_the_cone_programme(association) -> None:
    """Leading terms, within 5 % at the paper's size: the formula takes the columns of all APs' cones for connected.

    In the factor they are where UEs share APs, and the cones of APs with two links or less have no columns.
    """
    problem = scaled(problem_of(centre_scenario(TrackingScenario(), association))).problem
    counted = factor_operations(*papers.cone_matrix(problem, equal_split(problem)))
    assert_close(formula.algorithm_1(formula.Size.of(problem), 1), counted, rtol=0.05, atol=0.0)


def test_algorithm_1_is_counted_by_its_iterations() -> None:
    few = replace(SMALL, num_ues=3, pilot_length=3, serving_aps=2)
    found, one = count("opc_paper", few, "uc", seed=2), problem_of(centre_scenario(few, "uc"), seed=2)
    assert found.iterations > 30
    assert found.iterations % 3 == 0  # a round over three targets
    assert found.counted == found.iterations * factor_operations(*papers.cone_matrix(one, equal_split(one)))
    assert found.formula == pytest.approx(formula.algorithm_1(formula.Size.of(one), found.iterations))
