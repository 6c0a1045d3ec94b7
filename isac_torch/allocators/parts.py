"""Batches cut into parts, so that memory stays bounded and one drop cannot cost the others their answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isac_torch.allocation import Proposal, equal_split
from isac_torch.errors import IsacError
from isac_torch.problem import PowerProblem

ProblemT = TypeVar("ProblemT", bound=PowerProblem)

_NUMERICAL = (ArithmeticError, ValueError, torch.linalg.LinAlgError)  # type: ignore[attr-defined]
"""What numerical libraries raise on coefficients they cannot work with. Misuse is another type and passes through."""


def in_parts(problem: ProblemT, size: int, answer: Callable[[ProblemT, Tensor], Proposal]) -> Proposal:
    """The proposals of `answer` for parts of the batch, joined in the drops' order.

    A part in which a numerical library gives up is halved until the drop is found that it cannot work with. This drop gets
    NaN powers, which `allocate` reports as FAILED, and the others get their answers.

    Args:
        problem: any number of drops, 0 included.
        size: drops of a part at most.
        answer: proposes for a part, and gets the indices of its drops too.

    Returns:
        Powers (W), bounds (inf where unknown), infeasibility and best qualities (NaN where unknown) of all drops, in the
        problem's floating type.
    """
    like = problem.budget
    answers = [
        part
        for index in torch.arange(problem.num_drops, device=like.device).split(size)
        for part in _part(problem, index, answer)
    ]
    if not answers:
        none = like.new_zeros(0)
        return Proposal(equal_split(problem), none, none.bool(), none)
    power, bound, infeasible, quality = (torch.cat(column) for column in zip(*answers, strict=True))
    return Proposal(power.to(like), bound.to(like), infeasible.to(like.device), quality.to(like))


_Columns = tuple[Float[Tensor, "drop link"], Float[Tensor, " drop"], Bool[Tensor, " drop"], Float[Tensor, " drop"]]


def _part(problem: ProblemT, index: Tensor, answer: Callable[[ProblemT, Tensor], Proposal]) -> list[_Columns]:
    if len(index) == 0:
        return []
    like = problem.budget
    unknown = like.new_full((len(index),), torch.inf)
    try:
        found = answer(problem.select(index), index)
    except IsacError:
        raise
    except _NUMERICAL:
        if len(index) > 1:
            return [part for half in index.split((len(index) + 1) // 2) for part in _part(problem, half, answer)]
        found = Proposal(torch.full_like(equal_split(problem.select(index)), torch.nan))
    return [
        (
            found.power,
            unknown if found.upper_bound is None else found.upper_bound,
            torch.zeros_like(unknown, dtype=torch.bool) if found.infeasible is None else found.infeasible,
            torch.full_like(unknown, torch.nan) if found.best_quality is None else found.best_quality,
        )
    ]
