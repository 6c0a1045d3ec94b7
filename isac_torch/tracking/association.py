"""Who does what: receive APs, serving sets, sensing sets, listening APs. Every rule ignores the numbering of nodes."""

from __future__ import annotations

import math

import numpy as np
from array_api_compat import device, to_device
from jaxtyping import Float, Int

from isac_torch.tensors import Array, counting, namespace, smallest


def farthest_point(position: Float[Array, "drop ap 3"], centre: Float[Array, " 3"], count: int) -> Int[Array, "drop chosen"]:
    """Well-spread APs: the one nearest to the centre, then each time the one farthest from those already chosen."""
    xp = namespace(position)
    drop = counting(position.shape[0], position)
    chosen = [xp.argmin(_squared(position - centre), axis=-1)]
    nearest = xp.full(position.shape[:2], math.inf, dtype=position.dtype, device=device(position))
    for _ in range(count - 1):
        latest = position[drop, chosen[-1]][:, None]
        nearest = xp.minimum(nearest, _squared(position - latest))
        chosen.append(xp.argmax(nearest, axis=-1))
    return xp.stack(chosen, axis=1)


def nearest_to_target(gap: Float[Array, "drop target ap"], count: int) -> Int[Array, "drop chosen"]:
    """The AP nearest to each target, closest pairs first; once every target has one, the targets take turns again.

    Args: gap, distance of every target to every AP, m.
    """
    xp = namespace(gap)
    num_drops, num_targets, num_aps = gap.shape
    drop = counting(num_drops, gap)
    taken = xp.zeros((num_drops, num_aps), dtype=xp.bool, device=device(gap))
    covered = xp.zeros((num_drops, num_targets), dtype=xp.bool, device=device(gap))
    chosen = []
    for _ in range(count):
        covered = covered & ~xp.all(covered, axis=-1, keepdims=True)
        blocked = covered[..., None] | taken[:, None, :]
        pair = xp.argmin(xp.reshape(xp.where(blocked, math.inf, gap), (num_drops, -1)), axis=-1)
        covered[drop, pair // num_aps] = True
        taken[drop, pair % num_aps] = True
        chosen.append(pair % num_aps)
    return xp.stack(chosen, axis=1)


def closest(gap: Float[Array, "drop point ap"], count: int) -> Int[Array, "drop point chosen"]:
    """The `count` smallest entries of each row, best first."""
    return smallest(gap, count)


def balanced(gap: Float[Array, "drop target ap"], count: int) -> Int[Array, "drop target chosen"]:
    """Least total distance with at most ceil(targets / APs) targets an AP; `count` rounds give `count` APs a target.

    Args: gap, distance of every target to every receive AP, m.
    """
    from scipy.optimize import linear_sum_assignment

    xp = namespace(gap)
    num_drops, num_targets, num_aps = gap.shape
    seats = -(-num_targets // num_aps)
    plain = gap.detach() if hasattr(gap, "detach") else gap
    cost = np.repeat(np.asarray(to_device(plain, "cpu"), dtype=np.float64), seats, axis=-1)
    chosen = np.empty((num_drops, num_targets, count), dtype=np.int64)
    far = 1e3 * float(cost.max()) + 1.0 if cost.size else 1.0
    for d in range(num_drops):
        for c in range(count):
            row, seat = linear_sum_assignment(cost[d])
            chosen[d, row, c] = seat // seats
            cost[d].reshape(num_targets, num_aps, seats)[row, seat // seats] += far
    return xp.asarray(chosen, device=device(gap))


def _squared(vector: Array) -> Array:
    return namespace(vector).sum(vector * vector, axis=-1)
