"""The computed bound: true for any dual variables and powers, tight at optima, invariant where the problem is."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.solvers.tracking.certificate import relaxed_leakage, upper_bound
from isac_torch.solvers.tracking.feasibility import largest_sir, repair
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.scenario import TrackingScenario


def drops(count: int, seed: int = 5, **parameters: object) -> MaxMinSinrProblem:
    scenario = TrackingScenario(**{"num_aps": 8, "num_ues": 6, "num_targets": 3, **parameters})
    return power_problem(scenario.sample(count, generator=torch.Generator().manual_seed(seed)), scenario)


def feasible_powers(problem: MaxMinSinrProblem, seed: int) -> torch.Tensor:
    """Random powers over three decades, moved just far enough to meet every row and budget."""
    noise = torch.rand(problem.link_gain.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    power = 10.0 ** (-3.0 * noise)
    power = power / (problem.ap_load(power) / problem.budget).gather(1, problem.link_ap)
    return repair(problem, power, INSIDE[problem.has_pilot_reuse])


ORTHOGONAL = drops(4)
REUSED = drops(4, pilot_length=2)
INSIDE = {problem.has_pilot_reuse: largest_sir(problem).power for problem in (ORTHOGONAL, REUSED)}
FEASIBLE = {
    id(problem): [problem.objective(feasible_powers(problem, seed)) for seed in range(20)] for problem in (ORTHOGONAL, REUSED)
}


@pytest.mark.parametrize("problem", [ORTHOGONAL, REUSED], ids=["orthogonal", "reused"])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), spread=st.floats(0.0, 4.0), with_aps=st.booleans())
def test_no_feasible_powers_exceed_the_bound_of_any_prices(
    problem: MaxMinSinrProblem, seed: int, spread: float, with_aps: bool
) -> None:
    noise = torch.Generator().manual_seed(seed)

    def draw(like: torch.Tensor) -> torch.Tensor:
        return 10.0 ** (spread * torch.randn(like.shape, generator=noise, dtype=torch.float64))

    row_size = problem.signal.square().amax((1, 2)) / problem.echo.amax(-1).T
    duals = draw(problem.signal[..., 0]), draw(problem.sir_min) * row_size.T, draw(problem.budget) if with_aps else None
    bound = upper_bound(problem, draw(problem.link_gain), *duals)
    for value in FEASIBLE[id(problem)]:
        assert bool((bound >= value).all())


@pytest.mark.parametrize("problem", [ORTHOGONAL, REUSED], ids=["orthogonal", "reused"])
def test_no_feasible_powers_exceed_the_bound_of_recovered_prices(problem: MaxMinSinrProblem) -> None:
    for seed in range(2):
        bound = upper_bound(problem, feasible_powers(problem, 100 + seed))
        assert bool(bound.isfinite().all())
        for value in FEASIBLE[id(problem)]:
            assert bool((bound >= value).all())


def test_the_bound_is_tight_at_the_optimum_without_given_prices() -> None:
    best = BatchedOptimal(gap=1e-5, tie="none").propose(ORTHOGONAL)
    bound = upper_bound(ORTHOGONAL, best.power)
    value = ORTHOGONAL.objective(best.power)
    # shares come from powers that are optimal to 1e-5, of which the small ones are less precise
    assert bool(((bound - value) <= 1e-3 * bound).all())
    # the engine leaves rows short by 5e-7 at most, so the value may pass the bound by as much
    assert bool((value <= bound * (1.0 + 1e-6)).all())


def some_dual_variables() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(11)
    drops, ues, targets = ORTHOGONAL.num_drops, ORTHOGONAL.num_ues, ORTHOGONAL.num_constraints
    return tuple(torch.rand(drops, count, generator=generator, dtype=torch.float64) for count in (ues, targets))


def test_no_dual_variables_give_a_smaller_bound_than_those_of_the_linear_programme() -> None:
    power = feasible_powers(ORTHOGONAL, 7)
    best = upper_bound(ORTHOGONAL, power)
    assert bool((best <= upper_bound(ORTHOGONAL, power, *some_dual_variables()) * (1.0 + 1e-9)).all())


def test_only_ratios_of_dual_variables_matter() -> None:
    ue, sensing = some_dual_variables()
    power = feasible_powers(ORTHOGONAL, 8)
    once = upper_bound(ORTHOGONAL, power, ue, sensing)
    assert_close(upper_bound(ORTHOGONAL, power, 7e5 * ue, 7e5 * sensing), once, rtol=1e-10, atol=0.0)


def test_the_bound_follows_the_units_of_power() -> None:
    # Twice the budget with half of every coefficient per watt is the same problem.
    power = feasible_powers(ORTHOGONAL, 9)
    scaled = replace(
        ORTHOGONAL,
        signal=ORTHOGONAL.signal / 2.0**0.5,
        leakage=ORTHOGONAL.leakage / 2.0,
        budget=ORTHOGONAL.budget * 2.0,
    )
    assert_close(upper_bound(scaled, 2.0 * power), upper_bound(ORTHOGONAL, power), rtol=1e-6, atol=0.0)


def test_useless_prices_give_no_bound() -> None:
    zero, nan = torch.zeros(4, 6, dtype=torch.float64), torch.full((4, 6), torch.nan, dtype=torch.float64)
    assert bool(upper_bound(ORTHOGONAL, ORTHOGONAL.link_gain, zero).isinf().all())
    assert bool(upper_bound(ORTHOGONAL, ORTHOGONAL.link_gain, nan).isinf().all())


def test_silent_or_broken_powers_still_give_a_true_bound() -> None:
    problem = ORTHOGONAL.select(torch.arange(2))
    for power in (torch.zeros_like(problem.link_gain), torch.full_like(problem.link_gain, torch.nan)):
        bound = upper_bound(problem, power)
        for value in FEASIBLE[id(ORTHOGONAL)]:
            assert bool((bound >= value[:2]).all())


def test_relaxed_leakage_stays_below_the_interference_also_with_negative_cross_terms() -> None:
    signs = torch.randn(REUSED.coherent.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).sign()
    problem = replace(REUSED, coherent=REUSED.coherent * signs)
    at = feasible_powers(problem, 3)
    leakage = relaxed_leakage(problem, at)
    for seed in range(20):
        power = feasible_powers(problem, seed)
        relaxed = torch.einsum("dke,de->dk", leakage, power) + 1.0
        assert bool((relaxed <= problem.interference(power) * (1.0 + 1e-12)).all())
