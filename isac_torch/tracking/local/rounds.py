"""What one round of messages between APs, UEs and targets lets every node know, and the step of powers that follows from it.

Nodes and what they know before any message:

* an AP: its budget, the coefficients of its own links (their columns of a, N, S, I), which UEs and targets it hears;
* a UE: its SINR's two parts, which it measures: wanted amplitude s_k and disturbance D_k, noise included;
* a target: the echo o_l and the disturbance x_l of its sensing constraint, summed from what the APs that light it report.

A *price* is a dual variable that a node announces: u_k of UE k, in nepers of its utility per neper of SINR, w_l of sensing
constraint l. With them an AP finds, from its own coefficients alone,

    n_e = u_k a_e / (s_k sqrt p_e) + sum_l w_l S_le / o_l,    d_e = sum_k u_k N_ke / D_k + sum_l w'_l I_le / x_l,

eq. (82) of docs/distributed.md, the marginal worth and cost of each of its links, and the least price lambda_m >= 0 of its own
budget that keeps sum_e p_e (n_e / (d_e + lambda_m))^length within P_m. Powers are relative to the AP's budget, p_e = P_m
exp(z_e).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isac_torch.links import own_constraints, own_entries, split_by_node
from isac_torch.tensors import sum_at
from isac_torch.tracking.problem import MaxMinSinrProblem

_TINY = 1e-20
_MARGIN = 1.03
"""Factor by which a target's own beams aim above what its sensing constraint requires."""
_LEAST_NET = 0.02
"""Net gain of a target's own beams in its constraint, over their echo, below which they cannot meet it by themselves."""
_FACTOR_RANGE = (-1.0, 2.5)
"""Nepers; range of the logarithm of the own-beam factor."""
_NEWTON = 4
"""Newton steps for the price of a budget; what overload remains is removed by scaling."""


Channel = Callable[[str, Tensor], Tensor]
"""What arrives of a message: a kind of message and its numbers, [drop, node or link, ...]; logarithms of what has a scale."""


AIR = "air"
"""The kind of message that is none: what every link radiates, W, which nodes measure the effect of."""


def clear(kind: str, sent: Tensor) -> Tensor:  # noqa: ARG001 - the kind is what other channels go by
    """A channel over which everything arrives as it was sent."""
    return sent


def logarithm(value: Tensor) -> Tensor:
    """log, floored so that zeros stay finite."""
    return value.clamp_min(_TINY).log()


@dataclass(frozen=True)
class Neighbourhoods:
    """The coefficients that APs know, as batched tensors: those of links whose AP does not hear the node are zero.

    Attributes:
        limit: W, budget of each link's AP.
        leakage: N[k, e], 1/W.
        echo, cross_echo: S[l, e] and I[l, e], the scale of each constraint is its own.
        at_ap: 1 where a link starts at an AP.
        links: links of each AP.
    """

    limit: Float[Tensor, "drop link"]
    leakage: Float[Tensor, "drop ue link"]
    echo: Float[Tensor, "drop constraint link"]
    cross_echo: Float[Tensor, "drop constraint link"]
    at_ap: Float[Tensor, "drop ap link"]
    links: Float[Tensor, "drop ap"]


def links_at_aps(problem: MaxMinSinrProblem) -> Float[Tensor, "drop ap link"]:
    """1 where a link starts at an AP."""
    index = torch.arange(problem.num_aps, device=problem.link_ap.device)[:, None]
    return (problem.link_ap[:, None] == index).to(problem.budget)


def neighbourhoods(problem: MaxMinSinrProblem, hears: Bool[Tensor, "drop ue ap"] | None = None) -> Neighbourhoods:
    """What the APs know of a problem.

    Args:
        problem: a batch of drops.
        hears: which APs hear which UEs; None for all. An AP always hears the UEs that it serves.
    """
    at_ap, leakage = links_at_aps(problem), problem.leakage
    if hears is not None:
        serves, _ = split_by_node(problem, at_ap)
        known = (hears | (serves.sum(-1).mT > 0)).to(leakage)
        leakage = leakage * (known @ at_ap)
    return Neighbourhoods(problem.link_budget, leakage, problem.echo, problem.cross_echo, at_ap, at_ap.sum(-1))


class Measured(NamedTuple):
    """What UEs and targets measure at some powers.

    Attributes:
        wanted: s_k, amplitude of the wanted signal over the noise.
        disturbance: D_k, interference and noise over the noise.
        echo, other: o_l and x_l of each sensing constraint, on its own scale.
    """

    wanted: Float[Tensor, "drop ue"]
    disturbance: Float[Tensor, "drop ue"]
    echo: Float[Tensor, "drop constraint"]
    other: Float[Tensor, "drop constraint"]

    @property
    def log_sinr(self) -> Float[Tensor, "drop ue"]:
        """Logarithm of each UE's SINR."""
        return 2.0 * logarithm(self.wanted) - logarithm(self.disturbance)


def measured(problem: MaxMinSinrProblem, power: Float[Tensor, "drop link"]) -> Measured:
    """Measurements at `power` (W). They are of the air: all that arrives is in them, from APs near and far."""
    wanted = (problem.signal * problem.serving_power(power).sqrt()).sum(-1)
    echo = (problem.echo @ power[..., None])[..., 0]
    other = (problem.cross_echo @ power[..., None])[..., 0] + problem.constraint_noise
    return Measured(wanted, problem.interference(power), echo.clamp_min(_TINY), other.clamp_min(_TINY))


def announced(seen: Measured, channel: Channel) -> Measured:
    """What the APs hear of the measurements: logarithms, sent over the channel."""
    ue = channel("measured by UEs", torch.stack([logarithm(seen.wanted), logarithm(seen.disturbance)], -1)).exp()
    target = channel("measured at targets", torch.stack([logarithm(seen.echo), logarithm(seen.other)], -1)).exp()
    return Measured(ue[..., 0], ue[..., 1], target[..., 0], target[..., 1])


def worth_and_cost(
    problem: MaxMinSinrProblem,
    known: Neighbourhoods,
    power: Float[Tensor, "drop link"],
    seen: Measured,
    log_price: Float[Tensor, "drop ue"],
    price: tuple[Float[Tensor, "drop constraint"], Float[Tensor, "drop constraint"]] | None,
) -> tuple[Float[Tensor, "drop link"], Float[Tensor, "drop link"]]:
    """n and d of every link, 1/W, each found at the link's AP.

    Args:
        problem: whose serving amplitudes the APs know.
        known: the APs' other coefficients.
        power: W.
        seen: what the nodes measured at this power.
        log_price: logarithm of u_k, announced by the UEs.
        price: w_l for the echo and w'_l for what disturbs it, announced for the sensing constraints; None where there are none.
    """
    amplitude = problem.serving_power(power).clamp_min(_TINY).sqrt()
    price_ue = log_price.exp()
    serving = (problem.signal * (price_ue / seen.wanted.clamp_min(_TINY))[..., None] / amplitude).flatten(1)
    worth = torch.cat([serving, power.new_zeros(len(power), problem.num_links - problem.num_comm_links)], 1)
    cost = ((price_ue / seen.disturbance)[:, None] @ known.leakage)[:, 0]
    if problem.has_pilot_reuse:
        cost = cost + _shared_pilots(problem, amplitude, price_ue / seen.disturbance)
    if price is not None:
        worth = worth + ((price[0] / seen.echo)[:, None] @ known.echo)[:, 0]
        cost = cost + ((price[1] / seen.other)[:, None] @ known.cross_echo)[:, 0]
    return worth, cost


def _shared_pilots(problem: MaxMinSinrProblem, amplitude: Tensor, per: Float[Tensor, "drop ue"]) -> Tensor:
    """Part of the cost that comes from UEs on the same pilot, which the link's amplitude disturbs coherently."""
    arriving = (problem.coherent * amplitude[:, None]).sum(-1)
    back = ((per[..., None] * arriving)[..., None] * problem.coherent).sum(1) / amplitude
    sensing = problem.num_links - problem.num_comm_links
    return torch.cat([back.flatten(1), back.new_zeros(len(back), sensing)], 1)


def budget_price(
    problem: MaxMinSinrProblem, asked: Float[Tensor, "drop link"], cost: Float[Tensor, "drop link"], length: Tensor | float
) -> Float[Tensor, "drop ap"]:
    """Least lambda_m >= 0, 1/W, at which sum_e asked_e / (d_e + lambda_m)^length fits into P_m; found at each AP alone."""
    price = torch.zeros_like(problem.budget)
    for _ in range(_NEWTON):
        total = cost + price.gather(1, problem.link_ap)
        sent = asked * total.clamp_min(_TINY) ** -length
        load = sum_at(sent, problem.link_ap, problem.num_aps).clamp_min(1e-25)
        slope = sum_at(sent / total.clamp_min(_TINY), problem.link_ap, problem.num_aps).clamp_min(1e-30)
        price = (price + ((problem.budget / load) ** (-1.0 / length) - 1.0) * load / slope).clamp_min(0.0)
    return price


def own_beams(
    problem: MaxMinSinrProblem, known: Neighbourhoods, power: Float[Tensor, "drop link"]
) -> Float[Tensor, "drop beam 2"]:
    """What each sensing link brings and costs at its own target's constraint, on that constraint's scale; known at its AP."""
    own = split_by_node(problem, power)[1]
    parts = [own_constraints(problem, table) * own for table in (known.echo, known.cross_echo)]
    return torch.stack(parts, -1).flatten(1, 2)


def own_beam_factor(
    problem: MaxMinSinrProblem, beams: Float[Tensor, "drop beam 2"], seen: Measured
) -> tuple[Float[Tensor, "drop target"], Float[Tensor, "drop target"], Float[Tensor, "drop target"]]:
    """Of each target with a constraint: log of the factor on its own beams that just meets it, all else held, eq. (84) of
    docs/distributed.md; whether its own beams can meet it at all (1 or 0); the part of its echo that comes from its own beams.

    `beams` are those of `own_beams`, as they arrived at the target.
    """
    echo, other = beams.unflatten(1, (problem.num_targets, -1)).sum(2).unbind(-1)
    aim = _MARGIN * problem.sir_min
    net = echo - aim * other
    able = (net > _LEAST_NET * echo).to(net)
    missing = aim * seen.other - seen.echo
    factor = 1.0 + missing / torch.where(able > 0, net, torch.ones_like(net))
    return able * logarithm(factor.clamp_min(0.05)).clamp(*_FACTOR_RANGE), able, echo / seen.echo


def within_budgets(problem: MaxMinSinrProblem, log_share: Float[Tensor, "drop link"]) -> Float[Tensor, "drop link"]:
    """z with sum_e exp(z_e) <= 1 at every AP: where it is more, all of the AP's links are scaled."""
    bounded = log_share.clamp(-16.0, 6.0)
    load = sum_at(bounded.exp(), problem.link_ap, problem.num_aps)
    return bounded - load.clamp_min(1.0).log().gather(1, problem.link_ap)


def own_gain(problem: MaxMinSinrProblem) -> Float[Tensor, "drop commlink"]:
    """a_e^2 P_m, SNR of a UE from one serving link alone at full budget: the large-scale gain as an AP knows it."""
    return problem.signal.square().flatten(1) * problem.link_budget[:, : problem.num_comm_links]


def own_leakage(problem: MaxMinSinrProblem, known: Neighbourhoods) -> Float[Tensor, "drop commlink"]:
    """Disturbance that a serving link at full budget makes at its own UE, over the noise (uncertain beam gain)."""
    return own_entries(problem, known.leakage * known.limit[:, None]).flatten(1)
