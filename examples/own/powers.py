"""Allocators, a network and channel gains of one's own, without touching the package; docs/own.md explains them.

From this folder:

    PYTHONPATH=. isac-torch evaluate --scenario.num_aps 8 --scenario.num_ues 6 --scenario.num_targets 2 --num_drops 20 \
        --seed 1 --allocators "[upc, 'powers:half', 'powers:StrongestAp', 'powers:learned', opc_batched]" --output table
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor, nn

import isac_torch as it
from isac_torch.allocation import equal_split
from isac_torch.tracking.drop import TrackingDrop
from isac_torch.tracking.graph import LINK_FEATURES, link_graph


def half(problem: it.MaxMinSinrProblem) -> Tensor:
    """A function is an allocator: half of each budget, split equally over the links of the AP. W, [drop, link]."""
    return 0.5 * equal_split(problem)


@dataclass(frozen=True)
class StrongestAp:
    """Each AP favours the UEs for which it is the strongest; links of targets get `weight`. It offers no certificate.

    Attributes:
        weight: of a link of a target, where the strongest link of a UE has 1.
    """

    weight: float = 0.1
    name: str = "strongest_ap"
    gap: float = 0.0

    def propose(self, problem: it.MaxMinSinrProblem) -> it.Proposal:
        """Powers of every link, W, [drop, link]: weights, scaled so that every AP sends its budget."""
        gain = problem.signal.square()
        relative = (gain / gain.amax(-1, keepdim=True)).flatten(1)
        targets = relative.new_full((len(relative), problem.num_links - problem.num_comm_links), self.weight)
        return it.Proposal(filled(problem, torch.cat([relative, targets], 1)))


def filled(problem: it.MaxMinSinrProblem, weight: Tensor) -> Tensor:
    """Powers in proportion to `weight` on the links of an AP, which sends its whole budget, W."""
    share = weight.clamp_min(1e-12)
    return share / problem.ap_load(share).gather(1, problem.link_ap) * problem.link_budget


class LinkNetwork(nn.Module):
    """A network of one's own: it reads the features of each link and gives the logarithm of its weight."""

    def __init__(self, hidden: int = 16) -> None:
        """A perceptron with one hidden layer."""
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(LINK_FEATURES, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, problem: it.MaxMinSinrProblem) -> Tensor:
        """Powers of every link, W, [drop, link]."""
        first = self.layers[0]
        assert isinstance(first, nn.Linear)  # noqa: S101 - for the type checker
        link = link_graph(problem).link.to(first.weight.dtype)
        return filled(problem, self.layers(link).squeeze(-1).exp().to(problem.budget.dtype))


@cache
def trained(steps: int = 60, seed: int = 1) -> LinkNetwork:
    """A network trained for the mean log of the smallest SINR, on fresh drops of 8 APs, 6 UEs and 2 targets."""
    torch.manual_seed(seed)
    scenario = it.TrackingScenario.of_size("8x6x2")
    problem = it.power_problem(scenario.sample(64, generator=torch.Generator().manual_seed(seed)), scenario)
    network = LinkNetwork()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(steps):
        optimiser.zero_grad()
        loss = -problem.objective(network(problem)).log().mean()
        loss.backward()
        optimiser.step()
    return network.eval().requires_grad_(False)


def learned(problem: it.MaxMinSinrProblem) -> Tensor:
    """The trained network as an allocator. W, [drop, link]. Weights of a real one would come from a file."""
    return torch.as_tensor(trained()(problem))


def indoor(count: int, seed: int = 1) -> tuple[TrackingDrop, it.TrackingScenario]:
    """Drops with gains of one's own: a hall of 60 m where gains fall with the square of the distance, and budgets of 0.1 W.

    Returns:
        The drops, and the scenario that says how to read them.
    """
    scenario = it.TrackingScenario.of_size("8x6x2", ap_power=0.1)
    drop = scenario.sample(count, generator=torch.Generator().manual_seed(seed))
    scale = 60.0 / scenario.side
    placed = {
        name: getattr(drop, name) * drop.tx_position.new_tensor([scale, scale, 0.3])
        for name in ("tx_position", "rx_position", "ue_position", "target_position")
    }
    distance = torch.cdist(placed["ue_position"], placed["tx_position"]).clamp_min(1.0)
    gain = (299_792_458.0 / scenario.carrier_frequency / (4.0 * math.pi * distance)).square()
    serving = gain.topk(drop.serving_ap.shape[-1], dim=-1).indices
    return replace(drop, **placed, ue_gain=gain, serving_ap=serving), scenario
