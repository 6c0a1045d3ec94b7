"""Batched search for the receive APs of each drop, judged by optimised powers under the requirement; docs/roles.md.

Candidates are ordered by the merit of the rule `weakest_ue` within its guard. Of the first ones uniform power tells cheaply how
near the requirement is; the most promising are solved without the position constraint, which costs most; then sets that
differ from the best by one AP are tried the same way; the last few are solved under the whole requirement. The default roles
take part, so that no drop gets worse.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from isac_torch.allocation import FEASIBILITY_TOLERANCE, Allocation, allocate, equal_split
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.propagation.geometry import distance
from isac_torch.roles.held import default_standard, held_problem
from isac_torch.tensors import cat_tensors, map_tensors
from isac_torch.tracking.drop import AllAps, all_aps, with_roles
from isac_torch.tracking.roles import MOST_SETS, nearest_gap, swapped, weakest_amplitude

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from isac_torch.allocation import Allocator
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.problem import MaxMinSinrProblem
    from isac_torch.tracking.requirements import Standard
    from isac_torch.tracking.scenario import TrackingScenario

SCREEN_GAP = 1e-2
"""Certified gap of the solutions that candidates are screened by; constraints may be missed by as much."""
_LEAST = 1e-12
"""Merits and qualities below this count as this, so that their logarithms are finite."""
_TOGETHER = 256
"""Problems in memory at the same time."""


@dataclass(frozen=True)
class Search:
    """How much to look at. Section 3 of docs/roles.md has the values of other settings.

    Attributes:
        reach: a candidate lets no target be farther from its nearest receive AP than this times the distance with the default
            roles.
        looked: candidates whose uniform power is looked at, in each round.
        solved: of these, how many are solved without the position constraint.
        rounds: of swaps after the first candidates.
        finalists: sets solved under the whole requirement.
    """

    reach: float = 1.3
    looked: int = 40
    solved: int = 12
    rounds: int = 2
    finalists: int = 4


@dataclass(frozen=True)
class Chosen:
    """Drops with the roles that were found best, and the powers that they were chosen by.

    Attributes:
        receive: APs that listen, counted through the default drop's transmit APs and then its receive APs (`all_aps`).
        drop: the networks with these roles.
        problem: theirs, held to uniform power with the default roles.
        allocation: powers of the allocator.
        changed: where other roles than the default ones were found better.
    """

    receive: Int[Tensor, "drop rx"]
    drop: TrackingDrop
    problem: MaxMinSinrProblem
    allocation: Allocation
    changed: Bool[Tensor, " drop"]


def joined(parts: Sequence[Chosen]) -> Chosen:
    """The choices for several batches as one; `allocation.seconds` add up."""
    both = cat_tensors(parts)
    seconds = sum(part.allocation.seconds for part in parts)
    return replace(both, allocation=replace(both.allocation, seconds=seconds))


def search_roles(
    drop: TrackingDrop,
    scenario: TrackingScenario,
    allocator: Allocator[MaxMinSinrProblem],
    search: Search | None = None,
    screen: Allocator[MaxMinSinrProblem] | None = None,
) -> Chosen:
    """The receive APs, as many as in `drop`, with which the allocator reaches the largest minimum SINR under the requirement.

    Args:
        drop: networks with the default roles; `dominate` compares with uniform power in these.
        scenario: theirs, with a requirement that knows noise: `dominate`, `sicnr`, `detection` or `position`.
        allocator: who solves the finalists, under the whole requirement.
        search: how much to look at; default `Search()`.
        screen: who solves candidates without the position constraint; default the batched engine to 1 %.

    Returns:
        For every drop the best roles found: the default ones where no others meet the requirement at a larger minimum SINR.

    Raises:
        ScenarioError: requirement of kind `sir` or `none`.
    """
    settings = Search() if search is None else search
    quick = BatchedOptimal(gap=SCREEN_GAP, tie="none") if screen is None else screen
    pieces = torch.arange(drop.num_drops).split(max(1, _TOGETHER // (settings.finalists + 1)))
    parts = [_searched(drop.select(piece), scenario, allocator, settings, quick) for piece in pieces]
    return joined(parts)


@dataclass(frozen=True)
class _Place:
    """Where a search looks: the networks, what they are held to, and who screens."""

    drop: TrackingDrop
    scenario: TrackingScenario
    standard: Standard | None
    aps: AllAps
    gap: Float[Tensor, "drop target allap"]
    search: Search
    screen: Allocator[MaxMinSinrProblem]

    def problem(self, index: Int[Tensor, " piece"], receive: Int[Tensor, "piece rx"]) -> tuple[TrackingDrop, MaxMinSinrProblem]:
        """The drops at `index`, each with its own receive APs."""
        drop = with_roles(self.drop.select(index), self.scenario, receive)
        standard = None if self.standard is None else map_tensors(self.standard, lambda t: t[index])
        return drop, held_problem(drop, self.scenario, standard)

    def each(
        self, sets: Int[Tensor, "drop set rx"], measure: Callable[[MaxMinSinrProblem], Tensor]
    ) -> Float[Tensor, "drop set"]:
        """What `measure` makes of the problem of every set."""
        owner, flat = torch.arange(len(sets)).repeat_interleave(sets.shape[1]), sets.flatten(0, 1)
        pieces = torch.arange(len(flat)).split(_TOGETHER)
        return torch.cat([measure(self.problem(owner[piece], flat[piece])[1]) for piece in pieces]).unflatten(0, sets.shape[:2])

    def merit(self, sets: Int[Tensor, "drop set rx"]) -> Float[Tensor, "drop set"]:
        """Merit of the rule `weakest_ue`; 0 outside its guard."""
        limit = self.search.reach * nearest_gap(self.gap, self.aps.receive[:, None])
        within = (nearest_gap(self.gap, sets) <= limit).all(-1)
        return torch.where(within, weakest_amplitude(self.aps.gain, sets, self.scenario.serving_links), 0.0)


def _searched(
    drop: TrackingDrop,
    scenario: TrackingScenario,
    allocator: Allocator[MaxMinSinrProblem],
    search: Search,
    screen: Allocator[MaxMinSinrProblem],
) -> Chosen:
    aps = all_aps(drop)
    gap = distance(drop.target_position, aps.position)
    place = _Place(drop, scenario, default_standard(drop, scenario), aps, gap, search, screen)
    best = aps.receive[:, None]
    value = _screened(place, best)
    around = _first_sets(place)
    for turn in range(search.rounds + 1):
        sets, found = _promising(place, around)
        best, value = _ranked(torch.cat([best, sets], 1), torch.cat([value, found], 1), search.finalists)
        if turn < search.rounds:
            around = swapped(best[:, 0], aps.position.shape[1])
    return _final(place, torch.cat([aps.receive[:, None], best], 1), allocator)


def _first_sets(place: _Place) -> Int[Tensor, "drop set rx"]:
    """All sets where they are few, else those that differ from the default roles by one AP."""
    drops, count = place.aps.receive.shape
    num_aps = place.aps.position.shape[1]
    if comb(num_aps, count) > MOST_SETS:
        return swapped(place.aps.receive, num_aps)
    return torch.tensor(list(combinations(range(num_aps), count))).expand(drops, -1, -1)


def _promising(
    place: _Place, sets: Int[Tensor, "drop set rx"]
) -> tuple[Int[Tensor, "drop kept rx"], Float[Tensor, "drop kept"]]:
    """The most promising of the sets and the minimum SINR they reach without the position constraint."""
    sets, merit = _ranked(sets, place.merit(sets), place.search.looked)
    sets = torch.where(merit[..., None] > 0, sets, place.aps.receive[:, None])  # nothing outside the guard
    score = merit.clamp_min(_LEAST).log() + place.each(sets, _readiness)
    sets, _ = _ranked(sets, score, place.search.solved)
    return sets, _screened(place, sets)


def _readiness(problem: MaxMinSinrProblem) -> Float[Tensor, " drop"]:
    """How near uniform power is to the requirement, nepers: half the worst target's shortfall, the worst cell's, the odds."""
    power = equal_split(problem)
    quality = (problem.sir(power) / problem.sir_min).clamp_min(_LEAST).log()
    parts = [_odds(problem, power).log()]
    first = problem.num_constraints - problem.num_cells
    if first:
        parts.append(0.5 * quality[:, :first].amin(-1))
    if problem.num_cells:
        parts.append(quality[:, first:].amin(-1))
    return torch.stack(parts).sum(0)


def _odds(problem: MaxMinSinrProblem, power: Float[Tensor, "drop link"]) -> Float[Tensor, " drop"]:
    """Rough odds that some powers meet the position constraint, from how near `power` (W) comes; 1 where it meets it.

    Measured on 160 sets: of those that meet 0.6 to 0.8 of the required information about a third can be met, of 0.8 to 1 two
    thirds, above almost all.
    """
    if problem.position is None:
        return torch.ones_like(power[:, 0])
    share = (problem.position.h(power) / problem.position.required).amin(-1)
    return share.clamp(_LEAST, 1.0) ** 3


def _screened(place: _Place, sets: Int[Tensor, "drop set rx"]) -> Float[Tensor, "drop set"]:
    """Expected minimum SINR of every set, linear: that without the position constraint times the odds that it can be met.

    0 where no powers are found.
    """

    def value(problem: MaxMinSinrProblem) -> Tensor:
        found = allocate(replace(problem, position=None), place.screen)
        odds = torch.maximum(_odds(problem, equal_split(problem)), _odds(problem, found.power))
        return _worth(found, SCREEN_GAP) * odds

    return place.each(sets, value)


def _worth(allocation: Allocation, tolerance: float = FEASIBILITY_TOLERANCE) -> Float[Tensor, " drop"]:
    return torch.where(allocation.violation <= tolerance, allocation.value, 0.0)


def _ranked(
    sets: Int[Tensor, "drop set rx"], value: Float[Tensor, "drop set"], count: int
) -> tuple[Int[Tensor, "drop kept rx"], Float[Tensor, "drop kept"]]:
    """The `count` sets of largest value, largest first."""
    top = value.topk(min(count, value.shape[1]), dim=1)
    return sets.gather(1, top.indices[..., None].expand(-1, -1, sets.shape[2])), top.values


def _final(place: _Place, sets: Int[Tensor, "drop set rx"], allocator: Allocator[MaxMinSinrProblem]) -> Chosen:
    """The best of the sets under the whole requirement; the first, the default roles, where no other is better."""
    drops, count, _ = sets.shape
    drop, problem = place.problem(torch.arange(drops).repeat_interleave(count), sets.flatten(0, 1))
    answer = allocate(problem, allocator)
    best = _worth(answer).unflatten(0, (drops, count)).argmax(1)
    rows = torch.arange(drops)
    picked, chosen = rows * count + best, sets[rows, best]
    return Chosen(
        receive=chosen,
        drop=drop.select(picked),
        problem=problem.select(picked),
        allocation=map_tensors(answer, lambda t: t[picked]),
        changed=(chosen.sort(-1).values != sets[:, 0].sort(-1).values).any(-1),
    )
