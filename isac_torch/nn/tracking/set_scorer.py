"""A network that scores sets of receive APs: from what a set does to every UE, target and scan cell to what it is worth.

Nodes of a kind are read by the same small network and pooled, so that sizes may differ and numberings do not matter. It knows
no physics: features come from `isac_torch.roles.features`. Section 3 of docs/roles.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

FEATURE_VERSION = 1
"""Raised with every change of meaning, order or scaling of the features: weights of another version are refused."""
UE_FEATURES, TARGET_FEATURES, CELL_FEATURES = 10, 9, 4


@dataclass(frozen=True)
class SetFeatures:
    """What each set does to each node; the first set of every drop is that of the default roles, with which others compare."""

    ue: Float[Tensor, "drop set ue ue_feature"]
    target: Float[Tensor, "drop set target target_feature"]
    cell: Float[Tensor, "drop set cell cell_feature"]


@dataclass(frozen=True)
class Outlook:
    """What the network expects of each set.

    Attributes:
        odds: log odds that some powers meet the requirement.
        gain: log of the smallest SINR over that of the default roles, where they do.
    """

    odds: Float[Tensor, "drop set"]
    gain: Float[Tensor, "drop set"]

    @property
    def merit(self) -> Float[Tensor, "drop set"]:
        """Expected relative gain in smallest SINR, by which sets are ordered, eq. (125)."""
        return self.odds.sigmoid() * self.gain.expm1()


class SetScorer(nn.Module):
    """Reads a set's nodes, pools them, and compares with the same of the default roles.

    Example:
        >>> import torch
        >>> from isac_torch.nn.tracking.set_scorer import SetFeatures, SetScorer
        >>> nodes = SetFeatures(torch.zeros(1, 5, 16, 10), torch.zeros(1, 5, 4, 9), torch.zeros(1, 5, 49, 4))
        >>> SetScorer(hidden=8)(nodes).merit.shape   # a drop, five sets
        torch.Size([1, 5])
    """

    SYSTEM: ClassVar[str] = "tracking-receive-aps"
    FEATURE_VERSION: ClassVar[int] = FEATURE_VERSION

    def __init__(self, hidden: int = 32) -> None:
        """Network of width `hidden`."""
        super().__init__()
        self.shape = {"hidden": hidden}
        self.ue, self.target, self.cell = (_Nodes(width, hidden) for width in (UE_FEATURES, TARGET_FEATURES, CELL_FEATURES))
        self.first = nn.Linear(12 * hidden, 2 * hidden)
        self.second = nn.Linear(2 * hidden, 2 * hidden)
        self.last = nn.Linear(2 * hidden, 2)

    def forward(self, nodes: SetFeatures) -> Outlook:
        """The outlook of every set, the default one included."""
        pooled = torch.cat([self.ue(nodes.ue), self.target(nodes.target), self.cell(nodes.cell)], -1)
        default = pooled[:, :1]
        hidden = self.first(torch.cat([pooled - default, default.expand_as(pooled)], -1)).relu()
        hidden = hidden + self.second(hidden).relu()
        odds, gain = self.last(hidden).unbind(-1)
        return Outlook(odds, gain)

    def scale_to(self, nodes: SetFeatures) -> None:
        """Take mean and spread of each feature from these drops; features are divided by them from now on."""
        for part, features in ((self.ue, nodes.ue), (self.target, nodes.target), (self.cell, nodes.cell)):
            part.scale_to(features)


class _Nodes(nn.Module):
    """Mean and largest entry, over the nodes of a kind, of what a small network makes of each; zeros where there are none."""

    middle: Tensor
    spread: Tensor

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.register_buffer("middle", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        self.first, self.second = nn.Linear(features, hidden), nn.Linear(hidden, hidden)

    def scale_to(self, features: Tensor) -> None:
        rows = features.flatten(0, -2)
        self.middle.copy_(rows.mean(0))
        self.spread.copy_(rows.std(0).clamp_min(_LEAST_SPREAD))

    def forward(self, features: Tensor) -> Tensor:
        state = self.second(self.first((features - self.middle) / self.spread).relu()).relu()
        if state.shape[-2] == 0:
            return state.new_zeros(*state.shape[:-2], 2 * state.shape[-1])
        return torch.cat([state.mean(-2), state.amax(-2)], -1)


_LEAST_SPREAD = 1e-3
