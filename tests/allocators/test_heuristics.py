"""Fractional power control: hand-computed cases, the loop oracle, empty sets."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocation import allocate, equal_split
from isac_torch.allocators.tracking.heuristics import Fractional
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.scenario import TrackingScenario
from tests.oracles.metrics import fractional_power

SCENARIO = TrackingScenario(num_aps=6, num_ues=5, num_targets=3)


def drops(count: int = 3) -> MaxMinSinrProblem:
    return power_problem(SCENARIO.sample(count, generator=torch.Generator().manual_seed(1)), SCENARIO)


@pytest.mark.parametrize(
    ("exponents", "name"),
    [((0.0, 0.0), "upc"), ((1.0, 1.0), "ppc"), ((0.0, 1.0), "fpc_0_1"), ((0.5, 0.5), "fpc_0.5_0.5"), ((-1.0, 0.0), "fpc_-1_0")],
)
def test_names(exponents: tuple[float, float], name: str) -> None:
    assert Fractional(*exponents).name == name


def test_uniform_is_the_equal_split() -> None:
    problem = drops()
    assert_close(Fractional().propose(problem).power, equal_split(problem))


@pytest.mark.parametrize("exponents", [(0.0, 1.0), (0.5, 0.5), (1.0, 1.0), (-1.0, 0.0)])
def test_against_the_loop_oracle(exponents: tuple[float, float]) -> None:
    problem = drops(2)
    power = Fractional(*exponents).propose(problem).power
    for drop in range(2):
        link_ap, gain = problem.link_ap[drop].numpy(), problem.link_gain[drop].numpy()
        users, aps = problem.num_comm_links, problem.num_aps
        shape = (problem.num_ues, aps), (problem.num_targets, aps)
        gains, exists, found = ([np.zeros(s) for s in shape] for _ in range(3))
        per_target = (problem.num_links - users) // problem.num_targets
        for e, m in enumerate(link_ap):
            kind, index = (0, e // problem.serving) if e < users else (1, (e - users) // per_target)
            gains[kind][index, m], exists[kind][index, m] = gain[e], 1.0
            found[kind][index, m] = power[drop, e]
        expected = fractional_power(
            gains[0], gains[1], exists[0], exists[1], problem.budget[drop].numpy(), exponents[0], exponents[1]
        )
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=0.0)


def test_by_hand_with_an_empty_target_set_and_a_silent_ap() -> None:
    # AP 0: UE links of gain 1 and 4 and a target link; AP 1: one UE link only; AP 2: nothing.
    one = torch.ones(1, 1, dtype=torch.float64)
    problem = MaxMinSinrProblem(
        signal=torch.ones(1, 3, 1, dtype=torch.float64),
        leakage=torch.ones(1, 3, 4, dtype=torch.float64),
        coherent=torch.zeros(1, 3, 3, 1, dtype=torch.float64),
        echo=torch.ones(1, 0, 4, dtype=torch.float64),
        cross_echo=torch.ones(1, 0, 4, dtype=torch.float64),
        sir_min=one[:, :0],
        budget=torch.tensor([[7.0, 2.0, 2.0]], dtype=torch.float64),
        link_ap=torch.tensor([[0, 0, 1, 0]]),
        link_gain=torch.tensor([[1.0, 4.0, 9.0, 1e-9]], dtype=torch.float64),
        num_targets=1,
    )
    power = Fractional(0.5, 1.0).propose(problem).power
    # Weights 1/2, 1 and 1 of AP 0's 7 W.
    assert_close(power, torch.tensor([[1.4, 2.8, 2.0, 2.8]], dtype=torch.float64))
    assert_close(problem.ap_load(power), torch.tensor([[7.0, 2.0, 0.0]], dtype=torch.float64))


def test_large_exponents_of_tiny_gains_stay_finite_in_float32() -> None:
    problem = drops().cast(torch.float32)
    for exponent in (-8.0, 8.0):
        allocation = allocate(problem, Fractional(exponent, exponent))
        assert bool(allocation.power.isfinite().all())
        assert float(problem.violations(allocation.power).budget.max()) < 1e-6


def test_only_ratios_of_gains_matter() -> None:
    problem = drops()
    louder = replace(problem, link_gain=7.0 * problem.link_gain)
    rule = Fractional(0.3, -0.7)
    assert_close(rule.propose(louder).power, rule.propose(problem).power)
