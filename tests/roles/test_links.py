"""Links divided freely over the UEs: how many, of whom, and what they never cost."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocation import allocate
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.errors import ScenarioError
from isac_torch.roles.held import Held, default_standard
from isac_torch.roles.links import best_divided, largest_shares, wider
from isac_torch.roles.policies import RolePolicy
from isac_torch.roles.search import Search, search_roles
from isac_torch.sensing.glrt import Glrt
from isac_torch.sensing.quality import assess
from isac_torch.tensors import tensor_fields
from isac_torch.tracking.beam_setup import BeamSetup
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.drop import all_aps, with_roles
from isac_torch.tracking.fractional import fractional_power
from tests.roles.small import SMALL, drawn

SIX = replace(SMALL, num_aps=6)
ENGINE = BatchedOptimal(gap=1e-2, tie="none")
JOINT = Search(reach=100.0, looked=4, solved=2, rounds=0, finalists=2, most_serving_aps=4)


@pytest.fixture(scope="module")
def drop():
    return drawn(4, SIX)


@pytest.fixture(scope="module")
def joint(drop):
    return search_roles(drop, SIX, ENGINE, JOINT, ENGINE)


def _divided(drop, scenario=SIX):
    held = Held(drop, scenario, default_standard(drop, scenario))
    return best_divided(held, all_aps(drop).receive[:, None], ENGINE, 4, ENGINE)


def test_as_many_links_as_usual_and_one_of_each_ue(joint):
    used = joint.drop.serves
    assert set(used.unique().tolist()) == {0.0, 1.0}
    assert used.sum((1, 2)).tolist() == [8.0] * 4
    assert bool((used.sum(-1) >= 1).all())
    assert bool((used[..., 2:] > 0).any()), "some UE has more links than usual"
    assert torch.equal(joint.problem.used, used)
    off = joint.allocation.power[:, : joint.problem.num_comm_links].reshape(used.shape)[used == 0]
    assert bool((off == 0.0).all())


def test_never_worse_than_the_usual_sets(drop, joint):
    usual = allocate(power_problem(drop, SIX), ENGINE)
    same_roles = _divided(drop)
    for found in (joint, same_roles):
        assert bool((found.allocation.value >= usual.value * (1 - 2e-2)).all())
        assert bool((found.problem.violations(found.allocation.power).worst <= 1e-6).all())
    assert bool((same_roles.allocation.value > usual.value * (1 + 2e-2)).any())


def test_the_usual_sets_are_the_answer_where_freedom_brings_nothing(drop):
    """With no more APs for a UE than usual, and as many links, nothing is left to divide."""
    held = Held(drop, SIX, default_standard(drop, SIX))
    found = best_divided(held, all_aps(drop).receive[:, None], ENGINE, 2, ENGINE)
    assert_close(found.allocation.value, allocate(power_problem(drop, SIX), ENGINE).value, rtol=1e-2, atol=0.0)
    assert found.drop.serves is not None
    assert found.drop.serves.unique().tolist() == [1.0]


def test_links_not_used_do_nothing(drop, joint):
    """The network in which they do not exist, as far as a table with equally many places can say it, has the same SINR."""
    wide = replace(joint.drop, serves=None)
    every = power_problem(wide, SIX)
    assert_close(every.sinr(joint.allocation.power), joint.problem.sinr(joint.allocation.power))
    uniform = fractional_power(joint.problem)
    assert bool(
        (uniform[:, : joint.problem.num_comm_links].reshape(joint.drop.serves.shape)[joint.drop.serves == 0] == 0).all()
    )
    load = joint.problem.ap_load(uniform)
    assert_close(load, torch.where(load > 0, joint.problem.budget, 0.0))  # an AP without links stays silent
    sensed = assess(joint.drop, SIX, SIX.sensing, joint.allocation.power, Glrt("paper"), num_blocks=1, seed=1)
    assert bool(sensed.quality.ratio.isfinite().all())


def test_usual_links_in_more_places_are_the_usual_problem(drop):
    wide = wider(drop, 4)
    serves = torch.zeros(wide.serving_ap.shape, dtype=torch.float64)
    serves[..., :2] = 1.0
    assert torch.equal(wide.serving_ap[..., :2], drop.serving_ap)
    usual, placed = power_problem(drop, SIX), power_problem(replace(wide, serves=serves), SIX)
    found, wanted = allocate(placed, ENGINE), allocate(usual, ENGINE)
    assert_close(found.value, wanted.value, rtol=1e-2, atol=0.0)
    assert_close(placed.sir_min, usual.sir_min)


def test_largest_shares_by_hand(drop):
    problem = power_problem(drop.select(torch.arange(1)), SIX)
    signal = torch.tensor([[[4.0, 1.0], [3.0, 3.0], [1.0, 9.0], [5.0, 0.0]]], dtype=torch.float64)
    power = torch.ones(1, problem.num_links, dtype=torch.float64)
    found = largest_shares(replace(problem, signal=signal), power, 6)
    assert found.tolist() == [[[1.0, 1.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]]]
    assert largest_shares(problem, 0.0 * power, 5).sum(-1).amin() >= 1.0, "also where no power is sent"


def test_numbering_of_ues_changes_nothing(drop):
    ue = torch.tensor([2, 0, 3, 1])
    moved = replace(drop, ue_position=drop.ue_position[:, ue], ue_gain=drop.ue_gain[:, ue], rx_gain=drop.rx_gain[:, ue])
    moved = with_roles(moved, SIX, all_aps(moved).receive)
    here, there = _divided(drop), _divided(moved)
    assert torch.equal(there.drop.serves, here.drop.serves[:, ue])
    assert_close(there.allocation.value, here.allocation.value, rtol=1e-2, atol=0.0)


def test_a_policy_gives_its_problem_again(drop):
    policy = RolePolicy("joint", allocator="upc", search=JOINT)
    found = policy.choose(drop.select(torch.arange(2)), SIX)
    _, again = policy.held(drop.select(torch.arange(2)), SIX, found.receive, found.factor, found.drop.serves)
    for name, value in tensor_fields(found.problem).items():
        assert_close(tensor_fields(again)[name], value, msg=name)


def test_beams_that_depend_on_the_sets_are_refused(drop):
    with pytest.raises(ScenarioError, match="beams of kind 'mrt'"):
        search_roles(drop, replace(SIX, beams=BeamSetup("zf")), ENGINE, JOINT)
