"""The allocating network for sensing constraints of any kind: shares of the budgets, corrected where they stand.

Everything that a constraint asks for enters as numbers about the point where the network stands, which at first are the
reference powers: by how much each constraint is met there (under `dominate` minus the logarithm of its factor), of which kind
it is, and how its quality changes with each link's power. So one set of weights serves every kind and factor, any number of
scan cells, one or no target, and any network size. It consists of products and elementwise functions of a `ShareProblem`, and
can be exported with every size left open.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isac_torch.graph import standardised
from isac_torch.nn.ascent import LearnedSteps
from isac_torch.nn.tracking.merit import MAX_MIN, Aim
from isac_torch.nn.tracking.one_shot import RelationLayer, States
from isac_torch.nn.tracking.shares import (
    Logits,
    ShareHill,
    SharePoint,
    share_point,
    share_power,
    slopes,
    start_shares,
    training_loss,
)
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.share_problem import ShareProblem

FEATURE_VERSION = 2
"""Raised with every change of meaning, order or scaling of the features: weights of another version are refused."""
_LINK, _LINK_EXTRA = 5, 4
_KINDS = 5
_NODE_EXTRA = _KINDS + 3
_RELATIONS = 3
_GAIN, _LEAK, _PART = (15.0, 15.0), (35.0, 12.0), (-5.0, 5.0)
"""Mean and spread, dB, of a serving link's gain times its budget, of the disturbance by a link at full budget, and of a budget
over the largest."""
_POINT_WEIGHT, _POINT_SHARPNESS = 1.0, 30.0
"""Weight of missing quality and sharpness of the smallest SINR in the gradients that the layers read."""
_SHORTER = 0.7
"""Length of learned steps after training over that in training, chosen among 0.6 to 1 for the shipped weights: one pass reaches
0.955 of the optimum at 32x32x8 instead of 0.947, and 0.960 at 16x16x4 instead of 0.955 (16 and 40 drops, seeds 945,300 and
945,400)."""


@dataclass(frozen=True)
class _Stand:
    """What links and nodes should know of the point where the network stands, and the relations between both."""

    extra: States
    relations: list[Tensor]


class ShareNetwork(nn.Module):
    """Corrects the reference powers in three stages, each fed with the gradient of the merit where it stands.

    1. `layers` message layers, then a first correction. 2. `refinements` message layers, each with a correction of its own.
    3. `steps` learned steps, shaped like Adam's, whose lengths the state of the link or AP decides.
    """

    SYSTEM: ClassVar[str] = "tracking-shares"
    FEATURE_VERSION: ClassVar[int] = FEATURE_VERSION
    AIMS: ClassVar[tuple[Aim, ...]] = (MAX_MIN,)
    """What it can be asked for."""

    def __init__(self, hidden: int = 32, layers: int = 2, refinements: int = 1, steps: int = 16) -> None:
        """Network of width `hidden`; zero `refinements` or `steps` leave that stage out."""
        super().__init__()
        self.shape = {"hidden": hidden, "layers": layers, "refinements": refinements, "steps": steps}
        self.encode_link, self.encode_node = nn.Linear(_LINK + _LINK_EXTRA, hidden), nn.Linear(_NODE_EXTRA, hidden)
        sizes = (hidden, _RELATIONS, _LINK_EXTRA, _NODE_EXTRA)
        self.layers = nn.ModuleList(RelationLayer(*sizes) for _ in range(layers))
        self.refinements = nn.ModuleList(RelationLayer(*sizes) for _ in range(refinements))
        self.link_heads = nn.ModuleList(nn.Linear(hidden, 1) for _ in range(1 + refinements))
        self.ap_heads = nn.ModuleList(nn.Linear(hidden, 1) for _ in range(1 + refinements))
        for parameter in [*self.link_heads.parameters(), *self.ap_heads.parameters()]:
            nn.init.zeros_(parameter)
        self.stepper = LearnedSteps(hidden, steps, after_training=_SHORTER) if steps else None

    @property
    def corrections(self) -> int:
        """Corrections before the learned steps."""
        return len(self.link_heads)

    def forward(self, problem: ShareProblem) -> Logits:
        """Logits for `share_power`."""
        return list(self._trajectory(problem))[-1]

    def points(self, problem: MaxMinSinrProblem, aim: Aim = MAX_MIN) -> list[Logits]:
        """Logits after each correction and each step; in evaluation mode the best of the steps comes once more, last."""
        if aim not in self.AIMS:
            raise ValueError(f"{aim} is none of {self.AIMS}")
        return list(self._trajectory(ShareProblem.of(problem)))

    def _trajectory(self, problem: ShareProblem) -> Iterator[Logits]:
        logits = start_shares(problem)
        stand = _stand(problem, share_point(problem, logits))
        features = torch.cat([_link_features(problem), stand.extra.link], 2)
        state = States(self.encode_link(features).relu(), self.encode_node(stand.extra.node).relu())
        for layer in self.layers:
            state = layer(state, stand.relations, stand.extra)
        logits = logits + self._correction(0, state, problem)
        yield logits
        for index, layer in enumerate(self.refinements, 1):
            stand = _stand(problem, share_point(problem, logits))
            state = layer(state, stand.relations, stand.extra)
            logits = logits + self._correction(index, state, problem)
            yield logits
        if self.stepper is not None:
            both = torch.cat([state.link, state.node[:, : problem.sent.shape[1]]], 1)
            yield from self.stepper(both, ShareHill(problem), logits)

    def _correction(self, index: int, state: States, problem: ShareProblem) -> Tensor:
        link, ap = self.link_heads[index](state.link), self.ap_heads[index](state.node[:, : problem.sent.shape[1]])
        return torch.cat([link, ap], 1).squeeze(2)

    def power(self, problem: MaxMinSinrProblem, logits: Logits, aim: Aim = MAX_MIN) -> Float[Tensor, "drop link"]:
        """Powers (W) of the logits that the network gives."""
        return share_power(ShareProblem.of(problem), logits)

    def loss(
        self, problem: MaxMinSinrProblem, logits: Logits, sensing_weight: float, aim: Aim = MAX_MIN
    ) -> Float[Tensor, " drop"]:
        """What training minimises, per drop."""
        return training_loss(ShareProblem.of(problem), logits, sensing_weight)


def _link_features(problem: ShareProblem) -> Float[Tensor, "drop link feature"]:
    """Whether the link serves; gain times budget over the noise; disturbance at full budget; share in the reference powers;
    budget over the largest.
    """
    limit = problem.budget @ problem.sent
    serves = (problem.signal > 0).to(limit.dtype)
    gain = standardised(problem.signal * problem.signal * limit, _GAIN) * serves
    leak = standardised(problem.leakage.sum(1, keepdim=True) * limit, _LEAK)
    part = standardised(limit / problem.budget.amax(2, keepdim=True), _PART)
    return torch.cat([serves, gain, leak, problem.reference / limit, part], 1).mT


def _stand(problem: ShareProblem, point: SharePoint) -> _Stand:
    """Extra numbers of links: gradient of the merit, its part by the UEs, both relative to the drop's; power over budget as a
    logarithm and as it is. Of nodes: kind; unused budget, log SINR over the smallest, or log quality, in three ways. Relations,
    node by link: whose it is; how much it changes a load, a SINR or a quality, without and with its sign.
    """
    at = point.at
    links = problem.sent.shape[2]
    with torch.no_grad():
        both = torch.stack(slopes(point, problem, _POINT_WEIGHT, _POINT_SHARPNESS), 2)
        size = (both[..., :1] * both[..., :1]).mean(1, keepdim=True).sqrt() + 1e-6
        share = (point.power / (problem.budget @ problem.sent)).mT
        link = torch.cat([torch.asinh(both[:, :links] / size), standardised(share, (-10.0, 5.0)), share], 2)
        above = at.log_sinr - at.log_sinr.amin(1, keepdim=True)
        load = problem.sent * share.mT
        margin = torch.cat([1.0 - load.sum(2), above, at.log_quality], 1)
        read = torch.stack([(5.0 * margin).tanh(), margin.clamp(-2.0, 2.0), (-20.0 * margin.abs()).exp()], 2)
        nothing = 0.0 * at.quality_slope
        served = problem.serves / problem.serves.sum(2, keepdim=True).clamp_min(1.0)
        relations = [
            torch.cat([problem.sent / 8.0, served, nothing], 1),
            torch.cat([load, at.disturbance, at.quality_slope.abs()], 1),
            torch.cat([0.0 * load, -at.disturbance, at.quality_slope], 1),
        ]
        return _Stand(States(link, torch.cat([problem.kind, read], 2)), relations)
