"""No problem, however odd, makes an allocator raise, break a budget or claim what its own bound contradicts."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from isac_torch.allocation import Allocation, Proposal, Status, allocate, equal_split
from isac_torch.allocators.downlink_pilots.batched import BatchedMinMaxNmse
from isac_torch.allocators.downlink_pilots.classical import FullPower, MinMaxNmse, PaperSca
from isac_torch.allocators.downlink_pilots.learned import DownlinkPilotFirstOrder, DownlinkPilotLearned
from isac_torch.allocators.registry import named_allocator
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.nn.downlink_pilots.network import DownlinkPilotNetwork
from isac_torch.solvers.tracking.settling import settled
from isac_torch.tracking.problem import MaxMinSinrProblem
from tests import hostile_problems

TRACKING = {
    "upc": (20, 250),
    "ppc": (20, 250),
    "fpc_0.5_-1": (20, 250),
    "opc_batched": (3, 80),
    "opc_global": (1, 40),
    "opc_clarabel": (2, 40),
    "opc_moreau": (2, 40),
    "opc_paper": (2, 40),
    "first_order": (1, 40),
    "gnn": (1, 40),
    "gnn_repaired": (1, 20),
    "gnn_refined": (1, 20),
    "gnn_dominate": (2, 40),
    "opc_dominate": (2, 40),
    "opc_dominate_fair": (1, 20),
    "fair_1": (1, 20),
    "distributed_r0": (6, 80),
    "distributed_r4": (6, 80),
    "distributed_r16": (2, 40),
    "distributed_classical_r4": (2, 40),
    "distributed_kept_r4": (2, 40),
    "unfolded_r4": (6, 80),
    "prices_r8": (6, 80),
    "sinr_tracking_r4": (6, 80),
}
"""Batches that each allocator gets in the fast and in the slow test; their costs differ a thousandfold."""
DOWNLINK_PILOTS: dict[str, tuple[Any, int, int]] = {
    "full": (FullPower(), 20, 250),
    "full_ngo": (FullPower("estimate"), 20, 250),
    "sca_paper": (PaperSca(), 3, 100),
    "nmse_optimal": (MinMaxNmse(max_boxes=20), 3, 100),
    "nmse_batched": (BatchedMinMaxNmse(max_boxes=20), 3, 100),
    "first_order": (DownlinkPilotFirstOrder(steps=3), 2, 100),
    "gnn": (DownlinkPilotLearned(DownlinkPilotNetwork()), 2, 100),
}
SIR_ONLY = ("gnn", "first_order", "distributed", "unfolded", "prices", "sinr_tracking")
"""Allocators that refuse sensing constraints with noise, in one line."""
DROPS = 8
"""Of each batch in the slow test: 13,000 problems in all."""


def assert_sound(problem: Any, answer: Allocation) -> None:
    optimal = answer.status == Status.OPTIMAL
    violations = problem.violations(answer.power)
    assert bool(answer.power.isfinite().all())
    assert not bool(answer.value.isnan().any())
    assert not bool(answer.violation.isnan().any())
    assert bool((violations.budget <= 1e-6).all())
    assert bool((violations.negative <= 0.0).all())
    assert bool((answer.value <= answer.upper_bound)[optimal].all())
    assert bool((answer.violation <= 1e-6)[optimal].all())


def tracking_batches(name: str, batches: int, drops: int) -> None:
    allocator = named_allocator(name)
    for seed in range(1, 1 + batches):
        problem = hostile_problems.tracking(seed, drops)
        problem.check()
        if name.startswith(SIR_ONLY):
            problem = replace(problem, echo_noise=None)
        if name.startswith("opc_dominate"):
            problem = replace(problem, reference=equal_split(problem))
        assert_sound(problem, allocate(problem, allocator))


def downlink_batches(allocator: Any, batches: int, drops: int) -> None:
    for seed in range(1, 1 + batches):
        problem = hostile_problems.downlink_pilots(seed, drops)
        problem.check()
        assert_sound(problem, allocate(problem, allocator))


@pytest.mark.parametrize("name", TRACKING)
def test_tracking(name: str) -> None:
    tracking_batches(name, TRACKING[name][0], drops=2)


@pytest.mark.parametrize("name", DOWNLINK_PILOTS)
def test_downlink_pilots(name: str) -> None:
    downlink_batches(*DOWNLINK_PILOTS[name][:2], drops=2)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", TRACKING)
def test_tracking_at_length(name: str) -> None:
    tracking_batches(name, TRACKING[name][1], DROPS)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", DOWNLINK_PILOTS)
def test_downlink_pilots_at_length(name: str) -> None:
    downlink_batches(DOWNLINK_PILOTS[name][0], DOWNLINK_PILOTS[name][2], DROPS)


@pytest.mark.parametrize("name", TRACKING)
def test_nothing_asked_nothing_answered(name: str) -> None:
    problem = hostile_problems.without_drops(replace(hostile_problems.tracking(2, 1), echo_noise=None))
    if name.startswith("opc_dominate"):
        problem = replace(problem, reference=equal_split(problem))
    answer = allocate(problem, named_allocator(name))
    assert answer.power.shape == (0, problem.num_links)
    assert len(answer.status) == len(answer.upper_bound) == len(answer.best_quality) == 0


@pytest.mark.parametrize("name", DOWNLINK_PILOTS)
def test_nothing_asked_nothing_answered_with_downlink_pilots(name: str) -> None:
    problem = hostile_problems.downlink_pilots(2, 1).select(torch.zeros(0, dtype=torch.long))
    assert allocate(problem, DOWNLINK_PILOTS[name][0]).power.shape == (0, problem.num_links)


def two_targets(**changes: Any) -> MaxMinSinrProblem:
    """2 APs, 2 UEs and 2 targets, all alike but for `changes`, in float64."""
    generator = torch.Generator().manual_seed(0)
    parts: dict[str, Any] = {
        "signal": torch.full((2, 2, 1), 30.0),
        "leakage": torch.rand(2, 2, 4, generator=generator),
        "coherent": torch.zeros(2, 2, 2, 1),
        "echo": 10.0 * torch.rand(2, 2, 4, generator=generator),
        "cross_echo": torch.rand(2, 2, 4, generator=generator),
        "sir_min": torch.full((2, 2), 0.3),
        "budget": torch.full((2, 2), 2.0),
        "link_gain": torch.full((2, 4), 1e-9),
    }
    parts = {name: value.double() for name, value in (parts | changes).items()}
    return MaxMinSinrProblem(**parts, link_ap=torch.tensor([[0, 1, 0, 1]] * 2), num_targets=2)


@pytest.mark.parametrize("name", ["opc_batched", "opc_global", "opc_clarabel", "gnn_refined"])
def test_a_target_without_echo_costs_only_its_own_drop(name: str) -> None:
    problem = two_targets()
    deaf = replace(problem, echo=problem.echo * torch.tensor([[[1.0], [0.0]], [[1.0], [1.0]]]))
    answer = allocate(deaf, named_allocator(name))
    assert answer.status[0] == Status.INFEASIBLE
    assert answer.best_quality[0] == 0.0
    assert answer.status[1] <= Status.FEASIBLE
    # the best effort still meets the constraint of the other target
    assert float(deaf.sir(answer.power)[0, 0]) >= 0.3 * (1.0 - 1e-6)


def test_a_constraint_that_asks_for_nothing_is_met() -> None:
    problem = two_targets(sir_min=torch.zeros(2, 2), echo=torch.zeros(2, 2, 4))
    assert allocate(problem, BatchedOptimal()).status.tolist() == [Status.OPTIMAL] * 2


def test_units_of_gains_do_not_matter() -> None:
    """The noise is the unit of the gains: without leakage, weaker signals scale the optimum, however small they are."""
    problem = two_targets(leakage=torch.zeros(2, 2, 4))
    weak = replace(
        problem, signal=problem.signal * 2.0**-450, echo=problem.echo * 2.0**-900, cross_echo=problem.cross_echo * 2.0**-900
    )
    strong, faint = (allocate(one, BatchedOptimal()) for one in (problem, weak))
    assert faint.status.tolist() == [Status.OPTIMAL] * 2
    torch.testing.assert_close(faint.power, strong.power, rtol=0.0, atol=0.0)
    torch.testing.assert_close(faint.upper_bound * 2.0**900, strong.upper_bound, rtol=1e-12, atol=0.0)


class _Claim:
    """An allocator that answers an equal split with any bound."""

    name, gap = "claim", 1e-3

    def __init__(self, share: float) -> None:
        self.share = share

    def propose(self, problem: MaxMinSinrProblem) -> Proposal:
        power = equal_split(problem)
        return Proposal(power, self.share * problem.objective(power))


@pytest.mark.parametrize(("share", "status"), [(0.99, Status.FEASIBLE), (1.0 - 1e-9, Status.OPTIMAL), (1.0, Status.OPTIMAL)])
def test_a_bound_below_the_value_proves_nothing(share: float, status: Status) -> None:
    problem = two_targets(sir_min=torch.full((2, 2), 1e-6))
    answer = allocate(problem, _Claim(share))
    assert answer.status.tolist() == [status] * 2
    assert bool((answer.upper_bound >= answer.value).all())


@pytest.mark.parametrize("name", ["opc_global", "opc_batched", "opc_clarabel"])
def test_requirements_at_the_ceiling_are_met(name: str) -> None:
    """Two targets that disturb each other as much as they echo: SIR_1 SIR_2 = 1, and 0 dB is just reached."""
    problem = two_targets(sir_min=torch.ones(2, 2))
    problem = replace(problem, cross_echo=problem.echo.flip(1))
    answer = allocate(problem, named_allocator(name))
    assert answer.status.tolist() == [Status.OPTIMAL] * 2
    assert float(answer.violation.max()) < 1e-8
    torch.testing.assert_close(problem.sir(answer.power), torch.ones(2, 2, dtype=torch.float64), rtol=1e-8, atol=0.0)


def test_what_is_missed_by_little_is_met_and_what_is_missed_by_much_stays() -> None:
    problem = replace(two_targets(), cross_echo=two_targets().echo.flip(1))
    power = equal_split(problem)
    short = replace(problem, sir_min=problem.sir(power).clamp_max(1.0) * torch.tensor([[1.0 + 3e-7], [1.0 + 1e-3]]))
    changed = settled(short, power)
    assert float(short.violations(power).worst[0]) > 1e-7
    assert float(short.violations(changed).worst[0]) < 1e-12
    assert bool(((changed / power - 1.0).abs() < 1e-5).all())
    assert bool((changed[1] == power[1]).all())
