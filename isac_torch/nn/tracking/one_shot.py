"""A network for deployment: the problem in, directions out, by products and elementwise functions alone.

It corrects the untrained directions as `AllocationNetwork` does, fed with the gradient of the common SINR where it stands,
but that gradient is the closed form of `prices`, and nothing is split along an axis. So it can be exported with every size
left open.
At these sizes a call costs what its operations cost to start, so they are few: UEs, targets and APs are **nodes** of one kind,
exchanged with the links by three relations in one product each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isac_torch.nn.tracking.dense import TINY, DenseProblem
from isac_torch.nn.tracking.directions import DirectionNetwork
from isac_torch.nn.tracking.merit import MAX_MIN, Aim
from isac_torch.nn.tracking.prices import PricedPoint, priced_point
from isac_torch.tracking.problem import MaxMinSinrProblem

FEATURE_VERSION = 2
"""Raised with every change of meaning, order or scaling of the features: weights of another version are refused."""
_LINK_LOG = ((3.0, 5.0), (0.0, 10.0), (8.0, 3.0), (8.0, 3.0))
"""Mean and spread, nepers, of each feature of a link."""
_LINK, _LINK_EXTRA, _NODE_EXTRA = len(_LINK_LOG), 4, 6
_RELATIONS = 3
_LEAST, _MOST = 1e-8, 1e8
"""Numbers are held within these before their logarithm is read."""
_ITERATIONS = 4
"""Repetitions that balance the point whose prices are read."""
_NODE_LOG = 0.4
"""By which logarithms are scaled for the nodes."""


@dataclass(frozen=True)
class States:
    """Numbers of every link and every node (UEs, targets, APs), one row each: a state or inputs."""

    link: Float[Tensor, "drop link of_link"]
    node: Float[Tensor, "drop node of_node"]


@dataclass(frozen=True)
class Directions:
    """Logits of `balance` as rows.

    Attributes:
        link: of the shares of each UE's and target's links.
        owner: excess of each UE, then floor of each target.
        scale: of each UE and target at the untrained directions, the UEs' adding up to one: a start for balancing.
    """

    link: Float[Tensor, "drop 1 link"]
    owner: Float[Tensor, "drop 1 node"]
    scale: Float[Tensor, "drop 1 node"]


class OneShotNetwork(DirectionNetwork):
    """Corrects the untrained directions once, after `layers` message layers that read the prices there."""

    SYSTEM: ClassVar[str] = "tracking-one-shot"
    FEATURE_VERSION: ClassVar[int] = FEATURE_VERSION
    AIMS: ClassVar[tuple[Aim, ...]] = (MAX_MIN,)
    """What it can be asked for."""
    corrections: ClassVar[int] = 1
    log_scale: Tensor

    def __init__(self, hidden: int = 32, layers: int = 2) -> None:
        """Network of width `hidden`."""
        super().__init__()
        self.shape = {"hidden": hidden, "layers": layers}
        self.encode_link, self.encode_node = nn.Linear(_LINK, hidden), nn.Linear(_NODE_EXTRA, hidden)
        self.layers = nn.ModuleList(RelationLayer(hidden) for _ in range(layers))
        self.link_head, self.owner_head = nn.Linear(hidden, 1), nn.Linear(hidden, 1)
        for parameter in self.head_parameters():
            nn.init.zeros_(parameter)
        self.register_buffer("log_scale", torch.tensor(_LINK_LOG).mT.contiguous(), persistent=False)

    def forward(self, problem: MaxMinSinrProblem) -> Float[Tensor, "drop logit"]:
        """Directions for `balance`, laid out as its `logit_size` says."""
        found = self.directions(DenseProblem.of(problem))
        return torch.cat([found.link, found.owner], -1).squeeze(1)

    def points(self, problem: MaxMinSinrProblem, aim: Aim = MAX_MIN) -> list[Float[Tensor, "drop logit"]]:
        """The directions, as the only point on the way, for training; `aim` must be one of AIMS."""
        if aim not in self.AIMS:
            raise ValueError(f"{aim} is none of {self.AIMS}")
        return [self(problem)]

    def directions(self, problem: DenseProblem) -> Directions:
        """Directions for `balance`."""
        with torch.no_grad():
            weight = start_weights(problem)
            point = priced_point(problem, weight, _ITERATIONS)
            features, relations = _inputs(problem, weight)
            extra = _point_features(problem, point)
        state = States(self._encoded(features), self.encode_node(extra.node).relu())
        for layer in self.layers:
            state = layer(state, relations, extra)
        owners = state.node[:, : problem.owner.shape[0]]
        return Directions(weight.log() + self.link_head(state.link).mT, self.owner_head(owners).mT, point.scale)

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """Weights of the heads, which start at zero: an untrained network gives the untrained directions."""
        yield from self.link_head.parameters()
        yield from self.owner_head.parameters()

    def _encoded(self, features: Tensor) -> Tensor:
        """First states of the links. The logarithms' scaling is folded into the weights: an exported graph is spared it."""
        mean, spread = self.log_scale
        weight = self.encode_link.weight / spread
        return (features.mT @ weight.mT + (self.encode_link.bias - weight @ mean)).relu()


def start_weights(problem: DenseProblem) -> Float[Tensor, "drop 1 link"]:
    """Exponentials of the untrained directions `balance.start_logits`."""
    echo, cross = problem.own_echo, (problem.required * problem.owner).sum(1, keepdim=True)
    # 0 on serving links, which have no sensing constraint. A bound: exporters leave out the addition of a number as small
    # as TINY.
    ratio = echo * cross / (cross * cross).clamp_min(TINY)
    return (problem.signal + ratio * ratio).clamp(1e-12, 1e12)


class RelationLayer(nn.Module):
    """One exchange between links and nodes; the old states are added (residual)."""

    def __init__(
        self, hidden: int, relations: int = _RELATIONS, link_extra: int = _LINK_EXTRA, node_extra: int = _NODE_EXTRA
    ) -> None:
        """Layer of width `hidden` over that many relations, which reads further numbers of each link and node."""
        super().__init__()
        self.norm_link, self.norm_node = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.node = nn.Linear((1 + relations) * hidden + node_extra, hidden)
        self.link = nn.Linear((1 + relations) * hidden + link_extra, hidden)
        self.mix = nn.Linear(hidden, hidden)

    def forward(self, old: States, relations: list[Tensor], extra: States) -> States:
        """New states."""
        link, node = self.norm_link(old.link), self.norm_node(old.node)
        node = self.node(torch.cat([node, extra.node, *(weight @ link for weight in relations)], 2)).relu()
        answers = [weight.mT @ node for weight in relations]
        link = self.mix(self.link(torch.cat([link, extra.link, *answers], 2)).relu())
        return States(old.link + link, old.node + node)


def _inputs(problem: DenseProblem, weight: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Features of the links [drop, feature, link], and the relations to the nodes [drop, node, link].

    Features: untrained weight, amplitude, total and worst N P at the UEs, as logarithms. Relations: whose link it is; how loud
    it is, with its part in the clutter of a target; its part in all that a UE hears or in a target's own echo.
    """
    reach = problem.heard * problem.limit
    noise = [reach.sum(1, keepdim=True), reach.amax(1, keepdim=True)]
    features = torch.cat([weight, problem.signal, *noise], 1).clamp(_LEAST, _MOST).log()
    nothing = 0.0 * problem.sent
    whose = torch.cat([problem.owner + 0.0 * reach, problem.sent], 1)
    loud = _row_share(problem.required * problem.limit) + reach / (1.0 + reach) / problem.owner.sum()
    return features, [whose, *(torch.cat([part, nothing], 1) for part in (loud, _row_share(reach)))]


def _row_share(value: Tensor) -> Tensor:
    return value / value.sum(2, keepdim=True).clamp_min(TINY)


def _point_features(problem: DenseProblem, point: PricedPoint) -> States:
    """What links and nodes should know of a point.

    Link: slope of its logit and the two parts of that of its power, relative to the drop's slopes; power over the AP's budget.
    Node: UE, target or AP; worth of its power; margin of a constraint; whether its constraint or its budget decides; scale of
    a UE or target or load of an AP; interference over noise.
    """
    slope = point.useful - point.harm
    centred = slope - point.share * ((slope @ problem.owner.mT) @ problem.owner)
    size = (centred * centred).mean(2, keepdim=True).sqrt().clamp_min(1e-6)
    parts = torch.asinh(torch.cat([centred, point.useful, point.harm], 1) / size)
    sent = (point.power / (problem.limit * point.per_watt)).clamp(_LEAST, _MOST).log()
    nothing = 0.0 * point.load
    margin = (point.row / (point.power @ problem.heard.mT).clamp_min(TINY)).clamp(-4.0, 1.0)
    logs = [
        torch.cat([point.scale * problem.count, point.load], 2),
        torch.cat([1.0 + point.row / point.per_watt, nothing + 1.0], 2),
    ]
    read = [
        torch.cat([problem.is_ue - problem.is_target * point.active, nothing], 2),
        torch.asinh(torch.cat([point.price * point.scale * problem.count, point.budget_price], 2)),
        torch.cat([margin, nothing], 2),
        torch.cat([point.active, point.tight], 2),
        torch.cat(logs, 1).clamp(_LEAST, _MOST).log() * _NODE_LOG,
    ]
    return States(torch.cat([parts, sent], 1).mT, torch.cat(read, 1).mT)
