"""Repaired drops keep their rate: near the certified optimum, never below the linear program's answer, whatever the problem."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from isac_torch.allocation import allocate
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.deployment import repair as repairs
from isac_torch.deployment.guard import guard
from isac_torch.deployment.interior import ascend
from isac_torch.deployment.repair import improved, repair, with_rows
from isac_torch.deployment.snapshot import Snapshot
from isac_torch.deployment.statistics import Coefficients, coefficients
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.fractional import fractional_power
from isac_torch.tracking.scenario import TrackingScenario


def _drops(size: str, count: int, seed: int = 900_500, **options: Any) -> Coefficients:
    scenario = TrackingScenario.of_size(size, **options)
    drop = scenario.sample(count, generator=torch.Generator().manual_seed(seed))
    return coefficients([Snapshot.from_drop(drop, index, scenario) for index in range(count)])


def _start(problem: Coefficients) -> np.ndarray:
    return fractional_power(problem, 0.0, 1.0)


def _check(problem: Coefficients, power: np.ndarray, share: np.ndarray) -> None:
    """What holds for every repaired drop."""
    assert np.isfinite(power).all()
    assert power.min() >= 0.0
    assert problem.violations(power).budget.max() <= 1e-12
    if problem.num_constraints:
        quality = (problem.sir(power) / problem.sir_min).min(-1)
        assert (quality >= share * (1.0 - 1e-6)).all()


@pytest.mark.parametrize(("size", "sir_min_db"), [("16x16x4", -5.0), ("8x4x2", -3.0), ("16x24x4", -4.0)])
def test_repaired_drops_come_near_the_certified_optimum(size: str, sir_min_db: float) -> None:
    """From fractional power control, far off: at least 85 % of the optimal smallest rate, 98.5 % on average."""
    scenario = TrackingScenario.of_size(size, sir_min_db=sir_min_db)
    drop = scenario.sample(24, generator=torch.Generator().manual_seed(900_501))
    tensors = power_problem(drop, scenario)
    best = allocate(tensors, BatchedOptimal(tie="none"))
    feasible = ((best.violation <= 1e-6) & (best.status < 3)).numpy()
    problem = coefficients([Snapshot.from_drop(drop, index, scenario) for index in range(24)])
    power, share = repair(problem, _start(problem))
    _check(problem, power, share)
    np.testing.assert_array_equal(share == 1.0, feasible)
    ratio = np.log2(1.0 + problem.objective(power)) / np.log2(1.0 + best.value.numpy())
    assert ratio[feasible].min() >= 0.85
    assert 0.985 <= ratio[feasible].mean() <= 1.0 + 1e-4


@pytest.mark.parametrize("sir_min_db", [-8.0, -4.0, 0.0])
def test_no_drop_loses_against_the_linear_program(sir_min_db: float) -> None:
    """Rows that some powers meet, and rows out of reach: never a smaller SINR than the cheapest repair's."""
    problem = _drops("16x16x4", 12, sir_min_db=sir_min_db)
    cheapest, share = with_rows(problem, _start(problem))
    power, again = repair(problem, _start(problem))
    np.testing.assert_array_equal(share, again)
    _check(problem, power, share)
    assert (problem.objective(power) >= problem.objective(cheapest)).all()
    assert np.median(problem.objective(power) / problem.objective(cheapest)) > 2.0


def test_a_drop_has_one_answer_in_any_batch() -> None:
    problem = _drops("16x16x4", 12, sir_min_db=-4.0)
    power = _start(problem)
    together = guard(problem, power)
    assert len(set(together.path)) > 1
    for size in (1, 5):
        for first in range(0, 12, size):
            index = np.arange(first, min(first + size, 12))
            some = guard(problem.select(index), power[index])
            np.testing.assert_array_equal(some.power, together.power[index])
            assert some.path == together.path[first : first + size]


def test_a_limit_on_the_links_keeps_the_linear_programs_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = _drops("8x4x2", 6)
    monkeypatch.setattr(repairs, "MOST_LINKS", problem.num_links - 1)
    np.testing.assert_array_equal(repair(problem, _start(problem))[0], with_rows(problem, _start(problem))[0])


@pytest.mark.parametrize("size", ["8x4x0", "8x4x1", "8x1x2", "2x1x0", "8x1x0"])
def test_small_networks(size: str) -> None:
    """Without rows the powers are those of max-min SINR alone; one UE has no interferer but beams for targets."""
    problem = _drops(size, 4)
    start = _start(problem)
    power = improved(problem, with_rows(problem, start)[0] if problem.num_constraints else start)
    _check(problem, power, np.ones(4))
    assert (problem.objective(power) >= problem.objective(start)).all() or problem.num_constraints


def test_shared_pilots_end_at_a_local_optimum() -> None:
    """Sixteen UEs on six pilots: the certified engine, from a start of its own, finds hardly more."""
    scenario = TrackingScenario.of_size("16x16x4", pilot_length=6, sir_min_db=-7.0)
    drop = scenario.sample(8, generator=torch.Generator().manual_seed(900_502))
    best = allocate(power_problem(drop, scenario), BatchedOptimal(tie="none"))
    feasible = ((best.violation <= 1e-6) & (best.status < 3)).numpy()
    problem = coefficients([Snapshot.from_drop(drop, index, scenario) for index in range(8)])
    assert problem.has_pilot_reuse
    power, share = repair(problem, _start(problem))
    _check(problem, power, share)
    ratio = problem.objective(power) / best.value.numpy()
    assert ratio[feasible].min() > 0.85


@pytest.mark.parametrize("factor", [1e-12, 1e-4, 1e4, 1e12])
def test_extreme_gains(factor: float) -> None:
    """Signals, interference and echoes scaled by anything: rows and budgets hold, no NaN, nothing raised."""
    problem = _drops("8x4x2", 6)
    scaled = replace(
        problem, signal=problem.signal * factor**0.5, leakage=problem.leakage * factor, echo=problem.echo * factor,
        cross_echo=problem.cross_echo * factor,
    )  # fmt: skip
    power, share = repair(scaled, _start(scaled))
    _check(scaled, power, share)
    mixed = replace(problem, signal=problem.signal * np.geomspace(factor, 1.0, 4)[:, None])
    _check(mixed, *repair(mixed, _start(mixed)))


def test_numbers_that_overflow_keep_the_given_powers() -> None:
    """A UE without any gain has SINR 0 whatever is sent: no direction improves that, and none is a number."""
    problem = _drops("8x4x2", 3, sir_min_db=0.0)
    signal = problem.signal.copy()
    signal[1, 2] = 0.0
    deaf = replace(problem, signal=signal)
    start, share = with_rows(deaf, _start(deaf))
    assert problem.violations(_start(deaf)).sensing.min() > 0.01
    _check(deaf, start, share)
    found = improved(deaf, start)
    np.testing.assert_array_equal(found[1], start[1])
    np.testing.assert_array_equal(found[0], improved(problem, start)[0])
    assert guard(deaf, _start(deaf)).sinr[1, 2] == 0.0


def test_more_steps_reach_the_optimum() -> None:
    """Run to a small gap, the method is exact: as good as the certified optimum, whose own gap is 1e-4 of a rate."""
    scenario = TrackingScenario.of_size("16x16x4", sir_min_db=-8.0)
    drop = scenario.sample(6, generator=torch.Generator().manual_seed(900_503))
    best = allocate(power_problem(drop, scenario), BatchedOptimal(tie="none"))
    problem = coefficients([Snapshot.from_drop(drop, index, scenario) for index in range(6)])
    found = repairs.full_power(problem, ascend(problem, with_rows(problem, _start(problem))[0], 1e-3, 300))
    assert problem.violations(found).sensing.max() <= 1e-6
    np.testing.assert_allclose(problem.objective(found), best.value.numpy(), rtol=5e-4)
