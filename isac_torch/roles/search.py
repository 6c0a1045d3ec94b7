"""Batched search for the receive APs of each drop, judged by optimised powers under the requirement; docs/roles.md.

Candidates are ordered by the merit of the rule `weakest_ue` within its guard. Of the first ones uniform power tells cheaply how
near the requirement is; the most promising are solved without the position constraint, which costs most; then sets that
differ from the best by one AP are tried the same way; the last few are solved under the whole requirement. The default roles
and those of the rules take part, so that no drop gets worse and no rule beats the search.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from isac_torch.allocation import allocate, equal_split
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.propagation.geometry import distance
from isac_torch.roles.held import TOGETHER, Chosen, Held, default_standard, joined, worth
from isac_torch.roles.links import best_divided, check_divisible, places
from isac_torch.tracking.drop import AllAps, all_aps
from isac_torch.tracking.roles import RULES, by_rule, every_set, nearest_gap, swapped, weakest_amplitude

if TYPE_CHECKING:
    from isac_torch.allocation import Allocator
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.problem import MaxMinSinrProblem
    from isac_torch.tracking.requirements import Standard
    from isac_torch.tracking.scenario import TrackingScenario

SCREEN_GAP = 1e-2
"""Certified gap of the solutions that candidates are screened by; constraints may be missed by as much."""
_LEAST = 1e-12
"""Merits and qualities below this count as this, so that their logarithms are finite."""


@dataclass(frozen=True)
class Search:
    """How much to look at. Section 3 of docs/roles.md has the values of other settings.

    Attributes:
        reach: a candidate lets no target be farther from its nearest receive AP than this times the distance with the default
            roles.
        looked: candidates whose uniform power is looked at, in each round.
        solved: of these, how many are solved without the position constraint.
        rounds: of swaps after the first candidates.
        finalists: sets solved under the whole requirement, beside the default roles and those of the rules.
        most_serving_aps: APs that may serve a UE where links are divided freely over the UEs (`roles.links`): sets are compared
            with all these links, and the finalists keep as many in all as usual; None: every UE has as many as usual.
    """

    reach: float = 1.3
    looked: int = 40
    solved: int = 12
    rounds: int = 2
    finalists: int = 6
    most_serving_aps: int | None = None

    def reduced(self) -> Search:
        """A search for large networks: about a sixth of the work per drop."""
        return replace(self, looked=self.looked * 2 // 5, solved=self.solved // 3, rounds=1, finalists=self.finalists // 2)


def search_roles(
    drop: TrackingDrop,
    scenario: TrackingScenario,
    allocator: Allocator[MaxMinSinrProblem],
    search: Search | None = None,
    screen: Allocator[MaxMinSinrProblem] | None = None,
    standard: Standard | None = None,
) -> Chosen:
    """The receive APs, as many as in `drop`, with which the allocator reaches the largest minimum SINR under the requirement.

    Args:
        drop: networks with the default roles; `dominate` compares with uniform power in these.
        scenario: theirs, with a requirement that knows noise: `dominate`, `sicnr`, `detection` or `position`.
        allocator: who solves the finalists, under the whole requirement.
        search: how much to look at; default `Search()`.
        screen: who solves candidates without the position constraint; default the batched engine to 1 %.
        standard: what `dominate` compares with, where that is not uniform power in `drop`: for another number of receive APs.

    Returns:
        For every drop the best roles found: the default ones where no others meet the requirement at a larger minimum SINR.
        With `most_serving_aps` the drops have that many places a UE, and `serves` says which are used.

    Raises:
        ScenarioError: requirement of kind `sir` or `none`; with `most_serving_aps` beams that depend on the serving sets.
    """
    settings = Search() if search is None else search
    if settings.most_serving_aps is not None:
        check_divisible(scenario)
    quick = BatchedOptimal(gap=SCREEN_GAP, tie="none") if screen is None else screen
    parts = []
    for piece in torch.arange(drop.num_drops).split(max(1, TOGETHER // (settings.finalists + len(RULES)))):
        held = Held(drop, scenario, standard).select(piece)
        if standard is None:
            held = replace(held, standard=default_standard(held.drop, scenario))
        aps = all_aps(held.drop)
        gap = distance(held.drop.target_position, aps.position)
        if settings.most_serving_aps is None:
            parts.append(held.best(_finalists(_Place(held, aps, gap, settings, quick)), allocator))
            continue
        wide = replace(held, scenario=replace(scenario, serving_aps=places(held.drop, settings.most_serving_aps)))
        sets = _finalists(_Place(wide, aps, gap, settings, quick))
        parts.append(best_divided(held, sets, allocator, settings.most_serving_aps, quick))
    return joined(parts)


@dataclass(frozen=True)
class _Place:
    """Where a search looks, how much, and who screens."""

    held: Held
    aps: AllAps
    gap: Float[Tensor, "drop target allap"]
    search: Search
    screen: Allocator[MaxMinSinrProblem]

    def merit(self, sets: Int[Tensor, "drop set rx"]) -> Float[Tensor, "drop set"]:
        """Merit of the rule `weakest_ue`; 0 outside its guard."""
        limit = self.search.reach * nearest_gap(self.gap, self.aps.receive[:, None])
        within = (nearest_gap(self.gap, sets) <= limit).all(-1)
        return torch.where(within, weakest_amplitude(self.aps.gain, sets, self.held.scenario.serving_links), 0.0)


def _finalists(place: _Place) -> Int[Tensor, "drop set rx"]:
    """The default roles, those of the rules, then the most promising other sets."""
    search, default = place.search, place.aps.receive[:, None]
    known, values = default, _screened(place, default)
    for turn in range(search.rounds + 1):
        around = _first_sets(place) if turn == 0 else swapped(ranked(known, values, 1)[0][:, 0], place.aps.position.shape[1])
        sets, found = _promising(place, around, known)
        known, values = torch.cat([known, sets], 1), torch.cat([values, found], 1)
    best, _ = ranked(known[:, 1:], values[:, 1:], search.finalists)
    return torch.cat([default, _of_rules(place), best], 1)


def _of_rules(place: _Place) -> Int[Tensor, "drop rule rx"]:
    """What the rules choose: their sets are finalists, so that none of them beats the search."""
    aps, serving = place.aps, place.held.scenario.serving_links
    return torch.stack([by_rule(rule, aps.receive, place.gap, aps.gain, serving, 1.0) for rule in RULES[1:]], 1)


def _first_sets(place: _Place) -> Int[Tensor, "drop set rx"]:
    """All sets where they are few, else those that differ from the default roles by one AP."""
    drops, count = place.aps.receive.shape
    num_aps = place.aps.position.shape[1]
    every = every_set(num_aps, count)
    if every is None:
        return swapped(place.aps.receive, num_aps)
    return torch.tensor(every).expand(drops, -1, -1)


def _promising(
    place: _Place, sets: Int[Tensor, "drop set rx"], known: Int[Tensor, "drop known rx"]
) -> tuple[Int[Tensor, "drop kept rx"], Float[Tensor, "drop kept"]]:
    """The most promising of the sets not known yet, and the minimum SINR they reach without the position constraint."""
    merit = torch.where(_among(sets, known), 0.0, place.merit(sets))
    sets, merit = ranked(sets, merit, place.search.looked)
    sets = torch.where(merit[..., None] > 0, sets, place.aps.receive[:, None])  # nothing outside the guard
    score = merit.clamp_min(_LEAST).log() + place.held.each(sets, _readiness)
    sets, _ = ranked(sets, score, place.search.solved)
    return sets, torch.where(_among(sets, known), 0.0, _screened(place, sets))


def _among(sets: Int[Tensor, "drop set rx"], known: Int[Tensor, "drop known rx"]) -> Bool[Tensor, "drop set"]:
    """Which of the sets are known, in whatever order."""
    ordered, others = sets.sort(-1).values, known.sort(-1).values
    return torch.stack([(ordered == other[:, None]).all(-1) for other in others.unbind(1)]).any(0)


def _readiness(problem: MaxMinSinrProblem, _: Tensor) -> Float[Tensor, " drop"]:
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

    Measured on 131 sets: of those that meet 0.6 to 0.8 of the required information about a third can be met, of 0.8 to 1 two
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

    def value(problem: MaxMinSinrProblem, _: Tensor) -> Tensor:
        found = allocate(replace(problem, position=None), place.screen)
        odds = torch.maximum(_odds(problem, equal_split(problem)), _odds(problem, found.power))
        return worth(found, SCREEN_GAP) * odds

    return place.held.each(sets, value)


def ranked(
    sets: Int[Tensor, "drop set rx"], value: Float[Tensor, "drop set"], count: int
) -> tuple[Int[Tensor, "drop kept rx"], Float[Tensor, "drop kept"]]:
    """The `count` sets of largest value, largest first."""
    top = value.topk(min(count, value.shape[1]), dim=1)
    return sets.gather(1, top.indices[..., None].expand(-1, -1, sets.shape[2])), top.values
