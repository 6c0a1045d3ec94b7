"""A problem with orthogonal pilots that no powers of interest do better in: what certificates of other receivers search.

With orthogonal uplink pilots the LMMSE receiver (P6a) has V_k = F_kk / (1 + q_k F_kk), where the efficiency q_k <= 1 of pilot k
falls as the other UEs' beams get stronger at UE k. Powers that reach a known value leave each beam at least so much energy
that q_k <= Q_k (P22a), and V_k >= F_kk / (1 + Q_k F_kk) is the error with orthogonal pilots of Q_k times the energy. The
ignorant receiver is no better than the projection, of which the certificate knows.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.downlink_pilots.problem import MinMaxNmseProblem

_ROUNDING = 1e-9


def is_relaxed(problem: MinMaxNmseProblem) -> bool:
    """Whether the certificate of `problem` is that of another problem."""
    return problem.receiver != "projection" and not problem.separated


def relaxed(problem: MinMaxNmseProblem, power: Float[Tensor, "drop link"]) -> MinMaxNmseProblem:
    """The same problem, or one in which powers that do better than `power` (W) have at most the same NMSE.

    Args:
        problem: orthogonal uplink pilots, merit "worst", float64.
        power: W, positive value of every drop; the closer to the optimum, the tighter.

    Returns:
        A problem of the "projection" receiver.
    """
    if problem.receiver != "lmmse" or problem.separated:
        return replace(problem, receiver="projection")
    efficiency = pilot_efficiency(problem, least_heard(problem, power)).unsqueeze(-1) * (1.0 + _ROUNDING)
    alone = torch.eye(problem.num_ues, dtype=problem.gain.dtype, device=problem.gain.device).expand_as(problem.gram_real)
    return replace(
        problem,
        gain=problem.gain * efficiency,
        estimate=problem.estimate * efficiency,
        gram_real=alone,
        gram_imag=torch.zeros_like(alone),
        receiver="projection",
    )


def pilot_efficiency(problem: MinMaxNmseProblem, heard: Float[Tensor, "drop ue ue"]) -> Float[Tensor, "drop ue"]:
    """q_k = psi_k^H (1 + sum_{j != k} heard_kj psi_j psi_j^H)^-1 psi_k, as 1 / [(G + diag(1 / heard_k))^-1]_kk."""
    joint = torch.complex(problem.gram_real, problem.gram_imag).unsqueeze(1)
    inverse = heard.clamp_min(1e-12).reciprocal()
    inverse = inverse - torch.diag_embed(inverse.diagonal(dim1=1, dim2=2))
    own = torch.linalg.inv(joint + torch.diag_embed(inverse)).diagonal(dim1=2, dim2=3).diagonal(dim1=1, dim2=2)
    return own.real.reciprocal().clamp(0.0, 1.0)


def least_heard(problem: MinMaxNmseProblem, power: Float[Tensor, "drop link"]) -> Float[Tensor, "drop ue ue"]:
    """Energy over noise of UE j's beams at UE k that powers with at least the value of `power` (W) cannot go below.

    V_j >= F_jj / (1 + F_jj) and E|a_j|^2 <= (1 + sum_m gamma / beta) F_jj bound F_jj, hence E|a_j|^2, from below; Cauchy's
    inequality makes E|a_j|^2 linear in the shares, and the least F_kj fills links in the order of their cost.
    """
    value = problem.objective(power).unsqueeze(-1) * problem.weight * (1.0 - _ROUNDING)
    full = problem.gain * problem.budget.unsqueeze(1)
    coherent = problem.estimate * problem.budget.unsqueeze(1)
    own = (value / (1.0 + (coherent / full).sum(-1)) - 1.0).clamp_min(0.0)
    need = value * own / (1.0 + own)
    share = problem.per_ue(power) / problem.budget.unsqueeze(1)
    found = torch.zeros_like(problem.gram_real)
    for weights in (share, torch.ones_like(share)):
        amplitude = (coherent * weights.clamp_min(1e-9)).sqrt()
        worth = coherent * amplitude.sum(-1, keepdim=True) / amplitude + full
        if problem.serves is not None:
            worth = torch.where(problem.serves > 0, worth, 0.0)
        found = torch.maximum(found, _cheapest(full, worth, need))
    return found


def _cheapest(
    cost: Float[Tensor, "drop ue ap"], worth: Float[Tensor, "drop ue ap"], need: Float[Tensor, "drop ue"]
) -> Float[Tensor, "drop ue ue"]:
    """Least sum_m cost_km x_m over 0 <= x <= 1 with sum_m worth_jm x_m >= need_j, for every k and j."""
    ratio = cost.unsqueeze(2) / worth.unsqueeze(1)
    ratio, order = ratio.sort(-1)
    size = worth.unsqueeze(1).expand_as(order).gather(-1, order)
    before = size.cumsum(-1) - size
    taken = (need[:, None, :, None] - before).clamp_min(0.0).minimum(size)
    return torch.where(taken > 0, ratio * taken, 0.0).sum(-1)
