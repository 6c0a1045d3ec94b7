"""Roles that are kept on disk: searched for once, the same problems again, nothing stale or damaged."""

from dataclasses import replace
from unittest.mock import create_autospec

import numpy as np
import pytest
import torch

from isac_torch.evaluation.tracking import role_store
from isac_torch.evaluation.tracking.role_store import chosen_roles
from isac_torch.roles import policies
from isac_torch.roles.policies import RolePolicy
from isac_torch.roles.scored import ScoredSearch
from isac_torch.roles.search import Search
from isac_torch.tensors import tensor_fields
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.scenario import TrackingScenario

SMALL = TrackingScenario(
    num_aps=5, num_receive_aps=2, num_antennas=2, num_ues=3, num_targets=2, serving_aps=2, sensing_aps=2,
    requirement=Requirement("dominate", scan=0.0, position=0.0),
)  # fmt: skip
QUICK = Search(reach=100.0, looked=4, solved=2, rounds=0, finalists=2)
PLAIN = RolePolicy("uniform", allocator="upc", search=QUICK)
POLICY = RolePolicy("raised", kept=0.7, search=QUICK)


@pytest.fixture
def drop():
    return SMALL.sample(3, generator=torch.Generator().manual_seed(3))


def _same(one, other):
    return all(torch.equal(tensor_fields(one)[name], value) for name, value in tensor_fields(other).items())


@pytest.fixture
def found(drop, monkeypatch):
    """What the policy that raises chooses, searched for once."""
    chosen = POLICY.choose(drop, SMALL)
    search = create_autospec(RolePolicy.choose, return_value=chosen)
    monkeypatch.setattr(RolePolicy, "choose", search)
    return chosen, search


def test_the_second_time_nothing_is_searched(drop, tmp_path, monkeypatch):
    monkeypatch.setattr(role_store, "TOGETHER", 2)
    search = create_autospec(RolePolicy.choose, side_effect=RolePolicy.choose)
    monkeypatch.setattr(RolePolicy, "choose", search)
    first = chosen_roles(PLAIN, drop, SMALL, tmp_path)
    assert search.call_count == len(list(tmp_path.iterdir())) == 2  # two drops and one
    again = chosen_roles(PLAIN, drop, SMALL, tmp_path)
    assert search.call_count == 2
    assert _same(first[0], again[0])
    assert _same(first[1], again[1])
    next(iter(tmp_path.iterdir())).write_bytes(b"nothing of use")
    assert _same(chosen_roles(PLAIN, drop, SMALL, tmp_path)[1], first[1])
    assert search.call_count == 3
    chosen_roles(replace(PLAIN, enough_db=9.0), drop, SMALL, tmp_path)
    assert search.call_count == 5


def test_new_weights_choose_again(drop, found, tmp_path, monkeypatch):
    """What another network chose is not taken for this one's choice."""
    scored, (_, search) = replace(POLICY, search=ScoredSearch()), found
    for calls in (1, 1):
        chosen_roles(scored, drop, SMALL, tmp_path)
        assert search.call_count == calls
    other = tmp_path / "other.pt"
    other.write_bytes(b"other weights")
    monkeypatch.setattr(policies, "shipped_weights", lambda name: other)
    chosen_roles(scored, drop, SMALL, tmp_path)
    assert search.call_count == 2


def test_problems_are_those_of_the_choice(drop, found, tmp_path):
    """Every target is asked for its own factor, and numbers that no search gives are searched for again."""
    found, search = found
    network, problem = chosen_roles(POLICY, drop, SMALL, tmp_path)
    assert float(found.factor.amax()) > 1.0
    torch.testing.assert_close(problem.sir_min, found.problem.sir_min)
    torch.testing.assert_close(problem.echo, found.problem.echo)
    torch.testing.assert_close(network.rx_position, found.drop.rx_position)

    (path,) = tmp_path.iterdir()
    with np.load(path) as kept:
        arrays = dict(kept)
    for name, value in (("factor", np.nan), ("receive", 5)):  # no search gives these
        wrong = {**arrays, name: arrays[name].copy()}
        wrong[name].flat[0] = value
        np.savez(path, **wrong)
        assert _same(chosen_roles(POLICY, drop, SMALL, tmp_path)[1], problem)
    assert search.call_count == 3


def test_links_are_kept_with_the_roles(drop, tmp_path, monkeypatch):
    """As many as usual in all, one of each UE at least: other numbers are searched for again."""
    joint = replace(PLAIN, search=replace(QUICK, most_serving_aps=3))
    search = create_autospec(RolePolicy.choose, side_effect=RolePolicy.choose)
    monkeypatch.setattr(RolePolicy, "choose", search)
    drop = drop.select(torch.arange(1))
    network, problem = chosen_roles(joint, drop, SMALL, tmp_path)
    assert network.serves is not None
    assert network.serves.shape == (1, 3, 3)
    assert _same(chosen_roles(joint, drop, SMALL, tmp_path)[1], problem)
    assert search.call_count == 1

    (path,) = tmp_path.iterdir()
    with np.load(path) as kept:
        arrays = dict(kept)
    everyone, nobody = np.ones((1, 3, 3)), np.zeros((1, 3, 3))
    nobody[:, :2] = 1.0  # six links, none of the last UE
    for wrong in (everyone, nobody, 2.0 / 3.0 * everyone, everyone[..., :2]):
        np.savez(path, **{**arrays, "serves": wrong})
        assert _same(chosen_roles(joint, drop, SMALL, tmp_path)[1], problem)
    assert search.call_count == 5
