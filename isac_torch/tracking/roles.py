"""Which APs listen for echoes and which transmit: rules that look at positions and large-scale gains, not at powers.

Every rule ignores the numbering of APs, UEs and targets. docs/roles.md compares what they are worth.
"""

from __future__ import annotations

import math
from itertools import combinations, product
from typing import TYPE_CHECKING

from array_api_compat import device
from jaxtyping import Bool, Float, Int

from isac_torch.errors import ScenarioError
from isac_torch.propagation.geometry import distance
from isac_torch.tensors import Array, at_columns, at_rows, constant, counting, namespace, smallest

if TYPE_CHECKING:
    from isac_torch.tracking.scenario import TrackingScenario

RULES = ("farthest_point", "nearest_to_target", "least_used", "weakest_ue")
"""Rules that need no random numbers, by their names in `receive_selection`; the first is the default."""
MOST_SETS = 5000
"""Sets of receive APs up to which rules, searches and scorers look at all of them; above, one AP is swapped at a time."""


MOST_ENTRIES = 2**21
"""Numbers in the tables of the sets that are looked at together."""
TIE_WEIGHT = 1e-3
"""Of the amplitudes of all UEs and transmit APs beside that of the weakest UE, in the merit of `weakest_ue`."""


def receive_aps(
    scenario: TrackingScenario,
    ap_position: Float[Array, "drop allap 3"],
    target_position: Float[Array, "drop target 3"],
    gain: Float[Array, "drop ue allap"],
    lottery: Float[Array, "drop allap"] | None = None,
) -> Int[Array, "drop rx"]:
    """The APs that listen, by the scenario's `receive_selection`.

    Args:
        scenario: says which rule, how many APs listen, and how many serve a UE.
        ap_position: of all APs, m.
        target_position: m.
        gain: large-scale fading between every UE and every AP, linear.
        lottery: a random number of each AP, which decides under receive_selection='random'.

    Raises:
        ScenarioError: receive_selection='random' without a lottery.
    """
    count = scenario.receive_aps
    if scenario.receive_selection == "random":
        if lottery is None:
            raise ScenarioError("receive_selection='random' needs a random number per AP; pass lottery")
        return smallest(lottery, count)
    middle = constant([scenario.side / 2, scenario.side / 2, scenario.ap_height], ap_position)
    gap = distance(target_position, ap_position)
    spread = farthest_point(ap_position, middle, count)
    return by_rule(scenario.receive_selection, spread, gap, gain, scenario.serving_links, scenario.receive_reach)


def by_rule(
    rule: str,
    default: Int[Array, "drop rx"],
    gap: Float[Array, "drop target allap"],
    gain: Float[Array, "drop ue allap"],
    serving: int,
    reach: float | None,
) -> Int[Array, "drop rx"]:
    """As many APs as `default` has, chosen by a rule that needs no random numbers.

    Args:
        rule: one of RULES.
        default: what `farthest_point` chose.
        gap: distance of every target to every AP, m.
        gain: large-scale fading between every UE and every AP, linear.
        serving: transmit APs that serve each UE.
        reach: of the guard of `weakest_ue`; None: no guard.
    """
    count = default.shape[1]
    if rule == "least_used":
        return least_used(gain, count)
    if rule == "weakest_ue":
        return weakest_ue(gain, gap, default, serving, reach)
    return nearest_to_target(gap, count) if rule == "nearest_to_target" and gap.shape[1] else default


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


def least_used(gain: Float[Array, "drop ue ap"], count: int) -> Int[Array, "drop chosen"]:
    """The APs that UEs miss least: those of smallest sum_k gain[k, m] / max_m gain[k, m]. One sort, no search.

    Args: gain, large-scale fading between UE and AP, linear.
    """
    xp = namespace(gain)
    return smallest(xp.sum(gain / xp.max(gain, axis=-1, keepdims=True), axis=1), count)


def weakest_ue(
    gain: Float[Array, "drop ue ap"],
    gap: Float[Array, "drop target ap"],
    default: Int[Array, "drop chosen"],
    serving: int,
    reach: float | None,
) -> Int[Array, "drop chosen"]:
    """The set of receive APs that leaves the weakest UE the largest sum of amplitudes, with a guard for the targets.

    The merit of a set is min_k A_k + 10^-3 mean_k B_k: A_k is the sum of sqrt(gain[k, m]) over the `serving` strongest APs m
    of UE k that still transmit, B_k over all of these, which decides among sets that leave the weakest UE the same. Only sets
    count in which no target is farther from its nearest receive AP than `reach` times that distance under the default roles.
    Up to MOST_SETS sets all are looked at; above, APs are swapped one at a time, the best swap first, from the default roles.

    Args:
        gain: large-scale fading between UE and AP, linear.
        gap: distance of every target to every AP, m.
        default: the default roles: what the guard compares with, and the answer where no set passes it.
        serving: transmit APs that serve each UE.
        reach: of the guard; None: no guard.
    """
    xp = namespace(gain)
    count, num_aps = default.shape[1], gain.shape[2]
    limit = math.inf if reach is None else reach * nearest_gap(gap, default[:, None])
    every = every_set(num_aps, count)
    if every is not None:
        sets: Array = xp.asarray(every, dtype=xp.int64, device=device(gain))
        sets = xp.broadcast_to(sets[None], (gain.shape[0], *sets.shape))
        return _best(xp.concat([default[:, None], sets], axis=1), gain, gap, limit, serving)
    chosen = default
    for _ in range(num_aps):  # each swap raises the merit, so that the search ends; in practice after a few
        better = _best(xp.concat([chosen[:, None], swapped(chosen, num_aps)], axis=1), gain, gap, limit, serving)
        if not bool(xp.any(better != chosen)):
            break
        chosen = better
    return chosen


def nearest_gap(gap: Float[Array, "drop target ap"], sets: Int[Array, "drop set chosen"]) -> Float[Array, "drop set target"]:
    """Distance (m) of every target to the nearest AP of every set. `gap`: of every target to every AP, m."""
    return namespace(gap).min(at_rows(gap.mT, sets), axis=2)


def weakest_amplitude(
    gain: Float[Array, "drop ue ap"], sets: Int[Array, "drop set chosen"], serving: int
) -> Float[Array, "drop set"]:
    """The merit of every set, by which `weakest_ue` chooses. `serving`: transmit APs that serve each UE."""
    xp = namespace(gain)
    # Of the strongest `serving + chosen` APs of a UE, a set takes away at most `chosen`: no other AP needs a look.
    strongest = smallest(-gain, min(serving + sets.shape[2], gain.shape[2]))
    amplitude = xp.sqrt(at_columns(gain, strongest))
    merit = xp.zeros(sets.shape[:2], dtype=gain.dtype, device=device(gain))
    together = max(1, MOST_ENTRIES // max(1, math.prod(strongest.shape[1:])))
    for drop, start in product(range(len(gain)), range(0, sets.shape[1], together)):
        piece = slice(start, start + together)
        sends = ~members(sets[drop, piece], gain.shape[2])[:, strongest[drop]]  # [set, ue, looked]
        used = sends & (xp.cumulative_sum(xp.astype(sends, xp.int64), axis=-1) <= serving)
        merit[drop, piece] = xp.min(xp.sum(xp.where(used, amplitude[drop], 0.0), axis=-1), axis=-1)
    mean = xp.mean(xp.sqrt(gain), axis=1)
    taken = xp.sum(at_rows(mean, sets), axis=-1)
    return merit + TIE_WEIGHT * (xp.sum(mean, axis=-1, keepdims=True) - taken)


def members(sets: Int[Array, "*lead chosen"], num_aps: int) -> Bool[Array, "*lead ap"]:
    """Which APs each set holds."""
    return namespace(sets).any(sets[..., None] == counting(num_aps, sets), axis=-2)


def swapped(chosen: Int[Array, "drop chosen"], num_aps: int) -> Int[Array, "drop set chosen"]:
    """All sets that differ from the chosen one in one AP: chosen x (num_aps - chosen) of them."""
    xp = namespace(chosen)
    drops, count = chosen.shape
    outside = xp.argsort(xp.astype(members(chosen, num_aps), xp.int8), axis=-1, stable=True)[:, : num_aps - count]
    sets = xp.broadcast_to(chosen[:, None, None], (drops, count, num_aps - count, count))
    leaves = (counting(count, chosen)[:, None] == counting(count, chosen))[:, None]
    return xp.reshape(xp.where(leaves, outside[:, None, :, None], sets), (drops, -1, count))


def _best(sets: Array, gain: Array, gap: Array, limit: Array | float, serving: int) -> Int[Array, "drop chosen"]:
    """Of each drop's sets, the one of largest merit within the limit; the first where merits are equal or none is within."""
    xp = namespace(gain)
    merit = weakest_amplitude(gain, sets, serving)
    if gap.shape[1]:
        within = xp.all(nearest_gap(gap, sets) <= limit, axis=-1)
        merit = xp.where(within, merit, -1.0)
    return sets[counting(len(sets), sets), xp.argmax(merit, axis=1)]


def _squared(vector: Array) -> Array:
    return namespace(vector).sum(vector * vector, axis=-1)


def every_set(num_aps: int, count: int) -> list[tuple[int, ...]] | None:
    """All sets of `count` APs, in order of their numbers; None where there are more than MOST_SETS."""
    return list(combinations(range(num_aps), count)) if math.comb(num_aps, count) <= MOST_SETS else None
