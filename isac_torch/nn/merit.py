"""What balanced powers are worth, and the direction in which their logits improve."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.nn.balance import Balanced, balance
from isac_torch.tracking.problem import MaxMinSinrProblem

ROW_MARGIN = 0.02
"""Rows are pushed until log(SIR / SIR0) passes this, so that a small error does not break them."""
ROW_WEIGHT = 3.0
"""Nepers of level that a neper of missing SIR is worth."""


def row_shortfall(
    problem: MaxMinSinrProblem, power: Float[Tensor, "drop link"], margin: float = ROW_MARGIN
) -> Float[Tensor, "drop row"]:
    """relu(margin - log(SIR / SIR0)) of each sensing row; `power` in W. An SIR below -60 dB counts as -60 dB."""
    return (margin - (problem.sir(power).clamp_min(1e-6) / problem.sir_min).log()).clamp_min(0.0)


def merit(problem: MaxMinSinrProblem, balanced: Balanced, row_weight: float = ROW_WEIGHT) -> Float[Tensor, " drop"]:
    """log(common SINR level) less `row_weight` times the rows' shortfalls: what a single drop should maximise."""
    return balanced.level.clamp_min(1e-12).log() - row_weight * row_shortfall(problem, balanced.power).sum(-1)


def merit_gradient(
    problem: MaxMinSinrProblem,
    logits: Float[Tensor, "drop logit"],
    start: Float[Tensor, "drop owner"] | None = None,
    iterations: int = 16,
    row_weight: float = ROW_WEIGHT,
) -> tuple[Float[Tensor, "drop logit"], Float[Tensor, " drop"], Balanced]:
    """Gradient of `merit` in the logits, the merit, and the balanced powers, all detached.

    Arguments as in `balance` and `merit`. A drop whose gradient is not finite gets zeros.
    """
    with torch.enable_grad():
        leaf = logits.detach().requires_grad_()
        balanced = balance(problem, leaf, start, iterations)
        value = merit(problem, balanced, row_weight)
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
    sound = gradient.isfinite().all(-1, keepdim=True)
    gradient = torch.where(sound, gradient, torch.zeros_like(gradient))
    return gradient, value.detach(), Balanced(balanced.power.detach(), balanced.level.detach(), balanced.scale)
