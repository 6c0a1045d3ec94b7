"""The balanced point and the gradient of its level in closed form: plain products, no solver and no autograd.

With the shares of every owner held, the balanced scales x = (t, tau) of `balance` satisfy

    t = level (D x + n),   tau = need(x) where a row is active,   load_m x = 1 at the tightest AP m,

with D, n the disturbances and the noise that each UE is asked to overcome. Multipliers y = (lambda, omega) of these equations,
the price in relative level of one more watt for each owner, satisfy the transposed ones,

    y = level D^T lambda + (d need / d x)^T omega + nu load_m,   sum_k lambda_k t_k = 1,

where nu = level lambda^T n is the price of the tightest budget. Both are fixed points of maps that contract at the same
pace; a few repetitions give what a network needs to know. Then, for link e of power p_e,

    d log level / d log p_e = lambda_k t_k f_e [e serves k] - p_e (level N_e^T lambda' + nu [e at AP m] / P_m - C_e^T omega'),

f_e the link's part of its UE's amplitude, lambda' and omega' the prices over the owners' own gains. Rows that are not met do
not enter. Unlike `merit_gradient` this can be exported: it has no matrix factorisation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from isac_torch.nn.balance import EXCESS_AT_ZERO, EXCESS_CAP, LEAST_NET_GAIN, SENSING_CAP
from isac_torch.nn.dense import TINY, DenseProblem, Matrices


@dataclass(frozen=True)
class Directions:
    """Logits of `balance`, part by part, as rows.

    Attributes:
        link: shares of each owner's links by softmax.
        excess: log(1 + excess) of each UE by softplus.
        floor: least scale of each target by softplus.
    """

    link: Float[Tensor, "drop 1 link"]
    excess: Float[Tensor, "drop 1 ue"]
    floor: Float[Tensor, "drop 1 target"]


@dataclass(frozen=True)
class PricedPoint:
    """A balanced point with the prices of its owners, as rows.

    Attributes:
        share: of each link in its owner's power.
        power: W, of each link.
        scale: W, power of each owner.
        price: relative level per W of each owner.
        budget_price: nu at the tightest AP, relative level; 0 at the others.
        load: power of each AP over its budget.
        heard: interference plus noise of each UE over the noise.
        active: 1 where the row decides the target's scale.
        useful, harm, charge, row: terms of the gradient in the logarithm of each link's power: what its own UE gains, what
            the other UEs lose, what its AP's budget costs, what the sensing rows gain.
    """

    share: Float[Tensor, "drop 1 link"]
    power: Float[Tensor, "drop 1 link"]
    scale: Float[Tensor, "drop 1 owner"]
    level: Float[Tensor, "drop 1 1"]
    price: Float[Tensor, "drop 1 owner"]
    budget_price: Float[Tensor, "drop 1 ap"]
    load: Float[Tensor, "drop 1 ap"]
    heard: Float[Tensor, "drop 1 ue"]
    active: Float[Tensor, "drop 1 target"]
    useful: Float[Tensor, "drop 1 link"]
    harm: Float[Tensor, "drop 1 link"]
    charge: Float[Tensor, "drop 1 link"]
    row: Float[Tensor, "drop 1 link"]


def priced_point(
    problem: DenseProblem, known: Matrices, directions: Directions, start: Tensor | None, iterations: int
) -> PricedPoint:
    """Scales and prices at `directions`, both after `iterations` repetitions from `start` (scales in W; default equal ones)."""
    terms = _terms(problem, known, directions)
    scale, level, active = _scales(terms, known, start, iterations)
    ues = terms.asked.shape[2]
    load = scale @ terms.load
    tight = (load >= load.amax(2, keepdim=True)).to(scale.dtype)
    price, nu = _prices(terms, known, scale, level, active, tight, iterations)
    price_ue, price_target = price[..., :ues], price[..., ues:]
    power = terms.share * (scale @ known.owner)
    lift = price_ue * terms.asked * level
    pilot = ((lift.mT * terms.pilot) @ known.owner * problem.coherent).sum(1, keepdim=True)
    pilot = pilot * terms.root * (scale @ known.owner)
    return PricedPoint(
        share=terms.share,
        power=power,
        scale=scale,
        level=level,
        price=price,
        budget_price=nu * tight,
        load=load,
        heard=scale @ terms.disturbance / terms.asked + 1.0,
        active=active,
        useful=((price_ue * scale[..., :ues] / terms.amplitude) @ problem.ue_of) * problem.signal.unsqueeze(1) * terms.root,
        harm=(lift @ problem.leakage) * power + pilot,
        charge=nu * ((tight / problem.budget.unsqueeze(1)) @ known.ap) * power,
        row=((price_target * active / terms.own_gain) @ known.row) * power,
    )


@dataclass(frozen=True)
class _Terms:
    """The problem at fixed shares, as in `balance`; matrices take rows of owners from the left."""

    share: Tensor  # 1 link
    root: Tensor  # 1 link: square root of the shares
    amplitude: Tensor  # 1 ue: of the UE's signal per sqrt(W)
    pilot: Tensor  # ue owner: coherent amplitude of each UE at each UE
    asked: Tensor  # 1 ue
    disturbance: Tensor  # owner ue
    asks: Tensor  # owner owner: disturbance, then -C over the own beam's gain, zero on the own beam
    floor: Tensor  # 1 target
    own_gain: Tensor  # 1 target
    useful: Tensor  # 1 target
    load: Tensor  # owner ap


def _terms(problem: DenseProblem, known: Matrices, directions: Directions) -> _Terms:
    share = _shares(known.owner, directions.link)
    root = share.sqrt()
    ues, targets = problem.ue_of.shape[0], problem.target_of.shape[0]
    amplitude = ((problem.signal.unsqueeze(1) * root) @ problem.ue_of.mT).clamp_min(TINY**0.5)
    asked = softplus(directions.excess + EXCESS_AT_ZERO).clamp_max(EXCESS_CAP).exp() / amplitude.square()
    leakage, row, load = ((share * known.owner) @ known.answers).split([ues, targets, problem.budget.shape[1]], -1)
    pilot = (problem.coherent * root) @ known.owner.mT
    disturbance = (leakage + pilot.mT.square()) * asked
    own_row = (row * known.own).sum(1, keepdim=True)
    own_echo = ((known.echo * problem.target_of) @ share.mT).mT
    least = (LEAST_NET_GAIN * own_echo).clamp_min(1e-9)
    own_gain = torch.maximum(own_row, least)
    need = (known.own - 1.0) * row / own_gain
    exists = (own_echo > 0).to(share.dtype)
    return _Terms(
        share=share,
        root=root,
        amplitude=amplitude,
        pilot=pilot,
        asked=asked,
        disturbance=disturbance,
        asks=torch.cat([disturbance, need], -1),
        floor=0.01 * exists * softplus(directions.floor + EXCESS_AT_ZERO),
        own_gain=own_gain,
        useful=(own_row > least).to(share.dtype),
        load=load,
    )


def _shares(owner: Tensor, link: Tensor) -> Tensor:
    """Softmax over each owner's links."""
    highest = torch.where(owner > 0, link, -torch.inf).amax(2).unsqueeze(1)
    weight = (link - highest @ owner).exp()
    return (weight / ((weight @ owner.mT) @ owner)).clamp_min(1e-12)


def _scales(terms: _Terms, known: Matrices, scale: Tensor | None, iterations: int) -> tuple[Tensor, Tensor, Tensor]:
    """Scales, level and active rows: UEs and targets both answer the scales before, targets half-way."""
    is_ue, is_target = known.is_ue, 1.0 - known.is_ue
    ues, half = is_ue.mT, 0.5 * is_target
    nothing = torch.zeros_like(terms.asked)
    noise = torch.cat([terms.asked, torch.zeros_like(terms.floor)], -1)
    least = torch.cat([nothing, terms.floor], -1)
    most = torch.cat([nothing + 1e12, torch.where(terms.useful > 0, SENSING_CAP, terms.floor)], -1)
    scale = torch.ones_like(least) if scale is None else scale
    scale = scale / (scale @ terms.load).amax(2, keepdim=True)
    for _ in range(iterations):
        wanted = scale @ terms.asks + noise
        total = scale @ ues
        level = total / (wanted @ ues)
        held = (wanted * (level * is_ue + is_target)).minimum(most * total).maximum(least * total)
        new = held + half * (scale - held)
        scale = new / (new @ terms.load).amax(2, keepdim=True)
    active = ((wanted > least * total) & (wanted < most * total)).to(scale.dtype)
    return scale, level, active[..., terms.asked.shape[2] :]


def _prices(
    terms: _Terms, known: Matrices, scale: Tensor, level: Tensor, active: Tensor, tight: Tensor, iterations: int
) -> tuple[Tensor, Tensor]:
    """Prices y of the owners, and nu."""
    ues = terms.asked.shape[2]
    answer = torch.where(active > 0, terms.asks[..., ues:], known.is_ue.mT * terms.floor)
    passed = torch.cat([level * terms.disturbance, answer], -1).mT.contiguous()
    noise = torch.cat([level * terms.asked, torch.zeros_like(active)], -1).mT
    worth = (scale * known.is_ue).mT
    load = tight @ terms.load.mT
    price = load / (load @ worth).clamp_min(TINY)
    for _ in range(iterations):
        nu = price @ noise
        price = price @ passed + nu * load
        # Where rows are far from settled, prices of opposite signs may nearly cancel; they must not grow without bound.
        size = torch.maximum(price @ worth, 0.1 * (price.abs() @ worth)).clamp_min(TINY)
        price, nu = price / size, nu / size
    return price, nu
