"""Powers by shares of every AP's budget, for sensing constraints that leave no budget unused.

Constraints with noise (expected SICNR, scan cells, position information) ask for watts, so that at the optimum nearly every AP
sends its whole budget: under `dominate` 97 % of them at 16x16x4. Scales of the UEs, as in `balance`, are then the wrong
coordinates; shares of the budgets are the right ones,

    p_e = P_m exp(x_e) / (sum_{e' at AP m} exp(x_e') + exp(y_m)),

x a logit of every link and y one of every AP, for the power that it keeps back. Budgets hold by construction. What is
maximised is a smooth smallest SINR less the missing sensing,

    -(1/kappa) log sum_k exp(-kappa log SINR_k) - w sum_l relu(margin - log q_l),

q_l the quality of sensing constraint l over what is required. The weight w is that of an exact penalty: the dual
variables of the constraints add up to less than one neper of SINR a neper of quality in most drops, and a heavier weight stalls
the ascent.
The gradient is a closed form of `ShareProblem.at`: neither it nor anything else here needs autograd, so that an exporter can
follow.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.nn.ascent import Slope
from isac_torch.nn.tracking.merit import Objective, mean_log_rate
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.share_problem import AtPowers, ShareProblem

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
_LEAST_POWER = 1e-12
"""Of its AP's budget, that a link sends at least."""
_SCORE_WEIGHT = 30.0
"""Weight of missing quality when points are compared: the best point is a feasible one wherever there is any."""
_LEAST_QUALITY = 1e-6
_APART = 1e9

Logits = Float[Tensor, "drop logit"]
"""Of every link, then of what every AP keeps back."""


@dataclass(frozen=True)
class SharePoint:
    """Powers by shares, and what they do.

    Attributes:
        power: W.
        kept: share of every AP's budget that it keeps back.
        at: SINRs and qualities there.
    """

    power: Float[Tensor, "drop 1 link"]
    kept: Float[Tensor, "drop 1 ap"]
    at: AtPowers[Tensor]


def share_power(problem: ShareProblem, logits: Logits) -> Float[Tensor, "drop link"]:
    """Powers (W), differentiable."""
    return _divided(problem, logits)[0][:, 0]


def _divided(problem: ShareProblem, logits: Logits) -> tuple[Tensor, Tensor]:
    links = problem.sent.shape[2]
    link, kept = logits[:, None, :links], logits[:, None, links:]
    with torch.no_grad():
        there = problem.sent * link - _APART * (1.0 - problem.sent)
        top = torch.maximum(there.amax(2).unsqueeze(1), kept)
    weight, rest = (link - top @ problem.sent).exp(), (kept - top).exp()
    total = weight @ problem.sent.mT + rest
    power = weight * ((problem.budget / total) @ problem.sent)
    return power.maximum(_LEAST_POWER * (problem.budget @ problem.sent)), rest / total


def start_shares(problem: ShareProblem) -> Logits:
    """Logits of the reference powers."""
    share = (problem.reference / (problem.budget @ problem.sent)).clamp_min(_LEAST_SHARE)
    return torch.cat([share.log(), KEPT_BACK + 0.0 * problem.budget], 2)[:, 0]


def share_point(problem: ShareProblem, logits: Logits) -> SharePoint:
    """The powers of logits and what they do, without gradients."""
    with torch.no_grad():
        power, kept = _divided(problem, logits)
        return SharePoint(power, kept, problem.at(power))


def _smallest(log_sinr: Tensor, sharpness: float) -> Tensor:
    return -(-sharpness * log_sinr).logsumexp(1) / sharpness


def merit(
    at: AtPowers[Tensor], weight: float = WEIGHTS[1], sharpness: float = SHARPNESS[1], objective: Objective = "max_min"
) -> Float[Tensor, " drop"]:
    """What is maximised; see the module. For proportional fairness the mean log rate is the first term."""
    utility = _smallest(at.log_sinr, sharpness) if objective == "max_min" else _mean_log_rate(at.log_sinr)
    return utility - weight * (MARGIN - at.log_quality).clamp_min(0.0).sum(1)


def _mean_log_rate(log_sinr: Tensor) -> Tensor:
    return torch.log2(1.0 + log_sinr.exp()).clamp_min(1e-12).log().mean(1)


def slopes(
    point: SharePoint, problem: ShareProblem, weight: float, sharpness: float, objective: Objective = "max_min"
) -> tuple[Logits, Logits]:
    """Gradient of `merit` in the logits, and of its first term alone; zeros for a drop where a gradient is not finite."""
    at = point.at
    if objective == "max_min":
        worth = (-sharpness * at.log_sinr).softmax(1)
    else:
        sinr = at.log_sinr.exp()
        worth = sinr / ((1.0 + sinr) * (1.0 + sinr).log().clamp_min(1e-12)) / sinr.shape[1]
    useful = worth.unsqueeze(1) @ at.sinr_slope
    missing = weight * (at.log_quality < MARGIN).to(worth.dtype)
    return (
        _of_logits(useful + missing.unsqueeze(1) @ at.quality_slope, point, problem),
        _of_logits(useful, point, problem),
    )


def _of_logits(slope: Tensor, point: SharePoint, problem: ShareProblem) -> Tensor:
    """From slopes over the logarithms of the powers [drop, 1, link] to slopes over logits, finite ones."""
    share = point.power / (problem.budget @ problem.sent)
    total = slope @ problem.sent.mT
    found = torch.cat([slope - share * (total @ problem.sent), -point.kept * total], 2)[:, 0]
    return found.nan_to_num(0.0, 0.0, 0.0)


def score(at: AtPowers[Tensor], objective: Objective = "max_min") -> Float[Tensor, " drop"]:
    """The true objective less the heavily weighted missing quality."""
    value = at.log_sinr.amin(1) if objective == "max_min" else _mean_log_rate(at.log_sinr)
    return value - _SCORE_WEIGHT * (-at.log_quality).clamp_min(0.0).sum(1)


def log_quality(problem: MaxMinSinrProblem, power: Float[Tensor, "drop link"]) -> Float[Tensor, "drop requirement"]:
    """log of quality over required quality: of the linear constraints, then of every target's position information.

    `power` in W. Not negative where a constraint is met.
    """
    parts = [problem.sir(power) / problem.sir_min]
    if problem.position is not None:
        parts.append(problem.position.h(power) / problem.position.required)
    return torch.cat(parts, 1).clamp(_LEAST_QUALITY, 1.0 / _LEAST_QUALITY).log()


def strict_score(
    problem: MaxMinSinrProblem, power: Float[Tensor, "drop link"], objective: Objective = "max_min"
) -> Float[Tensor, " drop"]:
    """`score` by the problem itself; -inf where not finite. `power` in W."""
    missing = (-log_quality(problem, power)).clamp_min(0.0).sum(-1)
    value = problem.objective(power).clamp_min(1e-12).log() if objective == "max_min" else mean_log_rate(problem, power)
    return (value - _SCORE_WEIGHT * missing).nan_to_num(-torch.inf)


class ShareHill:
    """Shares of one batch, to be climbed by `isac_torch.nn.ascent`."""

    def __init__(self, problem: ShareProblem, objective: Objective = "max_min", part: tuple[float, float] = (0.0, 1.0)) -> None:
        """Of every drop of `problem`; a search may be a `part` of the way along WEIGHTS and SHARPNESS only."""
        self.problem, self.objective, self.part = problem, objective, part

    def slope(self, logits: Logits, progress: float) -> Slope:
        """Gradient of `merit` with the weight and sharpness that belong to `progress`, and `score`."""
        begin, end = self.part
        progress = begin + (end - begin) * progress
        point = share_point(self.problem, logits)
        weight, sharpness = _between(WEIGHTS, progress), _between(SHARPNESS, progress)
        gradient, _ = slopes(point, self.problem, weight, sharpness, self.objective)
        return Slope(gradient, score(point.at, self.objective))

    def score(self, logits: Logits) -> Float[Tensor, " drop"]:
        """`score` of the powers."""
        return score(share_point(self.problem, logits).at, self.objective)


def _between(ends: tuple[float, float], progress: float) -> float:
    """Geometric from one end to the other."""
    first, last = ends
    return first * (last / first) ** progress


def training_loss(problem: ShareProblem, logits: Logits, sensing_weight: float) -> Float[Tensor, " drop"]:
    """-`merit` of the shares with `sensing_weight`, per drop, differentiable: what a network minimises, without labels."""
    return -merit(problem.at(_divided(problem, logits)[0]), sensing_weight, _TRAINING_SHARPNESS)
