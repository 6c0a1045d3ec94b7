"""The balanced point and the gradient of its level in closed form: plain products, no solver and no autograd.

With the shares of every owner held, the balanced scales x = (t, tau) of `balance` satisfy

    t = level (D x + n),   tau = need(x) where a row is active,   load_m x = 1 at the tightest AP m,

with D, n the disturbances and the noise that each UE is asked to overcome. Multipliers y = (lambda, omega) of these equations,
the price in relative level of one more watt for each owner, satisfy the transposed ones,

    y = level D^T lambda + (d need / d x)^T omega + nu load_m,   sum_k lambda_k t_k = 1,

where nu = level lambda^T n is the price of the tightest budget. Both are fixed points of maps that contract at the same
pace; a few repetitions give what a network needs to know. The second map is linear: squaring its matrix doubles them. Then, for
link e of power p_e,

    d log level / d log p_e = lambda_k t_k f_e [e serves k] - p_e (level N_e^T lambda' + nu [e at AP m] / P_m - C_e^T omega'),

f_e the link's part of its UE's amplitude, lambda' and omega' the prices over the owners' own gains. Rows that their own beams
cannot meet do not enter. Unlike `merit_gradient` this can be exported: it has no matrix factorisation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isac_torch.nn.tracking.balance import EXCESS_AT_ZERO, FLOOR_SHARE, LEAST_SHARE
from isac_torch.nn.tracking.dense import TINY, DenseProblem, Matrices

_EXTRA = math.log1p(math.exp(EXCESS_AT_ZERO))
"""Excess (nepers) of each UE and hundredfold floor of each target at logits of zero."""
_LEAST_GAIN = 0.01
"""Net gain of a target's beams in its own row, over the row's largest echo, below which they are left at their floor."""


@dataclass(frozen=True)
class PricedPoint:
    """A balanced point with the prices of its owners, as rows. Scales, powers and prices are relative to all UEs' power.

    Attributes:
        share: of each link in its owner's power.
        power: of each link; one over the sum of the UEs'.
        scale: power of each owner, the UEs' adding up to one.
        per_watt: 1 / W: the sum of all UEs' power is one over this.
        level: SINR that all UEs reach, each times its 1 + excess.
        price: relative level per unit of each owner's power.
        budget_price: part of the level that the tightest AP's budget decides; 0 at the others.
        load: power of each AP over its budget.
        tight: 1 at the tightest AP.
        row: power that reaches each UE from others, over noise and per_watt; at a target S p - SIR0 I p.
        active: 1 where a row decides the target's scale, and for UEs.
        useful, harm: terms of the gradient in the logarithm of each link's power: what its own UE gains; what other UEs, the
            sensing rows and its AP's budget lose.
    """

    share: Float[Tensor, "drop 1 link"]
    power: Float[Tensor, "drop 1 link"]
    scale: Float[Tensor, "drop 1 owner"]
    per_watt: Float[Tensor, "drop 1 1"]
    level: Float[Tensor, "drop 1 1"]
    price: Float[Tensor, "drop 1 owner"]
    budget_price: Float[Tensor, "drop 1 ap"]
    load: Float[Tensor, "drop 1 ap"]
    tight: Float[Tensor, "drop 1 ap"]
    row: Float[Tensor, "drop 1 owner"]
    active: Float[Tensor, "drop 1 owner"]
    useful: Float[Tensor, "drop 1 link"]
    harm: Float[Tensor, "drop 1 link"]


def priced_point(
    problem: DenseProblem, known: Matrices, weight: Float[Tensor, "drop 1 link"], iterations: int, doublings: int = 3
) -> PricedPoint:
    """The point where each owner's shares are as `weight` and every UE asks for the same.

    Scales after `iterations` repetitions from equal ones, prices after 2^`doublings`.
    """
    terms = _terms(problem, known, weight)
    scale, level, free = _scales(terms, problem, known, iterations)
    load = scale @ terms.load.mT
    per_watt = load.amax(2, keepdim=True)
    tight = (load >= per_watt).to(scale.dtype)
    price, nu = _prices(terms, problem, known, scale, level, free, tight, doublings)
    active, spread = free.to(scale.dtype), scale @ problem.owner
    power = terms.share * spread
    lift = price * terms.asked * level
    harm = (lift - price * active * terms.per_gain) @ known.row + nu * tight @ known.load
    shared = ((lift.mT * terms.pilot) @ problem.owner * problem.coherent).sum(1, keepdim=True)
    return PricedPoint(
        share=terms.share,
        power=power,
        scale=scale,
        per_watt=per_watt,
        level=level,
        price=price,
        budget_price=nu * per_watt * tight,
        load=load / per_watt,
        tight=tight,
        row=scale @ terms.answer.mT,
        active=active,
        useful=(price * scale / terms.amplitude) @ problem.owner * terms.signal,
        harm=harm * power + shared * terms.root * spread,
    )


@dataclass(frozen=True)
class _Terms:
    """The problem at fixed shares, as in `balance`."""

    share: Tensor  # 1 link
    root: Tensor  # 1 link: square root of the shares
    signal: Tensor  # 1 link: a times it
    amplitude: Tensor  # 1 owner: of a UE's signal per sqrt(W)
    pilot: Tensor  # owner owner: coherent amplitude of each UE at each UE
    asked: Tensor  # 1 owner: SINR over level and the UE's noise over its gain, 1/W; 0 at targets
    per_gain: Tensor  # 1 owner: one over the net gain of a target's beams in its own row; 0 at UEs and where that is too little
    answer: Tensor  # owner owner: power that reaches a UE, net gain in a target's row, of a watt of each owner
    asks: Tensor  # owner owner: power that a UE or target asks for, of a watt of each other owner
    floor: Tensor  # 1 owner; 0 at UEs
    load: Tensor  # ap owner


def _terms(problem: DenseProblem, known: Matrices, weight: Tensor) -> _Terms:
    share = (weight / ((weight @ problem.owner.mT) @ problem.owner)).clamp_min(LEAST_SHARE)
    root = share.sqrt()
    signal = problem.signal * root
    amplitude = (signal @ problem.owner.mT).clamp_min(TINY**0.5)
    asked = math.exp(_EXTRA) * problem.is_ue / (amplitude * amplitude)
    shares = problem.owner * share
    pilot = (problem.coherent * root) @ problem.owner.mT
    answer = known.row @ shares.mT + pilot * pilot
    own_row = (answer * known.itself).sum(2).unsqueeze(1)
    per_gain = (own_row > _LEAST_GAIN).to(share.dtype) / own_row.clamp_min(_LEAST_GAIN)
    return _Terms(
        share=share,
        root=root,
        signal=signal,
        amplitude=amplitude,
        pilot=pilot,
        asked=asked,
        per_gain=per_gain,
        answer=answer,
        asks=answer * known.others * (asked - per_gain).mT,
        floor=FLOOR_SHARE * _EXTRA * known.is_target * (own_row != 0).to(share.dtype),
        load=known.load @ shares.mT,
    )


def _scales(
    terms: _Terms, problem: DenseProblem, known: Matrices, iterations: int
) -> tuple[Float[Tensor, "drop 1 owner"], Float[Tensor, "drop 1 1"], Bool[Tensor, "drop 1 owner"]]:
    """Scales, level and active rows: UEs and targets both answer the scales before, targets half-way."""
    half = 0.5 * known.is_target
    asks = (terms.asks * (1.0 - half).mT + 0.5 * known.itself).mT
    scale = torch.ones_like(terms.floor) / known.count
    for _ in range(iterations):
        per_watt = (scale @ terms.load.mT).amax(2, keepdim=True)
        wanted = scale @ asks + terms.asked * per_watt
        total = wanted @ problem.is_ue.mT
        scale = wanted.minimum(known.most).maximum(terms.floor) / (total * problem.is_ue + known.is_target)
    return scale, 1.0 / total, (wanted > terms.floor) & (wanted < known.most)


def _prices(
    terms: _Terms,
    problem: DenseProblem,
    known: Matrices,
    scale: Tensor,
    level: Tensor,
    free: Tensor,
    tight: Tensor,
    doublings: int,
) -> tuple[Float[Tensor, "drop 1 owner"], Float[Tensor, "drop 1 1"]]:
    """Prices y of the owners, and nu."""
    load = tight @ terms.load
    passed = (terms.asks + terms.asked.mT * load) * (level * problem.is_ue + known.is_target).mT
    passed = torch.where(free.mT, passed, terms.floor.mT * problem.is_ue)
    for _ in range(doublings):
        passed = passed @ passed
    price = load @ passed
    # The UEs' worth adds up to one. Where rows are far from settled, prices may be negative, their sum next to nothing.
    price = price / (price.abs() @ (scale * problem.is_ue).mT).clamp_min(TINY)
    return price, price @ terms.asked.mT * level
