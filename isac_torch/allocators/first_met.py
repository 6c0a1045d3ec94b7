"""Requirements tried in order, from what is wanted to what can be met: every drop gets the first one that is met."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from jaxtyping import Bool, Int
from torch import Tensor

AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True)
class FirstMet(Generic[AnswerT]):
    """Which try was taken in every drop.

    Attributes:
        answers: of each try that was made, for the drops that it was asked about.
        taken: number of the try, from 0.
        place: of the drop's answer where all answers are joined in order.
    """

    answers: list[AnswerT]
    taken: Int[Tensor, " drop"]
    place: Int[Tensor, " drop"]


def first_met(
    num_drops: int,
    tries: Sequence[Callable[[Int[Tensor, " some"]], AnswerT]],
    met: Callable[[AnswerT, Int[Tensor, " some"]], Bool[Tensor, " some"]],
) -> FirstMet[AnswerT]:
    """The first try whose requirement is met, per drop; the last one where none is.

    Args:
        num_drops: drops.
        tries: each answers for the drops at some indices; asked only where all before it have failed.
        met: whether the answer meets what was asked, for each of these drops.

    Example:
        >>> import torch
        >>> tries = [lambda index: 3.0 - index, lambda index: 0.0 * index]      # the first suits small indices
        >>> first_met(4, tries, lambda answer, index: answer >= 1.5).taken
        tensor([0, 0, 1, 1])
    """
    left, offset = torch.arange(num_drops), 0
    answers, taken, place = [], torch.zeros(num_drops, dtype=torch.int64), torch.zeros(num_drops, dtype=torch.int64)
    for number, ask in enumerate(tries):
        answers.append(ask(left))
        taken[left], place[left] = number, offset + torch.arange(len(left))
        offset += len(left)
        if number + 1 < len(tries):
            left = left[~met(answers[-1], left)]
        if len(left) == 0:
            break
    return FirstMet(answers, taken, place)
