"""Balanced powers in numpy, without gradients: the equations of `isac_torch.tracking.balancing`, solved by their active set.

Tests hold the answer against that of `isac_torch.nn.tracking.balance`, which is found in another way.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from isac_torch.deployment.linear import solved
from isac_torch.deployment.patience import still_wanted
from isac_torch.tracking.balancing import Constants, Terms, Wanted, asked, damped, terms, wanted
from isac_torch.tracking.nodes import NodeProblem

_SOLVES = 6
"""Most solutions for an active set."""
_STEPS = (60, 300)
"""Steps of the fixed point for drops that are not settled then, from the beginning, each time before as many solutions."""
_SETTLED, _NOTHING = 1e-7, 1e-15
"""Relative and absolute distance of a node's power to the next one, below which it is settled."""
_KEPT = 0.1
"""Share of a UE's power that a solution leaves at least."""
_RIDGED = 1.0 + 1e-9
"""Instead of ones on the diagonal of the targets' equations: two targets at one receive AP at SIR0 = 0 dB have one and the same
constraint, and without it the solution along what that leaves free would be rounding. It moves no other one."""
_DOUBLINGS, _DOUBLINGS_OF_MANY, _MANY_UES = 8, 5, 128
"""Squarings of the UEs' matrix on the way to its dominant eigenvector: 2^8 steps of power iteration, fewer for many UEs."""


def balanced_power(
    problem: NodeProblem[ndarray],
    link: Float[ndarray, "drop link"],
    node: Float[ndarray, "drop node"],
    constants: Constants,
    start: Float[ndarray, "drop node"] | None = None,
) -> Float[ndarray, "drop link"]:
    """Powers (W) that give every UE the same SINR (times its own excess) and every target its SIR; one AP sends its budget.

    Args:
        problem: float64 coefficients.
        link: logits of the shares of each node's links.
        node: logits of the excess of each UE, then of the floor of each target.
        constants: those of the network's training.
        start: positive powers of the nodes near the answer's, up to a factor; default equal ones.
    """
    of_link, first = problem.nodes.of_link, problem.nodes.first
    weight = np.exp(link - np.maximum.reduceat(link, first, 1)[:, of_link])[:, None]
    share = np.maximum(weight / problem.total(weight)[:, :, of_link], constants.least_share)
    found = terms(problem, share, *asked(node[:, None], constants), constants)
    scale, settled = _scales(problem, found, np.ones_like(found.noise) if start is None else start[:, None], 0)
    for steps in _STEPS:
        if settled.all():
            break
        # Tightly coupled constraints: the active set is clear near the fixed point, and may be another one farther off.
        index = np.flatnonzero(~settled)
        hard = found.select(index)
        scale[index], settled[index] = _scales(problem, hard, np.ones_like(hard.noise), steps)
    power = share * scale[:, :, of_link]
    return (power / (scale @ found.load.mT).max(2, keepdims=True))[:, 0]


def _scales(
    problem: NodeProblem[ndarray], found: Terms[ndarray], scale: ndarray, iterations: int
) -> tuple[Float[ndarray, "drop 1 node"], Bool[ndarray, " drop"]]:
    """Powers over the UEs' sum, from positive ones, and whether a drop's are settled.

    At most `_SOLVES` solutions for the active set follow `iterations` steps of the fixed point. Each drop stops on its own, so
    that its powers are the same in any batch.
    """
    scale = scale / (scale @ problem.is_ue.T)
    if iterations:
        slow = damped(found, problem)
        for _ in range(iterations):
            still_wanted()
            scale = wanted(slow, problem, scale).aim
    for solves in range(_SOLVES + 1):
        still_wanted()
        asking = wanted(found, problem, scale)
        settled = (np.abs(asking.aim - scale) <= _SETTLED * scale + _NOTHING).all((1, 2))
        if solves == _SOLVES or settled.all():
            break
        scale = np.where(settled[:, None, None], scale, _solved(problem, found, scale, asking))
    return scale, settled


def _solved(problem: NodeProblem[ndarray], found: Terms[ndarray], scale: ndarray, asking: Wanted[ndarray]) -> ndarray:
    """Powers that meet the active set exactly: each target's constraint or bound, and the budget of the AP with the least left.

    Then targets follow from the UEs, tau = N t, by a small linear system, and the UEs ask for t = gamma G t, with noise in
    proportion to the load of that AP: t is the dominant eigenvector of G, found by squaring gamma G.
    """
    ues, eye = problem.nodes.ues, problem.nodes.eye
    line = found.load[np.arange(len(scale)), asking.load[:, 0].argmax(1)]
    noise, bound = found.noise[:, 0, :ues, None], asking.aim[:, 0, ues:, None]
    of_ue = found.asks[:, :ues] + noise * line[:, None]
    held = asking.free[:, 0, ues:, None] != bound
    of_target = np.where(held, bound * problem.is_ue, found.asks[:, ues:])
    follow = solved(_RIDGED * eye[ues:, ues:] - of_target[..., ues:], of_target[..., :ues])
    power = (of_ue[..., :ues] + of_ue[..., ues:] @ follow) * asking.common_sinr
    for _ in range(_DOUBLINGS if ues <= _MANY_UES else _DOUBLINGS_OF_MANY):
        power = power @ power
    old = scale[..., :ues]
    ue = old @ power.mT
    ue = np.maximum(ue / ue.sum(2, keepdims=True), _KEPT * old)
    target = np.maximum(ue @ follow.mT, found.least[..., ues:])
    new = np.concatenate([ue, target], 2) / ue.sum(2, keepdims=True)
    return np.where(np.isfinite(new).all(2, keepdims=True), new, scale)
