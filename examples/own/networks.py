"""A graph network of one's own, trained by `isac-torch train` and judged by `isac-torch evaluate`; docs/own.md explains it.

From the clone's folder, after `export PYTHONPATH=examples/own`:

    isac-torch generate --scenario.num_aps 8 --scenario.num_ues 6 --scenario.num_targets 2 --num_drops 48 --shard_size 12 \
        --seed 3 --output runs/drops
    isac-torch train --config examples/own/train.yaml --data.init_args.path runs/drops --output runs/own
    isac-torch evaluate --scenario.num_aps 8 --scenario.num_ues 6 --scenario.num_targets 2 --num_drops 20 \
        --seed 1 --allocators "[upc, 'networks:ApNetwork', opc_batched]" --checkpoint runs/own/model.pt --output runs/table
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import isac_torch as it
from isac_torch.graph import LinkGraph
from isac_torch.tracking.graph import LINK_FEATURES


class ApNetwork(nn.Module):
    """Links exchange messages with the other links of their AP. Any number of APs, UEs and targets."""

    def __init__(self, hidden: int = 16, layers: int = 2) -> None:
        """Network of width `hidden`."""
        super().__init__()
        self.encode = nn.Linear(LINK_FEATURES, hidden)
        self.layers = nn.ModuleList(nn.Linear(2 * hidden, hidden) for _ in range(layers))
        self.head = nn.Linear(hidden, 1)
        nn.init.zeros_(self.head.weight)  # begins with the directions that need no training
        nn.init.zeros_(self.head.bias)

    def forward(self, problem: it.MaxMinSinrProblem, graph: LinkGraph) -> Tensor:
        """Change of the logarithm of every link's share, [drop, link]."""
        state = self.encode(graph.link).relu()
        for layer in self.layers:
            state = state + layer(torch.cat([state, of_ap(state, problem)], -1)).relu()
        return torch.as_tensor(self.head(state).squeeze(-1))


def of_ap(state: Tensor, problem: it.MaxMinSinrProblem) -> Tensor:
    """Mean state of the links of each link's AP, [drop, link, hidden]."""
    place = problem.link_ap[..., None].expand_as(state)
    empty = state.new_zeros(len(state), problem.num_aps, state.shape[-1])
    return empty.scatter_reduce(1, place, state, "mean", include_self=False).gather(1, place)
