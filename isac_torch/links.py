"""Views of a link axis by owner: the UE that a serving link serves, the target that a sensing link illuminates."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor


@runtime_checkable
class LinkLayout(Protocol):
    """Sizes of a problem whose links are ordered by owner: those of each UE, then those of each target, if there are any."""

    @property
    def link_ap(self) -> Int[Tensor, "drop link"]:
        """AP of each link."""
        ...

    @property
    def num_aps(self) -> int:
        """APs."""
        ...

    @property
    def num_ues(self) -> int:
        """UEs."""
        ...

    @property
    def num_targets(self) -> int:
        """Targets with links of their own."""
        ...

    @property
    def num_links(self) -> int:
        """Links of a drop."""
        ...

    @property
    def num_comm_links(self) -> int:
        """Links of the UEs: the first ones."""
        ...

    @property
    def serving(self) -> int:
        """Links of each UE."""
        ...


def links_per_target(problem: LinkLayout) -> int:
    """Sensing links of each target; 0 without targets."""
    return (problem.num_links - problem.num_comm_links) // max(problem.num_targets, 1)


def split_by_node(
    problem: LinkLayout, value: Float[Tensor, "*lead link"]
) -> tuple[Float[Tensor, "*lead ue serving"], Float[Tensor, "*lead target sensing"]]:
    """A tensor over links as one block over (UE, its links) and one over (target, its links)."""
    comm, sensing = value.split([problem.num_comm_links, problem.num_links - problem.num_comm_links], -1)
    lead = value.shape[:-1]
    by_ue = comm.reshape(*lead, problem.num_ues, problem.serving)
    return by_ue, sensing.reshape(*lead, problem.num_targets, links_per_target(problem))


def spread_to_links(problem: LinkLayout, value: Tensor) -> Tensor:
    """Each owner's value, [drop, UEs then targets, ...], on each of its links."""
    comm, sensing = value.split([problem.num_ues, problem.num_targets], 1)
    spread = [comm.repeat_interleave(problem.serving, 1), sensing.repeat_interleave(links_per_target(problem), 1)]
    return torch.cat(spread, 1)


def own_constraints(problem: LinkLayout, value: Float[Tensor, "drop target link"]) -> Float[Tensor, "drop target sensing"]:
    """Each sensing link's entry in its own target's row."""
    _, block = split_by_node(problem, value)
    return torch.diagonal(block, dim1=1, dim2=2).movedim(-1, 1)


def own_entries(problem: LinkLayout, value: Float[Tensor, "drop ue link"]) -> Float[Tensor, "drop ue serving"]:
    """Each serving link's entry at its own UE."""
    block, _ = split_by_node(problem, value)
    return torch.diagonal(block, dim1=1, dim2=2).movedim(-1, 1)
