"""The classical distributed method with a few trained numbers per round: price steps, unfolded.

Every round, with the prices and marginals of `local_rounds`,

    u_k ~ SINR_k^(1 - alpha_r),   w_l <- w_l (required_l / quality_l)^g_r,
    z_e <- z_e + length_r log(n_e / (d_e + lambda_m)),

and each target also scales its own beams towards what its sensing constraint requires. Everything is a known algorithm; only
the about ten numbers of each round come from training. It is the baseline that a learned policy has to beat.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isac_torch.links import links_per_target
from isac_torch.tensors import max_at, sum_at
from isac_torch.tracking.local.policy import LocalPolicy, LocalState
from isac_torch.tracking.local.rounds import (
    AIR,
    Channel,
    Neighbourhoods,
    announced,
    budget_price,
    clear,
    logarithm,
    measured,
    own_beam_factor,
    own_beams,
    within_budgets,
    worth_and_cost,
)
from isac_torch.tracking.problem import MaxMinSinrProblem

_MOST_STEP = 4.0
"""Nepers; longest step of a link's power in one round, before the length."""


class UnfoldedPrices(LocalPolicy[Tensor], nn.Module):
    """Price steps whose exponents, lengths and gains are trained, one set for each round.

    Exit r is the answer after r rounds; beyond the rounds that are trained the last one is repeated.
    """

    SYSTEM: ClassVar[str] = "tracking-unfolded"
    FEATURE_VERSION: ClassVar[int] = 1

    def __init__(self, rounds: int = 8) -> None:
        """Steps for `rounds` rounds, at the values of a plain price method."""
        super().__init__()
        self.shape = {"rounds": rounds}
        self.start = nn.Parameter(torch.tensor([0.6, -2.3, 0.5]))
        """Exponent of a UE's gain at the AP, log share of targets, exponent of a target's gain."""
        self.expected = nn.Parameter(torch.full((rounds,), 0.5))
        """log SINR at which a UE's price is one."""
        self.fairness = nn.Parameter(torch.full((rounds,), 5.0))
        self.log_length = nn.Parameter(torch.zeros(rounds))
        self.sensing_length = nn.Parameter(torch.zeros(rounds))
        self.first_price = nn.Parameter(torch.tensor(1.0))
        self.integral = nn.Parameter(torch.full((rounds,), 2.0))
        self.proportional = nn.Parameter(torch.full((rounds,), 1.0))
        self.margin = nn.Parameter(torch.full((rounds,), 0.05))
        self.own_step = nn.Parameter(torch.full((rounds,), 0.7))
        self.own_rest = nn.Parameter(torch.full((rounds,), 0.3))

    @property
    def rounds(self) -> int:
        """Rounds that are trained."""
        return len(self.fairness)

    def begin(self, problem: MaxMinSinrProblem, known: Neighbourhoods, channel: Channel | None = clear) -> LocalState:
        """Fractional power control, and a first price for every sensing constraint."""
        return LocalState(
            within_budgets(problem, self._first(problem)), (self.first_price + torch.zeros_like(problem.sir_min),)
        )

    def advance(
        self,
        problem: MaxMinSinrProblem,
        known: Neighbourhoods,
        state: LocalState,
        index: int,
        channel: Channel = clear,
        air: MaxMinSinrProblem | None = None,
    ) -> LocalState:
        """Shares and prices after one more round."""
        number = min(index, self.rounds - 1)
        share, price = self._round(number, problem, known, state.share, state.private[0], channel, air or problem)
        return LocalState(share, (price,))

    def _first(self, problem: MaxMinSinrProblem) -> Float[Tensor, "drop link"]:
        """Fractional power control: the share of a UE, and of a target, by its gain relative to the AP's best of its kind."""
        gain, comm = problem.link_gain.log(), problem.num_comm_links
        exponent, target, target_exponent = self.start
        blocks = []
        for value, index in zip(
            gain.split([comm, problem.num_links - comm], 1),
            problem.link_ap.split([comm, problem.num_links - comm], 1),
            strict=True,
        ):
            blocks.append(value - max_at(value, index, problem.num_aps).nan_to_num(neginf=0.0).gather(1, index))
        share = torch.cat([exponent * blocks[0], target + target_exponent * blocks[1]], 1)
        total = logarithm(sum_at(share.exp(), problem.link_ap, problem.num_aps)).gather(1, problem.link_ap)
        return share - total - 0.05

    def _round(
        self,
        index: int,
        problem: MaxMinSinrProblem,
        known: Neighbourhoods,
        share: Float[Tensor, "drop link"],
        price: Float[Tensor, "drop constraint"],
        channel: Channel,
        air: MaxMinSinrProblem,
    ) -> tuple[Float[Tensor, "drop link"], Float[Tensor, "drop constraint"]]:
        power = share.exp() * known.limit
        seen = measured(air, channel(AIR, power[..., None])[..., 0])
        fairness = self.fairness[index].clamp(1.2, 20.0)
        log_price = ((1.0 - fairness) * (seen.log_sinr.clamp_min(-14.0) - self.expected[index])).clamp(-20.0, 20.0)
        log_price = channel("price of UEs", log_price[..., None])[..., 0]
        pair, told = None, announced(seen, channel)
        if problem.num_constraints:
            missing = self.margin[index] + problem.sir_min.log() + seen.other.log() - seen.echo.log()
            missing = missing.clamp(-2.0, 2.0)
            price = (price + self.integral[index] * missing).clamp(-15.0, 7.0)
            now = channel("price of targets", (price + self.proportional[index] * missing).clamp(-15.0, 8.0)[..., None])
            now = now[..., 0].exp()
            pair = (now, now)
        worth, cost = worth_and_cost(problem, known, power, told, log_price, pair)
        length = 2.0 / (1.0 + fairness) * self.log_length[index].exp()
        with torch.no_grad():
            extra = budget_price(problem, power * worth.clamp_min(1e-20) ** length, cost, length)
        step = length * (logarithm(worth) - logarithm(cost + extra.gather(1, problem.link_ap))).clamp(-_MOST_STEP, _MOST_STEP)
        comm = problem.num_comm_links
        if problem.num_targets:
            beams = step[:, comm:] * self.sensing_length[index].exp()
            if problem.num_constraints:
                beams_of = channel("beams", own_beams(problem, known, power.detach()))
                factor, able, _ = own_beam_factor(problem, beams_of, seen)
                factor, able = channel("factor of targets", torch.stack([factor, able], -1)).unbind(-1)
                rest = self.own_rest[index] + (1.0 - self.own_rest[index]) * (1.0 - able)
                every = links_per_target(problem)
                beams = beams * rest.repeat_interleave(every, 1) + self.own_step[index] * factor.repeat_interleave(every, 1)
            step = torch.cat([step[:, :comm], beams], 1)
        return within_budgets(problem, share + step), price
