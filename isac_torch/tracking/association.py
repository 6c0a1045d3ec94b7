"""Who works for whom: serving, sensing and listening sets. Every rule ignores the numbering of nodes."""

from __future__ import annotations

import numpy as np
from array_api_compat import device, to_device
from jaxtyping import Float, Int

from isac_torch.tensors import Array, namespace, smallest


def closest(gap: Float[Array, "drop point ap"], count: int) -> Int[Array, "drop point chosen"]:
    """The `count` smallest entries of each row, best first."""
    return smallest(gap, count)


def balanced(gap: Float[Array, "drop target ap"], count: int) -> Int[Array, "drop target chosen"]:
    """Least total distance with at most ceil(targets / APs) targets per AP; `count` rounds give `count` APs per target.

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
