"""What balanced powers are worth, and the direction in which their logits improve."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.nn.balance import Balanced, balance
from isac_torch.tracking.problem import MaxMinSinrProblem

Objective = Literal["max_min", "proportional_fair"]
"""What powers are to maximise: the smallest SINR, or the mean logarithm of the rates."""
OBJECTIVES: tuple[Objective, ...] = ("max_min", "proportional_fair")
START_SPREAD: dict[Objective, float] = {"max_min": 0.0, "proportional_fair": 0.2}
"""Argument `spread` of `start_logits` that suits each objective."""

ROW_MARGIN = 0.02
"""Rows are pushed until log(SIR / SIR0) passes this, so that a small error does not break them."""
ROW_WEIGHT = 3.0
"""Nepers of level that a neper of missing SIR is worth."""
_STRICT_WEIGHT = 30.0
"""Weight of a missed row when points are compared: the best point is a feasible one wherever there is any."""


def row_shortfall(
    problem: MaxMinSinrProblem, power: Float[Tensor, "drop link"], margin: float = ROW_MARGIN
) -> Float[Tensor, "drop row"]:
    """relu(margin - log(SIR / SIR0)) of each sensing row; `power` in W. An SIR below -60 dB counts as -60 dB."""
    return (margin - (problem.sir(power).clamp_min(1e-6) / problem.sir_min).log()).clamp_min(0.0)


def utility(problem: MaxMinSinrProblem, balanced: Balanced, objective: Objective = "max_min") -> Float[Tensor, " drop"]:
    """The objective in nepers: log of the common SINR level, or the mean over UEs of the log of their rates in bit/s/Hz."""
    if objective == "max_min":
        return balanced.level.clamp_min(1e-12).log()
    return torch.log2(1.0 + problem.sinr(balanced.power)).clamp_min(1e-12).log().mean(-1)


def merit(
    problem: MaxMinSinrProblem, balanced: Balanced, row_weight: float = ROW_WEIGHT, objective: Objective = "max_min"
) -> Float[Tensor, " drop"]:
    """`utility` less `row_weight` times the rows' shortfalls: what a single drop should maximise."""
    return utility(problem, balanced, objective) - row_weight * row_shortfall(problem, balanced.power).sum(-1)


def merit_gradient(
    problem: MaxMinSinrProblem,
    logits: Float[Tensor, "drop logit"],
    start: Float[Tensor, "drop owner"] | None = None,
    iterations: int = 16,
    row_weight: float = ROW_WEIGHT,
    objective: Objective = "max_min",
) -> tuple[Float[Tensor, "drop logit"], Float[Tensor, " drop"], Balanced]:
    """Gradient of `merit` in the logits, the merit, and the balanced powers, all detached.

    Arguments as in `balance` and `merit`. A drop whose gradient is not finite gets zeros.
    """
    with torch.enable_grad():
        leaf = logits.detach().requires_grad_()
        balanced = balance(problem, leaf, start, iterations)
        value = merit(problem, balanced, row_weight, objective)
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
    sound = gradient.isfinite().all(-1, keepdim=True)
    gradient = torch.where(sound, gradient, torch.zeros_like(gradient))
    return gradient, value.detach(), Balanced(balanced.power.detach(), balanced.level.detach(), balanced.scale)


def strict_score(problem: MaxMinSinrProblem, point: Balanced, objective: Objective = "max_min") -> Float[Tensor, " drop"]:
    """The true objective less the rows' true shortfalls, heavily weighted; -inf where not finite. Compares points of a drop."""
    if objective == "max_min":
        value = problem.objective(point.power).clamp_min(1e-12).log()
    else:
        value = utility(problem, point, objective)
    return (value - _STRICT_WEIGHT * row_shortfall(problem, point.power, margin=0.0).sum(-1)).nan_to_num(-torch.inf)
