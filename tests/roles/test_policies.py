"""Policies of roles by name: what they ask, and what they fall back to."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocation import allocate
from isac_torch.allocators.registry import TRACKING
from isac_torch.roles.policies import RolePolicy
from isac_torch.roles.search import Search
from isac_torch.roles.target_search import TargetSearch
from isac_torch.solvers.tracking.target_powers import target_powers
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.requirement import Requirement
from tests.roles.small import SMALL, drawn

THREE = replace(SMALL, num_ues=3, requirement=Requirement("dominate", scan=0.0, position=0.0))
QUICK = Search(reach=100.0, looked=4, solved=2, rounds=0, finalists=2)
UNIFORM = RolePolicy("uniform", allocator="upc", search=QUICK)


@pytest.fixture(scope="module")
def drop():
    return drawn(6, THREE)


RAISED = RolePolicy("raised", kept=0.7, search=QUICK, for_targets=TargetSearch(looked=6, solved=3, rounds=2))


def test_targets_get_more_for_the_share_of_the_rate_that_is_given_up(drop):
    drop = drop.select(torch.arange(3))
    found = RAISED.choose(drop, THREE)
    usual = power_problem(drop, THREE)
    _, asked = RAISED.held(drop, THREE, found.receive, torch.ones_like(found.factor))
    assert_close(found.problem.sir_min, asked.sir_min * found.factor)
    assert bool((found.allocation.violation <= 1e-6).all())
    floor = 0.7 * allocate(usual, TRACKING.named("opc_batched")).value
    assert bool((found.allocation.value >= floor * (1 - 1e-3)).all())
    assert bool((found.factor >= 1.0).all())
    assert bool((found.factor.amax(-1) > 1.0).all())
    assert bool(found.changed.any())
    default = target_powers(usual, floor).merit
    assert bool((found.factor.log().mean(-1) >= default - 2e-2).all()), "other roles lower no drop's mean SICNR"


def test_an_allocator_that_cannot_give_more_is_asked_for_no_more(drop):
    """Uniform power has nothing to shift to the targets."""
    drop = drop.select(torch.arange(3))
    found, usual = replace(UNIFORM, kept=0.5).choose(drop, THREE), UNIFORM.choose(drop, THREE)
    assert bool((found.allocation.violation <= 1e-6).all())
    plain = (found.factor == 1.0).all(-1)
    assert bool(plain.any())
    assert torch.equal(found.receive[plain], usual.receive[plain])


def test_other_kinds_of_requirement_become_dominate(drop):
    found = UNIFORM.choose(drop.select(torch.arange(1)), replace(THREE, requirement=Requirement("sir")))
    assert found.problem.num_cells > 0
    assert found.problem.position is not None
