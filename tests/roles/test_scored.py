"""The choice of receive APs by a network: what it keeps whatever the network says, and the laws of the network."""

import hashlib
import json
from dataclasses import replace
from itertools import combinations

import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocation import allocate
from isac_torch.allocators.tracking.heuristics import Fractional
from isac_torch.errors import ScenarioError
from isac_torch.nn.tracking.set_scorer import SetScorer
from isac_torch.roles import scored
from isac_torch.roles.held import Held, default_standard
from isac_torch.roles.policies import ROLE_POLICIES
from isac_torch.roles.scored import ScoredSearch, best_sets, merits, scored_roles, shipped_scorer
from isac_torch.roles.search import Search, search_roles
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.drop import all_aps, with_roles
from isac_torch.tracking.requirement import Requirement
from isac_torch.weights import shipped_weights
from tests.roles.small import SMALL, drawn

UNIFORM = Fractional(0.0, 0.0)


@pytest.fixture(scope="module")
def drop():
    return drawn(8)


@pytest.fixture(scope="module")
def scorer():
    torch.manual_seed(1)
    return SetScorer(hidden=8).eval()


def held(drop, scenario=SMALL):
    return Held(drop, scenario, default_standard(drop, scenario))


def test_every_set_solved_is_the_search_over_all_sets(drop, scorer):
    every = search_roles(drop, SMALL, UNIFORM, Search(reach=100.0, looked=10, solved=10, rounds=0, finalists=10), UNIFORM)
    found = scored_roles(drop, SMALL, UNIFORM, ScoredSearch(solved=10), scorer)
    assert_close(found.allocation.value, every.allocation.value)
    assert bool(found.changed.any())


@pytest.mark.parametrize("solved", [1, 3])
def test_no_drop_gets_worse_whatever_the_network_says(drop, scorer, solved):
    found = scored_roles(drop, SMALL, UNIFORM, ScoredSearch(solved=solved), scorer)
    assert bool((found.allocation.value >= allocate(power_problem(drop, SMALL), UNIFORM).value).all())
    assert bool((found.problem.violations(found.allocation.power).worst <= 1e-6).all())


def test_the_best_sets_are_those_of_largest_merit_without_the_default_one(drop, scorer):
    one = held(drop.select(torch.tensor([0])))
    sets = torch.tensor(list(combinations(range(5), 2)))
    merit = merits(one, sets[None], scorer)
    default = set(all_aps(one.drop).receive[0].tolist())
    assert [set(row) == default for row in sets.tolist()] == merit.isneginf().tolist()
    found = best_sets(one, scorer, ScoredSearch(), 20)
    assert found.shape == (1, 9, 2)
    assert_close(merits(one, found, scorer), merit.sort(descending=True).values[:9])


def test_scores_in_pieces_are_the_same(drop, scorer, monkeypatch):
    whole = best_sets(held(drop), scorer, ScoredSearch(), 4)
    monkeypatch.setattr(scored, "_MOST_ENTRIES", 1)
    assert torch.equal(best_sets(held(drop), scorer, ScoredSearch(), 4), whole)


def test_swaps_find_the_best_set_where_all_are_within_reach(drop, scorer, monkeypatch):
    """Two changes of one AP lead from any pair to any other, and a beam of all sets loses none."""
    listed = best_sets(held(drop), scorer, ScoredSearch(), 1)
    monkeypatch.setattr("isac_torch.tracking.roles.MOST_SETS", 0)
    found = best_sets(held(drop), scorer, ScoredSearch(rounds=2, beam=6), 1)
    assert torch.equal(found.sort(-1).values, listed.sort(-1).values)
    greedy = best_sets(held(drop), scorer, ScoredSearch(rounds=1, beam=1), 2)
    assert greedy.shape == (8, 2, 2)


def test_numbering_of_aps_ues_and_targets_does_not_matter(drop, scorer):
    ue, target = torch.tensor([2, 0, 3, 1]), torch.tensor([1, 0])
    sets = torch.tensor(list(combinations(range(5), 2))).expand(8, -1, -1)
    tx, rx = torch.tensor([2, 0, 1]), torch.tensor([1, 0])
    place = torch.cat([tx, 3 + rx])
    moved = replace(
        drop,
        tx_position=drop.tx_position[:, tx],
        tx_orientation=drop.tx_orientation[:, tx],
        rx_position=drop.rx_position[:, rx],
        rx_orientation=drop.rx_orientation[:, rx],
        ue_position=drop.ue_position[:, ue],
        ue_gain=drop.ue_gain[:, ue][:, :, tx],
        rx_gain=drop.rx_gain[:, ue][:, :, rx],
        target_position=drop.target_position[:, target],
    )
    moved = with_roles(moved, SMALL, all_aps(moved).receive)
    new = place.argsort()[sets]
    for row in torch.arange(3)[:, None]:
        before = merits(held(drop.select(row)), sets[row], scorer)
        after = merits(held(moved.select(row)), new[row], scorer)
        assert_close(after, before, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", ["sicnr", "sir"])
def test_other_requirements_are_refused(drop, scorer, kind):
    with pytest.raises(ScenarioError, match="dominate"):
        scored_roles(drop, replace(SMALL, requirement=Requirement(kind)), UNIFORM, scorer=scorer)


@pytest.mark.parametrize("change", [{"num_targets": 0}, {"num_aps": 9, "num_receive_aps": 3}])
def test_the_policy_takes_networks_of_any_size(change):
    scenario = replace(SMALL, **change)
    drop = scenario.sample(2, generator=torch.Generator().manual_seed(8))
    policy = replace(ROLE_POLICIES["opc_dominate_scored_roles"], allocator="upc")
    found = policy.choose(drop, scenario)
    assert bool((found.allocation.violation <= 1e-6).all())
    _, problem = policy.held(drop, scenario, found.receive, found.factor)
    assert_close(problem.sir_min, found.problem.sir_min)


def test_the_shipped_scorer_is_that_of_its_card():
    path = shipped_weights("receive_aps")
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["system"] == SetScorer.SYSTEM
    assert hashlib.sha256(path.read_bytes()).hexdigest() == card["sha256"]
    assert sum(weight.numel() for weight in shipped_scorer().parameters()) == card["parameters"]
