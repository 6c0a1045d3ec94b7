"""Bounds on any `EpigraphProgram` from dual variables alone: the t that no powers exceed, the cost that none undercut.

With dual variables lambda_k, nu_l >= 0 and positive shares theta_e that sum to one over each UE's links, any feasible x of t
has

    sum_e c_e(t) x_e >= sum_k lambda_k (w_k t + f_k) + sum_l nu_l (w_l t + f_l) n_l,
    c_e(t) = lambda_{k(e)} a_e^2 / theta_e - sum_k lambda_k (w_k t + f_k) N_ke + sum_l nu_l (S_le - (w_l t + f_l) I_le) ,

the argument of `certificate` with constraints without t beside those that rise with it. The left side is at most sum_m max(0,
max_{e at m} c_e(t)): a t that breaks the inequality is out of reach. With a cost and no constraint that rises with t,
subtracting the inequality from the cost gives
cost^T x >= sum_k lambda_k f_k + sum_l nu_l f_l n_l - sum_m max(0, max_{e at m} (c_e - cost_e)).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.solvers.tracking.epigraph_program import EpigraphProgram
from isac_torch.solvers.tracking.interior import InteriorPoint

_BISECTIONS = 60
_DOUBLINGS = 40
_SHARE_FLOOR = 1e-7


@dataclass(frozen=True)
class _Lagrangian:
    """c_e(t) = fixed_e - t slope_e against offset + t rate, per drop."""

    fixed: Tensor
    slope: Tensor
    offset: Tensor
    rate: Tensor


def epigraph_bound(program: EpigraphProgram, found: InteriorPoint) -> Float[Tensor, " drop"]:
    """No powers reach a larger t (cost ignored; it must be zero). inf where the dual variables prove nothing."""
    weighted = _lagrangian(program, found)

    def excess(epigraph: Tensor) -> Tensor:
        coefficient = weighted.fixed - epigraph.unsqueeze(-1) * weighted.slope
        return _worth(program, coefficient) - weighted.offset - epigraph * weighted.rate

    low, high = torch.zeros_like(found.epigraph), found.epigraph.clamp_min(1e-300)
    for _ in range(_DOUBLINGS):
        high = torch.where(excess(high) >= 0, 2.0 * high, high)
    proven = excess(high) < 0
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        above = excess(middle) < 0
        high, low = torch.where(above, middle, high), torch.where(above, low, middle)
    return torch.where(proven & high.isfinite(), high * (1.0 + 1e-12), torch.inf)


def cost_bound(program: EpigraphProgram, found: InteriorPoint) -> Float[Tensor, " drop"]:
    """No powers that meet every constraint cost less; only for programs whose constraints do not rise with t. At least 0."""
    weighted = _lagrangian(program, found)
    return (weighted.offset - _worth(program, weighted.fixed - program.cost)).nan_to_num(0.0).clamp_min(0.0)


def _worth(program: EpigraphProgram, coefficient: Tensor) -> Tensor:
    """Largest sum_e c_e x_e under the budgets."""
    top = coefficient.new_zeros(len(coefficient), program.num_aps)
    return top.scatter_reduce(1, program.link_ap, coefficient, "amax", include_self=True).sum(-1)


def _lagrangian(program: EpigraphProgram, found: InteriorPoint) -> _Lagrangian:
    """Coefficients with the shares that the dual variables suggest: theta_e ~ a_e^2 over the link's cost at the t found."""
    ues, program = program.amplitude.shape[1], program.at(found.power)
    ue, sensing = found.ue_dual.clamp_min(0.0), found.sensing_dual.clamp_min(0.0)
    own, targets = (program.weight[:, :ues], program.floor[:, :ues]), (program.weight[:, ues:], program.floor[:, ues:])
    leakage = program.tangent_leakage(found.power)

    def at_ues(dual: Tensor) -> Tensor:
        return torch.einsum("dk,dke->de", dual, leakage)

    slope = at_ues(ue * own[0]) + torch.einsum("dl,dle->de", sensing * targets[0], program.cross_echo)
    fixed = torch.einsum("dl,dle->de", sensing, program.echo) - at_ues(ue * own[1])
    fixed = fixed - torch.einsum("dl,dle->de", sensing * targets[1], program.cross_echo)
    cost = program.cost + found.budget_dual.gather(1, program.link_ap) + found.epigraph.unsqueeze(-1) * slope - fixed
    comm = program.amplitude[0].numel()
    cost = cost[:, :comm].reshape(program.amplitude.shape)
    square = program.amplitude.square()
    share = square / torch.maximum(cost, 1e-12 * cost.abs().amax(-1, keepdim=True)).clamp_min(1e-300)
    share = share.clamp_min(_SHARE_FLOOR * share.amax(-1, keepdim=True)).clamp_min(1e-300)
    gain = square * share.sum(-1, keepdim=True) / share
    fixed = torch.cat([fixed[:, :comm] + (ue.unsqueeze(-1) * gain).flatten(1), fixed[:, comm:]], 1)
    offset, rate = ((ue * own[i]).sum(-1) + (sensing * targets[i] * program.constraint_noise).sum(-1) for i in (1, 0))
    offset = offset - (sensing * program.offset).sum(-1)
    return _Lagrangian(fixed, slope, offset, rate)
