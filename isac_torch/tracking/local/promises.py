"""The last exchange of messages: every AP promises its part of every sensing constraint. docs/distributed.md,
eqs. (94) and (95).

A constraint S_l p >= g_l (I_l p + n_l) is a sum over the APs. With the aim g'_l a little above g_l, AP m adds

    c_lm = sum_{e at m} (S_le - g'_l I_le) p_e,    and the constraint holds where sum_m c_lm >= g'_l n_l.

The APs tell the target c_lm, in two parts, and how much they could add with their whole budget on their best link, h_lm. The
target answers with two numbers: the share x_l of h_lm that every AP has to add where the constraint is missed, and the share
y_l of its echo and disturbance v_lm by which every AP may fall back where more than enough arrives. So AP m promises

    c_lm after it >= b_lm = c_lm + x_l h_lm - y_l v_lm,    sum_m b_lm = g'_l n_l,

and moves its own powers to the nearest ones that keep its promises and its budget. If every AP can, every constraint holds
afterwards, whatever the others did at the same time: that is what no price can give.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Float

from isac_torch.tensors import Array, at_least, at_rows, max_at, namespace, sum_at, within
from isac_torch.tracking.local.rounds import Channel, Neighbourhoods, clear, within_budgets
from isac_torch.tracking.problem import MaxMinSinrProblem

_AIM = 1.001
"""Factor on the required quality: rounding and the last of the sweeps stay within it."""
_SWEEPS, _NEWTON = 12, 2
"""Over the promises of an AP, and Newton steps on the dual variable of each."""
_TINY = 1e-20
PARTS, ASKED = "parts of constraints", "asked of APs"
"""The kinds of the two messages: three numbers from every AP to every target with a constraint, and two back to all APs."""


def settled(
    problem: MaxMinSinrProblem[Array],
    known: Neighbourhoods[Array],
    share: Float[Array, "drop link"],
    exchanges: int = 1,
    channel: Channel = clear,
) -> Float[Array, "drop link"]:
    """Log shares of the budgets after some exchanges of promises, each from the powers that the one before left.

    Args:
        problem: whose required qualities and noise of the constraints the targets know.
        known: what the APs know; of the constraints the columns of their own links.
        share: log shares after the last round.
        exchanges: of messages between APs and targets; 0 changes nothing.
        channel: what arrives of the messages.
    """
    for _ in range(exchanges if problem.num_constraints else 0):
        share = nearest_kept(problem, share, *promises(problem, known, share, channel))
    return share


def promises(
    problem: MaxMinSinrProblem[Array], known: Neighbourhoods[Array], share: Float[Array, "drop link"], channel: Channel = clear
) -> tuple[Float[Array, "drop constraint link"], Float[Array, "drop constraint ap"]]:
    """What each link adds to each constraint at its AP's whole budget, S - g' I times P_m; what each AP promises to add, b_lm.

    Both are on the scale of each constraint.
    """
    xp, aim = namespace(share), _AIM * problem.sir_min
    power = xp.exp(share) * known.limit
    echo, other = ((table * power[:, None]) @ known.at_ap.mT for table in (known.echo, known.cross_echo))
    each = (known.echo - aim[..., None] * known.cross_echo) * known.limit[:, None]
    best = xp.stack([max_at(each[:, row], problem.link_ap, problem.num_aps) for row in range(each.shape[1])], axis=1)
    adds = echo - aim[..., None] * other
    could = at_least(best - adds, 0.0)  # an AP without links could add nothing: its largest is minus infinity
    parts = xp.moveaxis(xp.stack([echo, other, could], axis=-1), 2, 1)  # drop ap constraint 3
    heard = channel(PARTS, parts.reshape(*parts.shape[:2], -1)).reshape(parts.shape)
    asked = channel(ASKED, _asked(problem, aim, heard))
    return each, adds + asked[..., :1] * could - asked[..., 1:] * (echo + aim[..., None] * other)


def _asked(
    problem: MaxMinSinrProblem[Array], aim: Float[Array, "drop constraint"], heard: Float[Array, "drop ap constraint 3"]
) -> Float[Array, "drop constraint 2"]:
    """x_l and y_l of each constraint, found at its target."""
    xp = namespace(aim)
    echo, other, could = (heard[..., number].sum(1) for number in range(3))
    spare = echo - aim * (other + problem.constraint_noise)
    missing = at_least(-spare, 0.0) / at_least(could, _TINY)
    return xp.stack([missing, at_least(spare, 0.0) / at_least(echo + aim * other, _TINY)], axis=-1)


def nearest_kept(
    problem: MaxMinSinrProblem[Array],
    share: Float[Array, "drop link"],
    each: Float[Array, "drop constraint link"],
    promised: Float[Array, "drop constraint ap"],
) -> Float[Array, "drop link"]:
    """Log shares of the budgets nearest to `share` with which every AP keeps its promises, found at each AP alone.

    Nearest in sum_e q_e log(q_e / q0_e) - q_e + q0_e of the shares q = exp(share): every promise is a factor exp(w each_e) with
    a dual variable w >= 0, and they are settled in turns, as is the budget. Where an AP cannot keep all, its budget holds.
    """
    xp = namespace(share)
    kept = [_Promise(problem, each[:, row], promised[:, row]) for row in range(each.shape[1])]
    dual, budget = [promise.least * 0.0 for promise in kept], problem.budget * 0.0
    for _ in range(_SWEEPS):
        for row, promise in enumerate(kept):
            for _ in range(_NEWTON):
                change = at_least(dual[row] + promise.step(share), 0.0) - dual[row]
                dual[row] = dual[row] + change
                share = share + at_rows(change, problem.link_ap) * promise.each
        load = sum_at(xp.exp(share), problem.link_ap, problem.num_aps)
        change = at_least(budget + xp.log(at_least(load, _TINY)), 0.0) - budget
        budget, share = budget + change, share - at_rows(change, problem.link_ap)
    return within_budgets(problem, share)


class _Promise:
    """One promise at every AP, on the scale of the AP's own largest coefficient."""

    def __init__(self, problem: MaxMinSinrProblem[Any], each: Any, promised: Any) -> None:
        scale = at_least(max_at(namespace(each).abs(each), problem.link_ap, problem.num_aps), _TINY)
        self.problem, self.each, self.least = problem, each / at_rows(scale, problem.link_ap), promised / scale

    def step(self, share: Any) -> Any:
        """Newton's on the dual variable of each AP, at most 1."""
        problem, adds = self.problem, namespace(share).exp(share) * self.each
        found = sum_at(adds, problem.link_ap, problem.num_aps)
        slope = sum_at(adds * self.each, problem.link_ap, problem.num_aps)
        return within((self.least - found) / at_least(slope, _TINY), -1.0, 1.0)
