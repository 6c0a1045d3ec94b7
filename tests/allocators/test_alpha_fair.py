"""Alpha-fair powers by name: better in their own utility than others, valid under every requirement."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocation import Status, allocate
from isac_torch.allocators.registry import named_allocator
from isac_torch.allocators.tracking.alpha_fair import AlphaFair
from isac_torch.errors import IsacError
from isac_torch.solvers.tracking.fair_powers import fair_powers
from isac_torch.solvers.tracking.fairness import utility
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.scenario import TrackingScenario

SECOND_STAGES = ["opc_batched_lexicographic", "opc_batched_most_power_0.05", "opc_batched_fair_0.03"]


def drops(size: str, count: int, **options: object) -> MaxMinSinrProblem:
    scenario = TrackingScenario.of_size(size, **options)
    return power_problem(scenario.sample(count, generator=torch.Generator().manual_seed(5)), scenario)


@pytest.fixture(scope="module")
def problem() -> MaxMinSinrProblem:
    return drops("8x4x2", 4, requirement=Requirement("dominate", cell=250.0))


@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.0])
def test_nobody_else_is_fairer(problem: MaxMinSinrProblem, alpha: float) -> None:
    own = allocate(problem, named_allocator(f"fair_{alpha:g}"))
    assert own.status.tolist() == [Status.FEASIBLE] * problem.num_drops
    reached = utility(problem.sinr(own.power), alpha)
    for name in ("upc", "opc_batched", "opc_batched_fair_0.03"):
        other = utility(problem.sinr(allocate(problem, named_allocator(name)).power), alpha)
        assert bool((reached >= other - 1e-3 * reached.abs().clamp_min(1.0)).all()), name


@pytest.mark.parametrize(
    ("size", "kind"),
    [("6x4x2", "sir"), ("6x4x2", "sicnr"), ("6x4x2", "position"), ("6x4x2", "dominate"), ("6x3x0", "none")],
)
def test_objectives_go_with_every_requirement(kind: str, size: str) -> None:
    asked = Requirement(kind, sicnr_min_db=-15.0, position_error=60.0, cell=250.0)
    problem = drops(size, 2, requirement=asked, sir_min_db=-15.0)
    best = allocate(problem, named_allocator("opc_batched"))
    for name in (*SECOND_STAGES, "fair_1"):
        found = allocate(problem, named_allocator(name))
        assert bool(found.power.isfinite().all()), name
        assert ((found.status == Status.INFEASIBLE) == (best.status == Status.INFEASIBLE)).all(), name
        fine = best.status == Status.OPTIMAL
        assert bool((found.violation[fine] <= 1e-6).all()), name


def test_out_of_reach_is_said(problem: MaxMinSinrProblem) -> None:
    found = allocate(replace(problem, sir_min=problem.sir_min * 100.0), AlphaFair())
    assert found.status.tolist() == [Status.INFEASIBLE] * problem.num_drops
    assert bool(found.power.isfinite().all())


@pytest.mark.parametrize("size", [1e-2, 30.0])
def test_utilities_are_of_the_networks_own_sinrs(problem: MaxMinSinrProblem, size: float) -> None:
    """At very small and at very large SINRs the mean log rate is another function than at SINRs near one."""
    faint = replace(problem, signal=size * problem.signal)
    found = allocate(faint, named_allocator("opc_batched_fair_0.2"))
    floor = found.value[:, None].expand(-1, faint.num_ues).contiguous() * (1.0 - 1e-6)
    expected = fair_powers(faint, floor)
    assert bool(expected.solved.all())
    assert_close(utility(faint.sinr(found.power), 1.0), expected.utility, rtol=0.0, atol=2e-3)


def test_names() -> None:
    assert named_allocator("fair_2").name == "fair_2"
    assert AlphaFair(0.5).name == "fair_0.5"
    for wrong in ("fair_21", "fair_-1", "fair_nan"):
        with pytest.raises(IsacError) as caught:
            named_allocator(wrong)
        assert "\n" not in str(caught.value)
