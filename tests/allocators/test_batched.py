"""The batched engine: certified optima, the laws of the problem, proven infeasibility, unique labels, odd sizes."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocation import Status, allocate
from isac_torch.allocators.registry import named_allocator
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.allocators.tracking.drop_by_drop import GlobalOptimal, PaperOpc
from isac_torch.errors import AllocationError
from isac_torch.solvers.tracking import first_stage
from isac_torch.solvers.tracking.feasibility import largest_sir
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.scenario import TrackingScenario

FIRST = BatchedOptimal(tie="none")


def drops(count: int, seed: int = 3, **parameters: object) -> MaxMinSinrProblem:
    scenario = TrackingScenario(**{"num_aps": 8, "num_ues": 6, "num_targets": 3, **parameters})
    return power_problem(scenario.sample(count, generator=torch.Generator().manual_seed(seed)), scenario)


def test_the_papers_setting_is_certified_on_every_drop() -> None:
    problem = drops(64, num_aps=16, num_ues=16, num_targets=4)
    found = allocate(problem, FIRST)
    solved = found.status == Status.OPTIMAL
    assert bool((solved | (found.status == Status.INFEASIBLE)).all())
    assert float(found.violation[solved].max()) <= 1e-6
    assert float(found.gap.max()) <= 1e-3
    assert bool((found.gap >= -1e-6).all())


def test_agrees_with_the_reference() -> None:
    problem = drops(3)
    ours, theirs = allocate(problem, FIRST), allocate(problem, GlobalOptimal(tie="none"))
    assert bool((ours.status == theirs.status).all())
    # each is within 1e-3 of the optimum; the bounds are true for both
    assert_close(ours.value, theirs.value, rtol=1e-3, atol=0.0)
    assert bool((ours.upper_bound * (1.0 + 1e-6) >= theirs.value).all())
    assert bool((theirs.upper_bound * (1.0 + 1e-6) >= ours.value).all())


@pytest.mark.parametrize(
    "size",
    [
        {"num_targets": 0},
        {"num_targets": 1},
        {"num_ues": 1},
        {"num_aps": 2, "num_ues": 2, "num_targets": 2, "num_receive_aps": 1},
        {"num_aps": 4, "num_ues": 12, "num_targets": 2},
    ],
    ids=str,
)
def test_odd_sizes(size: dict[str, int]) -> None:
    found = allocate(drops(8, **size), BatchedOptimal())
    assert bool(((found.status == Status.OPTIMAL) | (found.status == Status.INFEASIBLE)).all())
    assert float(found.gap.max()) <= 1e-3


def test_infeasible_requirements_are_proven_and_answered_with_the_best_effort() -> None:
    problem = drops(12, num_targets=4, num_receive_aps=1)
    problem = replace(problem, sir_min=torch.full_like(problem.sir_min, 0.5))  # four targets at one AP reach 1/3 at most
    found, limit = allocate(problem, FIRST), largest_sir(problem)
    assert bool((found.status == Status.INFEASIBLE).all())
    assert_close(found.best_quality, limit.best_sir, rtol=1e-6, atol=0.0)
    reached = problem.sir(found.power).amin(-1)
    assert bool((reached >= 0.95 * found.best_quality * (1.0 - 1e-6)).all())
    eased = replace(problem, sir_min=0.95 * limit.best_sir[:, None].expand_as(problem.sir_min))
    assert_close(found.value, allocate(eased, FIRST).value, rtol=2e-3, atol=0.0)


def test_feasibility_agrees_with_linear_programming_around_the_edge() -> None:
    problem = drops(24, num_targets=4)
    limit = largest_sir(problem)
    for factor in (0.999, 1.001):
        edge = replace(problem, sir_min=factor * limit.best_sir[:, None].expand_as(problem.sir_min))
        infeasible = allocate(edge, FIRST).status == Status.INFEASIBLE
        assert bool((infeasible == (factor > 1.0)).all())


def test_permuting_ues_and_targets_permutes_the_powers() -> None:
    problem = drops(4, num_aps=10, num_ues=5, num_targets=3)
    ue, target = torch.tensor([3, 0, 4, 1, 2]), torch.tensor([2, 0, 1])
    serving, sensing = problem.serving, (problem.num_links - problem.num_comm_links) // 3
    comm = (ue[:, None] * serving + torch.arange(serving)).flatten()
    link = torch.cat([comm, problem.num_comm_links + (target[:, None] * sensing + torch.arange(sensing)).flatten()])
    permuted = replace(
        problem,
        signal=problem.signal[:, ue],
        leakage=problem.leakage[:, ue][:, :, link],
        coherent=problem.coherent[:, ue][:, :, ue],
        echo=problem.echo[:, target][:, :, link],
        cross_echo=problem.cross_echo[:, target][:, :, link],
        sir_min=problem.sir_min[:, target],
        link_ap=problem.link_ap[:, link],
        link_gain=problem.link_gain[:, link],
    )
    one, two = allocate(problem, BatchedOptimal()), allocate(permuted, BatchedOptimal())
    assert_close(two.value, one.value, rtol=1e-5, atol=0.0)
    # second-stage powers are unique; the first stage's value, which they must reach, agrees to the solver's tolerance
    assert_close(two.power, one.power[:, link], rtol=0.0, atol=2e-3)


def test_units_of_power_do_not_matter() -> None:
    problem = drops(6)
    scaled = replace(
        problem,
        signal=problem.signal / 1e2,
        leakage=problem.leakage / 1e4,
        budget=problem.budget * 1e4,
        echo=problem.echo * 7.0,
        cross_echo=problem.cross_echo * 7.0,
    )
    assert_close(allocate(scaled, FIRST).value, allocate(problem, FIRST).value, rtol=1e-6, atol=0.0)


def test_same_drops_same_bits() -> None:
    problem = drops(20)
    one, two = (allocate(problem, BatchedOptimal(chunk=8)).power for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(allocate(problem.select(torch.arange(8, 16)), BatchedOptimal(chunk=8)).power, one[8:16])


def test_chunks_do_not_change_the_answer() -> None:
    problem = drops(5)
    one, two = (allocate(problem, BatchedOptimal(chunk=chunk)) for chunk in (2, 5))
    assert_close(one.value, two.value, rtol=1e-6, atol=0.0)


def test_labels_are_unique_and_cost_half_the_gap() -> None:
    problem = drops(16)
    first, label = allocate(problem, FIRST), allocate(problem, BatchedOptimal())
    feasible = label.status == Status.OPTIMAL
    assert bool((label.power.sum(-1) <= first.power.sum(-1) * (1.0 + 1e-6))[feasible].all())


def test_shared_pilots_are_feasible_with_a_bound() -> None:
    problem = drops(24, pilot_length=3)
    found = allocate(problem, FIRST)
    feasible = found.status != Status.INFEASIBLE
    assert bool((found.status[feasible] <= Status.FEASIBLE).all())
    assert bool(found.upper_bound.isfinite().all())
    assert float(found.gap[feasible].mean()) <= 0.05  # six UEs on three pilots: much harsher than the benchmark's setting
    assert bool((found.gap >= -1e-6).all())


def test_sensing_priority_reaches_its_share_of_the_best_sir() -> None:
    problem = drops(8)
    found = allocate(problem, BatchedOptimal(priority="sensing", tie="none"))
    limit = largest_sir(problem)
    assert_close(found.best_quality, limit.best_sir, rtol=1e-6, atol=0.0)
    assert bool((problem.sir(found.power).amin(-1) >= 0.95 * limit.best_sir * (1.0 - 1e-6)).all())


def test_the_reference_steps_in_when_every_attempt_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = drops(3)
    truth = allocate(problem, FIRST).value
    hopeless = first_stage._Attempt(0.5, 0.5, 0.95, 2)
    monkeypatch.setattr(first_stage, "_ATTEMPTS", (hopeless,))
    found = allocate(problem, FIRST)
    assert bool((found.status == Status.OPTIMAL).all())
    assert_close(found.value, truth, rtol=1e-3, atol=0.0)


def test_float32_problems_are_solved_in_float64_and_answered_in_float32() -> None:
    problem = drops(4)
    found = BatchedOptimal(tie="none").propose(problem.cast(torch.float32))
    assert found.power.dtype == torch.float32
    assert_close(problem.objective(found.power.double()), allocate(problem, FIRST).value, rtol=1e-3, atol=0.0)


def test_sensing_priority_never_asks_for_less_than_sir0() -> None:
    problem = drops(6)
    best = largest_sir(problem)
    near = replace(problem, sir_min=0.98 * best.best_sir[:, None].expand_as(problem.sir_min))
    found = allocate(near, BatchedOptimal(priority="sensing"))
    assert bool((found.status == Status.OPTIMAL).all())
    assert bool((near.sir(found.power).amin(-1) >= 0.98 * best.best_sir * (1.0 - 1e-6)).all())


def test_most_power_sends_more_at_nearly_the_same_smallest_sinr() -> None:
    problem = drops(8)
    least = allocate(problem, FIRST)
    most = allocate(problem, BatchedOptimal(gap=0.05, tie="most_power"))
    assert bool((most.gap <= 0.05).all())
    assert bool((most.value >= (1.0 - 0.05) * least.value).all())
    assert float(most.power.sum()) >= 1.2 * float(least.power.sum())
    assert bool((problem.ap_load(most.power) <= problem.budget * (1.0 + 1e-9)).all())


@pytest.mark.parametrize(
    "allocator",
    [
        BatchedOptimal(),
        BatchedOptimal(gap=0.05, tie="most_power"),
        BatchedOptimal(tie="none", priority="sensing"),
        BatchedOptimal(gap=0.2, tie="fair", priority="sensing", sensing_slack=0.1),
        GlobalOptimal(priority="sensing"),
        PaperOpc(priority="sensing", sensing_slack=0.2),
    ],
    ids=lambda allocator: allocator.name,
)
def test_the_name_of_an_optimal_allocator_makes_it_again(allocator: BatchedOptimal | GlobalOptimal | PaperOpc) -> None:
    assert named_allocator(allocator.name) == allocator


@pytest.mark.parametrize("name", ["opc_paper_fair", "opc_batched_sensing_", "opc_batched_2", "opc_batched_quiet"])
def test_names_that_say_too_much_are_unknown(name: str) -> None:
    with pytest.raises(AllocationError, match="unknown"):
        named_allocator(name)
