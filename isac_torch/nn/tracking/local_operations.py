"""What every AP computes for a distributed policy: multiplications with an addition, real ones, of its matrix products.

An AP with s serving and l sensing links (n = s + l), that hears h UEs and knows of C sensing constraints, with the programs of
u UEs and t targets, which run at the AP of their strongest link:

    once     n (encode + the layers at the AP + probe + encode near)
    a round  n (read + meet at the AP + move) + s up + l up + u (UE cell, prices, down) + t (target cell, prices, down)
             + n (h (1 + further prices) + 4 C)

A layer stands for its number of weights. The last line are the AP's own coefficients: the cost of its links to each UE heard,
once for every kind of price, and both sides of each constraint, as prices weigh them and as the AP reports them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from isac_torch.links import split_by_node
from isac_torch.nn.tracking.local_network import DistributedNetwork
from isac_torch.tensors import sum_at
from isac_torch.tracking.local.rounds import links_at_aps
from isac_torch.tracking.problem import MaxMinSinrProblem


@dataclass(frozen=True)
class Sets:
    """What an AP has to do with, as numbers of nodes.

    Attributes:
        serving, sensing: its links.
        heard: UEs that it hears.
        ues, targets: nodes whose programs run at it.
        constraints: sensing constraints that it knows of.
    """

    serving: Float[Tensor, "drop ap"]
    sensing: Float[Tensor, "drop ap"]
    heard: Float[Tensor, "drop ap"]
    ues: Float[Tensor, "drop ap"]
    targets: Float[Tensor, "drop ap"]
    constraints: float


@dataclass(frozen=True)
class Operations:
    """Multiplications of each transmit AP.

    Attributes:
        once: before the first round.
        each_round: in a round.
    """

    once: Float[Tensor, "drop ap"]
    each_round: Float[Tensor, "drop ap"]

    def of_rounds(self, rounds: int) -> Float[Tensor, "drop ap"]:
        """Of a decision after so many rounds."""
        return self.once + rounds * self.each_round


def drawn_sets(problem: MaxMinSinrProblem, hears: Bool[Tensor, "drop ue ap"] | None = None) -> Sets:
    """The sets of drawn networks. Args: hears, which APs hear which UEs besides those that they serve; None: all."""
    serving, sensing = split_by_node(problem, links_at_aps(problem))
    served = serving.sum(-1).mT > 0
    pairs = torch.ones_like(served) if hears is None else hears | served
    first = problem.link_ap[:, : problem.num_comm_links].reshape(problem.signal.shape)
    master = first.gather(2, problem.signal.argmax(2, keepdim=True))[..., 0]
    sensing_master = (
        problem.link_ap[:, problem.num_comm_links :].reshape(len(first), problem.num_targets, -1)[..., :1].flatten(1)
    )

    def at_aps(index: Tensor) -> Tensor:
        return sum_at(torch.ones_like(index, dtype=problem.budget.dtype), index, problem.num_aps)

    return Sets(
        serving=serving.flatten(2).sum(-1),
        sensing=sensing.flatten(2).sum(-1),
        heard=pairs.to(problem.budget).sum(1),
        ues=at_aps(master),
        targets=at_aps(sensing_master),
        constraints=float(problem.num_constraints),
    )


def expected_sets(size: tuple[int, int, int], links: tuple[int, int], heard: float, constraints: float) -> Sets:
    """The sets of the mean AP.

    Args:
        size: transmit APs, UEs, targets.
        links: serving links of each UE, sensing links of each target.
        heard: share of the UEs that an AP hears.
        constraints: sensing constraints of the network.
    """
    aps, ues, targets = size

    def of_one(value: float) -> Tensor:
        return torch.full((1, 1), value, dtype=torch.float64)

    return Sets(
        serving=of_one(ues * links[0] / aps),
        sensing=of_one(targets * links[1] / aps),
        heard=of_one(ues * heard),
        ues=of_one(ues / aps),
        targets=of_one(targets / aps),
        constraints=constraints,
    )


def operations(policy: DistributedNetwork, sets: Sets) -> Operations:
    """The formulas at the head of this file."""
    links, prices = sets.serving + sets.sensing, policy.shape["prices"]
    layers = (
        _weights(policy.cells[0], "read", "at_ap", "move") * links
        + _weights(policy.cells[0], "up_ue") * sets.serving
        + _weights(policy.cells[0], "up_target") * sets.sensing
        + _weights(policy.cells[0], "ue", "ue_price", "down_ue") * sets.ues
        + _weights(policy.cells[0], "target", "target_price", "down_target") * sets.targets
    )
    own = links * (sets.heard * (1.0 + prices) + 4.0 * sets.constraints)
    return Operations(_weights(policy, "encode", "alone", "probe", "encode_near") * links, layers + own)


def _weights(module: nn.Module, *names: str) -> float:
    """Weights of all matrices of these parts of a module: the multiplications of one input."""
    parts = [part for name in names for part in module.get_submodule(name).modules()]
    return float(sum(part.weight.numel() for part in parts if isinstance(part, nn.Linear)))
