"""A learned policy that runs at the APs: no centre, r rounds of messages between neighbours, one program for every node.

Before any message each AP decides from what fractional power control knows. In a round every AP sends a few numbers over each
of its links; UEs and targets keep a private state, read what their APs sent and what they measure, and announce learned prices;
every AP weighs them with its own coefficients, finds the price of its budget, and moves its powers (`local_rounds` has the
equations). The answer after any number of rounds is trained, so that `rounds` is an argument of the call.

Powers are p = P exp(z) / max(1, sum of exp(z) at the AP): budgets hold by construction.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import silu

from isac_torch.links import links_per_target, split_by_node
from isac_torch.nn.tracking.local_features import ALONE, NEAR, alone, near, scaled
from isac_torch.nn.tracking.local_rounds import (
    AIR,
    Channel,
    Measured,
    Neighbourhoods,
    announced,
    budget_price,
    clear,
    logarithm,
    measured,
    neighbourhoods,
    own_beam_factor,
    own_beams,
    own_gain,
    within_budgets,
    worth_and_cost,
)
from isac_torch.tensors import sum_at
from isac_torch.tracking.problem import MaxMinSinrProblem

_UE_READS, _TARGET_READS, _LINK_READS = 4, 4, 11
_PRICE_RANGE = (-25.0, 25.0)
_FIRST_TARGET = -3.5
"""Log share of the budget with which a target's link starts."""


class _State(NamedTuple):
    """Private states of links (at their APs), UEs and targets, and the log shares of the budgets."""

    link: Float[Tensor, "drop link hidden"]
    ue: Float[Tensor, "drop ue hidden"]
    target: Float[Tensor, "drop target hidden"]
    share: Float[Tensor, "drop link"]


def _two_layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, outputs))


def _still(module: nn.Sequential) -> nn.Sequential:
    """The same layers, answering zero before training."""
    for parameter in module[-1].parameters():
        nn.init.zeros_(parameter)
    return module


class _AtAp(nn.Module):
    """Links of one AP meet in a mean. Nothing leaves the AP."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.norm, self.mix = nn.LayerNorm(hidden), nn.Linear(hidden, hidden)
        self.out = _two_layers(2 * hidden, hidden, hidden)

    def forward(self, known: Neighbourhoods, problem: MaxMinSinrProblem, link: Tensor) -> Tensor:
        mean = known.at_ap @ silu(self.mix(link)) / known.links.clamp_min(1.0)[..., None]
        index = problem.link_ap[..., None].expand(-1, -1, link.shape[-1])
        return link + self.out(torch.cat([self.norm(link), mean.gather(1, index)], -1))


class _Round(nn.Module):
    """One round: messages up over the links, states and prices at UEs and targets, messages down, new powers."""

    def __init__(self, hidden: int, floats: int, prices: int) -> None:
        super().__init__()
        self.norm_link, self.norm_ue, self.norm_target = (nn.LayerNorm(hidden) for _ in range(3))
        self.up_ue, self.up_target = nn.Linear(hidden, floats), nn.Linear(hidden, floats)
        self.ue = _two_layers(hidden + floats + _UE_READS, hidden, hidden)
        self.target = _two_layers(hidden + floats + _TARGET_READS, hidden, hidden)
        self.ue_price, self.target_price = nn.Linear(hidden, 1 + prices), nn.Linear(hidden, 2)
        for layer in (self.ue_price, self.target_price):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        self.down_ue, self.down_target = nn.Linear(hidden, floats), nn.Linear(hidden, floats)
        self.fairness = nn.Parameter(torch.tensor(4.0))
        self.log_length = nn.Parameter(torch.tensor(0.0))
        self.own_step, self.own_rest = nn.Parameter(torch.tensor(0.7)), nn.Parameter(torch.tensor(0.3))
        self.read = _two_layers(hidden + _LINK_READS + prices + floats, hidden, hidden)
        self.at_ap = _AtAp(hidden)
        self.move = _still(_two_layers(hidden, hidden, 1))

    def forward(
        self, problem: MaxMinSinrProblem, known: Neighbourhoods, state: _State, channel: Channel, air: MaxMinSinrProblem
    ) -> _State:
        """States and log shares after the round; the nodes measure in `air`."""
        power = (state.share.exp() * known.limit).detach()  # measurements are inputs: nothing is differentiated through them
        seen = measured(air, channel(AIR, power[..., None])[..., 0])
        told = announced(seen, channel)
        link = self.norm_link(state.link)
        comm = problem.num_comm_links
        up = channel("up", torch.cat([self.up_ue(link[:, :comm]), self.up_target(link[:, comm:])], 1)) / 2.0
        to_ue, to_target = (part.sum(-1).mT for part in split_by_node(problem, up.mT))
        ue = state.ue + self.ue(torch.cat([self.norm_ue(state.ue), to_ue, _read_ue(problem, seen, channel)], -1))
        factor, able, reads = self._own_beams(problem, known, power, seen, channel)
        target = state.target + self.target(torch.cat([self.norm_target(state.target), to_target, reads], -1))
        log_price, others = self._ue_prices(ue, seen, channel)
        price = self._target_prices(problem, target, seen, channel)
        worth, cost = worth_and_cost(problem, known, power, told, log_price, price)
        length = 2.0 / (1.0 + self.fairness.clamp(1.5, 12.0)) * self.log_length.exp()
        with torch.no_grad():
            extra = budget_price(problem, power * worth.clamp_min(1e-20) ** length, cost, length)
            extra = extra.gather(1, problem.link_ap)
        slope = logarithm(worth) - logarithm(cost + extra)
        down = torch.cat([_spread(self.down_ue(ue), problem.serving), _spread(self.down_target(target), _beams(problem))], 1)
        down = channel("down", down)
        factor, able = channel("factor of targets", torch.stack([factor, able], -1)).unbind(-1)
        spread = _spread(torch.stack([factor, able], -1), _beams(problem))
        beams = torch.cat([spread.new_zeros(len(spread), comm, 2), spread], 1)
        plain = self._link_reads(problem, told, power, state.share, worth, cost, extra, slope)
        further = scaled(logarithm((others.exp().mT @ known.leakage).mT) - logarithm(cost)[..., None])
        new = state.link + self.read(torch.cat([link, plain, beams, further, down], -1))
        new = self.at_ap(known, problem, new)
        step = length * slope.clamp(-3.0, 3.0)
        rest = self.own_rest + (1.0 - self.own_rest) * (1.0 - beams[..., 1])
        serves = torch.arange(problem.num_links, device=step.device) < comm
        constrained = bool(problem.num_constraints)
        step = torch.where(serves, step, step * (rest if constrained else 1.0) + self.own_step * beams[..., 0])
        share = within_budgets(problem, state.share + step + self.move(new)[..., 0])
        return _State(new, ue, target, share)

    def _ue_prices(self, ue: Tensor, seen: Measured, channel: Channel) -> tuple[Tensor, Tensor]:
        """Log price of each UE, and the logs of its further prices per disturbance, as the APs hear them."""
        found = self.ue_price(ue)
        log_price = ((1.0 - self.fairness) * seen.log_sinr + found[..., 0]).clamp(*_PRICE_RANGE)
        others = log_price[..., None] + found[..., 1:] - logarithm(seen.disturbance)[..., None]
        sent = channel("price of UEs", torch.cat([log_price[..., None], others.clamp(*_PRICE_RANGE)], -1))
        return sent[..., 0], sent[..., 1:]

    def _target_prices(
        self, problem: MaxMinSinrProblem, target: Tensor, seen: Measured, channel: Channel
    ) -> tuple[Tensor, Tensor] | None:
        """Prices of the sensing constraints: high where they are missed."""
        if not problem.num_constraints:
            return None
        met = logarithm(seen.echo / seen.other / problem.sir_min).clamp(-0.5, 0.7)
        found = (self.target_price(target) - 6.0 * met[..., None] - 2.0).clamp(-20.0, 12.0)
        found = channel("price of targets", found).exp()
        return found[..., 0], found[..., 1]

    def _own_beams(
        self, problem: MaxMinSinrProblem, known: Neighbourhoods, power: Tensor, seen: Measured, channel: Channel
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Own-beam factor of each target, whether it can be met so, and what the target reads."""
        if not problem.num_constraints:
            nothing = power.new_zeros(len(power), problem.num_targets)
            return nothing, nothing, power.new_zeros(len(power), problem.num_targets, _TARGET_READS)
        factor, able, part = own_beam_factor(problem, channel("beams", own_beams(problem, known, power)), seen)
        met = logarithm(seen.echo / seen.other / problem.sir_min)
        return factor, able, torch.stack([scaled(met), factor, able, scaled(logarithm(part), 0.0, 2.0)], -1)

    def _link_reads(
        self,
        problem: MaxMinSinrProblem,
        seen: Measured,
        power: Tensor,
        share: Tensor,
        worth: Tensor,
        cost: Tensor,
        extra: Tensor,
        slope: Tensor,
    ) -> Float[Tensor, "drop link read"]:
        """What an AP reads of its links: shares, parts of the UEs' amplitudes, SINRs, worth, cost and price of the budget."""
        comm = problem.num_comm_links
        sensing = power.new_zeros(len(power), problem.num_links - comm)
        amplitude = problem.signal * problem.serving_power(power).sqrt() / seen.wanted.clamp_min(1e-20)[..., None]
        sinr = seen.log_sinr.repeat_interleave(problem.serving, 1)
        load = sum_at(power, problem.link_ap, problem.num_aps) / problem.budget
        columns = [
            scaled(share, -2.0, 2.0),
            torch.cat([amplitude.flatten(1), sensing], 1),
            scaled(torch.cat([sinr, sensing], 1), 1.0, 1.5),
            scaled(slope, 0.0, 1.5),
            scaled(logarithm(worth) - logarithm(cost), 0.0, 2.0),
            scaled(logarithm(cost) - logarithm(cost + extra), 0.0, 2.0),
            scaled(logarithm(load.gather(1, problem.link_ap)), 0.0, 1.0),
            scaled(logarithm(worth * problem.link_budget), 0.7, 4.0),
            scaled(logarithm(cost * problem.link_budget), 0.7, 4.0),
        ]
        return torch.stack(columns, -1)


class DistributedNetwork(nn.Module):
    """Rounds of messages with learned cells; see the module.

    Exit r is the answer after r rounds, of which each has weights of its own.
    """

    SYSTEM: ClassVar[str] = "tracking-distributed"
    FEATURE_VERSION: ClassVar[int] = 1

    def __init__(self, hidden: int = 32, rounds: int = 8, floats: int = 8, prices: int = 2, layers: int = 2) -> None:
        """Cells of width `hidden` for `rounds` rounds.

        Args:
            hidden: width of the private states.
            rounds: rounds that are trained; as many can be run at most.
            floats: learned numbers of a link's message, each way.
            prices: further prices that every UE announces, besides the classical one.
            layers: layers over each AP's own links before any message.
        """
        super().__init__()
        self.shape = {"hidden": hidden, "rounds": rounds, "floats": floats, "prices": prices, "layers": layers}
        self.hidden = hidden
        self.encode = _two_layers(ALONE, hidden, hidden)
        self.alone = nn.ModuleList(_AtAp(hidden) for _ in range(layers))
        self.first = _still(_two_layers(hidden, hidden, 1))
        self.encode_near = _two_layers(NEAR, hidden, hidden)
        self.cells = nn.ModuleList(_Round(hidden, floats, prices) for _ in range(rounds))

    @property
    def rounds(self) -> int:
        """Rounds that are trained."""
        return len(self.cells)

    def exits(
        self,
        problem: MaxMinSinrProblem,
        rounds: int | None = None,
        hears: Bool[Tensor, "drop ue ap"] | None = None,
        channel: Channel = clear,
        air: MaxMinSinrProblem | None = None,
    ) -> list[Float[Tensor, "drop link"]]:
        """Log shares of the budgets before any message and after each of `rounds` rounds, default all that are trained.

        `hears`: which APs hear which UEs, None for all; `channel`: what arrives of the messages; `air`: the
        coefficients of the air in which nodes measure, where they differ from those that the APs know.
        """
        known = neighbourhoods(problem, hears)
        link = self.encode(alone(problem, known))
        for layer in self.alone:
            link = layer(known, problem, link)
        comm = problem.num_comm_links
        served = known.at_ap[:, :, :comm].sum(-1).gather(1, problem.link_ap)
        start = -logarithm(served.clamp_min(1.0)) - 0.1
        start[:, comm:] = _FIRST_TARGET
        share = within_budgets(problem, start + self.first(link)[..., 0])
        found = [share]
        count = self.rounds if rounds is None else rounds
        if count:
            nothing = link.new_zeros(len(link), problem.num_ues + problem.num_targets, self.hidden)
            ue, target = nothing.split([problem.num_ues, problem.num_targets], 1)
            state = _State(link + self.encode_near(near(problem, known, channel)), ue, target, share)
            for cell in list(self.cells)[:count]:
                state = cell(problem, known, state, channel, air or problem)
                found.append(state.share)
        return found


def _read_ue(problem: MaxMinSinrProblem, seen: Measured, channel: Channel) -> Float[Tensor, "drop ue read"]:
    """What a UE reads: its SINR, disturbance, wanted power, and the sum of its serving gains, which its APs tell it."""
    gain = channel("gain", own_gain(problem)[..., None]).reshape(problem.signal.shape).sum(-1)
    wanted = 2.0 * logarithm(seen.wanted)
    columns = [scaled(seen.log_sinr, 1.0, 1.5), scaled(logarithm(seen.disturbance), 4.0, 2.5)]
    return torch.stack([*columns, scaled(wanted, 5.0, 3.0), scaled(logarithm(gain), 4.7, 3.0)], -1)


def _beams(problem: MaxMinSinrProblem) -> int:
    return links_per_target(problem) if problem.num_targets else 0


def _spread(node: Tensor, links: int) -> Tensor:
    """Each node's numbers on each of its links."""
    return node.repeat_interleave(links, 1) if links else node[:, :0]
