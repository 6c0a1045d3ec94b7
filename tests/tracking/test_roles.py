"""Which APs listen: the rules against loops over every set, and drops whose roles change."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocation import allocate
from isac_torch.allocators.tracking.heuristics import Fractional
from isac_torch.errors import ScenarioError
from isac_torch.propagation.geometry import distance
from isac_torch.tensors import tensor_fields
from isac_torch.tracking import roles
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.drop import all_aps, with_roles
from isac_torch.tracking.scenario import TrackingScenario
from tests.oracles import roles as loop

SMALL = TrackingScenario(num_aps=8, num_receive_aps=3, num_ues=5, num_targets=3, serving_aps=2, sensing_aps=2)


def _drop(scenario=SMALL, num_drops=6, seed=1):
    return scenario.sample(num_drops, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("reach", [1.0, 1.3, None])
def test_weakest_ue_is_the_best_of_all_sets(reach):
    drop = _drop()
    aps = all_aps(drop)
    gap = distance(drop.target_position, aps.position)
    found = roles.weakest_ue(aps.gain, gap, aps.receive, 2, reach)
    for d in range(6):
        default = aps.receive[d].tolist()
        assert set(found[d].tolist()) == loop.weakest_ue(aps.gain[d].numpy(), gap[d].numpy(), default, 2, reach)


def test_least_used_is_one_sort():
    aps = all_aps(_drop())
    found = roles.least_used(aps.gain, 3)
    assert [sorted(row) for row in found.tolist()] == [sorted(loop.least_used(gain.numpy(), 3)) for gain in aps.gain]


def test_no_set_within_reach_leaves_the_default_roles():
    aps = all_aps(_drop())
    gap = distance(_drop().target_position, aps.position)
    assert torch.equal(roles.weakest_ue(aps.gain, gap, aps.receive, 2, 1e-3), aps.receive)


def test_swaps_end_where_no_swap_is_better(monkeypatch):
    drop = _drop(replace(SMALL, num_aps=12), 4)
    aps = all_aps(drop)
    gap = distance(drop.target_position, aps.position)
    best = roles.weakest_ue(aps.gain, gap, aps.receive, 2, 1.0)
    monkeypatch.setattr(roles, "MOST_SETS", 0)
    found = roles.weakest_ue(aps.gain, gap, aps.receive, 2, 1.0)
    merit = roles.weakest_amplitude(aps.gain, found[:, None], 2)[:, 0]
    assert bool((merit >= roles.weakest_amplitude(aps.gain, aps.receive[:, None], 2)[:, 0]).all())
    assert bool((merit <= roles.weakest_amplitude(aps.gain, best[:, None], 2)[:, 0]).all())
    limit = roles.nearest_gap(gap, aps.receive[:, None])
    around = roles.swapped(found, 12)
    assert around.shape == (4, 3 * 9, 3)
    within = (roles.nearest_gap(gap, around) <= limit).all(-1)
    assert not bool((within & (roles.weakest_amplitude(aps.gain, around, 2) > merit[:, None])).any())


def test_merit_does_not_depend_on_how_many_sets_go_together(monkeypatch):
    aps = all_aps(_drop())
    sets = roles.swapped(aps.receive, 8)
    whole = roles.weakest_amplitude(aps.gain, sets, 2)
    monkeypatch.setattr(roles, "MOST_ENTRIES", 64)
    assert torch.equal(roles.weakest_amplitude(aps.gain, sets, 2), whole)


def test_guard_keeps_targets_within_reach():
    scenario = replace(SMALL, num_aps=12, receive_selection="weakest_ue", receive_reach=1.2)
    default, other = _drop(replace(scenario, receive_selection="farthest_point"), 20), _drop(scenario, 20)
    near, was = (distance(d.target_position, d.rx_position).amin(-1) for d in (other, default))
    assert bool((near <= 1.2 * was).all())
    assert bool((near > was).any())


@pytest.mark.parametrize("rule", ["least_used", "weakest_ue"])
def test_rules_need_no_targets_and_no_torch(rule):
    drop = _drop(replace(SMALL, receive_selection=rule, num_targets=0))
    assert drop.rx_position.shape == (6, 3, 3)
    scenario = replace(SMALL, receive_selection=rule)
    aps = all_aps(_drop())
    arrays = aps.position, _drop().target_position, aps.gain
    expected = roles.receive_aps(scenario, *arrays)
    found = roles.receive_aps(scenario, *(value.numpy() for value in arrays))
    assert [set(row) for row in found.tolist()] == [set(row) for row in expected.tolist()]


def test_same_roles_give_the_same_drop():
    drop = _drop()
    again = with_roles(drop, SMALL, all_aps(drop).receive)
    for name, value in tensor_fields(drop).items():
        assert torch.equal(value, getattr(again, name)), name


def test_changed_roles_are_those_of_another_rule():
    """The same networks sampled under another rule; only the numbering of APs differs, so that values agree."""
    other = replace(SMALL, receive_selection="weakest_ue", receive_reach=None)
    drop, expected = _drop(), _drop(other)
    aps = all_aps(drop)
    gap = distance(drop.target_position, aps.position)
    changed = with_roles(drop, SMALL, roles.weakest_ue(aps.gain, gap, aps.receive, 2, None))
    uniform = Fractional(0.0, 0.0)
    found, known = (allocate(power_problem(d, SMALL), uniform) for d in (changed, expected))
    assert_close(found.value, known.value)
    assert not torch.allclose(known.value, allocate(power_problem(drop, SMALL), uniform).value)
    where = (all_aps(changed).position[:, None] == drop.rx_position[:, :, None]).all(-1).double().argmax(-1)
    back = with_roles(changed, SMALL, where)
    assert_close(allocate(power_problem(back, SMALL), uniform).value, allocate(power_problem(drop, SMALL), uniform).value)


def test_roles_that_leave_nobody_are_refused():
    drop = _drop()
    everyone = torch.arange(8).expand(6, -1)
    for receive in (everyone, everyone[:, :0]):
        with pytest.raises(ScenarioError, match="at least one listen and one transmit"):
            with_roles(drop, SMALL, receive)
    with pytest.raises(ScenarioError, match="rx_gain"):
        with_roles(replace(drop, rx_gain=None), SMALL, everyone[:, :2])
