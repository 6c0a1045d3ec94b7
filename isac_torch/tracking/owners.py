"""Views of a link axis by owner: the UE that a serving link serves, the target that a sensing link illuminates."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.tracking.problem import MaxMinSinrProblem


def links_per_target(problem: MaxMinSinrProblem) -> int:
    """Sensing links of each target; 0 without targets."""
    return (problem.num_links - problem.num_comm_links) // max(problem.num_targets, 1)


def split_by_owner(
    problem: MaxMinSinrProblem, value: Float[Tensor, "*lead link"]
) -> tuple[Float[Tensor, "*lead ue serving"], Float[Tensor, "*lead target sensing"]]:
    """A tensor over links as one block over (UE, its links) and one over (target, its links)."""
    comm, sensing = value.split([problem.num_comm_links, problem.num_links - problem.num_comm_links], -1)
    lead = value.shape[:-1]
    by_ue = comm.reshape(*lead, problem.num_ues, problem.serving)
    return by_ue, sensing.reshape(*lead, problem.num_targets, links_per_target(problem))


def spread_to_links(problem: MaxMinSinrProblem, value: Tensor) -> Tensor:
    """Each owner's value, [drop, UEs then targets, ...], on each of its links."""
    comm, sensing = value.split([problem.num_ues, problem.num_targets], 1)
    spread = [comm.repeat_interleave(problem.serving, 1), sensing.repeat_interleave(links_per_target(problem), 1)]
    return torch.cat(spread, 1)


def own_rows(problem: MaxMinSinrProblem, value: Float[Tensor, "drop target link"]) -> Float[Tensor, "drop target sensing"]:
    """Each sensing link's entry in its own target's row."""
    _, block = split_by_owner(problem, value)
    return torch.diagonal(block, dim1=1, dim2=2).movedim(-1, 1)


def own_entries(problem: MaxMinSinrProblem, value: Float[Tensor, "drop ue link"]) -> Float[Tensor, "drop ue serving"]:
    """Each serving link's entry at its own UE."""
    block, _ = split_by_owner(problem, value)
    return torch.diagonal(block, dim1=1, dim2=2).movedim(-1, 1)
