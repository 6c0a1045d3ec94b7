"""The choice of receive APs by a network that scores all sets in one pass; section 3 of docs/roles.md.

The network reads what every set does to UEs, targets and scan cells (`roles.features`). The best few sets of each drop are
solved under the whole requirement, the default roles among them, so that no drop gets worse whatever the network says.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isac_torch.errors import ScenarioError
from isac_torch.nn.checkpoint import load_network
from isac_torch.nn.tracking.set_scorer import SetScorer
from isac_torch.roles.features import set_features
from isac_torch.roles.held import TOGETHER, Chosen, Held, default_standard, joined
from isac_torch.tracking.drop import all_aps
from isac_torch.tracking.roles import every_set, swapped
from isac_torch.weights import shipped_weights

if TYPE_CHECKING:
    from isac_torch.allocation import Allocator
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.problem import MaxMinSinrProblem
    from isac_torch.tracking.scenario import TrackingScenario

_MOST_ENTRIES = 2**19
"""Numbers in the largest table of the sets that are scored together."""


SCORER = "receive_aps"
"""Name of the weights that come with the package."""


@dataclass(frozen=True)
class ScoredSearch:
    """How much to look at.

    Attributes:
        solved: sets solved under the whole requirement, beside the default roles.
        rounds: of changing one AP, in networks whose sets of receive APs cannot be listed (more than `MOST_SETS`).
        beam: sets that each of these rounds starts from.
    """

    solved: int = 4
    rounds: int = 3
    beam: int = 4


@cache
def shipped_scorer() -> SetScorer:
    """The network whose weights come with the package."""
    return load_network(shipped_weights(SCORER), SetScorer)[0]


def scored_roles(
    drop: TrackingDrop,
    scenario: TrackingScenario,
    allocator: Allocator[MaxMinSinrProblem],
    search: ScoredSearch | None = None,
    scorer: SetScorer | None = None,
) -> Chosen:
    """The receive APs with which the allocator reaches the largest minimum SINR, of the sets that the network puts first.

    Args:
        drop: networks with the default roles.
        scenario: theirs, with the requirement `dominate`.
        allocator: who solves the best sets, under the whole requirement.
        search: how much to look at; default `ScoredSearch()`.
        scorer: default the shipped network.

    Returns:
        For every drop the best roles found: the default ones where no others meet the requirement at a larger minimum SINR.

    Raises:
        ScenarioError: requirement of another kind than `dominate`, which the network does not know.
        CheckpointError: no weights are installed.

    Example:
        >>> import torch
        >>> from isac_torch import BatchedOptimal, Requirement, TrackingScenario
        >>> from isac_torch.roles.scored import ScoredSearch, scored_roles
        >>> scenario = TrackingScenario.of_size("8x6x2", requirement=Requirement("dominate"))
        >>> drop = scenario.sample(2, generator=torch.Generator().manual_seed(1))
        >>> found = scored_roles(drop, scenario, BatchedOptimal(), ScoredSearch(solved=2))
        >>> bool((found.allocation.violation <= 1e-6).all())
        True
    """
    if scenario.requirement.kind != "dominate":
        raise ScenarioError(
            f"requirement.kind={scenario.requirement.kind!r}: the scorer of receive APs knows 'dominate' alone; take that"
        )
    settings, network = ScoredSearch() if search is None else search, shipped_scorer() if scorer is None else scorer
    parts = []
    for piece in torch.arange(drop.num_drops).split(max(1, TOGETHER // (settings.solved + 1))):
        some = drop.select(piece)
        held = Held(some, scenario, default_standard(some, scenario))
        sets = torch.cat([all_aps(some).receive[:, None], best_sets(held, network, settings, settings.solved)], 1)
        parts.append(held.best(sets, allocator))
    return joined(parts)


def best_sets(held: Held, scorer: SetScorer, search: ScoredSearch, count: int) -> Int[Tensor, "drop set rx"]:
    """The `count` sets (fewer where there are fewer) that the network puts first in each drop, the default roles' left out."""
    return torch.stack(
        [_best_of_one(held.select(row), scorer, search, count) for row in torch.arange(held.drop.num_drops)[:, None]]
    )


def merits(held: Held, sets: Int[Tensor, "one set rx"], scorer: SetScorer) -> Float[Tensor, " set"]:
    """Expected relative gain in smallest SINR of every set of one drop; that of the default roles is never among the best."""
    num_aps, rx = all_aps(held.drop).position.shape[1], sets.shape[2]
    nodes = max(held.drop.ue_gain.shape[1], rx * held.drop.target_position.shape[1])
    parts = sets.split(max(1, _MOST_ENTRIES // (num_aps * nodes)), 1)
    with torch.inference_mode():
        merit = torch.cat([scorer(set_features(held, part)).merit[0, 1:] for part in parts])
    default = (sets[0].sort(-1).values == all_aps(held.drop).receive.sort(-1).values).all(-1)
    return merit.masked_fill(default, -torch.inf)


def _best_of_one(one: Held, scorer: SetScorer, search: ScoredSearch, count: int) -> Int[Tensor, "set rx"]:
    default, num_aps = all_aps(one.drop).receive, all_aps(one.drop).position.shape[1]
    every = every_set(num_aps, default.shape[1])
    if every is not None:
        sets = torch.tensor(every)
        return _top(one, scorer, sets, min(count, len(sets) - 1))
    best = default
    for _ in range(search.rounds):
        around = [swapped(row[None], num_aps)[0] for row in best[: search.beam]]
        best = _top(one, scorer, torch.cat([best, *around]).sort(-1).values.unique(dim=0), max(count, search.beam))
    return best[:count]


def _top(one: Held, scorer: SetScorer, sets: Int[Tensor, "set rx"], count: int) -> Int[Tensor, "kept rx"]:
    return sets[merits(one, sets[None], scorer).topk(count).indices]
