"""Plain gradient ascent on the directions through the balancing layer: no network, no training."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.nn.balance import Balanced
from isac_torch.nn.merit import ROW_WEIGHT, merit_gradient, row_shortfall
from isac_torch.tracking.problem import MaxMinSinrProblem

_FIRST, _SECOND = 0.8, 0.9
"""Decay of the mean gradient and of its mean square: shorter memories than Adam's usual ones, for tens of steps."""
_STRICT_WEIGHT = 30.0
"""Weight of a missed row when points are compared: the best point is a feasible one wherever there is any."""


def ascend(
    problem: MaxMinSinrProblem,
    logits: Float[Tensor, "drop logit"],
    steps: int,
    length: float = 0.2,
    row_weight: float = ROW_WEIGHT,
) -> Float[Tensor, "drop logit"]:
    """Best directions met on `steps` Adam steps from `logits`.

    Args:
        problem: any sizes.
        logits: where to start, laid out as `balance` says.
        steps: each costs one balancing layer and its gradient.
        length: of the first steps; falls to a tenth of it on a cosine.
        row_weight: see `merit`.
    """
    best_logits = logits
    best = logits.new_full((len(logits),), -torch.inf)
    mean, square = torch.zeros_like(logits), torch.zeros_like(logits)
    scale = None
    for step in range(steps + 1):
        gradient, _, point = merit_gradient(problem, logits, scale, 16 if step == 0 else 4, row_weight)
        score = _score(problem, point)
        best_logits = torch.where((score > best)[:, None], logits, best_logits)
        best, scale = torch.maximum(score, best), point.scale
        mean = _FIRST * mean + (1 - _FIRST) * gradient
        square = _SECOND * square + (1 - _SECOND) * gradient.square()
        direction = mean / (1 - _FIRST ** (step + 1)) / ((square / (1 - _SECOND ** (step + 1))).sqrt() + 1e-8)
        logits = logits + length * (0.55 + 0.45 * math.cos(math.pi * step / max(steps, 1))) * direction
    return best_logits


def _score(problem: MaxMinSinrProblem, point: Balanced) -> Float[Tensor, " drop"]:
    """log of the smallest SINR less the rows' true shortfalls, heavily weighted; -inf where not finite."""
    level = problem.objective(point.power).clamp_min(1e-12).log()
    return (level - _STRICT_WEIGHT * row_shortfall(problem, point.power, margin=0.0).sum(-1)).nan_to_num(-torch.inf)
