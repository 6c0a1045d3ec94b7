"""Plain gradient ascent on the directions through the balancing layer: no network, no training."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.nn.tracking.merit import MAX_MIN, Aim, merit_gradient, row_weight_at, strict_score
from isac_torch.tracking.problem import MaxMinSinrProblem

_FIRST, _SECOND = 0.8, 0.9
"""Decay of the mean gradient and of its mean square: shorter memories than Adam's usual ones, for tens of steps."""


class BestDirections:
    """The best directions of each drop among those offered."""

    def __init__(self, logits: Float[Tensor, "drop logit"]) -> None:
        """`logits` stand in where nothing finite is offered."""
        self.logits, self.score = logits, logits.new_full((len(logits),), -torch.inf)

    def offer(self, logits: Float[Tensor, "drop logit"], score: Float[Tensor, " drop"]) -> None:
        """Keep `logits` of the drops whose `score` is the highest so far."""
        self.logits = torch.where((score > self.score)[:, None], logits, self.logits)
        self.score = torch.maximum(score, self.score)


def ascend(
    problem: MaxMinSinrProblem,
    logits: Float[Tensor, "drop logit"],
    steps: int,
    length: float = 0.2,
    aim: Aim = MAX_MIN,
) -> Float[Tensor, "drop logit"]:
    """Best directions met on `steps` Adam steps from `logits`.

    Args:
        problem: any sizes.
        logits: where to start, laid out as `balance` says.
        steps: each costs one balancing layer and its gradient.
        length: of the first steps; falls to a tenth of it on a cosine.
        aim: what for, and where.
    """
    best = BestDirections(logits)
    mean, square = torch.zeros_like(logits), torch.zeros_like(logits)
    scale = None
    for step in range(steps + 1):
        weight = row_weight_at(step / max(steps, 1))
        gradient, _, point = merit_gradient(problem, logits, scale, 16 if step == 0 else 4, weight, aim)
        best.offer(logits, strict_score(problem, point.power, aim))
        scale = point.scale
        mean = _FIRST * mean + (1 - _FIRST) * gradient
        square = _SECOND * square + (1 - _SECOND) * gradient.square()
        direction = mean / (1 - _FIRST ** (step + 1)) / ((square / (1 - _SECOND ** (step + 1))).sqrt() + 1e-8)
        logits = logits + length * (0.55 + 0.45 * math.cos(math.pi * step / max(steps, 1))) * direction
    return best.logits
