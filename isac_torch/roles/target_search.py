"""Batched local search for receive APs for the targets' sake: the largest mean SICNR in dB; section 4 of docs/roles.md.

In each round all sets that differ from the best one by one AP are ordered by how near they bring a receive AP to each
target. Of the first ones uniform power tells cheaply how well they sense; the most promising are solved under the whole
requirement.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isac_torch.allocation import equal_split
from isac_torch.propagation.geometry import distance
from isac_torch.roles.held import Held
from isac_torch.roles.search import ranked
from isac_torch.solvers.tracking.target_powers import target_powers
from isac_torch.tracking.drop import AllAps, all_aps
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.roles import nearest_gap, swapped, weakest_amplitude

_COARSE, _STEPS = 1e-2, 60
"""Tolerance and Newton steps of the solutions that sets are compared by."""
_INFORMATION, _CELLS = 2.0, 0.5
"""Weights of missing position information and of missing echo in cells beside the sum of log SICNR, with uniform power. Of 168
sets (6 drops of 32x32x8) about a third can be made to meet the requirement, few of them where these two lose much."""
_LEAST = 1e-12


@dataclass(frozen=True)
class TargetSearch:
    """How much to look at.

    Attributes:
        looked: sets whose uniform power is looked at, in each round.
        solved: of these, how many are solved.
        rounds: of changing one AP, at most; a drop that a round does not better is done.
    """

    looked: int = 16
    solved: int = 5
    rounds: int = 2


def search_for_targets(held: Held, floor: Float[Tensor, " drop"], kept: float, search: TargetSearch) -> Int[Tensor, "drop rx"]:
    """The receive APs with the largest mean SICNR found under the requirement, every UE at the floor or above.

    Args:
        held: networks with the default roles, and what they are held to.
        floor: SINR of every UE, linear.
        kept: share of the default roles' smallest SINR that the floor is: sets whose weakest UE would lose more of its
            amplitude at equal powers are not looked at.
        search: how much to look at.
    """
    best = all_aps(held.drop).receive.clone()
    value = _solved(held, floor, best[:, None])[:, 0]
    going = torch.arange(len(best))
    for _ in range(search.rounds):
        some = held.select(going)
        aps = all_aps(some.drop)
        sets = _promising(some, aps, swapped(best[going], aps.position.shape[1]), kept, search)
        found, place = _solved(some, floor[going], sets).max(1)
        better = found > value[going]
        going, chosen = going[better], sets[torch.arange(len(sets)), place][better]
        best[going], value[going] = chosen, found[better]
        if len(going) == 0:
            break
    return best


def _solved(held: Held, floor: Tensor, sets: Int[Tensor, "drop set rx"]) -> Float[Tensor, "drop set"]:
    return held.each(sets, lambda problem, drop: target_powers(problem, floor[drop], _COARSE, _STEPS).merit)


def _promising(
    held: Held, aps: AllAps, sets: Int[Tensor, "drop set rx"], kept: float, search: TargetSearch
) -> Int[Tensor, "drop kept rx"]:
    """The sets that uniform power speaks for, of those that bring receive APs nearest to the targets."""
    gap = distance(held.drop.target_position, aps.position)
    near = -nearest_gap(gap, sets).log().sum(-1)
    serving = held.scenario.serving_links
    enough = weakest_amplitude(aps.gain, sets, serving) >= kept**0.5 * weakest_amplitude(
        aps.gain, aps.receive[:, None], serving
    )
    sets, _ = ranked(sets, torch.where(enough, near, -torch.inf), search.looked)
    return ranked(sets, held.each(sets, _outlook), search.solved)[0]


def _outlook(problem: MaxMinSinrProblem, _: Tensor) -> Float[Tensor, " drop"]:
    """Sum of log SICNR with uniform power, nepers, less what it misses of the position information and of the cells' echoes."""
    power, targets = equal_split(problem), problem.num_target_constraints
    log = (problem.sir(power) / problem.sir_min).clamp_min(_LEAST).log()
    outlook = log[:, :targets].sum(-1) + _CELLS * log[:, targets:].clamp_max(0.0).sum(-1)
    if problem.position is not None:
        share = problem.position.h(power) / problem.position.required
        outlook = outlook + _INFORMATION * share.clamp(_LEAST, 1.0).log().sum(-1)
    return outlook
