"""Gradient ascent on the logits of any system: Adam's plain steps, and steps of the same shape with learned lengths.

With the gradient g_i of step i, both follow the smoothed and normalised gradient of Adam,

    m_i = b1 m_(i-1) + (1 - b1) g_i,   v_i = b2 v_(i-1) + (1 - b2) g_i^2,
    smooth_i = m_i / (1 - b1^i) / sqrt(v_i / (1 - b2^i) + 1e-12),

and keep the best logits of each drop that they pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus

FIRST_DECAY, SECOND_DECAY = 0.8, 0.9
"""b1 and b2: shorter memories than Adam's usual ones, for tens of steps."""
_LEAST_SQUARE = 1e-12
_LAST_LENGTH = 0.1
"""Length of the last plain step over that of the first."""
_MOST_SIGMAS = 3.0
"""Learned steps read and follow the normalised gradient within plus and minus this."""


class Slope(NamedTuple):
    """What is known at some logits, detached.

    Attributes:
        gradient: of the merit, zeros for a drop where it is not finite.
        score: by which points of one drop are compared; the largest is best, -inf where the powers are not finite.
    """

    gradient: Float[Tensor, "drop logit"]
    score: Float[Tensor, " drop"]


@runtime_checkable
class Hill(Protocol):
    """What a search climbs: one batch of problems and what its powers are worth. It may keep state between calls."""

    def slope(self, logits: Float[Tensor, "drop logit"], progress: float) -> Slope:
        """Gradient and score at `logits`; `progress` runs from 0 at the start of the search to 1 at its end."""
        ...

    def score(self, logits: Float[Tensor, "drop logit"]) -> Float[Tensor, " drop"]:
        """The score alone."""
        ...


class BestLogits:
    """The best logits of each drop among those offered."""

    def __init__(self, logits: Float[Tensor, "drop logit"]) -> None:
        """`logits` stand in where nothing finite is offered."""
        self.logits, self._score = logits, logits.new_full((len(logits),), -torch.inf)

    def offer(self, logits: Float[Tensor, "drop logit"], score: Float[Tensor, " drop"]) -> None:
        """Keep `logits` of the drops whose `score` is the highest so far."""
        self.logits = torch.where((score > self._score)[:, None], logits, self.logits)
        self._score = torch.maximum(score, self._score)


class Momentum:
    """Adam's two running means of the gradient."""

    def __init__(self, like: Tensor, first: float | Tensor = FIRST_DECAY, second: float | Tensor = SECOND_DECAY) -> None:
        """Zero means, of the shape of `like`; `first`, `second` are b1 and b2."""
        self._decay = (first, second)
        self._mean, self._square, self._count = torch.zeros_like(like), torch.zeros_like(like), 0

    def normalised(self, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """The smoothed gradient and `gradient` itself, both over the root of the mean square, after taking it in."""
        first, second = self._decay
        self._count += 1
        self._mean = first * self._mean + (1 - first) * gradient
        self._square = second * self._square + (1 - second) * gradient.square()
        size = (self._square / (1 - second**self._count) + _LEAST_SQUARE).sqrt()
        return self._mean / (1 - first**self._count) / size, gradient / size


def ascend(
    hill: Hill, logits: Float[Tensor, "drop logit"], steps: int, length: float, *, passed: list[Tensor] | None = None
) -> Float[Tensor, "drop logit"]:
    """Best logits met on `steps` Adam steps from `logits`.

    Args:
        hill: what to climb.
        logits: where to start.
        steps: each costs one `slope`.
        length: of the first steps; falls to a tenth of it on a cosine.
        passed: takes the logits of every point, for convergence plots.
    """
    best, momentum = BestLogits(logits), Momentum(logits)
    for step in range(steps + 1):
        progress = step / max(steps, 1)
        gradient, score = hill.slope(logits, progress)
        best.offer(logits, score)
        if passed is not None:
            passed.append(logits)
        smooth, _ = momentum.normalised(gradient)
        fade = _LAST_LENGTH + (1 - _LAST_LENGTH) * 0.5 * (1 + math.cos(math.pi * progress))
        logits = logits + length * fade * smooth
    return best.logits


class LearnedSteps(nn.Module):
    """Steps along the smoothed and normalised gradient, as in Adam, each logit with its own learned step lengths.

    Gradients are inputs, not differentiated through.
    """

    def __init__(self, hidden: int, steps: int, length: float = 0.2, after_training: float = 1.0) -> None:
        """`steps` steps of about `length` before training; `hidden` is the width of the states that decide.

        In evaluation mode steps are `after_training` times as long as in training.
        """
        super().__init__()
        self.steps, self.length, self.after_training = steps, length, after_training
        self.inner = nn.Linear(hidden, 16)
        self.time = nn.Parameter(torch.zeros(steps, 16))
        self.outer = nn.Linear(16 + 2, 2)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)
        self.decay = nn.Parameter(torch.tensor([1.4, 2.2]))  # sigmoid: 0.80 and 0.90

    def forward(
        self, state: Float[Tensor, "drop logit hidden"], hill: Hill, logits: Float[Tensor, "drop logit"]
    ) -> Iterator[Float[Tensor, "drop logit"]]:
        """Logits after each step; in evaluation mode then the best of them all. `state` is what decides each logit's steps."""
        state = self.inner(state)
        first, second = self.decay.sigmoid()
        best, momentum = BestLogits(logits), Momentum(logits, first, second)
        length = self.length * (1.0 if self.training else self.after_training)
        for index in range(self.steps):
            gradient, score = hill.slope(logits, index / max(self.steps - 1, 1))
            best.offer(logits, score)
            smooth, sharp = (value.clamp(-_MOST_SIGMAS, _MOST_SIGMAS) for value in momentum.normalised(gradient))
            read = torch.cat([(state + self.time[index]).relu(), torch.stack([smooth, sharp], -1)], -1)
            control = self.outer(read)
            logits = logits + length * softplus(control[..., 0] + 0.54) * (smooth + control[..., 1])
            yield logits
        if self.steps and not self.training:
            best.offer(logits, hill.score(logits))
            yield best.logits
