"""The balanced point and the gradient of its common SINR in closed form: plain products, no solver and no autograd.

With the shares of every node (UE or target) held, the balanced scales x = (t, tau) of `balance` satisfy

    t = gamma (D x + n),   tau = need(x) where a constraint is active,   load_m x = 1 at the tightest AP m,

with gamma the common SINR, D and n the disturbances and the noise that each UE is asked to overcome. Multipliers
y = (lambda, omega) of these equations, the **price** of each node, the relative common SINR per further watt of it, satisfy the
transposed ones,

    y = gamma D^T lambda + (d need / d x)^T omega + nu load_m,   sum_k lambda_k t_k = 1,

where nu = gamma lambda^T n is the price of the tightest budget. Both are fixed points of maps that contract at the same
pace; a few repetitions give what a network needs to know. The second map is linear: squaring its matrix doubles them. Then, for
link e of power p_e,

    d log gamma / d log p_e = lambda_k t_k f_e [e serves k] - p_e (gamma N_e^T lambda' + nu [e at AP m] / P_m - C_e^T omega'),

f_e the link's part of its UE's amplitude, lambda' and omega' the prices over the nodes' own gains. Constraints that their own
beams cannot meet do not enter. Unlike `merit_gradient` this can be exported: it has no matrix factorisation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.nn.tracking.dense import TINY, DenseProblem
from isac_torch.tracking.balancing import CONSTANTS, Terms, damped, terms, wanted

_CONSTANTS = replace(CONSTANTS, least_net_gain=0.0, least_own_gain=0.01)
"""Beams are left at their floor where their net gain is below 0.01 of the largest echo: one sum less."""
_EXTRA = math.log1p(math.exp(CONSTANTS.excess_at_zero))
"""Excess (nepers) of each UE at logits of zero, and what the floor of each target is in proportion to."""


@dataclass(frozen=True)
class PricedPoint:
    """A balanced point with the prices of its nodes, as rows. Scales, powers and prices are relative to all UEs' power.

    Attributes:
        share: of each link in the power of the node that it serves.
        power: of each link; one over the sum of the UEs'.
        scale: power of each node, the UEs' adding up to one.
        per_watt: 1 / W: the sum of all UEs' power is one over this.
        common_sinr: SINR that all UEs reach, each times its 1 + excess.
        price: relative common SINR per unit of each node's power.
        budget_price: part of the common SINR that the tightest AP's budget decides; 0 at the others.
        load: power of each AP over its budget.
        tight: 1 at the tightest AP.
        row: power that reaches each UE from others, over noise and per_watt; at a target S p - SIR0 I p.
        active: 1 where a constraint decides the target's scale, and for UEs.
        useful, harm: terms of the gradient in the logarithm of each link's power: what its own UE gains; what other UEs, the
            sensing constraints and its AP's budget lose.
    """

    share: Float[Tensor, "drop 1 link"]
    power: Float[Tensor, "drop 1 link"]
    scale: Float[Tensor, "drop 1 node"]
    per_watt: Float[Tensor, "drop 1 1"]
    common_sinr: Float[Tensor, "drop 1 1"]
    price: Float[Tensor, "drop 1 node"]
    budget_price: Float[Tensor, "drop 1 ap"]
    load: Float[Tensor, "drop 1 ap"]
    tight: Float[Tensor, "drop 1 ap"]
    row: Float[Tensor, "drop 1 node"]
    active: Float[Tensor, "drop 1 node"]
    useful: Float[Tensor, "drop 1 link"]
    harm: Float[Tensor, "drop 1 link"]


def priced_point(
    problem: DenseProblem, weight: Float[Tensor, "drop 1 link"], iterations: int, doublings: int = 3
) -> PricedPoint:
    """The point where each node's shares are as `weight` and every UE asks for the same.

    Powers after `iterations` steps of the fixed point from equal ones, dual variables after 2^`doublings`.
    """
    share = (weight / ((weight @ problem.owner.mT) @ problem.owner)).clamp_min(CONSTANTS.least_share)
    found = terms(problem, share, math.exp(_EXTRA), CONSTANTS.floor_share * _EXTRA, _CONSTANTS)
    slow = damped(found, problem)
    scale = torch.ones_like(found.least) / problem.count
    for _ in range(iterations):
        last = wanted(slow, problem, scale)
        scale = last.aim
    free = (last.free > found.least) & (last.free < found.most)
    load = scale @ found.load.mT
    per_watt = load.amax(2, keepdim=True)
    tight = (load >= per_watt).to(scale.dtype)
    price, nu = _prices(found, problem, scale, last.common_sinr, free, tight, doublings)
    active, spread = free.to(scale.dtype), scale @ problem.owner
    power = share * spread
    lift = price * found.noise * last.common_sinr
    harm = (lift - price * active * found.per_gain) @ problem.net + nu * tight @ problem.per_budget
    shared = torch.zeros_like(share)
    if found.pilot is not None and problem.coherent is not None:
        shared = ((lift.mT * found.pilot) @ problem.owner * problem.coherent).sum(1, keepdim=True)
    return PricedPoint(
        share=share,
        power=power,
        scale=scale,
        per_watt=per_watt,
        common_sinr=last.common_sinr,
        price=price,
        budget_price=nu * per_watt * tight,
        load=load / per_watt,
        tight=tight,
        row=scale @ found.answer.mT,
        active=active,
        useful=(price * scale / found.amplitude) @ problem.owner * found.signal,
        harm=harm * power + shared * found.root * spread,
    )


def _prices(
    found: Terms[Tensor],
    problem: DenseProblem,
    scale: Tensor,
    common_sinr: Tensor,
    free: Tensor,
    tight: Tensor,
    doublings: int,
) -> tuple[Float[Tensor, "drop 1 node"], Float[Tensor, "drop 1 1"]]:
    """Prices y of the nodes, and nu."""
    load = tight @ found.load
    passed = (found.asks + found.noise.mT * load) * (common_sinr * problem.is_ue + problem.is_target).mT
    passed = torch.where(free.mT, passed, found.least.mT * problem.is_ue)
    for _ in range(doublings):
        passed = passed @ passed
    price = load @ passed
    # The UEs' worth adds up to one. Far from the fixed point prices may be negative, and their sum next to nothing.
    price = price / (price.abs() @ (scale * problem.is_ue).mT).clamp_min(TINY)
    return price, price @ found.noise.mT * common_sinr
