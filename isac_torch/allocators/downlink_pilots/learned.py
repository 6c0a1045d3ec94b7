"""Allocators of the downlink-pilot system that climb in logits: a trained network, and plain ascent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.allocation import Proposal
from isac_torch.allocators.parts import in_parts
from isac_torch.downlink_pilots.graph import link_graph
from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
from isac_torch.nn.ascent import ascend
from isac_torch.nn.downlink_pilots.network import DownlinkPilotNetwork
from isac_torch.nn.downlink_pilots.shares import STEP_LENGTH, SharesHill, powers, start_logits

_CHUNK = 256
"""Drops that go through at once: more only costs memory."""
_RESCUE_WEIGHT = 30.0
"""Weight of missed localisation while a drop is being rescued."""


@dataclass(frozen=True)
class DownlinkPilotFirstOrder:
    """Adam on the logits of the shares, from the untrained ones: what a network has to beat.

    Attributes:
        steps: gradient steps.
    """

    steps: int = 40
    name: str = field(default="first_order", init=False)
    gap: float = field(default=0.0, init=False)

    def propose(self, problem: MinMaxNmseProblem) -> Proposal:
        """Powers (W) of every link."""
        return _propose(problem, lambda part: ascend(SharesHill(part), start_logits(part), self.steps, STEP_LENGTH), 0)


@dataclass(frozen=True)
class DownlinkPilotLearned:
    """A trained network; localisation bounds that it misses are worked on by plain ascent, NaNs are replaced.

    Attributes:
        network: predicts logits of shares; budgets hold by construction.
        rescue_steps: ascent steps on drops whose bounds the network misses; 0 leaves them as they are.

    Example:
        >>> import torch
        >>> from isac_torch import DownlinkPilotLearned, DownlinkPilotScenario, allocate, power_problem
        >>> scenario = DownlinkPilotScenario(num_aps=8, num_ues=3)
        >>> problem = power_problem(scenario.sample(5, generator=torch.Generator().manual_seed(1)), scenario)
        >>> from isac_torch.nn.checkpoint import load_network
        >>> from isac_torch.nn.downlink_pilots.network import DownlinkPilotNetwork
        >>> from isac_torch.weights import shipped_weights
        >>> network, _ = load_network(shipped_weights("downlink_pilots"), DownlinkPilotNetwork)
        >>> tuple(allocate(problem, DownlinkPilotLearned(network)).power.shape)   # W, [drop, link]
        (5, 24)
    """

    network: DownlinkPilotNetwork
    rescue_steps: int = 40
    name: str = field(default="gnn", init=False)
    gap: float = field(default=0.0, init=False)

    def propose(self, problem: MinMaxNmseProblem) -> Proposal:
        """Powers (W) of every link."""
        self.network.eval()
        return _propose(problem, lambda part: self.network(part, link_graph(part)), self.rescue_steps)


def _propose(problem: MinMaxNmseProblem, logits: Callable[[MinMaxNmseProblem], Tensor], rescue_steps: int) -> Proposal:
    """Powers of each part of the batch; logits are found in single precision."""
    with torch.no_grad():
        return in_parts(problem, _CHUNK, lambda part, _: Proposal(_answer(part, logits, rescue_steps)))


def _answer(
    problem: MinMaxNmseProblem, logits: Callable[[MinMaxNmseProblem], Tensor], rescue_steps: int
) -> Float[Tensor, "drop link"]:
    single = problem.cast(torch.float32)
    found = logits(single)
    found = torch.where(found.isfinite().all(-1, keepdim=True), found, start_logits(single))
    power = powers(problem, found.to(problem.budget.dtype))
    missed = (problem.violations(power).sensing > 0.5e-6).nonzero().squeeze(-1)
    if rescue_steps and len(missed):
        hill = SharesHill(single.select(missed), _RESCUE_WEIGHT)
        better = ascend(hill, found[missed], rescue_steps, STEP_LENGTH)
        power[missed] = powers(problem.select(missed), better.to(power.dtype))
    return power
