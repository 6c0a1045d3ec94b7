"""The number of receive APs: the best of several searches, held to the same."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocators.tracking.heuristics import Fractional
from isac_torch.errors import ScenarioError
from isac_torch.roles.held import Held, default_standard
from isac_torch.roles.numbers import best_numbers
from isac_torch.roles.search import Search, search_roles
from isac_torch.tensors import tensor_fields
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.scenario import TrackingScenario

SMALL = TrackingScenario(
    num_aps=6, num_receive_aps=2, num_antennas=2, num_ues=4, num_targets=2, serving_aps=2, sensing_aps=2,
    requirement=Requirement("dominate", scan=0.0, position=0.0),
)  # fmt: skip
UNIFORM = Fractional(0.0, 0.0)
QUICK = Search(reach=100.0, looked=6, solved=6, rounds=0, finalists=6)


@pytest.fixture(scope="module")
def drop():
    return SMALL.sample(12, generator=torch.Generator().manual_seed(3))


def test_each_drop_has_the_best_of_the_numbers(drop):
    parts = best_numbers(drop, SMALL, UNIFORM, (1, 2, 3), QUICK, UNIFORM)
    assert torch.cat([part.index for part in parts]).sort().values.tolist() == list(range(12))
    assert len(parts) > 1, "the numbers differ in some drop"
    usual = search_roles(drop, SMALL, UNIFORM, QUICK, UNIFORM)
    for part in parts:
        assert part.chosen.receive.shape[1] == part.chosen.drop.rx_position.shape[1] == part.count
        assert bool((part.chosen.allocation.violation <= 1e-6).all())
        assert bool((part.chosen.allocation.value >= usual.allocation.value[part.index]).all())
        if part.count == 2:
            assert_close(part.chosen.allocation.value, usual.allocation.value[part.index])


def test_roles_are_counted_through_the_drop_that_was_given(drop):
    """With the numbers that come back the same networks and problems can be built again."""
    held = Held(drop, SMALL, default_standard(drop, SMALL))
    for part in best_numbers(drop, SMALL, UNIFORM, (1, 3), QUICK, UNIFORM):
        other = replace(held, scenario=replace(SMALL, num_receive_aps=part.count))
        network, problem = other.problem(part.index, part.chosen.receive)
        for name, value in tensor_fields(problem).items():
            assert_close(tensor_fields(part.chosen.problem)[name].sum(), value.sum(), msg=name)
        places = {tuple(place) for place in network.rx_position.flatten(0, 1).tolist()}
        assert places == {tuple(place) for place in part.chosen.drop.rx_position.flatten(0, 1).tolist()}


@pytest.mark.parametrize("numbers", [(0, 2), (6,)])
def test_somebody_must_listen_and_somebody_transmit(drop, numbers):
    with pytest.raises(ScenarioError, match="must lie between"):
        best_numbers(drop, SMALL, UNIFORM, numbers, QUICK, UNIFORM)
