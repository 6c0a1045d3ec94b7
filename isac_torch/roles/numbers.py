"""How many APs listen: a search with each of several numbers of receive APs, and the best number of each drop.

Section 3 of docs/roles.md.

    for part in best_numbers(drop, scenario, allocator, (3, 4, 5)):
        part.count, part.index, part.chosen     # receive APs, the drops in which that number is best, roles and powers there

Networks with different numbers of receive APs have tables of different sizes, so that the answer is one batch for each number.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Int
from torch import Tensor

from isac_torch.errors import ScenarioError
from isac_torch.roles.held import Chosen, default_standard, worth
from isac_torch.roles.search import Search, search_roles
from isac_torch.tracking.drop import all_aps, with_roles
from isac_torch.tracking.roles import members, receive_aps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isac_torch.allocation import Allocator
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.problem import MaxMinSinrProblem
    from isac_torch.tracking.requirements import Standard
    from isac_torch.tracking.scenario import TrackingScenario


@dataclass(frozen=True)
class Numbered:
    """The drops in which one number of receive APs is the best.

    Attributes:
        count: receive APs.
        index: which drops of the batch.
        chosen: their roles and powers; `receive` counts through the APs of the batch as `all_aps` does.
    """

    count: int
    index: Int[Tensor, " some"]
    chosen: Chosen


def best_numbers(
    drop: TrackingDrop,
    scenario: TrackingScenario,
    allocator: Allocator[MaxMinSinrProblem],
    numbers: Sequence[int],
    search: Search | None = None,
    screen: Allocator[MaxMinSinrProblem] | None = None,
) -> list[Numbered]:
    """`search_roles` with every number of receive APs; each drop has the number with the largest minimum SINR.

    All numbers are held to the same: uniform power with the default roles. Where no other number is better, or meets the
    requirement at all, that of the scenario stays.

    Args:
        drop: networks with the default roles.
        scenario: theirs, with a requirement that knows noise.
        allocator: who solves the finalists.
        numbers: of receive APs; that of the scenario is tried in any case.
        search: how much to look at with each number; default `Search()`.
        screen: who solves candidates; default that of `search_roles`.

    Returns:
        One entry for each number that is the best of some drop; every drop is in one of them.

    Raises:
        ScenarioError: a number that leaves nobody to listen or to transmit; a requirement of kind `sir` or `none`.
    """
    standard = default_standard(drop, scenario)
    counts = [scenario.receive_aps, *sorted(set(numbers) - {scenario.receive_aps})]
    if min(counts) < scenario.listening_aps or max(counts) >= scenario.num_aps:
        raise ScenarioError(
            f"numbers={list(numbers)} of receive APs must lie between listening_aps={scenario.listening_aps} and "
            f"{scenario.num_aps - 1}, so that one AP transmits"
        )
    found = [_with_count(drop, scenario, allocator, count, search, screen, standard) for count in counts]
    best = torch.stack([worth(chosen.allocation) for chosen in found]).argmax(0)
    rows = [(best == place).nonzero()[:, 0] for place in range(len(counts))]
    parts = zip(counts, rows, found, strict=True)
    return [Numbered(count, index, chosen.select(index)) for count, index, chosen in parts if len(index)]


def _with_count(
    drop: TrackingDrop,
    scenario: TrackingScenario,
    allocator: Allocator[MaxMinSinrProblem],
    count: int,
    search: Search | None,
    screen: Allocator[MaxMinSinrProblem] | None,
    standard: Standard | None,
) -> Chosen:
    """The search with `count` receive APs, from those that the scenario's rule chooses (`farthest_point` for `random`)."""
    if count == scenario.receive_aps:
        return search_roles(drop, scenario, allocator, search, screen, standard)
    rule = "farthest_point" if scenario.receive_selection == "random" else scenario.receive_selection
    other = replace(scenario, num_receive_aps=count, receive_selection=rule)
    aps = all_aps(drop)
    first = receive_aps(other, aps.position, drop.target_position, aps.gain)
    chosen = search_roles(with_roles(drop, other, first), other, allocator, search, screen, standard)
    # The search counts through the drop it was given: its transmit APs first, each group in the order of `drop`.
    order = members(first, aps.position.shape[1]).to(torch.int8).argsort(dim=1, stable=True)
    everyone = torch.ones_like(chosen.changed)
    return replace(chosen, receive=order.gather(1, chosen.receive), changed=everyone)
