"""Allocators that predict directions and leave scales to the balancing layer: a trained network, and plain ascent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.allocation import FEASIBILITY_TOLERANCE, Proposal
from isac_torch.nn.ascent import ascend
from isac_torch.nn.balance import balance, start_logits
from isac_torch.nn.checkpoint import load_network
from isac_torch.nn.network import AllocationNetwork
from isac_torch.tracking.graph import link_graph
from isac_torch.tracking.problem import MaxMinSinrProblem

_CHUNK = 256
"""Drops that go through a network at once: more only costs memory."""
_FINAL_ITERATIONS, _FINAL_NEWTON = 24, 4
"""The last balancing layer runs in the problem's own precision until rows and budgets hold to rounding."""
_RESCUE_LENGTH = 0.5
"""Longer steps than usual: drops whose rows are missed lie far from where the untrained directions start."""

Directions = Callable[[MaxMinSinrProblem], Float[Tensor, "drop logit"]]


@dataclass(frozen=True)
class FirstOrder:
    """Adam on the directions through the balancing layer, from the untrained ones: what a network has to beat.

    Attributes:
        steps: gradient steps; 60 end within about one per cent of the optimum in the mean.
        length: of the first steps.
    """

    steps: int = 60
    length: float = 0.2
    name: str = field(default="first_order", init=False)
    gap: float = field(default=0.0, init=False)

    def propose(self, problem: MaxMinSinrProblem) -> Proposal:
        """Powers (W) of every link; one AP of each drop sends its whole budget."""
        return _propose(problem, lambda part: ascend(part, start_logits(part), self.steps, self.length))


@dataclass(frozen=True)
class LearnedAllocator:
    """A trained network, with two guards: plain ascent takes over drops whose rows it misses, NaNs are replaced.

    Attributes:
        network: predicts directions.
        rescue_steps: steps of ascent from the untrained directions on drops whose sensing rows the network misses (about 2 %
            of the paper's drops); its answer counts where it meets the rows. 0 leaves the network's answer.
    """

    network: AllocationNetwork
    rescue_steps: int = 60
    name: str = field(default="gnn", init=False)
    gap: float = field(default=0.0, init=False)

    @classmethod
    def load(cls, path: Path | str, rescue_steps: int = 60) -> LearnedAllocator:
        """The network stored at `path`. CheckpointError where it is missing, corrupt, or not made for these features."""
        network, _ = load_network(Path(path), AllocationNetwork)
        return cls(network, rescue_steps)

    def propose(self, problem: MaxMinSinrProblem) -> Proposal:
        """Powers (W) of every link; one AP of each drop sends its whole budget."""
        return _propose(problem, self._directions, self.rescue_steps)

    def _directions(self, problem: MaxMinSinrProblem) -> Tensor:
        self.network.eval()
        return self.network(problem, link_graph(problem))


def _propose(problem: MaxMinSinrProblem, directions: Directions, rescue_steps: int = 0) -> Proposal:
    """Powers of each part of the batch, in the problem's precision; directions are found in single precision."""
    with torch.no_grad():
        parts = torch.arange(problem.num_drops, device=problem.budget.device).split(_CHUNK)
        powers = [_answer(problem.select(part), directions) for part in parts]
        power = torch.cat(powers) if powers else problem.leakage.new_zeros(0, problem.num_links)
        missed = _missed(problem, power).nonzero().squeeze(-1)
        if rescue_steps and len(missed):
            _rescue(problem, power, missed, rescue_steps)
    return Proposal(power)


def _answer(problem: MaxMinSinrProblem, directions: Directions) -> Tensor:
    """Powers at the predicted directions; at the untrained ones where a prediction is not finite."""
    single = problem.cast(torch.float32)
    logits = directions(single)
    return _final(problem, torch.where(logits.isfinite().all(-1, keepdim=True), logits, start_logits(single)))


def _rescue(problem: MaxMinSinrProblem, power: Tensor, missed: Tensor, steps: int) -> None:
    """Put into `power` what ascent finds for the missed drops, wherever that meets the rows."""
    for part in missed.split(_CHUNK):
        drops = problem.select(part)
        single = drops.cast(torch.float32)
        found = _final(drops, ascend(single, start_logits(single), steps, _RESCUE_LENGTH))
        good = ~_missed(drops, found)
        power[part[good]] = found[good]


def _missed(problem: MaxMinSinrProblem, power: Tensor) -> Tensor:
    """Drops with a sensing row that is not met, half a tolerance early."""
    return problem.violations(power).sensing > 0.5 * FEASIBILITY_TOLERANCE


def _final(problem: MaxMinSinrProblem, logits: Tensor) -> Tensor:
    return balance(problem, logits.to(problem.budget.dtype), None, _FINAL_ITERATIONS, _FINAL_NEWTON).power
