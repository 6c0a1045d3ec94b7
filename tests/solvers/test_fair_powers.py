"""Utilities of the UEs as an objective: derivatives, local optimality, the floor, and what the second stage promises."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocation import Status, allocate
from isac_torch.allocators.registry import named_allocator
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.errors import AllocationError
from isac_torch.solvers.tracking.epigraph_program import max_min_program
from isac_torch.solvers.tracking.fair_powers import fair_powers
from isac_torch.solvers.tracking.fairness import Fairness, utility
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.scenario import TrackingScenario


@pytest.fixture(scope="module")
def problem() -> MaxMinSinrProblem:
    scenario = TrackingScenario.of_size("8x4x2", requirement=Requirement("dominate"))
    return power_problem(scenario.sample(6, generator=torch.Generator().manual_seed(5)), scenario)


@pytest.fixture(scope="module")
def smallest(problem: MaxMinSinrProblem) -> torch.Tensor:
    return allocate(problem, BatchedOptimal(tie="none")).value


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 3.0])
def test_slope_and_curvature_are_the_derivatives(problem: MaxMinSinrProblem, alpha: float) -> None:
    unit = torch.full_like(problem.budget[:, 0], 0.7)
    program = replace(max_min_program(problem, unit), fairness=Fairness(alpha, unit))
    power = torch.rand(problem.link_gain.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.05
    curves = program.curves(power)
    assert curves is not None
    found = curves.merit
    assert found is not None
    assert found.bulge is not None

    def total(x: torch.Tensor) -> torch.Tensor:
        sinr = problem.sinr((x * problem.link_budget[0])[None].expand_as(power))[0]
        rate = torch.log1p(sinr)
        return (rate.log() if alpha == 1.0 else rate ** (1.0 - alpha) / (1.0 - alpha)).sum()

    slope = torch.autograd.functional.jacobian(total, power[0])
    assert_close(found.slope[0], slope, rtol=1e-8, atol=1e-10 * float(slope.abs().max()))
    minorant = found.squares[0].mT @ found.squares[0] + torch.diag(found.diagonal[0])
    curve = torch.autograd.functional.hessian(total, power[0])
    # the minorant is the more curved one, and the bulge is all that F's own curvature lacks of it where f is concave
    least = torch.linalg.eigvalsh(curve + minorant)[0]
    assert float(least) >= -1e-9 * float(curve.abs().max())
    if alpha >= 1.0:
        own = minorant - found.bulge[0].mT @ found.bulge[0]
        assert_close(-own, curve, rtol=1e-7, atol=1e-9 * float(curve.abs().max()))


@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.0])
def test_no_allowed_powers_nearby_are_fairer(problem: MaxMinSinrProblem, smallest: torch.Tensor, alpha: float) -> None:
    floor = (0.9 * smallest)[:, None].expand(-1, problem.num_ues).contiguous()
    found = fair_powers(problem, floor, alpha=alpha)
    assert bool(found.solved.all())
    assert float(problem.violations(found.power).worst.max()) <= 1e-6
    assert bool((problem.sinr(found.power) >= floor * (1.0 - 1e-6)).all())
    assert_close(found.utility, utility(problem.sinr(found.power), alpha))
    generator = torch.Generator().manual_seed(2)
    reference = problem.reference
    assert reference is not None
    for _ in range(100):
        noise = torch.randn(reference.shape, generator=generator, dtype=torch.float64)
        power = found.power * (0.05 * noise).exp()
        power = power / (problem.ap_load(power) / problem.budget).amax(-1, keepdim=True).clamp_min(1.0)
        power = 0.9 * power + 0.1 * reference
        met = (problem.violations(power).worst <= 1e-6) & (problem.sinr(power) >= floor).all(-1)
        rate = found.utility.abs().clamp_min(1.0)
        assert bool((utility(problem.sinr(power), alpha) <= found.utility + 2e-3 * rate)[met].all())


def test_more_fairness_raises_the_weakest_and_costs_the_sum(problem: MaxMinSinrProblem) -> None:
    found = [fair_powers(problem, alpha=alpha) for alpha in (0.5, 1.0, 4.0)]
    weakest = torch.stack([problem.objective(one.power) for one in found])
    total = torch.stack([torch.log1p(problem.sinr(one.power)).mean(-1) for one in found])
    # local optima, so in the mean over the drops
    assert bool((weakest.mean(-1).diff() > 0.0).all())
    assert bool((total.mean(-1).diff() < 0.0).all())


def test_fair_second_stage_keeps_its_promise(problem: MaxMinSinrProblem, smallest: torch.Tensor) -> None:
    plain, fair = (allocate(problem, named_allocator(name)) for name in ("opc_dominate", "opc_dominate_fair"))
    assert plain.status.tolist() == fair.status.tolist() == [Status.OPTIMAL] * 6
    assert bool((fair.value >= 0.97 * smallest).all())
    assert float(problem.violations(fair.power).worst.max()) <= 1e-6
    gained = utility(problem.sinr(fair.power), 1.0) - utility(problem.sinr(plain.power), 1.0)
    assert bool((gained >= 0.0).all())
    assert float(gained.mean()) > 0.1


@pytest.mark.parametrize("name", ["opc_dominate", "opc_dominate_fair"])
def test_dominating_needs_somebody_to_dominate(problem: MaxMinSinrProblem, name: str) -> None:
    with pytest.raises(AllocationError, match="requirement"):
        allocate(replace(problem, reference=None), named_allocator(name))
