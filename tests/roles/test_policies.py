"""Policies of roles by name: what they ask, and what they fall back to."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from isac_torch.roles import policies
from isac_torch.roles.policies import RolePolicy
from isac_torch.roles.search import Search
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.scenario import TrackingScenario

SMALL = TrackingScenario(
    num_aps=5,
    num_receive_aps=2,
    num_antennas=2,
    num_ues=3,
    num_targets=2,
    serving_aps=2,
    sensing_aps=2,
    requirement=Requirement("dominate", scan=0.0, position=0.0),
)
QUICK = Search(reach=100.0, looked=4, solved=2, rounds=0, finalists=2)
UNIFORM = RolePolicy("uniform", allocator="upc", search=QUICK)


@pytest.fixture(scope="module")
def drop():
    return SMALL.sample(12, generator=torch.Generator().manual_seed(3))


def test_targets_get_more_where_that_can_be_had(drop):
    """A factor of 2 is met in some drops, with other roles; the others are asked for 1, which the default roles meet."""
    found = replace(UNIFORM, sicnr=2.0).choose(drop, SMALL)
    usual = UNIFORM.choose(drop, SMALL)
    assert bool((found.allocation.violation <= 1e-6).all())
    least = found.problem.sir_min[:, :2] / usual.problem.sir_min[:, :2]
    assert_close(least, least.round())
    assert sorted(set(least.round().flatten().tolist())) == [1.0, 2.0]
    asked_more = least.amin(-1) > 1.5
    assert bool(found.changed[asked_more].all())
    assert bool((found.problem.sir(found.allocation.power)[:, :2] >= found.problem.sir_min[:, :2] * (1 - 1e-6)).all())


def test_other_kinds_of_requirement_become_dominate(drop):
    found = UNIFORM.choose(drop.select(torch.arange(1)), replace(SMALL, requirement=Requirement("sir")))
    assert found.problem.num_cells > 0
    assert found.problem.position is not None


def test_only_a_factor_above_1_is_eased(drop, monkeypatch):
    """Searches that never meet what they are asked: the last one is taken."""
    one = drop.select(torch.arange(1))
    chosen = UNIFORM.choose(one, SMALL)
    unmet = replace(chosen, allocation=replace(chosen.allocation, violation=torch.ones(1, dtype=torch.float64)))
    asked = []

    def search(drop, scenario, allocator, how):
        asked.append(scenario.requirement.sicnr)
        return unmet

    monkeypatch.setattr(policies, "search_roles", search)
    assert not replace(UNIFORM, sicnr=0.5).choose(one, SMALL).eased.any()
    assert not UNIFORM.choose(one, SMALL).eased.any()
    assert replace(UNIFORM, sicnr=1.2).choose(one, SMALL).eased.all()
    assert asked == [0.5, 1.0, 1.2, 1.0]
