"""The program of a learned round: what APs, UEs and targets do, for arrays of torch and numpy. The layers are given.

In a round every AP sends a few numbers over each of its links; UEs and targets keep a private state, read what their APs sent
and what they measure, and announce learned prices; every AP weighs them with its own coefficients, finds the price of its
budget, and moves its powers. `rounds` has the equations. Powers are p = P exp(z) / max(1, sum of exp(z) at the AP): budgets
hold by construction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from jaxtyping import Float

from isac_torch.links import split_by_node, spread_to_links
from isac_torch.tensors import Array, amplitude, at_least, at_rows, counting, namespace, sum_at, within
from isac_torch.tracking.local.features import alone, near, scaled
from isac_torch.tracking.local.following import Heard
from isac_torch.tracking.local.policy import LocalState
from isac_torch.tracking.local.rounds import (
    AIR,
    Channel,
    Measured,
    Neighbourhoods,
    announced,
    budget_price,
    logarithm,
    measured,
    own_beam_factor,
    own_beams,
    own_gain,
    within_budgets,
    worth_and_cost,
)
from isac_torch.tracking.problem import MaxMinSinrProblem

Layer = Callable[[Any], Any]
UE_READS, TARGET_READS, LINK_READS = 4, 5, 11
"""Numbers that a UE, a target and a link read in a round, besides states and messages."""
_PRICE_RANGE = (-25.0, 25.0)
_FIRST_TARGET = -3.5
"""Log share of the budget with which a target's link starts."""


if TYPE_CHECKING:

    class AtAp(Protocol):
        """Layers by which the links of one AP meet. Nothing leaves the AP."""

        norm: Layer
        mix: Layer
        out: Layer

    class Cell(Protocol):
        """Layers and numbers of one round."""

        norm_link: Layer
        norm_ue: Layer
        norm_target: Layer
        up_ue: Layer
        up_target: Layer
        ue: Layer
        target: Layer
        ue_price: Layer
        target_price: Layer
        down_ue: Layer
        down_target: Layer
        fairness: Any
        log_length: Any
        own_step: Any
        own_rest: Any
        read: Layer
        at_ap: AtAp
        move: Layer

    class Start(Protocol):
        """Layers before the first round."""

        encode: Layer
        alone: Any
        first: Layer
        probe: Layer
        encode_near: Layer

else:  # Since Python 3.12 a protocol does not see the layers of a torch module: nothing can be checked when the program runs.
    AtAp = Cell = Start = Any


def begun(
    layers: Start, problem: MaxMinSinrProblem[Array], known: Neighbourhoods[Array], channel: Channel | None
) -> LocalState[Array]:
    """States before the first round: links know their AP, UEs and targets nothing.

    `channel` None: nobody sends anything, and the shares are the answer. Otherwise they are what is radiated while nodes
    measure for the first time, which need not be a good answer.
    """
    xp, comm = namespace(known.limit), problem.num_comm_links
    link = layers.encode(alone(problem, known))
    for layer in layers.alone:
        link = met_at_ap(layer, known, problem, link)
    served = at_rows(known.at_ap[:, :, :comm].sum(-1), problem.link_ap)
    serves = counting(problem.num_links, known.limit) < comm
    first = xp.where(serves, -xp.log(at_least(served, 1.0)) - 0.1, _FIRST_TARGET)
    head = layers.first if channel is None else layers.probe
    share = within_budgets(problem, first + head(link)[..., 0])
    if channel is not None:
        link = link + layers.encode_near(near(problem, known, channel))
    nothing = xp.zeros_like(link[:, :1]) + xp.zeros_like(known.limit[:, : problem.num_ues + problem.num_targets, None])
    return LocalState(share, (link, nothing[:, : problem.num_ues], nothing[:, problem.num_ues :]))


def met_at_ap(layers: AtAp, known: Neighbourhoods[Array], problem: MaxMinSinrProblem[Array], link: Any) -> Any:
    """States of links after those of each AP met in a mean."""
    xp, mixed = namespace(link), layers.mix(link)
    mean = known.at_ap @ silu(mixed) / at_least(known.links, 1.0)[..., None]
    return link + layers.out(xp.concat([layers.norm(link), at_rows(mean, problem.link_ap)], axis=-1))


def silu(value: Any) -> Any:
    """x / (1 + exp(-x)), the layers' nonlinearity."""
    return value / (1.0 + namespace(value).exp(-within(value, -80.0, 80.0)))


def advanced(
    cell: Cell,
    problem: MaxMinSinrProblem[Array],
    known: Neighbourhoods[Array],
    state: LocalState[Array],
    channel: Channel,
    air: MaxMinSinrProblem[Array],
) -> LocalState[Array]:
    """States and log shares after one round; the nodes measure in `air`."""
    xp, comm = namespace(state.share), problem.num_comm_links
    held, ue, target = state.private
    power = xp.exp(state.share) * known.limit
    seen = measured(air, channel(AIR, power[..., None])[..., 0])
    told = announced(seen, channel)
    link = cell.norm_link(held)
    up = channel("up", xp.concat([cell.up_ue(link[:, :comm]), cell.up_target(link[:, comm:])], axis=1)) / 2.0
    to_ue, to_target = (part.sum(-1).mT for part in split_by_node(problem, up.mT))
    ue = ue + cell.ue(xp.concat([cell.norm_ue(ue), to_ue, _read_ue(problem, seen, channel)], axis=-1))
    factor, able, reads = _own_beams(problem, known, power, seen, channel)
    target = target + cell.target(xp.concat([cell.norm_target(target), to_target, reads], axis=-1))
    log_price, others = _ue_prices(cell, ue, seen, channel)
    price = _target_prices(cell, problem, target, seen, channel)
    worth, cost = worth_and_cost(problem, known, power, told, log_price, price)
    length = 2.0 / (1.0 + within(cell.fairness, 1.5, 12.0)) * xp.exp(cell.log_length)
    extra = at_rows(_budget_price(problem, power * at_least(worth, 1e-20) ** length, cost, length), problem.link_ap)
    slope = logarithm(worth) - logarithm(cost + extra)
    down = channel("down", spread_to_links(problem, xp.concat([cell.down_ue(ue), cell.down_target(target)], axis=1)))
    back = channel("factor of targets", xp.stack([factor, able], axis=-1))
    beams = spread_to_links(problem, xp.concat([xp.zeros_like(ue[..., :2]), back], axis=1))
    plain = _link_reads(problem, told, power, state.share, worth, cost, extra, slope)
    further = scaled(logarithm((xp.exp(others).mT @ known.leakage).mT) - logarithm(cost)[..., None])
    new = held + cell.read(xp.concat([link, plain, beams, further, down], axis=-1))
    new = met_at_ap(cell.at_ap, known, problem, new)
    step = length * within(slope, -3.0, 3.0)
    rest = cell.own_rest + (1.0 - cell.own_rest) * (1.0 - beams[..., 1]) if problem.num_constraints else 1.0
    serves = counting(problem.num_links, step) < comm
    step = xp.where(serves, step, step * rest + cell.own_step * beams[..., 0])
    share = within_budgets(problem, state.share + step + cell.move(new)[..., 0])
    return LocalState(share, (new, ue, target), Heard(told, log_price, price))


def _budget_price(problem: MaxMinSinrProblem[Array], asked: Any, cost: Any, length: Any) -> Any:
    """The prices of the budgets as given numbers: nothing is differentiated through how they are found."""
    asked, cost, length = (value.detach() if hasattr(value, "detach") else value for value in (asked, cost, length))
    return budget_price(problem, asked, cost, length)


def _read_ue(problem: MaxMinSinrProblem[Array], seen: Measured[Array], channel: Channel) -> Float[Array, "drop ue read"]:
    """What a UE reads: its SINR, disturbance, wanted power, and the sum of its serving gains, which its APs tell it."""
    gain = channel("gain", own_gain(problem)[..., None]).reshape(problem.signal.shape).sum(-1)
    wanted = 2.0 * logarithm(seen.wanted)
    columns: list[Any] = [scaled(seen.log_sinr, 1.0, 1.5), scaled(logarithm(seen.disturbance), 4.0, 2.5)]
    return namespace(wanted).stack([*columns, scaled(wanted, 5.0, 3.0), scaled(logarithm(gain), 4.7, 3.0)], axis=-1)


def _ue_prices(cell: Cell, ue: Any, seen: Measured[Array], channel: Channel) -> tuple[Any, Any]:
    """Log price of each UE, and the logs of its further prices per disturbance, as the APs hear them."""
    found = cell.ue_price(ue)
    log_price = within((1.0 - cell.fairness) * seen.log_sinr + found[..., 0], *_PRICE_RANGE)[..., None]
    others = within(log_price + found[..., 1:] - logarithm(seen.disturbance)[..., None], *_PRICE_RANGE)
    sent = channel("price of UEs", namespace(found).concat([log_price, others], axis=-1))
    return sent[..., 0], sent[..., 1:]


def _target_prices(
    cell: Cell, problem: MaxMinSinrProblem[Array], target: Any, seen: Measured[Array], channel: Channel
) -> tuple[Any, Any] | None:
    """Prices of the sensing constraints: high where they are missed."""
    if not problem.num_constraints:
        return None
    met = within(logarithm(seen.echo / seen.other / problem.sir_min), -0.5, 0.7)
    found = within(cell.target_price(target) - 6.0 * met[..., None] - 2.0, -20.0, 12.0)
    found = namespace(found).exp(channel("price of targets", found))
    return found[..., 0], found[..., 1]


def _own_beams(
    problem: MaxMinSinrProblem[Array],
    known: Neighbourhoods[Array],
    power: Float[Array, "drop link"],
    seen: Measured[Array],
    channel: Channel,
) -> tuple[Any, Any, Any]:
    """Own-beam factor of each target, whether it can be met so, and what the target reads: how well its constraint is met,
    both of these, and which shares of its echo its own beams and of what disturbs it the noise have.
    """
    xp = namespace(power)
    if not problem.num_constraints:
        nothing = xp.zeros_like(power[:, : problem.num_targets])
        return nothing, nothing, xp.stack([nothing] * TARGET_READS, axis=-1)
    factor, able, part = own_beam_factor(problem, channel("beams", own_beams(problem, known, power)), seen)
    met = logarithm(seen.echo / seen.other / problem.sir_min)
    noise = problem.constraint_noise / seen.other
    return factor, able, xp.stack([scaled(met), factor, able, scaled(logarithm(part), 0.0, 2.0), noise], axis=-1)


def _link_reads(
    problem: MaxMinSinrProblem[Array],
    seen: Measured[Array],
    power: Float[Array, "drop link"],
    share: Float[Array, "drop link"],
    worth: Float[Array, "drop link"],
    cost: Float[Array, "drop link"],
    extra: Float[Array, "drop link"],
    slope: Float[Array, "drop link"],
) -> Float[Array, "drop link read"]:
    """What an AP reads of its links: shares, parts of the UEs' amplitudes, SINRs, worth, cost and price of the budget."""
    xp, comm = namespace(power), problem.num_comm_links
    sensing = xp.zeros_like(power[:, comm:])
    part = problem.signal * amplitude(problem.serving_power(power)) / at_least(seen.wanted, 1e-20)[..., None]
    sinr = xp.broadcast_to(seen.log_sinr[..., None], part.shape)
    load = sum_at(power, problem.link_ap, problem.num_aps) / problem.budget
    columns = [
        scaled(share, -2.0, 2.0),
        xp.concat([part.reshape(-1, comm), sensing], axis=1),
        scaled(xp.concat([sinr.reshape(-1, comm), sensing], axis=1), 1.0, 1.5),
        scaled(slope, 0.0, 1.5),
        scaled(logarithm(worth) - logarithm(cost), 0.0, 2.0),
        scaled(logarithm(cost) - logarithm(cost + extra), 0.0, 2.0),
        scaled(logarithm(at_rows(load, problem.link_ap)), 0.0, 1.0),
        scaled(logarithm(worth * problem.link_budget), 0.7, 4.0),
        scaled(logarithm(cost * problem.link_budget), 0.7, 4.0),
    ]
    return xp.stack(columns, axis=-1)
