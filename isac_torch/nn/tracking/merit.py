"""What balanced powers are worth, and the direction in which their logits improve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.nn.ascent import Slope
from isac_torch.nn.tracking.balance import Balanced, balance
from isac_torch.tracking.balancing import CONSTANTS
from isac_torch.tracking.problem import MaxMinSinrProblem

Objective = Literal["max_min", "proportional_fair"]
"""What powers are to maximise: the smallest SINR, or the mean logarithm of the rates."""

SENSING_MARGIN = 0.02
"""Sensing constraints are pushed until log(SIR / SIR0) passes this, so that a small error does not break them."""
FIRST_SENSING_WEIGHT, LAST_SENSING_WEIGHT = 0.5, 10.0
"""Nepers of common SINR that a neper of missing SIR is worth, at the start of a search and at its end: early on, a light weight
lets directions cross regions where constraints are missed, of which a heavy one makes local optima."""
COLD_ITERATIONS, WARM_ITERATIONS, FINAL_ITERATIONS = 16, 4, 24
"""Fixed-point steps of the balancing layer: enough from nothing; from the scales of the point before; and, with FINAL_NEWTON
Newton steps after them, until constraints and budgets hold to rounding."""
FINAL_NEWTON = 4
_RATE_FLOOR = 1e-3
"""bit/s/Hz added to a rate before its logarithm in training, so that drops in outage do not rule."""
_STRICT_WEIGHT = 30.0
"""Weight of a missed constraint when points are compared: the best point is a feasible one wherever there is any."""


@dataclass(frozen=True)
class Aim:
    """What directions are searched for, and where.

    Attributes:
        objective: what powers are to maximise.
        by_ue_beams: leave a target's own beams at their floor unless they meet its sensing constraint efficiently, so that the
            UEs' streams have to do it: the other of two families of local optima. A drop's best powers may lie in either.
    """

    objective: Objective = "max_min"
    by_ue_beams: bool = False

    @property
    def index(self) -> int:
        """Place among ALL_AIMS."""
        return ALL_AIMS.index(self)

    @property
    def least_net_gain(self) -> float:
        """Argument of `balance`."""
        return UE_BEAMS_NET_GAIN if self.by_ue_beams else CONSTANTS.least_net_gain

    @property
    def start_spread(self) -> float:
        """Argument `spread` of `start_logits` that suits the objective."""
        return 0.0 if self.objective == "max_min" else 0.2


ALL_AIMS = tuple(Aim(objective, by_ue_beams) for objective in ("max_min", "proportional_fair") for by_ue_beams in (False, True))
MAX_MIN = Aim()
UE_BEAMS_NET_GAIN = 0.3
"""`least_net_gain` of aims `by_ue_beams`: share of a beam's echo that must be left after what it costs its own constraint."""


def sensing_weight_at(progress: float) -> float:
    """Weight of the constraints at `progress` (0 to 1) of a search: geometric, FIRST_SENSING_WEIGHT to LAST_SENSING_WEIGHT."""
    return FIRST_SENSING_WEIGHT * (LAST_SENSING_WEIGHT / FIRST_SENSING_WEIGHT) ** progress


def sensing_shortfall(
    problem: MaxMinSinrProblem, power: Float[Tensor, "drop link"], margin: float = SENSING_MARGIN
) -> Float[Tensor, "drop constraint"]:
    """relu(margin - log(SIR / SIR0)) of each sensing constraint; `power` in W. An SIR below -60 dB counts as -60 dB."""
    return (margin - (problem.sir(power).clamp_min(1e-6) / problem.sir_min).log()).clamp_min(0.0)


def mean_log_rate(problem: MaxMinSinrProblem, power: Float[Tensor, "drop link"]) -> Float[Tensor, " drop"]:
    """Mean over the UEs of the natural logarithm of their rates in bit/s/Hz; `power` in W."""
    return torch.log2(1.0 + problem.sinr(power)).clamp_min(1e-12).log().mean(-1)


def merit(
    problem: MaxMinSinrProblem, balanced: Balanced, sensing_weight: float = LAST_SENSING_WEIGHT, aim: Aim = MAX_MIN
) -> Float[Tensor, " drop"]:
    """What a single drop should maximise: log of the common SINR, or `mean_log_rate`, less the weighted shortfalls."""
    utility = (
        balanced.common_sinr.clamp_min(1e-12).log() if aim.objective == "max_min" else mean_log_rate(problem, balanced.power)
    )
    return utility - sensing_weight * sensing_shortfall(problem, balanced.power).sum(-1)


def training_loss(
    problem: MaxMinSinrProblem, logits: Float[Tensor, "drop logit"], sensing_weight: float, aim: Aim = MAX_MIN
) -> Float[Tensor, " drop"]:
    """-log(rate in bit/s/Hz + 0.001) + sensing_weight * (shortfall of the sensing constraints), needing no label.

    The rate is the smallest one of the drop, or with `proportional_fair` every UE's, the logarithms averaged.
    """
    balanced = balance(problem, logits, least_net_gain=aim.least_net_gain)
    if aim.objective == "max_min":
        gain = (torch.log2(1.0 + balanced.common_sinr) + _RATE_FLOOR).log()
    else:
        gain = (torch.log2(1.0 + problem.sinr(balanced.power)) + _RATE_FLOOR).log().mean(-1)
    return sensing_weight * sensing_shortfall(problem, balanced.power).sum(-1) - gain


def merit_gradient(
    problem: MaxMinSinrProblem,
    logits: Float[Tensor, "drop logit"],
    start: Float[Tensor, "drop node"] | None = None,
    iterations: int = 16,
    sensing_weight: float = LAST_SENSING_WEIGHT,
    aim: Aim = MAX_MIN,
) -> tuple[Float[Tensor, "drop logit"], Float[Tensor, " drop"], Balanced]:
    """Gradient of `merit` in the logits, the merit, and the balanced powers, all detached.

    Arguments as in `balance` and `merit`. A drop whose gradient is not finite gets zeros.
    """
    with torch.enable_grad():
        leaf = logits.detach().requires_grad_()
        balanced = balance(problem, leaf, start, iterations, 1, aim.least_net_gain)
        value = merit(problem, balanced, sensing_weight, aim)
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
    sound = gradient.isfinite().all(-1, keepdim=True)
    gradient = torch.where(sound, gradient, torch.zeros_like(gradient))
    return gradient, value.detach(), Balanced(balanced.power.detach(), balanced.common_sinr.detach(), balanced.scale)


def strict_score(problem: MaxMinSinrProblem, power: Float[Tensor, "drop link"], aim: Aim = MAX_MIN) -> Float[Tensor, " drop"]:
    """The true objective less the constraints' true shortfalls, heavily weighted; -inf where not finite. `power` in W.

    Compares points of one drop: one that meets the constraints wins wherever there is any.
    """
    value = problem.objective(power).clamp_min(1e-12).log() if aim.objective == "max_min" else mean_log_rate(problem, power)
    return (value - _STRICT_WEIGHT * sensing_shortfall(problem, power, margin=0.0).sum(-1)).nan_to_num(-torch.inf)


class DirectionsHill:
    """Directions of one batch, to be climbed by `isac_torch.nn.ascent`: each point starts from the scales of the one before."""

    def __init__(self, problem: MaxMinSinrProblem, aim: Aim = MAX_MIN, scale: Float[Tensor, "drop node"] | None = None) -> None:
        """`scale`: W, [drop, node], of a point near the first one, if there is any."""
        self.problem, self.aim, self._scale = problem, aim, scale

    def slope(self, logits: Float[Tensor, "drop logit"], progress: float) -> Slope:
        """Gradient of `merit` with the weight of the constraints that belongs to `progress`, and `strict_score`."""
        weight, iterations = sensing_weight_at(progress), self._iterations
        gradient, _, point = merit_gradient(self.problem, logits, self._scale, iterations, weight, self.aim)
        self._scale = point.scale
        return Slope(gradient, strict_score(self.problem, point.power, self.aim))

    def score(self, logits: Float[Tensor, "drop logit"]) -> Float[Tensor, " drop"]:
        """`strict_score` of the balanced powers."""
        point = balance(self.problem, logits, self._scale, self._iterations, 1, self.aim.least_net_gain)
        return strict_score(self.problem, point.power, self.aim)

    @property
    def _iterations(self) -> int:
        return COLD_ITERATIONS if self._scale is None else WARM_ITERATIONS


def directed_power(
    problem: MaxMinSinrProblem, logits: Float[Tensor, "drop logit"], aim: Aim = MAX_MIN
) -> Float[Tensor, "drop link"]:
    """Powers (W) of directions, balanced until sensing constraints and budgets hold to rounding."""
    return balance(problem, logits, None, FINAL_ITERATIONS, FINAL_NEWTON, aim.least_net_gain).power
