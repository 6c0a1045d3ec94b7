"""The search for receive APs: against every set at small sizes, and what it must keep whatever it finds."""

from dataclasses import replace
from itertools import combinations

import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocation import allocate
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.allocators.tracking.heuristics import Fractional
from isac_torch.errors import ScenarioError
from isac_torch.propagation.geometry import distance
from isac_torch.roles.held import Held, default_standard, held_problem, in_order_of
from isac_torch.roles.search import Search, search_roles
from isac_torch.tensors import map_tensors, tensor_fields
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.drop import all_aps, with_roles
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.requirements import reference_standard
from isac_torch.tracking.roles import RULES, by_rule
from tests.roles.small import SMALL, drawn

UNIFORM = Fractional(0.0, 0.0)
"""Uniform power in the engine's place, which is quick: the search does not know who answers."""
EVERY = Search(reach=100.0, looked=10, solved=10, rounds=0, finalists=10)


@pytest.fixture(scope="module")
def drop():
    return drawn(10)


@pytest.fixture(scope="module")
def every(drop):
    """The search over all sets."""
    return search_roles(drop, SMALL, UNIFORM, EVERY, UNIFORM)


def test_search_over_all_sets_is_brute_force(drop, every):
    standard = reference_standard(power_problem(drop, SMALL), drop, SMALL)
    sets = torch.tensor(list(combinations(range(5), 2))).repeat(10, 1)
    owner = torch.arange(10).repeat_interleave(10)
    other = with_roles(drop.select(owner), SMALL, sets)
    problem = held_problem(other, SMALL, map_tensors(standard, lambda t: t[owner]))
    answer = allocate(problem, UNIFORM)
    best = torch.where(answer.violation <= 1e-6, answer.value, 0.0).reshape(10, 10).amax(1)
    assert_close(every.allocation.value, best)
    assert bool(every.changed.any())


def test_search_keeps_the_requirement_and_the_default_rate(drop, every):
    plain = power_problem(drop, SMALL)
    before = reference_standard(plain, drop, SMALL)
    assert bool((every.allocation.value >= allocate(plain, UNIFORM).value).all())
    assert bool((every.problem.violations(every.allocation.power).worst <= 1e-6).all())
    cells = every.problem.num_cells
    quality = every.problem.sir(every.allocation.power)
    assert bool((quality[:, :-cells] >= before.sicnr * (1 - 1e-6)).all())
    own = power_problem(every.drop, SMALL)  # its cells are over those of uniform power with the same roles
    uniform = reference_standard(own, every.drop, SMALL).scan
    echo = own.sir(every.allocation.power)[:, -cells:] * uniform
    assert bool((echo.sort(-1).values >= before.scan.sort(-1).values * (1 - 1e-6)).all())


def test_changed_drops_are_those_with_other_receive_aps(drop, every):
    default = all_aps(drop).receive
    same = torch.tensor([set(a) == set(b) for a, b in zip(every.receive.tolist(), default.tolist(), strict=True)])
    assert torch.equal(every.changed, ~same)
    again = with_roles(drop, SMALL, every.receive)
    for name, value in tensor_fields(again).items():
        assert torch.equal(value, getattr(every.drop, name)), name


def test_small_search_is_between_default_and_all(drop, every):
    some = search_roles(drop, SMALL, UNIFORM, Search(looked=4, solved=2, rounds=1, finalists=1), UNIFORM)
    assert bool((some.allocation.value <= every.allocation.value * (1 + 1e-9)).all())
    assert bool((some.allocation.value >= allocate(power_problem(drop, SMALL), UNIFORM).value * (1 - 1e-9)).all())


@pytest.mark.parametrize("rule", RULES[1:])
def test_no_rule_beats_the_smallest_search(drop, rule):
    least = Search(looked=1, solved=1, rounds=0, finalists=1)
    found = search_roles(drop, SMALL, UNIFORM, least, UNIFORM)
    aps, gap = all_aps(drop), distance(drop.target_position, all_aps(drop).position)
    receive = by_rule(rule, aps.receive, gap, aps.gain, SMALL.serving_links, 1.0)
    ruled = Held(drop, SMALL, default_standard(drop, SMALL)).best(torch.stack([aps.receive, receive], 1), UNIFORM)
    assert bool((found.allocation.value >= ruled.allocation.value * (1 - 1e-9)).all())


def test_no_set_is_solved_twice(drop):
    solved = []

    class Noting(Fractional):
        def propose(self, problem):
            solved.extend(problem.signal.flatten(1))
            return super().propose(problem)

    search_roles(drop.select(torch.arange(1)), SMALL, UNIFORM, Search(100.0, looked=1, solved=1, rounds=2), Noting(0.0, 0.0))
    assert len(solved) == 4, "the default roles, one set before the rounds and one in each"
    assert len(torch.stack(solved).unique(dim=0)) == 4


def test_optimal_powers_find_more_roles(drop):
    """With the engine as judge the requirement can be met where uniform power misses it."""
    few, engine = drop.select(torch.arange(3)), BatchedOptimal(gap=1e-2, tie="none")
    found = search_roles(few, SMALL, engine, Search(looked=4, solved=2, rounds=0, finalists=1))
    assert bool((found.allocation.value >= allocate(power_problem(few, SMALL), engine).value * (1 - 1e-2)).all())
    assert bool((found.allocation.violation <= 1e-6).all())


def test_nothing_in_reach_falls_back_to_the_default_roles(drop):
    found = search_roles(drop, SMALL, UNIFORM, replace(EVERY, reach=1e-6), UNIFORM)
    assert not bool(found.changed.any())
    assert_close(found.allocation.power, allocate(power_problem(drop, SMALL), UNIFORM).power)


def test_numbering_of_ues_and_targets_changes_no_roles(drop, every):
    ue, target = torch.tensor([2, 0, 3, 1]), torch.tensor([1, 0])
    moved = replace(
        drop,
        ue_position=drop.ue_position[:, ue],
        ue_gain=drop.ue_gain[:, ue],
        rx_gain=drop.rx_gain[:, ue],
        target_position=drop.target_position[:, target],
    )
    moved = with_roles(moved, SMALL, all_aps(moved).receive)
    found = search_roles(moved, SMALL, UNIFORM, EVERY, UNIFORM)
    assert torch.equal(found.receive.sort(-1).values, every.receive.sort(-1).values)
    assert_close(found.allocation.value, every.allocation.value)


def test_default_roles_are_held_to_the_requirement_itself(drop):
    scenario = replace(SMALL, requirement=Requirement("dominate"))
    plain = power_problem(drop, scenario)
    held = held_problem(drop, scenario, default_standard(drop, scenario))
    found = tensor_fields(held)
    for name, value in tensor_fields(plain).items():
        assert_close(found[name], value, msg=name)


def test_values_are_dealt_out_in_order():
    own, wanted = torch.tensor([[5.0, 1.0, 3.0]]), torch.tensor([[10.0, 30.0, 20.0]])
    assert in_order_of(own, wanted).tolist() == [[30.0, 10.0, 20.0]]


@pytest.mark.parametrize("kind", ["sir", "none"])
def test_requirements_that_know_no_noise_are_refused(drop, kind):
    with pytest.raises(ScenarioError, match="may hear nothing"):
        search_roles(drop, replace(SMALL, requirement=Requirement(kind)), UNIFORM)


def test_absolute_requirements_need_no_standard(drop):
    scenario = replace(SMALL, requirement=Requirement("sicnr", sicnr_min_db=-10.0))
    found = search_roles(drop, scenario, UNIFORM, EVERY, UNIFORM)
    met = found.problem.violations(found.allocation.power).worst <= 1e-6
    usual = allocate(power_problem(drop, scenario), UNIFORM)
    fine = usual.violation <= 1e-6
    assert bool((met | ~fine).all())
    assert bool((found.allocation.value[fine] >= usual.value[fine] * (1 - 1e-6)).all())


def test_a_reduced_search_does_about_a_sixth_of_the_work():
    whole, less = Search(), Search().reduced()
    work = [one.rounds * (one.looked + 10 * one.solved) + 20 * one.finalists for one in (whole, less)]
    assert 1 / 8 < work[1] / work[0] < 1 / 3
    assert less.reach == whole.reach
    assert less.finalists < less.solved < less.looked
