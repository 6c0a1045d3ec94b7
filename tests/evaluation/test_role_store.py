"""Roles that are kept on disk: searched for once, the same problems again, nothing stale or damaged."""

from dataclasses import replace
from unittest.mock import create_autospec

import pytest
import torch

from isac_torch.evaluation.tracking import role_store
from isac_torch.evaluation.tracking.role_store import chosen_roles
from isac_torch.roles.policies import RolePolicy
from isac_torch.roles.search import Search
from isac_torch.tensors import tensor_fields
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.scenario import TrackingScenario

SMALL = TrackingScenario(
    num_aps=5, num_receive_aps=2, num_antennas=2, num_ues=3, num_targets=2, serving_aps=2, sensing_aps=2,
    requirement=Requirement("dominate", scan=0.0, position=0.0),
)  # fmt: skip
QUICK = Search(reach=100.0, looked=4, solved=2, rounds=0, finalists=2)
POLICY = RolePolicy("uniform", allocator="upc", sicnr=2.0, search=QUICK)


@pytest.fixture
def drop():
    return SMALL.sample(6, generator=torch.Generator().manual_seed(3))


def _same(one, other):
    return all(torch.equal(tensor_fields(one)[name], value) for name, value in tensor_fields(other).items())


def test_the_second_time_nothing_is_searched(drop, tmp_path, monkeypatch):
    drop = drop.select(torch.arange(3))
    monkeypatch.setattr(role_store, "TOGETHER", 2)
    search = create_autospec(RolePolicy.choose, side_effect=RolePolicy.choose)
    monkeypatch.setattr(RolePolicy, "choose", search)
    once = replace(POLICY, sicnr=1.0)  # what is asked for is met, so each part is searched once
    first = chosen_roles(once, drop, SMALL, tmp_path)
    assert search.call_count == len(list(tmp_path.iterdir())) == 2  # two drops and one
    again = chosen_roles(once, drop, SMALL, tmp_path)
    assert search.call_count == 2
    assert _same(first[0], again[0])
    assert _same(first[1], again[1])
    next(iter(tmp_path.iterdir())).write_bytes(b"nothing of use")
    assert _same(chosen_roles(once, drop, SMALL, tmp_path)[1], first[1])
    assert search.call_count == 3
    chosen_roles(replace(POLICY, sicnr=0.9), drop, SMALL, tmp_path)
    assert search.call_count == 5


def test_problems_are_those_of_the_choice(drop, tmp_path, monkeypatch):
    """Where no roles meet the factor of 2, the problem asks for 1."""
    search, choices = RolePolicy.choose, []

    def watched(*asked):
        choices.append(search(*asked))
        return choices[-1]

    monkeypatch.setattr(RolePolicy, "choose", watched)
    network, problem = chosen_roles(POLICY, drop, SMALL, tmp_path)
    (found,) = choices
    assert sorted(set(found.eased.tolist())) == [False, True]
    torch.testing.assert_close(problem.sir_min, found.problem.sir_min)
    torch.testing.assert_close(problem.echo, found.problem.echo)
    torch.testing.assert_close(network.rx_position, found.drop.rx_position)
