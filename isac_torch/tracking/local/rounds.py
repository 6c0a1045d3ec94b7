"""What one round of messages between APs, UEs and targets lets every node know, and the step of powers that follows from it.

Nodes and what they know before any message:

* an AP: its budget, the coefficients of its own links (their columns of a, N, S, I), which UEs and targets it hears;
* a UE: its SINR's two parts, which it measures: wanted amplitude s_k and disturbance D_k, noise included;
* a target: the echo o_l and the disturbance x_l of its sensing constraint, summed from what the APs that illuminate it report.

A *price* is a dual variable that a node announces: u_k of UE k, in nepers of its utility per neper of SINR, w_l of sensing
constraint l. With them an AP finds, from its own coefficients alone,

    n_e = u_k a_e / (s_k sqrt p_e) + sum_l w_l S_le / o_l,    d_e = sum_k u_k N_ke / D_k + sum_l w'_l I_le / x_l,

eq. (82) of docs/distributed.md, the marginal worth and cost of each of its links, and the least price lambda_m >= 0 of its own
budget that keeps sum_e p_e (n_e / (d_e + lambda_m))^length within P_m. Powers are relative to the AP's budget, p_e = P_m
exp(z_e).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic

from jaxtyping import Bool, Float

from isac_torch.links import own_constraints, own_entries, split_by_node
from isac_torch.tensors import Array, amplitude, at_least, at_rows, counting, namespace, sum_at, within
from isac_torch.tracking.problem import MaxMinSinrProblem

_TINY = 1e-20
_MARGIN = 1.03
"""Factor by which a target's own beams aim above what its sensing constraint requires."""
_LEAST_NET = 0.02
"""Net gain of a target's own beams in its constraint, over their echo, below which they cannot meet it by themselves."""
_FACTOR_RANGE = (-1.0, 2.5)
"""Nepers; range of the logarithm of the own-beam factor."""
_COMMON = 10.0**-0.5
"""Quality that constraints with noise ask for on the scale of `on_common_scale`: in the range of the SIR0 of training."""
_NEWTON = 4
"""Newton steps for the price of a budget; what overload remains is removed by scaling."""


Channel = Callable[[str, Any], Any]
"""What arrives of a message: a kind of message and its numbers, [drop, node or link, ...]; logarithms of what has a scale."""

AIR = "air"
"""The kind of message that is none: what every link radiates, W, which nodes measure the effect of."""


def clear(kind: str, sent: Any) -> Any:  # noqa: ARG001 - the kind is what other channels go by
    """A channel over which everything arrives as it was sent."""
    return sent


def logarithm(value: Array) -> Array:
    """log, floored so that zeros stay finite."""
    return namespace(value).log(at_least(value, _TINY))


@dataclass(frozen=True)
class Neighbourhoods(Generic[Array]):
    """The coefficients that APs know, as batched arrays: those of links whose AP does not hear the node are zero.

    Attributes:
        limit: W, budget of each link's AP.
        leakage: N[k, e], 1/W.
        coherent: c[k, j, s], 1/sqrt(W).
        echo, cross_echo: S[l, e] and I[l, e], the scale of each constraint is its own.
        at_ap: 1 where a link starts at an AP.
        links: links of each AP.
    """

    limit: Float[Array, "drop link"]
    leakage: Float[Array, "drop ue link"]
    coherent: Float[Array, "drop ue ue serving"]
    echo: Float[Array, "drop constraint link"]
    cross_echo: Float[Array, "drop constraint link"]
    at_ap: Float[Array, "drop ap link"]
    links: Float[Array, "drop ap"]


def number(truth: Any, like: Any) -> Any:
    """1 where true, 0 where not, in the type of `like`."""
    return namespace(like).astype(truth, like.dtype)


def links_at_aps(problem: MaxMinSinrProblem[Array]) -> Float[Array, "drop ap link"]:
    """1 where a link starts at an AP."""
    index = counting(problem.num_aps, problem.link_ap)[:, None]
    return number(problem.link_ap[:, None] == index, problem.budget)


def on_common_scale(problem: MaxMinSinrProblem[Array]) -> MaxMinSinrProblem[Array]:
    """The same problem, where each target with a noisy sensing constraint has announced what it requires.

    S p >= g (I p + n) is S p >= g0 (g / g0) (I p + n), eq. (85) of docs/distributed.md: the APs scale their coefficients of
    what disturbs the target, and every such constraint asks for the same quality g0, -5 dB. Which powers meet it does not
    change. Constraints on the SIR stay as they are: there g itself tells how hard it is to meet.
    """
    if problem.echo_noise is None:
        return problem
    factor = problem.sir_min / _COMMON
    return replace(
        problem,
        sir_min=problem.sir_min * 0.0 + _COMMON,
        cross_echo=problem.cross_echo * factor[..., None],
        echo_noise=problem.echo_noise * factor,
    )


def neighbourhoods(problem: MaxMinSinrProblem[Array], hears: Bool[Array, "drop ue ap"] | None = None) -> Neighbourhoods[Array]:
    """What the APs know of a problem.

    Args:
        problem: a batch of drops.
        hears: which APs hear which UEs; None for all. An AP always hears the UEs that it serves.
    """
    at_ap, leakage, coherent = links_at_aps(problem), problem.leakage, problem.coherent
    if hears is not None:
        serves, _ = split_by_node(problem, at_ap)
        known = number(hears | (serves.sum(-1).mT > 0), leakage)
        heard = known @ at_ap
        leakage, coherent = leakage * heard, coherent * split_by_node(problem, heard)[0]
    return Neighbourhoods(problem.link_budget, leakage, coherent, problem.echo, problem.cross_echo, at_ap, at_ap.sum(-1))


@dataclass(frozen=True)
class Measured(Generic[Array]):
    """What UEs and targets measure at some powers.

    Attributes:
        wanted: s_k, amplitude of the wanted signal over the noise.
        disturbance: D_k, interference and noise over the noise.
        echo, other: o_l and x_l of each sensing constraint, on its own scale.
        arriving: at each UE, amplitude over the noise of what is sent to each other UE on its pilot; None where none is shared.
    """

    wanted: Float[Array, "drop ue"]
    disturbance: Float[Array, "drop ue"]
    echo: Float[Array, "drop constraint"]
    other: Float[Array, "drop constraint"]
    arriving: Float[Array, "drop ue ue"] | None = None

    @property
    def log_sinr(self) -> Float[Array, "drop ue"]:
        """Logarithm of each UE's SINR."""
        return 2.0 * logarithm(self.wanted) - logarithm(self.disturbance)


def measured(problem: MaxMinSinrProblem[Array], power: Float[Array, "drop link"]) -> Measured[Array]:
    """Measurements at `power` (W). They are of the air: all that arrives is in them, from APs near and far."""
    sent = amplitude(problem.serving_power(power))
    wanted = (problem.signal * sent).sum(-1)
    arriving = (problem.coherent * sent[:, None]).sum(-1) if problem.has_pilot_reuse else None
    echo = (problem.echo @ power[..., None])[..., 0]
    other = (problem.cross_echo @ power[..., None])[..., 0] + problem.constraint_noise
    return Measured(wanted, problem.interference(power), at_least(echo, _TINY), at_least(other, _TINY), arriving)


def announced(seen: Measured[Array], channel: Channel) -> Measured[Array]:
    """What the APs hear of the measurements: logarithms, sent over the channel."""
    xp = namespace(seen.wanted)
    ue = xp.exp(channel("measured by UEs", xp.stack([logarithm(seen.wanted), logarithm(seen.disturbance)], axis=-1)))
    target = xp.exp(channel("measured at targets", xp.stack([logarithm(seen.echo), logarithm(seen.other)], axis=-1)))
    arriving = seen.arriving
    if arriving is not None:
        arriving = xp.exp(channel("shared pilots of UEs", logarithm(arriving)))
    return Measured(ue[..., 0], ue[..., 1], target[..., 0], target[..., 1], arriving)


def worth_and_cost(
    problem: MaxMinSinrProblem[Array],
    known: Neighbourhoods[Array],
    power: Float[Array, "drop link"],
    seen: Measured[Array],
    log_price: Float[Array, "drop ue"],
    price: tuple[Float[Array, "drop constraint"], Float[Array, "drop constraint"]] | None,
) -> tuple[Float[Array, "drop link"], Float[Array, "drop link"]]:
    """n and d of every link, 1/W, each found at the link's AP.

    Args:
        problem: whose serving amplitudes the APs know.
        known: the APs' other coefficients.
        power: W.
        seen: what the nodes measured at this power.
        log_price: logarithm of u_k, announced by the UEs.
        price: w_l for the echo and w'_l for what disturbs it, announced for the sensing constraints; None where there are none.
    """
    xp = namespace(power)
    sent = xp.sqrt(at_least(problem.serving_power(power), _TINY))
    price_ue = xp.exp(log_price)
    serving = problem.signal * (price_ue / at_least(seen.wanted, _TINY))[..., None] / sent
    worth = on_serving_links(problem, serving)
    cost = ((price_ue / seen.disturbance)[:, None] @ known.leakage)[:, 0]
    if seen.arriving is not None:
        cost = cost + _shared_pilots(problem, known, sent, price_ue / seen.disturbance, seen.arriving)
    if price is not None:
        worth = worth + ((price[0] / seen.echo)[:, None] @ known.echo)[:, 0]
        cost = cost + ((price[1] / seen.other)[:, None] @ known.cross_echo)[:, 0]
    return worth, cost


def _shared_pilots(
    problem: MaxMinSinrProblem[Array],
    known: Neighbourhoods[Array],
    sent: Float[Array, "drop ue serving"],
    per: Float[Array, "drop ue"],
    arriving: Float[Array, "drop ue ue"],
) -> Float[Array, "drop link"]:
    """Part of the cost that comes from UEs on the same pilot, which the link's amplitude `sent` disturbs coherently."""
    return on_serving_links(problem, ((per[..., None] * arriving)[..., None] * known.coherent).sum(1) / sent)


def on_serving_links(problem: MaxMinSinrProblem[Array], value: Float[Array, "drop ue serving"]) -> Float[Array, "drop link"]:
    """The value of each serving link over all links; 0 at sensing links."""
    xp, drops = namespace(value), len(value)
    nothing = problem.link_gain[:, problem.num_comm_links :] * 0.0
    return xp.concat([value.reshape(drops, problem.num_comm_links), nothing], axis=1)


def budget_price(
    problem: MaxMinSinrProblem[Array], asked: Float[Array, "drop link"], cost: Float[Array, "drop link"], length: Any
) -> Float[Array, "drop ap"]:
    """Least lambda_m >= 0, 1/W, at which sum_e asked_e / (d_e + lambda_m)^length fits into P_m; found at each AP alone."""
    price = problem.budget * 0.0
    for _ in range(_NEWTON):
        total = at_least(cost + at_rows(price, problem.link_ap), _TINY)
        sent = asked * total**-length
        load = at_least(sum_at(sent, problem.link_ap, problem.num_aps), 1e-25)
        slope = at_least(sum_at(sent / total, problem.link_ap, problem.num_aps), 1e-30)
        price = at_least(price + ((problem.budget / load) ** (-1.0 / length) - 1.0) * load / slope, 0.0)
    return price


def own_beams(
    problem: MaxMinSinrProblem[Array], known: Neighbourhoods[Array], power: Float[Array, "drop link"]
) -> Float[Array, "drop beam 2"]:
    """What each sensing link brings and costs at its own target's constraint, on that constraint's scale; known at its AP."""
    own = split_by_node(problem, power)[1]
    parts = [own_constraints(problem, table) * own for table in (known.echo, known.cross_echo)]
    return namespace(power).stack(parts, axis=-1).reshape(len(power), -1, 2)


def own_beam_factor(
    problem: MaxMinSinrProblem[Array], beams: Float[Array, "drop beam 2"], seen: Measured[Array]
) -> tuple[Float[Array, "drop target"], Float[Array, "drop target"], Float[Array, "drop target"]]:
    """Of each target with a constraint: log of the factor on its own beams that just meets it, all else held, eq. (84) of
    docs/distributed.md; whether its own beams can meet it at all (1 or 0); the part of its echo that comes from its own beams.

    `beams` are those of `own_beams`, as they arrived at the target.
    """
    xp = namespace(beams)
    both = beams.reshape(len(beams), problem.num_targets, -1, 2).sum(2)
    echo, other = both[..., 0], both[..., 1]
    aim = _MARGIN * problem.sir_min
    net = echo - aim * other
    able = number(net > _LEAST_NET * echo, net)
    missing = aim * seen.other - seen.echo
    factor = 1.0 + missing / xp.where(able > 0, net, xp.ones_like(net))
    return able * within(xp.log(at_least(factor, 0.05)), *_FACTOR_RANGE), able, echo / seen.echo


def within_budgets(problem: MaxMinSinrProblem[Array], log_share: Float[Array, "drop link"]) -> Float[Array, "drop link"]:
    """z with sum_e exp(z_e) <= 1 at every AP: where it is more, all of the AP's links are scaled."""
    xp, bounded = namespace(log_share), within(log_share, -16.0, 6.0)
    load = sum_at(xp.exp(bounded), problem.link_ap, problem.num_aps)
    return bounded - at_rows(xp.log(at_least(load, 1.0)), problem.link_ap)


def own_gain(problem: MaxMinSinrProblem[Array]) -> Float[Array, "drop commlink"]:
    """a_e^2 P_m, SNR of a UE from one serving link alone at full budget: the large-scale gain as an AP knows it."""
    comm = problem.num_comm_links
    return (problem.signal**2).reshape(-1, comm) * problem.link_budget[:, :comm]


def own_leakage(problem: MaxMinSinrProblem[Array], known: Neighbourhoods[Array]) -> Float[Array, "drop commlink"]:
    """Disturbance that a serving link at full budget makes at its own UE, over the noise (uncertain beam gain)."""
    own = own_entries(problem, known.leakage * known.limit[:, None])
    return own.reshape(len(own), problem.num_comm_links)
