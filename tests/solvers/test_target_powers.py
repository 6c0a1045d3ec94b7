"""Powers for the targets' sake: constraints and floor are kept, and no feasible powers nearby have a larger mean SICNR."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocation import allocate
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.solvers.tracking.target_merit import TargetMerit
from isac_torch.solvers.tracking.target_powers import TargetPowers, target_powers
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.scenario import TrackingScenario

SCENARIO = TrackingScenario(
    num_aps=10, num_ues=4, num_targets=3, num_antennas=2, requirement=Requirement("dominate", cell=300.0, enough_db=13.0)
)
DROPS = SCENARIO.sample(16, generator=torch.Generator().manual_seed(2)).select(torch.tensor([0, 3, 7]))
PROBLEM = power_problem(DROPS, SCENARIO)
BEST = BatchedOptimal(gap=1e-4, tie="none")
OPTIMUM = allocate(PROBLEM, BEST)
FLOOR = 0.7 * OPTIMUM.value


@pytest.fixture(scope="module")
def found() -> TargetPowers:
    return target_powers(PROBLEM, FLOOR)


def test_the_floor_and_all_constraints_are_kept(found: TargetPowers) -> None:
    assert bool(found.solved.all())
    assert float(PROBLEM.violations(found.power).worst.max()) <= 1e-6
    assert bool((PROBLEM.objective(found.power) >= FLOOR * (1 - 1e-6)).all())
    assert_close(found.quality, (PROBLEM.sir(found.power) / PROBLEM.sir_min)[:, :3])
    assert_close(found.merit, found.quality.log().mean(-1))
    assert bool((found.merit > 0.1).all()), "more than uniform power, by 0.4 dB at least"


def test_no_powers_between_the_solution_and_other_feasible_ones_are_better(found: TargetPowers) -> None:
    """The feasible set is convex: were the slope towards any of its points positive, the solution would be no optimum."""
    power = found.power.clone().requires_grad_(True)
    merit = PROBLEM.sir(power)[:, :3].log().sum(-1)
    slope = torch.autograd.grad(merit.sum(), power)[0]
    others = [OPTIMUM.power, *(target_powers(PROBLEM, share * OPTIMUM.value).power for share in (0.75, 0.9))]
    for other in others:
        assert float(((other - found.power) * slope).sum(-1).max()) <= 1e-2


def test_the_certified_optimum_under_the_qualities_keeps_the_floor(found: TargetPowers) -> None:
    asked = torch.cat([found.quality * (1 - 1e-3), torch.ones(3, PROBLEM.num_cells, dtype=torch.float64)], 1)
    certified = allocate(replace(PROBLEM, sir_min=PROBLEM.sir_min * asked), BEST)
    assert float(certified.violation.max()) <= 1e-6
    assert bool((certified.value >= FLOOR * (1 - 1e-3)).all())


def test_a_floor_out_of_reach_is_not_solved() -> None:
    out = target_powers(PROBLEM, 3.0 * OPTIMUM.value)
    assert not bool(out.solved.any())
    assert bool((out.merit == -torch.inf).all())
    assert bool(out.power.isfinite().all())


def test_the_merit_agrees_with_autograd() -> None:
    generator = torch.Generator().manual_seed(5)
    echo, cross = (torch.rand(2, 4, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    x = torch.rand(2, 6, generator=generator, dtype=torch.float64).requires_grad_(True)
    wanted, unwanted = (torch.einsum("dle,de->dl", part, x) for part in (echo, cross))
    unwanted = unwanted + 0.5
    seen = TargetMerit(3).at(echo, cross, wanted, unwanted)
    value = (wanted / unwanted)[:, :3].log().sum()
    (slope,) = torch.autograd.grad(value, x, create_graph=True)
    assert_close(seen.slope, slope)
    curve = torch.autograd.functional.hessian(lambda v: torch.einsum("le,e->l", echo[0, :3], v).log().sum(), x[0].detach())
    assert_close(seen.squares[0].T @ seen.squares[0], -curve)
    assert seen.size.tolist() == [3.0, 3.0]
