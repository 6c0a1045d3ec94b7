"""Powers of the downlink-pilot system from logits, budgets kept by construction; what they are worth, and uphill."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.deployment.downlink_pilots.merit import (
    LEAST_ACCURACY,
    LOCALISATION_MARGIN,
    LOCALISATION_WEIGHT,
    SHARPNESS,
    SILENCE,
    STRICT_MARGIN,
    STRICT_WEIGHT,
)
from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
from isac_torch.nn.ascent import Slope
from isac_torch.tensors import amplitude

STEP_LENGTH = 0.3
"""Of the first steps of plain ascent, nepers."""


def powers(problem: MinMaxNmseProblem, logits: Float[Tensor, "drop link"]) -> Float[Tensor, "drop link"]:
    """Powers (W): each AP's budget by a softmax over its links and the option to keep power back."""
    by_ue = problem.per_ue(logits)
    if problem.serves is not None:
        by_ue = by_ue.masked_fill(problem.serves == 0, -torch.inf)
    kept = torch.full_like(by_ue[:, :1], SILENCE)
    share = torch.cat([by_ue, kept], 1).softmax(1)[:, :-1]
    return (share * problem.budget.unsqueeze(1)).flatten(1)


def start_logits(problem: MinMaxNmseProblem) -> Float[Tensor, "drop link"]:
    """Untrained directions: an AP favours the UEs that it reaches well, and those that all APs together reach badly."""
    strength = problem.estimate.clamp_min(1e-30)
    total = strength.sqrt().sum(-1, keepdim=True).log()
    return (0.5 * strength.log() - 1.5 * total - (0.5 * strength.log() - 1.5 * total).mean(1, keepdim=True)).flatten(1)


def elasticities(
    problem: MinMaxNmseProblem, power: Float[Tensor, "drop link"]
) -> tuple[Float[Tensor, "drop ue ap"], Float[Tensor, "drop ue ap"]]:
    """Derivatives of log E|a_k|^2, eq. (P8), and of -log CRB_k, eq. (P15), by the logarithms of UE k's own powers.

    Both are of the first degree in the powers: the parts of a UE's links sum to one. An optimum of (P17) balances them: the
    share of an AP's budget is that of its links' parts, each times a dual variable. `power` in W; 0 where it is not defined.
    """
    own = problem.per_ue(power)
    root, heard = amplitude(problem.estimate * own), problem.gain * own
    total = root.sum(-1, keepdim=True)
    strength = (total * root + heard) / (total.square() + heard.sum(-1, keepdim=True))
    xx, yy, xy = (fisher * own for fisher in (problem.fisher_xx, problem.fisher_yy, problem.fisher_xy))
    sum_xx, sum_yy, sum_xy = (part.sum(-1, keepdim=True) for part in (xx, yy, xy))
    determinant, trace = sum_xx * sum_yy - sum_xy.square(), sum_xx + sum_yy
    accuracy = (sum_yy * xx + sum_xx * yy - 2.0 * sum_xy * xy) / determinant - (xx + yy) / trace
    return strength.nan_to_num(0.0, 0.0, 0.0), accuracy.nan_to_num(0.0, 0.0, 0.0)


def localisation_shortfall(
    problem: MinMaxNmseProblem, power: Float[Tensor, "drop link"], margin: float = LOCALISATION_MARGIN
) -> Float[Tensor, "drop ue"]:
    """relu(margin - log(Gamma / CRB)) of each UE; `power` in W. A bound above a million times Gamma counts as that."""
    return (margin - (problem.crb_max / problem.crb(power)).clamp_min(LEAST_ACCURACY).log()).clamp_min(0.0)


def merit(
    problem: MinMaxNmseProblem,
    power: Float[Tensor, "drop link"],
    localisation_weight: float = LOCALISATION_WEIGHT,
    margin: float = LOCALISATION_MARGIN,
) -> Float[Tensor, " drop"]:
    """-log of the (smooth) largest weighted NMSE less `localisation_weight` times the missing accuracy: what to maximise."""
    loss = (problem.weight * problem.nmse(power)).log()
    worst = (SHARPNESS * loss).logsumexp(-1) / SHARPNESS
    return -worst - localisation_weight * localisation_shortfall(problem, power, margin).sum(-1)


def merit_gradient(
    problem: MinMaxNmseProblem, logits: Float[Tensor, "drop link"], localisation_weight: float = LOCALISATION_WEIGHT
) -> tuple[Float[Tensor, "drop link"], Float[Tensor, "drop link"]]:
    """Gradient of `merit` in the logits and the powers (W) there, detached; zeros where it is not finite."""
    with torch.enable_grad():
        leaf = logits.detach().requires_grad_()
        power = powers(problem, leaf)
        (gradient,) = torch.autograd.grad(merit(problem, power, localisation_weight).sum(), leaf)
    return torch.where(gradient.isfinite().all(-1, keepdim=True), gradient, 0.0), power.detach()


def strict_score(problem: MinMaxNmseProblem, power: Float[Tensor, "drop link"]) -> Float[Tensor, " drop"]:
    """-log of the largest NMSE less the heavily weighted missing accuracy; -inf where not finite. `power` in W.

    Compares points of a drop: one that meets every localisation bound wins wherever there is any.
    """
    missing = localisation_shortfall(problem, power, margin=STRICT_MARGIN).sum(-1)
    return (problem.objective(power).log() - STRICT_WEIGHT * missing).nan_to_num(-torch.inf)


class SharesHill:
    """Logits of one batch, to be climbed by `isac_torch.nn.ascent`."""

    def __init__(self, problem: MinMaxNmseProblem, localisation_weight: float = LOCALISATION_WEIGHT) -> None:
        """`localisation_weight` as in `merit`."""
        self.problem, self.localisation_weight = problem, localisation_weight

    def slope(self, logits: Float[Tensor, "drop link"], progress: float) -> Slope:
        """Gradient of `merit` and `strict_score`; nothing changes with `progress`."""
        gradient, power = merit_gradient(self.problem, logits, self.localisation_weight)
        return Slope(gradient, strict_score(self.problem, power))

    def score(self, logits: Float[Tensor, "drop link"]) -> Float[Tensor, " drop"]:
        """`strict_score` of the powers."""
        return strict_score(self.problem, powers(self.problem, logits))
