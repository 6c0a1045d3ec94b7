"""Distributed power control towards a common target SINR: a classical baseline with a few messages per round.

Each UE divides its power over its serving APs in proportion to their amplitude gains. In every round an AP tells its UEs its
load and the mean log SINR of the UEs that it serves; UE k then moves its total power t_k towards the mean of what it hears,

    log t_k <- log t_k + (mean log SINR around k - log SINR_k) / 2 - log(largest load around k) / 2,

the power control of Foschini and Miljanic (1993) with a target SINR that follows the neighbourhood. A target scales its beams
by what its sensing constraint misses, at most by 4. APs that would exceed their budget scale all their links down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.allocation import Proposal
from isac_torch.errors import AllocationError
from isac_torch.links import own_constraints, split_by_node
from isac_torch.tensors import sum_at
from isac_torch.tracking.problem import MaxMinSinrProblem

_STEP = 0.5
_FIRST_SHARE, _FIRST_TARGET = 0.5, 0.02
"""Share of the tightest budget that UEs start with; a target's power over a UE's at the start."""
_MARGIN, _MOST = 1.03, math.log(4.0)


@dataclass(frozen=True)
class SinrTracking:
    """Distributed target-SINR tracking, stopped after some rounds.

    Attributes:
        rounds: of messages.

    Example:
        >>> SinrTracking(4).name
        'sinr_tracking_r4'
    """

    rounds: int = 4
    gap: float = field(default=0.0, init=False)

    @property
    def name(self) -> str:
        """sinr_tracking_r4, with the number of rounds."""
        return f"sinr_tracking_r{self.rounds}"

    def propose(self, problem: MaxMinSinrProblem) -> Proposal:
        """Powers (W) of every link within every budget.

        Raises:
            AllocationError: the sensing constraints ask for watts (SICNR, scan cells, positions).
        """
        if problem.asks_for_watts:
            raise AllocationError(f"{self.name} knows sensing constraints on the SIR only; give requirement sir or none")
        serves, lights = _splits(problem)
        around = _neighbours(problem)
        first = problem.budget.amin(-1) / _load(problem, serves.flatten(1)).amax(-1).clamp_min(1e-30)
        ue = (_FIRST_SHARE * first).log()[:, None] + torch.zeros_like(problem.signal[..., 0])
        target = ue.mean(-1, keepdim=True) + math.log(_FIRST_TARGET) + ue.new_zeros(len(ue), problem.num_targets)
        power, load = _sent(problem, serves, lights, ue, target)
        for _ in range(self.rounds):
            log_sinr = problem.sinr(power).clamp_min(1e-12).log()
            heard = (around @ log_sinr[..., None])[..., 0]
            busiest = _busiest(problem, load).log().clamp(-2.0 * math.log(2.0), 2.0 * math.log(2.0))
            ue = ue + _STEP * (heard - log_sinr - busiest)
            if problem.num_constraints:
                missing = (_MARGIN * problem.sir_min / problem.sir(power).clamp_min(1e-12)).log()
                target = target + missing.clamp(-_MOST, _MOST)
                target = torch.minimum(target, ue.exp().mean(-1, keepdim=True).log() + math.log(2.0))
            power, load = _sent(problem, serves, lights, ue, target)
        return Proposal(power)


def _splits(problem: MaxMinSinrProblem) -> tuple[Tensor, Tensor]:
    """How each UE and each target divides its power over its links; each adds up to one."""
    serves = problem.signal / problem.signal.sum(-1, keepdim=True).clamp_min(1e-30)
    if not problem.num_targets:
        return serves, serves[:, :0]
    _, block = split_by_node(problem, torch.ones_like(problem.link_gain))
    if problem.num_constraints:
        gain = own_constraints(problem, problem.echo / problem.cross_echo.clamp_min(1e-30))
        block = gain.clamp(1e-6, 1e6).square()
    return serves, block / block.sum(-1, keepdim=True)


def _sent(problem: MaxMinSinrProblem, serves: Tensor, lights: Tensor, ue: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Powers (W) within the budgets, and the load of every AP before they are kept."""
    asked = torch.cat([(ue.exp()[..., None] * serves).flatten(1), (target.exp()[..., None] * lights).flatten(1)], 1)
    load = _load(problem, asked)
    return asked / load.clamp_min(1.0).gather(1, problem.link_ap), load


def _load(problem: MaxMinSinrProblem, asked: Tensor) -> Float[Tensor, "drop ap"]:
    """Power over budget of every AP; `asked` of the first links, W."""
    return sum_at(asked, problem.link_ap[:, : asked.shape[1]], problem.num_aps) / problem.budget


def _serving(problem: MaxMinSinrProblem) -> Float[Tensor, "drop ue ap"]:
    """1 where an AP serves a UE."""
    index = problem.link_ap[:, : problem.num_comm_links].reshape(-1, problem.num_ues, problem.serving)
    none = problem.signal.new_zeros(*index.shape[:2], problem.num_aps)
    return none.scatter(2, index, 1.0)


def _neighbours(problem: MaxMinSinrProblem) -> Float[Tensor, "drop ue ue"]:
    """Weights of the mean over what a UE's APs tell it: each tells the mean over the UEs that it serves."""
    serves = _serving(problem)
    of_aps = serves.mT / serves.sum(1).clamp_min(1.0)[..., None]
    return serves @ of_aps / serves.sum(-1, keepdim=True).clamp_min(1.0)


def _busiest(problem: MaxMinSinrProblem, load: Float[Tensor, "drop ap"]) -> Float[Tensor, "drop ue"]:
    """Largest load among the APs of each UE."""
    return (_serving(problem) * load[:, None]).amax(-1).clamp_min(1e-6)
