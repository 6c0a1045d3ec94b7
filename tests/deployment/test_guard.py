"""The guard: whatever comes in, finite powers within the budgets go out, and rows are met wherever any powers meet them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy import ndarray
from scipy.optimize import linprog

from isac_torch.allocators.tracking.heuristics import Fractional
from isac_torch.deployment.guard import Guarded, guard
from isac_torch.deployment.mixture import best_ratio, cheapest
from isac_torch.deployment.repair import BEST_EFFORT_SHARE, repair, with_rows, within_budget
from isac_torch.deployment.snapshot import Snapshot
from isac_torch.deployment.statistics import Coefficients, coefficients
from isac_torch.solvers.tracking.feasibility import largest_sir
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.fractional import fractional_power
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.scenario import TrackingScenario


def _pair(size: str, count: int, seed: int = 900_400, **options: Any) -> tuple[Coefficients, MaxMinSinrProblem]:
    scenario = TrackingScenario.of_size(size, **options)
    drop = scenario.sample(count, generator=torch.Generator().manual_seed(seed))
    snapshots = [Snapshot.from_drop(drop, index, scenario) for index in range(count)]
    return coefficients(snapshots), power_problem(drop, scenario)


SMALL, _ = _pair("8x5x3", 4)
EXPONENTS = (0.0, 1.0)
"""Of UEs and of targets: the rule without a solver that does best (docs/deployment.md)."""


def _check(problem: Coefficients, power: ndarray) -> None:
    """What holds for every answer."""
    assert np.isfinite(power).all()
    assert power.min() >= 0.0
    violations = problem.violations(power)
    assert violations.budget.max() <= 1e-9
    assert (problem.serving_power(power).sum(-1) > 0).all()
    assert np.isfinite(problem.sinr(power)).all()


def _check_fields(problem: Coefficients, answer: Guarded) -> None:
    """The judged qualities are those of the powers."""
    np.testing.assert_allclose(answer.sinr, problem.sinr(answer.power), rtol=1e-12)
    np.testing.assert_allclose(answer.sir, problem.sir(answer.power), rtol=1e-12)


@pytest.mark.parametrize("size", ["16x16x4", "8x4x2", "24x16x6", "64x32x8", "8x4x1", "8x4x0"])
def test_rows_are_met_exactly_where_any_powers_meet_them(size: str) -> None:
    """HiGHS decides who is feasible; on the others the best effort keeps its share of the best that HiGHS finds."""
    problem, tensors = _pair(size, 3 if size == "64x32x8" else 20, sir_min_db=-4.0)
    answer = guard(problem, fractional_power(problem, 0.0, 1.0))
    _check(problem, answer.power)
    _check_fields(problem, answer)
    limit = largest_sir(tensors)
    best_effort = np.array([path == "best_effort" for path in answer.path])
    np.testing.assert_array_equal(best_effort, limit.infeasible.numpy())
    assert problem.violations(answer.power).sensing[~best_effort].max(initial=0.0) <= 1e-6
    if problem.num_constraints:
        quality = (problem.sir(answer.power) / problem.sir_min).min(-1)
        wanted = BEST_EFFORT_SHARE * limit.margin.numpy()[best_effort]
        assert (quality[best_effort] >= wanted * (1.0 - 1e-6)).all()
        np.testing.assert_allclose(quality[best_effort], wanted, rtol=0.02)  # more may cost the UEs nothing
    for path, reason in zip(answer.path, answer.reason, strict=True):
        assert (reason == "") == (path == "network")


def test_good_powers_pass_untouched() -> None:
    problem, tensors = _pair("16x16x4", 10, sir_min_db=-20.0)
    power = largest_sir(tensors).power.numpy() * 0.5 + 1e-6
    answer = guard(problem, power)
    assert answer.path == ["network"] * 10
    np.testing.assert_array_equal(answer.power, power)


def test_rows_are_added_for_no_more_than_is_needed() -> None:
    """Some row ends exactly at SIR0, and no cheaper addition meets the rows (HiGHS on the same program)."""
    problem, _ = _pair("16x16x4", 20)
    power = fractional_power(problem, 0.0, 1.0)
    answer = guard(problem, power)
    repaired = [index for index, path in enumerate(answer.path) if path == "repaired"]
    assert len(repaired) > 5
    added, share = with_rows(problem.select(np.array(repaired)), power[repaired])
    np.testing.assert_array_equal(share, 1.0)
    ratio = (problem.select(np.array(repaired)).sir(added) / problem.sir_min[repaired]).min(-1)
    np.testing.assert_allclose(ratio, 1.0, rtol=1e-6)
    generator = np.random.default_rng(1)
    for index in repaired[:8]:
        matrix = problem.echo[index] - problem.sir_min[index][:, None] * problem.cross_echo[index]
        need, cost = -(matrix @ power[index]), generator.uniform(0.1, 3.0, problem.num_links)
        found = cheapest(matrix, need, cost)
        assert found is not None
        expected = linprog(cost, A_ub=-matrix, b_ub=-need, method="highs")
        assert cost @ found == pytest.approx(expected.fun, rel=1e-7)
        assert (matrix @ found - need).min() >= -1e-9 * np.abs(need).max()


def test_the_best_ratio_is_the_one_of_the_solver() -> None:
    problem, tensors = _pair("24x16x6", 10)
    limit = largest_sir(tensors).margin.numpy()
    for index in range(10):
        required = problem.sir_min[index][:, None] * problem.cross_echo[index]
        share, ratio = best_ratio(problem.echo[index], required)
        assert share.min() >= 0.0
        assert ratio == pytest.approx(limit[index], rel=1e-8)


def test_programs_without_an_answer_say_so() -> None:
    assert cheapest(np.array([[-1.0, -2.0]]), np.array([1.0]), np.ones(2)) is None
    assert cheapest(np.array([[1.0, -1.0], [-1.0, 1.0]]), np.array([1.0, 1.0]), np.ones(2)) is None
    assert cheapest(np.array([[1.0, -1.0]]), np.array([-1.0]), np.ones(2)) == pytest.approx([0.0, 0.0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0, -1.0, 1e300, -1e-300])
def test_unusable_powers_are_replaced_by_fractional_power_control(bad: float) -> None:
    power = np.full((4, SMALL.num_links), 0.1)
    power[1, 2] = bad
    power[2] = bad
    answer = guard(SMALL, power)
    _check(SMALL, answer.power)
    assert answer.path[2] in ("fallback_fpc", "best_effort")
    assert "network's powers" in answer.reason[2]
    alone = guard(SMALL.select(np.array([0])), power[:1])
    np.testing.assert_array_equal(answer.power[0], alone.power[0])


def test_the_replacement_has_the_documented_exponents() -> None:
    """Sensing constraints so weak that nothing is repaired show the replacement as it is."""
    problem = replace(SMALL, sir_min=SMALL.sir_min * 0.0 + 1e-12)
    answer = guard(problem, np.full((4, problem.num_links), np.nan))
    assert answer.path == ["fallback_fpc"] * 4
    expected = fractional_power(problem, *EXPONENTS)
    np.testing.assert_allclose(answer.power, expected, rtol=1e-12)
    swapped = fractional_power(problem, *EXPONENTS[::-1])
    assert np.abs(answer.power / swapped - 1.0).max() > 0.1


def test_fractional_power_control_is_that_of_the_tensors() -> None:
    problem, tensors = _pair("16x16x4", 3)
    for exponents in ((0.0, 1.0), (0.0, 0.0), (-0.7, 40.0)):
        expected = Fractional(*exponents).propose(tensors).power
        found = fractional_power(problem, *exponents)
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-9, atol=1e-300)


numbers = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True, width=64),
    st.floats(min_value=0.0, max_value=3.0),
    st.sampled_from([0.0, 5e-324, 1e-310, 1e30, 1e308]),
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(numbers, min_size=8, max_size=8), st.integers(0, 2**32 - 1), st.sampled_from([-30.0, -5.0, 3.0, 60.0]))
def test_nothing_unsafe_leaves(values: list[float], seed: int, sir_min_db: float) -> None:
    """Powers of random links replaced by anything, SIR0 from trivial to impossible."""
    generator = np.random.default_rng(seed)
    problem = replace(SMALL, sir_min=SMALL.sir_min * 0.0 + 10 ** (sir_min_db / 10))
    power = generator.uniform(0.0, 1.0, (4, problem.num_links)) ** 4
    power[generator.integers(0, 4, 8), generator.integers(0, problem.num_links, 8)] = values
    answer = guard(problem, power)
    _check(problem, answer.power)
    met = np.array([path != "best_effort" for path in answer.path])
    assert problem.violations(answer.power).sensing[met].max(initial=0.0) <= 1e-6


def test_budgets_are_exact_for_every_ap() -> None:
    generator = np.random.default_rng(2)
    problem = replace(SMALL, budget=generator.uniform(1e-3, 1e3, SMALL.budget.shape))
    power = generator.uniform(0.0, 100.0, (4, problem.num_links))
    kept = within_budget(problem, power)
    load = problem.ap_load(kept) / problem.budget
    assert load.max() <= 1.0 + 1e-12
    untouched = problem.ap_load(power) <= problem.budget
    np.testing.assert_allclose(problem.ap_load(kept)[untouched], problem.ap_load(power)[untouched], rtol=1e-14)


def test_repair_of_twins_is_best_effort() -> None:
    """Two targets at one place hear each other as loud as themselves: 0 dB whatever is sent."""
    scenario = TrackingScenario.of_size("8x4x2", sir_min_db=3.0)
    drop = scenario.sample(1, generator=torch.Generator().manual_seed(1))
    one = Snapshot.from_drop(drop, 0, scenario)
    twins = replace(one, **{name: getattr(one, name)[[0, 0]] for name in ("target_position", "sensing_ap", "listening_ap")})
    problem = coefficients([twins])
    power, share = repair(problem, np.full((1, problem.num_links), 0.1))
    np.testing.assert_allclose(share, BEST_EFFORT_SHARE / 10**0.3, rtol=1e-9)
    np.testing.assert_allclose(problem.sir(power), 1.0, rtol=1e-9)
