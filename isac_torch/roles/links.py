"""Links divided freely over the UEs, as many in all as usual. Section 3 of docs/roles.md.

The usual sets give every UE equally many links. Here up to `most` APs may serve a UE: the optimum with all of these links tells
which of them matter, and the links that give the largest shares of a UE's amplitude stay, one of each UE at least,

    g_ks = a_ks sqrt p_ks / sum_s' a_ks' sqrt p_ks',                                                                (76)

as many as the usual sets have together. The powers are then those of the optimum with these links alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isac_torch.allocation import allocate
from isac_torch.errors import ScenarioError
from isac_torch.links import split_by_node
from isac_torch.roles.held import Chosen, Held, joined, worth
from isac_torch.tensors import map_tensors
from isac_torch.tracking.association import closest

if TYPE_CHECKING:
    from isac_torch.allocation import Allocation, Allocator
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.problem import MaxMinSinrProblem
    from isac_torch.tracking.scenario import TrackingScenario


def best_divided(
    held: Held,
    sets: Int[Tensor, "drop set rx"],
    allocator: Allocator[MaxMinSinrProblem],
    most: int,
    screen: Allocator[MaxMinSinrProblem],
) -> Chosen:
    """`Held.best` where every set divides its links freely over the UEs, as many in all as usual.

    The first set with its usual links is the answer where nothing else is better under the requirement.

    Args:
        held: networks with the default roles, and what they are held to.
        sets: of receive APs, that of the default roles first.
        allocator: who gives the powers.
        most: APs that may serve a UE.
        screen: who gives the powers that (76) is taken at.

    Raises:
        ScenarioError: beams that depend on which UEs an AP serves.
    """
    check_divisible(held.scenario)
    drops, count, _ = sets.shape
    index = torch.arange(drops).repeat_interleave(count)
    wide = wider(held.network(index, sets.flatten(0, 1)), most)
    every = held.problem_of(index, wide)
    network = replace(wide, serves=largest_shares(every, allocate(every, screen).power, held.drop.serving_ap[0].numel()))
    problem = held.problem_of(index, network)
    free = held.chosen(sets, network, problem, allocate(problem, allocator))
    usual = _in_places(held, held.best(sets[:, :1], allocator), wide.serving_ap.shape[2])
    rows = torch.arange(drops)
    better = worth(free.allocation) > worth(usual.allocation)
    return map_tensors(joined([usual, free]), lambda t: t[torch.where(better, rows + drops, rows)])


def check_divisible(scenario: TrackingScenario) -> None:
    """Raise ScenarioError where beams depend on which UEs an AP serves, so that a link left out would change the others."""
    kind = scenario.beams.kind
    if kind != "mrt":
        raise ScenarioError(f"beams.kind={kind!r}: links are divided over the UEs for beams of kind 'mrt'; leave beams out")


def wider(drop: TrackingDrop, most: int) -> TrackingDrop:
    """The same drops where up to `most` APs serve each UE, not fewer than before: the usual ones first; pilots stay."""
    return replace(drop, serving_ap=closest(-drop.ue_gain, places(drop, most)))


def places(drop: TrackingDrop, most: int) -> int:
    """Serving links of each UE where `most` are allowed: not fewer than the drop has, not more than APs transmit."""
    return min(max(most, drop.serving_ap.shape[2]), drop.ue_gain.shape[2])


def largest_shares(
    problem: MaxMinSinrProblem, power: Float[Tensor, "drop link"], links: int
) -> Float[Tensor, "drop ue serving"]:
    """1 for the `links` serving links of each drop with the largest share (76) of their UE's amplitude, 0 for the others.

    Each UE keeps its largest one. Args: power, W; links, not fewer than there are UEs.
    """
    share = problem.signal * split_by_node(problem, power)[0].clamp_min(0.0).sqrt()
    share = share / share.sum(-1, keepdim=True).clamp_min(torch.finfo(share.dtype).tiny)
    first = torch.zeros_like(share).scatter(
        2, share.argmax(-1, keepdim=True), 1.0
    )  # one of each UE, also where shares are equal
    order = (share + first).flatten(1)
    return torch.zeros_like(order).scatter(1, order.topk(links, dim=1).indices, 1.0).reshape(share.shape)


def _in_places(held: Held, usual: Chosen, places: int) -> Chosen:
    """The same choice, written with `places` places a UE, of which the first ones are used."""
    serving = usual.problem.serving
    network = wider(usual.drop, places)
    serves = torch.zeros_like(network.serving_ap, dtype=network.ue_gain.dtype)
    serves[..., :serving] = 1.0
    network = replace(network, serves=serves)
    problem = held.problem_of(torch.arange(usual.drop.num_drops), network)
    return replace(usual, drop=network, problem=problem, allocation=_wide(usual.allocation, usual.problem, places))


def _wide(allocation: Allocation, problem: MaxMinSinrProblem, places: int) -> Allocation:
    comm, sensing = split_by_node(problem, allocation.power)
    comm = torch.nn.functional.pad(comm, (0, places - problem.serving))
    return replace(allocation, power=torch.cat([comm.flatten(1), sensing.flatten(1)], 1))
