"""The balancing layer of `isac_torch.nn.tracking.balance` in numpy: from directions to powers, without gradients.

Tests hold the two against each other; docs/learning.md has the equations. Owners are rows, as in
`isac_torch.nn.tracking.prices`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from isac_torch.deployment.linear import solved
from isac_torch.deployment.patience import still_wanted

if TYPE_CHECKING:
    from isac_torch.deployment.directions import OwnedProblem, Owners

_TINY = 1e-30
_SOLVES = 6
"""Solutions for what decides (rows, bounds, AP), at most."""
_STEPS = (60, 300)
"""Steps of the fixed point for drops that are not settled then, from the beginning, each time before as many solutions."""
_SETTLED, _NOTHING = 1e-7, 1e-15
"""Relative and absolute distance of an owner's scale to the next one, below which it is settled; rows have ten times that."""
_KEPT = 0.1
"""Share of a UE's scale that a solution leaves at least."""
_RIDGED = 1.0 + 1e-9
"""Instead of ones on the diagonal of the targets' equations: two targets heard by one receive AP at SIR0 = 0 dB have one row,
twice, and without it the solution along what that leaves free would be rounding. It moves no other one."""
_DOUBLINGS, _DOUBLINGS_OF_MANY, _MANY_UES = 8, 5, 128
"""Squarings of the UEs' matrix on the way to its dominant eigenvector: 2^8 steps of power iteration, fewer for many UEs."""


@dataclass(frozen=True)
class Constants:
    """Constants of `isac_torch.nn.tracking.balance` under which a network was trained; its bundle carries them.

    Attributes:
        sensing_cap: SENSING_CAP.
        least_net_gain: LEAST_NET_GAIN.
        excess_at_zero: EXCESS_AT_ZERO.
        excess_cap: EXCESS_CAP.
        floor_share: FLOOR_SHARE.
        least_share: LEAST_SHARE.
        least_own_gain: LEAST_OWN_GAIN.
    """

    sensing_cap: float
    least_net_gain: float
    excess_at_zero: float
    excess_cap: float
    floor_share: float
    least_share: float
    least_own_gain: float


@dataclass(frozen=True)
class _Terms:
    """The problem at fixed shares.

    Attributes:
        share: of each link in its owner's power.
        asks: power that a UE (at SINR 1) or target asks for, of a watt of each other owner.
        noise: the same of the noise, W; 0 at targets.
        least, most: bounds of each owner's power over the UEs' sum.
        load: share of the AP's budget that a watt of each owner takes, 1/W.
        owners: whose the links are.
        drop: 0, 1, ...
    """

    share: Float[ndarray, "drop link"]
    asks: Float[ndarray, "drop owner owner"]
    noise: Float[ndarray, "drop owner"]
    least: Float[ndarray, "drop owner"]
    most: Float[ndarray, "drop owner"]
    load: Float[ndarray, "drop ap owner"]
    owners: Owners
    drop: Int[ndarray, " drop"]


def balanced_power(
    problem: OwnedProblem,
    link: Float[ndarray, "drop link"],
    owner: Float[ndarray, "drop owner"],
    constants: Constants,
    start: Float[ndarray, "drop owner"] | None = None,
) -> Float[ndarray, "drop link"]:
    """Powers (W) that give every UE the same SINR (times its own excess) and every target its SIR; one AP sends its budget.

    Args:
        problem: float64 coefficients. link: logits of each owner's shares. owner: logits of the excess of each UE, then of the
        floor of each target, as `isac_torch.nn.tracking.balance.balance` takes them. constants: those of the network's
        training. start: positive scales near the answer's, up to a factor; default equal ones.
    """
    terms = _terms(problem, link, owner, constants)
    scale, settled = _scales(terms, np.ones_like(terms.noise) if start is None else start, 0)
    for steps in _STEPS:
        if settled.all():
            break
        # Tightly coupled rows: near the fixed point it is clear what decides, farther off it may be something else.
        index = np.flatnonzero(~settled)
        hard: dict[str, Any] = {name: value[index] for name, value in vars(terms).items() if isinstance(value, ndarray)}
        hard["drop"] = np.arange(len(index))
        scale[index], settled[index] = _scales(replace(terms, **hard), np.ones_like(terms.noise[index]), steps)
    power = terms.share * scale[:, problem.owners.of_link]
    return power / _apply(terms.load, scale).max(-1, keepdims=True)


def _scales(terms: _Terms, scale: ndarray, iterations: int) -> tuple[Float[ndarray, "drop owner"], Bool[ndarray, " drop"]]:
    """Scales over the UEs' sum, from positive ones, and whether a drop's are settled.

    At most `_SOLVES` solutions for what decides follow `iterations` steps of the fixed point. Each drop stops on its own, so
    that its scales are the same in any batch.
    """
    scale = scale / (scale @ terms.owners.is_ue)[:, None]
    for _ in range(iterations):
        still_wanted()
        aim = _wanted(terms, scale).aim
        scale = np.where(terms.owners.ue, aim, 0.5 * (scale + aim))
    for solves in range(_SOLVES + 1):
        still_wanted()
        wanted = _wanted(terms, scale)
        settled = (np.abs(wanted.aim - scale) <= _SETTLED * scale + _NOTHING).all(-1)
        if solves == _SOLVES or settled.all():
            break
        scale = np.where(settled[:, None], scale, _solved(terms, scale, wanted))
    return scale, settled


@dataclass(frozen=True)
class _Wanted:
    """What owners ask for at some scales.

    Attributes:
        aim: scales of the fixed point's next step, the UEs' adding up to one.
        free: before the targets' bounds.
        level: SINR that the UEs reach then.
        loudest: index of the AP whose budget is tightest.
    """

    aim: Float[ndarray, "drop owner"]
    free: Float[ndarray, "drop owner"]
    level: Float[ndarray, "drop 1"]
    loudest: ndarray


def _wanted(terms: _Terms, scale: ndarray) -> _Wanted:
    load = _apply(terms.load, scale)
    loudest = load.argmax(-1)
    free = _apply(terms.asks, scale) + terms.noise * load[terms.drop, loudest][:, None]
    level = 1.0 / (free @ terms.owners.is_ue)[:, None]
    free = np.where(terms.owners.ue, free * level, free)
    return _Wanted(np.minimum(np.maximum(free, terms.least), terms.most), free, level, loudest)


def _terms(problem: OwnedProblem, link: ndarray, owner: ndarray, constants: Constants) -> _Terms:
    owners, first, heard = problem.owners, problem.owners.first, problem.heard
    weight = np.exp(link - np.maximum.reduceat(link, first, 1)[:, owners.of_link])
    share = np.maximum(weight / np.add.reduceat(weight, first, 1)[:, owners.of_link], constants.least_share)
    root = np.sqrt(share)
    gain = np.maximum(np.add.reduceat(problem.signal * root, first, 1) ** 2, _TINY)
    answer = np.add.reduceat((heard - problem.required) * share[:, None], first, 2)
    if problem.coherent is not None:
        answer += np.add.reduceat(problem.coherent * root[:, None], first, 2) ** 2
    extra = np.logaddexp(0.0, owner + constants.excess_at_zero)
    noise = owners.is_ue * np.exp(np.minimum(extra, constants.excess_cap)) / gain
    own_row = answer.diagonal(0, 1, 2)
    own_echo = np.add.reduceat(heard * share[:, None], first, 2).diagonal(0, 1, 2)
    enough = np.maximum(constants.least_net_gain * own_echo, constants.least_own_gain)
    least = np.where((own_echo > 0.0) & ~owners.ue, constants.floor_share * extra, 0.0)
    most = np.where(owners.ue, np.inf, np.where(own_row > enough, constants.sensing_cap, least))
    per_watt = np.where(owners.ue, noise, -1.0 / np.maximum(own_row, enough))
    drop = np.arange(len(link))
    load = np.zeros((len(link), problem.budget.shape[1], len(first)))
    load[drop[:, None], problem.link_ap, owners.of_link] = share  # an AP has one link at most to each owner
    load /= problem.budget[..., None]
    return _Terms(share, answer * per_watt[..., None] * owners.others, noise, least, most, load, owners, drop)


def _solved(terms: _Terms, scale: ndarray, wanted: _Wanted) -> ndarray:
    """Scales at which what decides now is met exactly: each target's row or bound, and the loudest AP's budget.

    Then targets follow from the UEs, tau = N t, by a small linear system, and the UEs ask for t = level G t, with noise in
    proportion to the loudest AP's load: t is the dominant eigenvector of G, found by squaring level G.
    """
    owners, ues = terms.owners, terms.owners.ues
    line = terms.load[terms.drop, wanted.loudest]
    of_ue = terms.asks[:, :ues] + terms.noise[:, :ues, None] * line[:, None]
    held = wanted.free[:, ues:] != wanted.aim[:, ues:]
    of_target = np.where(held[..., None], wanted.aim[:, ues:, None] * owners.is_ue, terms.asks[:, ues:])
    follow = solved(_RIDGED * owners.eye[ues:, ues:] - of_target[..., ues:], of_target[..., :ues])
    power = (of_ue[..., :ues] + of_ue[..., ues:] @ follow) * wanted.level[..., None]
    for _ in range(_DOUBLINGS if ues <= _MANY_UES else _DOUBLINGS_OF_MANY):
        power = power @ power
    ue = _apply(power, scale[:, :ues])
    ue = np.maximum(ue / ue.sum(-1, keepdims=True), _KEPT * scale[:, :ues])
    target = np.maximum(_apply(follow, ue), terms.least[:, ues:])
    new = np.concatenate([ue, target], 1) / ue.sum(-1, keepdims=True)
    return np.where(np.isfinite(new).all(-1, keepdims=True), new, scale)


def _apply(matrix: ndarray, vector: ndarray) -> ndarray:
    return (matrix @ vector[..., None])[..., 0]
