"""The balancing layer's laws: equal SINR, one tight AP, rows met, exact gradients, any size."""

from dataclasses import replace
from unittest.mock import Mock

import pytest
import torch
from torch.testing import assert_close

from isac_torch.links import own_constraints, own_entries, split_by_node, spread_to_links
from isac_torch.nn.tracking.balance import balance, logit_size, start_logits
from isac_torch.tracking.balancing import CONSTANTS
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.nodes import NodeProblem
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.scenario import TrackingScenario

CONVERGED = {"iterations": 200, "newton": 3}


def make_problem(size="16x16x4", drops=12, seed=1_500_000_000, **parameters) -> MaxMinSinrProblem:
    scenario = TrackingScenario.of_size(size, **parameters)
    return power_problem(scenario.sample(drops, generator=torch.Generator().manual_seed(seed)), scenario)


@pytest.fixture(scope="module")
def problem():
    return make_problem()


def perturbed(problem, spread=0.5, seed=3):
    start = start_logits(problem)
    return start + spread * torch.randn(start.shape, generator=torch.Generator().manual_seed(seed), dtype=start.dtype)


@pytest.mark.parametrize("size", ["16x16x4", "4x2x0", "4x3x1", "8x4x2", "2x1x3"])
@pytest.mark.parametrize("reuse", [False, True])
def test_all_ues_reach_the_level_and_one_ap_is_tight(size, reuse):
    problem = make_problem(size, drops=8, pilot_length=max(1, int(size.split("x")[1]) // 2) if reuse else None)
    logits = start_logits(problem)  # equal excess of all UEs
    found = balance(problem, logits, **CONVERGED)
    reached = problem.sinr(found.power)
    # Newton's last step squares an error that 200 steps of the fixed point have made small: rounding is left.
    assert_close(reached / reached.mean(-1, keepdim=True), torch.ones_like(reached), rtol=1e-8, atol=0.0)
    load = problem.ap_load(found.power) / problem.budget
    assert_close(load.amax(-1), torch.ones(8, dtype=load.dtype), rtol=1e-12, atol=0.0)
    assert bool((found.power >= 0).all())


def test_excess_raises_a_ue_above_the_level(problem):
    logits = start_logits(problem)
    logits[:, problem.num_links + 3] = 5.0
    found = balance(problem, logits, **CONVERGED)
    reached = problem.sinr(found.power)
    ratio = reached[:, 3] / reached[:, 0]
    asked = torch.nn.functional.softplus(torch.tensor([5.0, 0.0], dtype=torch.float64) + CONSTANTS.excess_at_zero)
    expected = (asked[0] - asked[1]).exp()
    assert_close(ratio, expected.to(ratio).expand_as(ratio), rtol=1e-7, atol=0.0)


def test_rows_are_met_wherever_own_beams_can(problem):
    found = balance(problem, start_logits(problem), **CONVERGED)
    margin = problem.sir(found.power) / problem.sir_min
    beams = found.scale[:, problem.num_ues :] / found.scale[:, : problem.num_ues].sum(-1, keepdim=True)
    echo, cross = (own_constraints(problem, value) for value in (problem.echo, problem.cross_echo))
    _, shares = split_by_node(problem, start_logits(problem)[:, : problem.num_links])
    share = shares.softmax(-1)
    useful = (share * echo).sum(-1) > 1.1 * (share * problem.sir_min[..., None] * cross).sum(-1)
    able = useful & (beams < 0.99 * CONSTANTS.sensing_cap)
    assert able.float().mean() > 0.8  # most rows are in the scope of this test
    assert bool((margin[able] > 1 - 1e-9).all())
    sending = able & (beams > 1e-3)  # floors aside, beams send no more than their row asks
    assert_close(margin[sending], torch.ones_like(margin[sending]), rtol=1e-8, atol=0.0)


def test_gradient_is_that_of_the_fixed_point():
    problem = make_problem("8x4x2", drops=2, pilot_length=2)
    logits = perturbed(problem, 0.3).requires_grad_()

    def answer(leaf):
        found = balance(problem, leaf, iterations=60, newton=3)
        return found.power / problem.budget.amax(), found.common_sinr.log()

    # Finite differences of a converged fixed point; steps small beside the distance to the next change of active rows.
    assert torch.autograd.gradcheck(answer, (logits,), eps=1e-6, atol=1e-6, rtol=1e-4)


def test_powers_scale_with_the_noise(problem):
    """All gains halved at twice the budgets: the same SINR from powers twice as large."""
    logits = perturbed(problem)
    found = balance(problem, logits, **CONVERGED)
    weaker = replace(
        problem,
        signal=problem.signal * 0.5**0.5,
        coherent=problem.coherent * 0.5**0.5,
        leakage=problem.leakage * 0.5,
        budget=problem.budget * 2.0,
    )
    again = balance(weaker, logits, **CONVERGED)
    assert_close(again.power, 2.0 * found.power, rtol=1e-7, atol=1e-15)
    assert_close(again.common_sinr, found.common_sinr, rtol=1e-7, atol=0.0)


def test_a_near_start_needs_few_iterations(problem):
    logits = start_logits(problem)
    far = balance(problem, logits, **CONVERGED)
    near = balance(problem, logits + 1e-3, far.scale, iterations=2, newton=2)
    assert_close(near.common_sinr, far.common_sinr, rtol=1e-3, atol=0.0)


def test_default_effort_is_enough_for_nearly_all_drops():
    """Single precision and 16 iterations, as in training: the common SINR is right to 1 % on at least 95 % of the drops."""
    problem = make_problem(drops=100)
    truth = balance(problem, start_logits(problem), **CONVERGED).common_sinr
    single = problem.cast(torch.float32)
    quick = balance(single, start_logits(single)).common_sinr
    assert ((quick.double() / truth - 1).abs() < 0.01).double().mean() >= 0.95


def test_extreme_logits_stay_finite(problem):
    logits = perturbed(problem, 60.0).float().requires_grad_()
    found = balance(problem.cast(torch.float32), logits)
    found.common_sinr.clamp_min(1e-12).log().sum().backward()
    assert bool(found.power.isfinite().all())
    assert bool((problem.violations(found.power.double()).budget < 1e-5).all())


def test_owner_views_agree_with_the_link_order(problem):
    owner = torch.arange(20.0).expand(problem.num_drops, -1)
    spread = spread_to_links(problem, owner)
    by_ue, by_target = split_by_node(problem, spread)
    assert bool((by_ue == torch.arange(16.0)[:, None]).all())
    assert bool((by_target == torch.arange(16.0, 20.0)[:, None]).all())
    assert_close(own_entries(problem, problem.leakage)[:, 2, 1], problem.leakage[:, 2, 2 * problem.serving + 1])
    assert_close(own_constraints(problem, problem.echo)[:, 3, 0], problem.echo[:, 3, problem.num_comm_links + 12])
    assert logit_size(problem) == problem.num_links + 20


def test_coefficients_are_ordered_by_node_once_per_batch(problem, monkeypatch):
    built = Mock(side_effect=NodeProblem.of)
    monkeypatch.setattr(NodeProblem, "of", built)
    batch = problem.select(torch.arange(3))
    first = balance(batch, start_logits(batch))
    again = balance(batch, start_logits(batch))
    assert built.call_count == 1
    assert_close(first.power, again.power, rtol=0.0, atol=0.0)


def test_coefficients_may_be_differentiated_twice_over(problem):
    """Balancing without gradients keeps nothing that would cut the graph of the coefficients or be freed with it."""
    budget = problem.budget.clone().requires_grad_()
    strong = replace(problem, budget=budget)
    with torch.no_grad():
        balance(strong, start_logits(strong))
    slopes = [torch.autograd.grad(balance(strong, start_logits(strong)).common_sinr.sum(), budget)[0] for _ in range(2)]
    assert bool((slopes[0] > 0).any())
    assert_close(slopes[0], slopes[1], rtol=0.0, atol=0.0)
