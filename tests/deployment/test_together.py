"""Many snapshots looked at together: the verdict is that of each one's own check."""

from dataclasses import replace

import numpy as np
import pytest

from isac_torch.deployment.allocator import DeployedAllocator
from isac_torch.deployment.completion import completed
from isac_torch.deployment.schema import EXAMPLE
from isac_torch.deployment.snapshot import Snapshot
from isac_torch.deployment.statistics import size_class
from isac_torch.deployment.together import alike, all_sound, rows_of, size_classes
from isac_torch.errors import DropError


def sound(snapshots):
    return all_sound(snapshots, alike(snapshots))


ONE = Snapshot.from_mapping(EXAMPLE)
MORE = Snapshot.from_mapping({**EXAMPLE, "sir_min_db": -8.0})
APS, UES = len(ONE.tx_position), ONE.num_ues


def _with(name: str, value: np.ndarray) -> Snapshot:
    return replace(ONE, **{name: value})


def _changed(name: str, place: tuple[int, ...], value: float) -> Snapshot:
    array = np.array(getattr(ONE, name))
    array[place] = value
    return _with(name, array)


WRONG = {
    "not a number": _changed("ue_position", (0, 0), np.nan),
    "infinite": _changed("tx_position", (1, 2), np.inf),
    "too far": _changed("target_position", (0, 1), 1e30),
    "an AP that is none": _with("serving_ap", np.full((UES, 1), APS)),
    "a negative AP": _with("serving_ap", np.full((UES, 1), -1)),
    "an AP twice": _with("serving_ap", np.zeros((UES, 2), int)),
    "a pilot that is none": replace(ONE, pilot=np.full(UES, 99)),
    "a scalar": replace(ONE, noise_power=-1.0),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_wrong_snapshot_among_others_is_seen(wrong, place):
    with pytest.raises(DropError):
        wrong.check()
    # Good ones of the same sizes, so that the wrong one is looked at in a group of its own kind.
    like = [ONE, MORE]
    assert sound(like)
    assert not sound([*like[:place], wrong, *like[place:]])
    with pytest.raises(DropError, match=f"drop {place}"):
        DeployedAllocator.load().many([*like[:place], wrong, *like[place:]])


def test_a_wrong_index_is_seen_beside_good_ones_of_the_same_sizes():
    good = [_with("serving_ap", np.full((UES, 1), ap)) for ap in range(APS)]
    assert sound(good)
    assert not sound([*good, WRONG["an AP that is none"]])
    assert not sound([*good, WRONG["a negative AP"]])
    twice = [_with("serving_ap", np.tile([0, 1], (UES, 1))), WRONG["an AP twice"]]
    assert sound(twice[:1])
    assert not sound(twice)


def test_rows_hold_all_entries_in_order():
    rows = rows_of([ONE, MORE], ["tx_position", "tx_orientation"])
    np.testing.assert_array_equal(rows[1], np.concatenate([MORE.tx_position, MORE.tx_orientation], axis=None))


def test_size_classes_are_those_of_each_snapshot():
    mixed = [
        completed(Snapshot.from_mapping({**EXAMPLE, **change}))
        for change in (
            {},
            {"sir_min_db": -3.0},
            {"num_antennas": 2},
            {"requirement": "none"},
            {"requirement": "dominate", "rx_orientation": [0.1]},
            {"requirement": "dominate", "rx_orientation": [0.1], "scan_area": [0, 0, 9, 9]},
            {"serving_aps": 1},
            {},
        )
    ]
    found = size_classes(mixed, alike(mixed))
    assert sorted(index for members in found for index in members) == list(range(len(mixed)))
    for members in found:
        assert len({size_class(mixed[index]) for index in members}) == 1
    assert len(found) == len({size_class(snapshot) for snapshot in mixed})
