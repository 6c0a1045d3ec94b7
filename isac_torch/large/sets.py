"""Who serves, senses and listens, and who sends which pilot, where tables of all pairs do not fit."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from isac_torch.deployment.library import address, native_library
from isac_torch.errors import DropError
from isac_torch.large.cells import Pairs


def strongest(pairs: Pairs, gain: Float[ndarray, " pair"], count: int, kind: str) -> Int[ndarray, "point count"]:
    """Indices of the `count` pairs of largest gain of each point, best first.

    Raises DropError where a point, a `kind` of node, has fewer pairs.
    """
    have = np.empty(len(pairs.order), np.int64)
    have[pairs.order] = np.diff(pairs.first)
    if have.min() < count:
        worst = int(have.argmin())
        raise DropError(
            f"{kind} {worst} has {have[worst]} transmit APs in its neighbourhood and needs {count}; enlarge {kind}_radius"
        )
    left = gain.copy()
    begin = pairs.first[:-1]
    chosen = np.empty((len(begin), count), np.int64)
    number = np.arange(len(gain))
    for rank in range(count):
        best = np.repeat(np.maximum.reduceat(left, begin), np.diff(pairs.first))
        at_best = np.where(left == best, number, len(gain))
        chosen[pairs.order, rank] = np.minimum.reduceat(at_best, begin)
        left[chosen[:, rank]] = -math.inf
    return chosen


def located(pairs: Pairs, chosen: Int[ndarray, "point count"], kind: str) -> Int[ndarray, "point count"]:
    """Indices of the pairs of each point and its chosen sources. Raises DropError where a pair is not near."""
    sources = int(max(pairs.source.max(initial=0), chosen.max(initial=0))) + 1
    key = pairs.point * sources + pairs.source
    order = np.argsort(key)
    wanted = np.arange(len(chosen))[:, None] * sources + chosen
    place = order[np.searchsorted(key, wanted, sorter=order).clip(0, len(key) - 1)]
    if not (key[place] == wanted).all():
        far = int(np.argmin((key[place] == wanted).all(1)))
        raise DropError(f"{kind} {far} is to have an AP beyond its neighbourhood; enlarge {kind}_radius")
    return place


def nearest_free(
    target: Float[ndarray, "target 3"], receiver: Float[ndarray, "rx 3"], count: int
) -> Int[ndarray, "target count"]:
    """`count` close receive APs of each target, with at most ceil(targets / receivers) targets each above four targets.

    The greedy form of `balanced` in tracking/association.py, closest pairs first; a target whose 16 closest receivers are all
    taken by others shares the closest one.
    """
    from scipy.spatial import cKDTree

    seats = len(target) if len(target) <= 4 else -(-len(target) // len(receiver))
    near = min(len(receiver), max(16, count))
    gap, index = (np.reshape(found, (len(target), near)) for found in cKDTree(receiver).query(target, k=near))
    chosen = index[:, :1].repeat(count, axis=1)
    for rank in range(count):
        free = np.full(len(receiver), seats)
        open_target = np.ones(len(target), bool)
        for place in np.argsort(gap, axis=None, kind="stable"):
            row, column = divmod(int(place), near)
            at = index[row, column]
            if open_target[row] and free[at] and at not in chosen[row, :rank]:
                chosen[row, rank] = at
                free[at] -= 1
                open_target[row] = False
    return chosen


def local_pilots(position: Float[ndarray, "ue 3"], num_pilots: int) -> Int[ndarray, " ue"]:
    """Pilots dealt by place: in turn, and then once more, each UE takes the pilot whose nearest user is farthest.

    Only the 3 `num_pilots` nearest UEs are looked at, so the cost grows with the number of UEs alone.
    """
    from scipy.spatial import cKDTree

    count = len(position)
    if num_pilots >= count:
        return np.arange(count)
    near = min(count, 3 * num_pilots)
    gap, index = (np.asarray(found) for found in cKDTree(position).query(position, k=near))
    pilot, free = np.full(count, -1), np.empty(num_pilots + 1)
    library = native_library()
    if library is not None:
        gap, index = np.ascontiguousarray(gap, np.float64), np.ascontiguousarray(index, np.int64)
        library.isac_deal_pilots(count, near, num_pilots, *map(address, (index, gap, free, pilot)))
        return pilot
    for ue in (*range(count), *range(count)):
        pilot[ue] = -1  # whose place in `free` is read by nobody
        free.fill(math.inf)
        # Farthest first, so that the nearest user of each pilot is written last.
        free[pilot[index[ue, ::-1]]] = gap[ue, ::-1]
        pilot[ue] = free[:-1].argmax()
    return pilot
