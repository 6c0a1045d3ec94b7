"""Snapshots that leave open who listens: a rule chooses, the answer says who, and nothing else changes."""

from dataclasses import replace

import numpy as np
import pytest

from isac_torch.deployment.allocator import DeployedAllocator
from isac_torch.deployment.answers import answer_tables, answers_json
from isac_torch.deployment.completion import completed
from isac_torch.deployment.open_roles import chosen_receivers, with_given_roles
from isac_torch.deployment.snapshot import Snapshot
from isac_torch.errors import DropError
from isac_torch.propagation.geometry import distance
from isac_torch.propagation.path_loss import umi_nlos_gain
from tests.oracles import roles as loop

RNG = np.random.default_rng(5)


def _plane(count, height):
    return np.column_stack([RNG.uniform(0, 400, (count, 2)), np.full(count, height)])


OPEN = Snapshot(
    tx_position=_plane(9, 10.0),
    tx_orientation=RNG.uniform(-3, 3, 9),
    rx_position=np.zeros((0, 3)),
    ue_position=_plane(5, 1.65),
    target_position=_plane(2, 60.0),
    ap_power=np.linspace(1.0, 2.0, 9),
    serving_aps=2,
    sensing_aps=2,
    receive_selection="weakest_ue",
    num_receive_aps=3,
    receive_reach=1.4,
)


@pytest.fixture(scope="module")
def allocator():
    return DeployedAllocator.load()


def test_the_rule_is_that_of_the_scenario():
    assert OPEN.ue_position is not None
    gain = umi_nlos_gain(distance(OPEN.ue_position, OPEN.tx_position), 2e9)
    gap = distance(OPEN.target_position, OPEN.tx_position)
    default = chosen_receivers(replace(OPEN, receive_selection="farthest_point"))
    assert set(chosen_receivers(OPEN).tolist()) == loop.weakest_ue(gain, gap, default.tolist(), 2, 1.4)
    measured = replace(OPEN, ue_gain=gain[:, ::-1])
    assert set(chosen_receivers(measured).tolist()) == loop.weakest_ue(gain[:, ::-1], gap, default.tolist(), 2, 1.4)


def test_answer_is_that_of_the_same_roles_given(allocator):
    OPEN.check()
    assert OPEN.ap_power is not None
    listens = chosen_receivers(OPEN)
    sends = np.delete(np.arange(9), listens)
    given = replace(
        OPEN,
        tx_position=OPEN.tx_position[sends],
        tx_orientation=OPEN.tx_orientation[sends],
        ap_power=OPEN.ap_power[sends],
        rx_position=OPEN.tx_position[listens],
        receive_selection="given",
    )
    given.check()
    chosen, usual = allocator.many([OPEN, given])
    np.testing.assert_allclose(chosen.power, usual.power)
    np.testing.assert_array_equal(chosen.link_ap, sends[usual.link_ap])
    np.testing.assert_array_equal(chosen.receive_ap, listens)
    assert usual.receive_ap.size == 0
    assert f'"receive_ap": {listens.tolist()}'.encode() in answers_json([chosen])
    table = answer_tables([chosen, usual])["receive_ap"]
    assert table["drop"].tolist() == [0, 0, 0]
    assert table["ap"].tolist() == listens.tolist()


def test_roles_are_settled_once():
    settled = with_given_roles(OPEN)
    assert settled.num_aps == 6
    assert with_given_roles(settled) is settled
    assert completed(OPEN).listening_ap is not None
    assert replace(OPEN, num_receive_aps=None).listeners == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rx_position": [[1, 1, 10]]}, "put all APs into tx_position"),
        ({"serving_ap": np.zeros((5, 1))}, "leave serving_ap out"),
        ({"num_receive_aps": 9}, "9 of 9 APs"),
    ],
)
def test_contradictions_are_refused(change, says):
    with pytest.raises(DropError, match=says):
        replace(OPEN, **change).check()


def test_weakest_ue_is_for_small_sites():
    many = {"tx_position": _plane(65, 10.0), "tx_orientation": np.zeros(65), "ap_power": None}
    with pytest.raises(DropError, match="among at most 64 APs, not 65"):
        replace(OPEN, **many).check()
    replace(OPEN, **many, receive_selection="least_used").check()


def test_unknown_rules_are_refused():
    with pytest.raises(DropError, match="receive_selection='nearest' must be 'given' or 'farthest_point'"):
        replace(OPEN, receive_selection="nearest")
