"""Allocators of the downlink-pilot system that climb in logits: a trained network, and plain ascent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.allocation import Proposal
from isac_torch.allocators.downlink_pilots.batched import BatchedMinMaxNmse
from isac_torch.allocators.parts import in_parts
from isac_torch.downlink_pilots.graph import link_graph
from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
from isac_torch.nn.ascent import ascend
from isac_torch.nn.downlink_pilots.network import DownlinkPilotNetwork
from isac_torch.nn.downlink_pilots.shares import STEP_LENGTH, SharesHill, powers, start_logits

_CHUNK = 256
"""Drops that go through at once: more only costs memory."""
_MISSED = 0.5e-6
"""Relative shortfall of a localisation bound from which on a drop is given to the engine."""


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
        return _propose(problem, lambda part: ascend(SharesHill(part), start_logits(part), self.steps, STEP_LENGTH), False)


@dataclass(frozen=True)
class DownlinkPilotLearned:
    """A trained network; drops whose localisation bounds it misses are answered by the batched engine, NaNs are replaced.

    Attributes:
        network: predicts logits of shares; budgets hold by construction.
        repair: whether drops whose bounds the network misses go to the engine, without certificate.

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
    repair: bool = True
    name: str = field(default="gnn", init=False)
    gap: float = field(default=0.0, init=False)

    def propose(self, problem: MinMaxNmseProblem) -> Proposal:
        """Powers (W) of every link."""
        self.network.eval()
        return _propose(problem, lambda part: self.network(part, link_graph(part)), self.repair)


def _propose(problem: MinMaxNmseProblem, logits: Callable[[MinMaxNmseProblem], Tensor], repair: bool) -> Proposal:
    """Powers of each part of the batch; logits are found in single precision."""
    with torch.no_grad():
        return in_parts(problem, _CHUNK, lambda part, _: Proposal(_answer(part, logits, repair)))


def _answer(
    problem: MinMaxNmseProblem, logits: Callable[[MinMaxNmseProblem], Tensor], repair: bool
) -> Float[Tensor, "drop link"]:
    single = problem.cast(torch.float32)
    found = logits(single)
    found = torch.where(found.isfinite().all(-1, keepdim=True), found, start_logits(single))
    power = powers(problem, found.to(problem.budget.dtype))
    missed = (problem.violations(power).sensing > _MISSED).nonzero().squeeze(-1)
    if repair and len(missed):
        power[missed] = BatchedMinMaxNmse(max_boxes=0).propose(problem.select(missed)).power.to(power.dtype)
    return power
