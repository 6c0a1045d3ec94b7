"""What sets of receive APs are worth: labels for the network that scores them, by the engine to a rough gap.

A block is some drops of one size with some sets of each. Its drops and, without a network, its sets follow from its seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isac_torch.nn.tracking.set_scorer import SetFeatures, SetScorer
from isac_torch.propagation.geometry import distance
from isac_torch.roles.features import set_features
from isac_torch.roles.held import Held, default_standard
from isac_torch.roles.scored import ScoredSearch, best_sets
from isac_torch.roles.search import ranked
from isac_torch.solvers.tracking.first_stage import first_stage
from isac_torch.solvers.tracking.scaling import scaled
from isac_torch.tracking.drop import all_aps
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.roles import every_set, nearest_gap, swapped, weakest_amplitude
from isac_torch.tracking.scenario import TrackingScenario

GAP = 2e-2
"""Certified gap of a label; constraints may be missed by half of it."""
_REACH, _OUTSIDE = 1.6, 0.1
"""Sets that bring no target farther than this times its default distance count fully, others this much."""
_PROMISING, _NEARBY, _BEST = 8.0, 5.0, 100
"""By how much the chance of the sets of largest merit, so many of them, and of those that differ by one AP is more."""
_WALKS, _LONGEST = 1200, 4
"""In networks whose sets cannot be listed: random changes of up to so many APs that are drawn from besides."""
_POOL = 6
"""A network's own labels are drawn from the best sets, this times as many as are solved."""


@dataclass(frozen=True)
class Labels:
    """Sets of a block and what they are worth; the first set of every drop is that of the default roles.

    Attributes:
        nodes: what the network reads.
        value: smallest SINR under the whole requirement, linear; 0 where it cannot be met.
    """

    nodes: SetFeatures
    value: Float[Tensor, "drop set"]


def held_drops(scenario: TrackingScenario, num_drops: int, seed: int) -> tuple[Held, torch.Generator]:
    """The drops of a block, and the generator that its sets are drawn by."""
    generator = torch.Generator().manual_seed(seed)
    drop = scenario.sample(num_drops, generator=generator)
    return Held(drop, scenario, default_standard(drop, scenario)), generator


def drawn_sets(held: Held, count: int, generator: torch.Generator, scorer: SetScorer | None) -> Int[Tensor, "drop set rx"]:
    """Sets of each drop: without a network by chance, those that a rule likes more often; else mostly the network's best."""
    if scorer is None:
        return _by_chance(held, count, generator)
    kept = 2 * count // 3
    best = best_sets(held, scorer, ScoredSearch(), _POOL * count)
    others = [rows[kept:][torch.randperm(len(rows) - kept, generator=generator)[: count - kept]] for rows in best]
    return torch.cat([best[:, :kept], torch.stack(others)], 1)


def labelled(held: Held, sets: Int[Tensor, "drop set rx"]) -> Labels:
    """The labels of some sets and of the default roles."""
    default = all_aps(held.drop).receive[:, None]
    return Labels(set_features(held, sets), held.each(torch.cat([default, sets], 1), _value).float())


def _value(problem: MaxMinSinrProblem, _: Tensor) -> Float[Tensor, " drop"]:
    units = scaled(problem)
    found = first_stage(units.problem, GAP)
    met = (units.problem.violations(found.power).worst <= 0.5 * GAP) & ~found.infeasible & ~units.unreachable
    return torch.where(met, problem.objective(found.power), 0.0)


def _by_chance(held: Held, count: int, generator: torch.Generator) -> Int[Tensor, "drop set rx"]:
    aps, serving = all_aps(held.drop), held.scenario.serving_links
    drops, rx = aps.receive.shape
    num_aps = aps.position.shape[1]
    every = every_set(num_aps, rx)
    if every is not None:
        sets = torch.tensor(every).expand(drops, -1, -1)
    else:
        sets = torch.cat([swapped(aps.receive, num_aps), _walked(aps.receive, num_aps, generator)], 1)
    gap, default = distance(held.drop.target_position, aps.position), aps.receive[:, None]
    near = (nearest_gap(gap, sets) <= _REACH * nearest_gap(gap, default)).all(-1)
    merit = torch.where(near, weakest_amplitude(aps.gain, sets, serving), -1.0)
    promising = near & (merit.argsort(1, descending=True).argsort(1) < _BEST)
    one_ap = (sets[..., None] == aps.receive[:, None, None]).any(-1).sum(-1) == rx - 1
    weight = torch.where(near, 1.0, _OUTSIDE) * (1.0 + _PROMISING * promising + _NEARBY * one_ap)
    chance = torch.rand(sets.shape[:2], generator=generator)
    return ranked(sets, weight.log() - (-chance.log()).log(), count)[0]  # drawn without putting back: Gumbel's numbers


def _walked(receive: Int[Tensor, "drop rx"], num_aps: int, generator: torch.Generator) -> Int[Tensor, "drop set rx"]:
    """Sets that differ from the given ones by up to `_LONGEST` changes of one AP."""
    here = receive.repeat_interleave(_WALKS, 0)
    steps = torch.randint(1, _LONGEST + 1, (len(here),), generator=generator)
    for step in range(_LONGEST):
        around = swapped(here, num_aps)
        place = torch.randint(around.shape[1], (len(here),), generator=generator)
        here = torch.where((steps > step)[:, None], around[torch.arange(len(here)), place], here)
    return here.unflatten(0, (len(receive), _WALKS))
