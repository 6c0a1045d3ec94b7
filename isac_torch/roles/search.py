"""Batched search for the receive APs of each drop, judged by optimised powers under the requirement. Section 3 of docs/roles.md.

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

from isac_torch.allocation import FEASIBILITY_TOLERANCE, Allocation, allocate
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.propagation.geometry import distance
from isac_torch.roles.held import default_standard, held_problem
from isac_torch.tensors import cat_tensors, map_tensors
from isac_torch.tracking.drop import AllAps, all_aps, with_roles
from isac_torch.tracking.roles import MOST_SETS, nearest_gap, swapped, weakest_amplitude

if TYPE_CHECKING:
    from isac_torch.allocation import Allocator
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.problem import MaxMinSinrProblem
    from isac_torch.tracking.requirements import Standard
    from isac_torch.tracking.scenario import TrackingScenario

_TOGETHER = 64
"""Drops searched at the same time, which bounds the memory."""


@dataclass(frozen=True)
class Search:
    """How much to look at. Section 3 of docs/roles.md has the values of other settings.

    Attributes:
        reach: candidates let no target be farther from its nearest receive AP than this times the distance with the default roles.
        looked: candidates whose uniform power is looked at, in each round.
        solved: of these, how many are solved without the position constraint.
        rounds: of swaps after the first candidates.
        finalists: sets solved under the whole requirement.
        screen_gap: certified gap of the screening solutions.
    """

    reach: float = 1.3
    looked: int = 40
    solved: int = 12
    rounds: int = 2
    finalists: int = 3
    screen_gap: float = 1e-2


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


def search_roles(
    drop: TrackingDrop,
    scenario: TrackingScenario,
    allocator: Allocator[MaxMinSinrProblem],
    search: Search | None = None,
) -> Chosen:
    """The receive APs, as many as in `drop`, with which the allocator reaches the largest minimum SINR under the requirement.

    Args:
        drop: networks with the default roles; `dominate` compares with uniform power in these.
        scenario: theirs, with a requirement that knows noise: `dominate`, `sicnr`, `detection` or `position`.
        allocator: who solves the finalists, under the whole requirement.
        search: how much to look at; default `Search()`.

    Returns:
        For every drop the best roles found: the default ones where no others meet the requirement at a larger minimum SINR.

    Raises:
        ScenarioError: requirement of kind `sir` or `none`.
    """
    settings = Search() if search is None else search
    parts = [
        _searched(drop.select(index), scenario, allocator, settings)
        for index in torch.arange(drop.num_drops).split(_TOGETHER)
    ]
    if len(parts) == 1:
        return parts[0]
    return Chosen(
        receive=torch.cat([part.receive for part in parts]),
        drop=cat_tensors([part.drop for part in parts]),
        problem=cat_tensors([part.problem for part in parts]),
        allocation=_joined([part.allocation for part in parts]),
        changed=torch.cat([part.changed for part in parts]),
    )


@dataclass(frozen=True)
class _Place:
    """Where a search looks: the networks, what they are held to, and who screens."""

    drop: TrackingDrop
    scenario: TrackingScenario
    standard: Standard | None
    aps: AllAps
    gap: Float[Tensor, "drop target allap"]
    search: Search

    def problem(self, receive: Int[Tensor, "drop rx"]) -> MaxMinSinrProblem:
        return held_problem(with_roles(self.drop, self.scenario, receive), self.scenario, self.standard)

    def merit(self, sets: Int[Tensor, "drop set rx"]) -> Float[Tensor, "drop set"]:
        """Merit of the rule `weakest_ue`; 0 outside its guard."""
        limit = self.search.reach * nearest_gap(self.gap, self.aps.receive[:, None])
        within = (nearest_gap(self.gap, sets) <= limit).all(-1)
        return torch.where(within, weakest_amplitude(self.aps.gain, sets, self.scenario.serving_links), 0.0)


def _searched(
    drop: TrackingDrop, scenario: TrackingScenario, allocator: Allocator[MaxMinSinrProblem], search: Search
) -> Chosen:
    aps = all_aps(drop)
    gap = distance(drop.target_position, aps.position)
    place = _Place(drop, scenario, default_standard(drop, scenario), aps, gap, search)
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


def _promising(place: _Place, sets: Int[Tensor, "drop set rx"]) -> tuple[Int[Tensor, "drop set rx"], Float[Tensor, "drop set"]]:
    """The most promising of the sets and the minimum SINR they reach without the position constraint."""
    merit = place.merit(sets)
    sets, merit = _ranked(sets, merit, place.search.looked)
    score = [merit[:, c].log() + _readiness(place.problem(sets[:, c])) for c in range(sets.shape[1])]
    sets, _ = _ranked(sets, torch.stack(score, 1), place.search.solved)
    return sets, _screened(place, sets)


def _readiness(problem: MaxMinSinrProblem) -> Float[Tensor, " drop"]:
    """How near uniform power comes to the requirement, in nepers: half the worst target's shortfall and the worst cell's."""
    power = problem.reference if problem.reference is not None else problem.link_budget * 0.0
    quality = (problem.sir(power) / problem.sir_min).clamp_min(1e-9).log()
    first = problem.num_constraints - problem.num_cells
    total = torch.zeros_like(power[:, 0])
    if first:
        total = total + 0.5 * quality[:, :first].amin(-1)
    return total + quality[:, first:].amin(-1) if problem.num_cells else total


def _screened(place: _Place, sets: Int[Tensor, "drop set rx"]) -> Float[Tensor, "drop set"]:
    """Minimum SINR of every set with optimal powers, linear, without the position constraint; 0 where no powers are found."""
    screen = BatchedOptimal(gap=place.search.screen_gap, tie="none")
    values = []
    for c in range(sets.shape[1]):
        problem = replace(place.problem(sets[:, c]), position=None)
        values.append(_worth(allocate(problem, screen), 10.0 * place.search.screen_gap))
    return torch.stack(values, 1)


def _worth(allocation: Allocation, tolerance: float = FEASIBILITY_TOLERANCE) -> Float[Tensor, " drop"]:
    return torch.where(allocation.violation <= tolerance, allocation.value, 0.0)


def _ranked(sets: Tensor, value: Tensor, count: int) -> tuple[Int[Tensor, "drop set rx"], Float[Tensor, "drop set"]]:
    """The `count` sets of largest value, largest first."""
    top = value.topk(min(count, value.shape[1]), dim=1)
    return sets.gather(1, top.indices[..., None].expand(-1, -1, sets.shape[2])), top.values


def _final(place: _Place, sets: Int[Tensor, "drop set rx"], allocator: Allocator[MaxMinSinrProblem]) -> Chosen:
    """The best of the sets under the whole requirement; the first, the default roles, where no other is better."""
    drops = [with_roles(place.drop, place.scenario, sets[:, c]) for c in range(sets.shape[1])]
    problems = [held_problem(drop, place.scenario, place.standard) for drop in drops]
    answers = [allocate(problem, allocator) for problem in problems]
    best = torch.stack([_worth(answer) for answer in answers], 1).argmax(1)
    rows = torch.arange(len(best))
    picked = best * len(best) + rows
    chosen = sets[rows, best]
    return Chosen(
        receive=chosen,
        drop=cat_tensors(drops).select(picked),
        problem=cat_tensors(problems).select(picked),
        allocation=map_tensors(_joined(answers), lambda t: t[picked]),
        changed=(chosen.sort(-1).values != sets[:, 0].sort(-1).values).any(-1),
    )


def _joined(answers: list[Allocation]) -> Allocation:
    return replace(cat_tensors(answers), seconds=sum(answer.seconds for answer in answers))
