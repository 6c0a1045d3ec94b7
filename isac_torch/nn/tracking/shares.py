"""Powers by shares of every AP's budget, for sensing constraints that leave no budget unused.

Constraints with noise (expected SICNR, scan cells, position information) ask for watts, so that at the optimum nearly every AP
sends its whole budget: under `dominate` 97 % of them at 16x16x4. Scales of the UEs, as in `balance`, are then the wrong
coordinates; shares of the budgets are the right ones,

    p_e = P_m exp(x_e) / (sum_{e' at AP m} exp(x_e') + exp(y_m)),

x a logit of every link and y one of every AP, for the power that it keeps back. Budgets hold by construction. What is
maximised is a smooth smallest SINR less the missing sensing,

    -(1/kappa) log sum_k exp(-kappa log SINR_k) - w sum_l relu(margin - log q_l),

q_l the quality of sensing constraint l over what is required. The weight w is that of an exact penalty: the multipliers of the
constraints add up to less than one neper of SINR a neper of quality in most drops, and a heavier weight stalls the ascent.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.nn.ascent import Slope
from isac_torch.nn.tracking.merit import Objective, mean_log_rate
from isac_torch.tensors import sum_at
from isac_torch.tracking.fractional import fractional_power
from isac_torch.tracking.problem import MaxMinSinrProblem

STEP_LENGTH = 0.3
"""Of the first steps of plain ascent, nepers."""
MARGIN = 1e-3
"""Constraints are pushed until log(quality / required) passes this, so that a small error does not break them."""
WEIGHTS = (0.2, 1.0)
"""Nepers of SINR that a neper of missing quality is worth, at the start of a search and at its end."""
SHARPNESS = (20.0, 200.0)
"""kappa of the smooth minimum, at the start and at the end."""
KEPT_BACK = -9.0
"""Logit of the power that an AP keeps back at the start, against logits of the links whose exponentials add up to one."""
_TRAINING_SHARPNESS = 100.0
_LEAST_SHARE = 1e-6
_LEAST_QUALITY = 1e-6
_STRICT_WEIGHT = 30.0
"""Weight of missing quality when points are compared: the best point is a feasible one wherever there is any."""


def share_logits(problem: MaxMinSinrProblem) -> int:
    """Length of a drop's logit vector: links, then APs."""
    return problem.num_links + problem.num_aps


def share_power(problem: MaxMinSinrProblem, logits: Float[Tensor, "drop logit"]) -> Float[Tensor, "drop link"]:
    """Powers (W), differentiable; `logits` of the links, then of what each AP keeps back."""
    link, kept = logits.split([problem.num_links, problem.num_aps], -1)
    top = kept.scatter_reduce(1, problem.link_ap, link, "amax").detach()
    weight = (link - top.gather(1, problem.link_ap)).exp()
    total = sum_at(weight, problem.link_ap, problem.num_aps) + (kept - top).exp()
    return weight * (problem.budget / total).gather(1, problem.link_ap)


def reference_power(problem: MaxMinSinrProblem) -> Float[Tensor, "drop link"]:
    """Powers (W) from which a search starts: those that the requirement compares with, else uniform ones."""
    return fractional_power(problem) if problem.reference is None else problem.reference


def start_shares(problem: MaxMinSinrProblem) -> Float[Tensor, "drop logit"]:
    """Logits of the reference powers."""
    share = (reference_power(problem) / problem.link_budget).clamp_min(_LEAST_SHARE)
    return torch.cat([share.log(), torch.full_like(problem.budget, KEPT_BACK)], 1)


def log_quality(problem: MaxMinSinrProblem, power: Float[Tensor, "drop link"]) -> Float[Tensor, "drop requirement"]:
    """log of quality over required quality: of the linear constraints, then of every target's position information.

    `power` in W. Not negative where a constraint is met.
    """
    parts = [problem.sir(power) / problem.sir_min]
    if problem.position is not None:
        parts.append(problem.position.h(power) / problem.position.required)
    return torch.cat(parts, 1).clamp(_LEAST_QUALITY, 1.0 / _LEAST_QUALITY).log()


def merit(
    problem: MaxMinSinrProblem,
    power: Float[Tensor, "drop link"],
    weight: float = WEIGHTS[1],
    sharpness: float = SHARPNESS[1],
    objective: Objective = "max_min",
) -> Float[Tensor, " drop"]:
    """What is maximised; see the module. `power` in W. For proportional fairness `mean_log_rate` is the first term."""
    if objective == "max_min":
        utility = -(-sharpness * problem.sinr(power).clamp_min(1e-12).log()).logsumexp(-1) / sharpness
    else:
        utility = mean_log_rate(problem, power)
    return utility - weight * (MARGIN - log_quality(problem, power)).clamp_min(0.0).sum(-1)


def merit_gradient(
    problem: MaxMinSinrProblem,
    logits: Float[Tensor, "drop logit"],
    weight: float,
    sharpness: float,
    objective: Objective = "max_min",
) -> tuple[Float[Tensor, "drop logit"], Float[Tensor, "drop link"]]:
    """Gradient of `merit` in the logits and the powers (W) there, detached; zeros where it is not finite."""
    with torch.enable_grad():
        leaf = logits.detach().requires_grad_()
        power = share_power(problem, leaf)
        (gradient,) = torch.autograd.grad(merit(problem, power, weight, sharpness, objective).sum(), leaf)
    sound = gradient.isfinite().all(-1, keepdim=True)
    return torch.where(sound, gradient, 0.0), power.detach()


def strict_score(
    problem: MaxMinSinrProblem, power: Float[Tensor, "drop link"], objective: Objective = "max_min"
) -> Float[Tensor, " drop"]:
    """The true objective less the heavily weighted missing quality; -inf where not finite. `power` in W."""
    missing = (-log_quality(problem, power)).clamp_min(0.0).sum(-1)
    value = problem.objective(power).clamp_min(1e-12).log() if objective == "max_min" else mean_log_rate(problem, power)
    return (value - _STRICT_WEIGHT * missing).nan_to_num(-torch.inf)


class ShareHill:
    """Shares of one batch, to be climbed by `isac_torch.nn.ascent`."""

    def __init__(self, problem: MaxMinSinrProblem, objective: Objective = "max_min", begin: float = 0.0) -> None:
        """Of every drop of `problem`; a search from good logits may `begin` part of the way along WEIGHTS and SHARPNESS."""
        self.problem, self.objective, self.begin = problem, objective, begin

    def slope(self, logits: Float[Tensor, "drop logit"], progress: float) -> Slope:
        """Gradient of `merit` with the weight and sharpness that belong to `progress`, and `strict_score`."""
        progress = self.begin + (1.0 - self.begin) * progress
        weight, sharpness = _between(WEIGHTS, progress), _between(SHARPNESS, progress)
        gradient, power = merit_gradient(self.problem, logits, weight, sharpness, self.objective)
        return Slope(gradient, strict_score(self.problem, power, self.objective))

    def score(self, logits: Float[Tensor, "drop logit"]) -> Float[Tensor, " drop"]:
        """`strict_score` of the powers."""
        return strict_score(self.problem, share_power(self.problem, logits), self.objective)


def _between(ends: tuple[float, float], progress: float) -> float:
    """Geometric from one end to the other."""
    first, last = ends
    return first * (last / first) ** progress


def elasticities(problem: MaxMinSinrProblem, power: Float[Tensor, "drop link"]) -> Float[Tensor, "drop requirement link"]:
    """d log quality / d log power of every constraint, in the order of `log_quality`, detached; `power` in W."""
    own = problem.echo * power[:, None]
    other = problem.cross_echo * power[:, None]
    noise = problem.constraint_noise.unsqueeze(-1)
    tiny = torch.finfo(power.dtype).tiny
    parts = [own / own.sum(-1, keepdim=True).clamp_min(tiny) - other / (other.sum(-1, keepdim=True) + noise).clamp_min(tiny)]
    if problem.position is not None:
        slope, value = position_slopes(problem, power)
        parts.append(slope * power[:, None] / value.unsqueeze(-1).clamp_min(tiny))
    return torch.cat(parts, 1)


def position_slopes(
    problem: MaxMinSinrProblem, power: Float[Tensor, "drop link"]
) -> tuple[Float[Tensor, "drop target link"], Float[Tensor, "drop target"]]:
    """Gradient of every target's h (1/m2) in the powers (W), and h, both detached; `problem.position` must be there."""
    if problem.position is None:
        raise ValueError("the problem asks for no position information")
    with torch.enable_grad():
        leaf = power.detach().requires_grad_()
        value = problem.position.h(leaf)
        slopes = [torch.autograd.grad(one.sum(), leaf, retain_graph=True)[0] for one in value.unbind(1)]
    return torch.stack(slopes, 1), value.detach()


def training_loss(problem: MaxMinSinrProblem, logits: Float[Tensor, "drop logit"], row_weight: float) -> Float[Tensor, " drop"]:
    """-`merit` of the shares with `row_weight`, per drop: what a network minimises, without labels."""
    return -merit(problem, share_power(problem, logits), row_weight, _TRAINING_SHARPNESS)
