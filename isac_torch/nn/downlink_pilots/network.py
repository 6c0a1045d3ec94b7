"""The allocating network of downlink pilots: the message layers of the tracking network on another graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isac_torch.downlink_pilots.graph import AP_FEATURES, FEATURE_VERSION, LINK_FEATURES, UE_FEATURES, link_graph
from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
from isac_torch.graph import LinkGraph, standardised
from isac_torch.nn.downlink_pilots.balance import BalancingSteps
from isac_torch.nn.downlink_pilots.shares import elasticities, powers, start_logits
from isac_torch.nn.layers import MessageLayer, Tokens
from isac_torch.tensors import to_db

_PART = (-3.0, 7.0)
"""Mean and spread, dB, of a link's part of a UE's strength or accuracy over the mean part."""
_LINK_EXTRA, _UE_EXTRA, _AP_EXTRA = 3, 2, 1


class DownlinkPilotNetwork(nn.Module):
    """Corrects the untrained shares, fed with what is known where it stands, and balances them.

    `layers` message layers and a correction; `refinements` message layers with a correction each; `steps` balancing steps from
    the corrected shares and from dual variables that the UEs' states propose.
    """

    SYSTEM: ClassVar[str] = "downlink_pilots"
    FEATURE_VERSION: ClassVar[int] = FEATURE_VERSION

    def __init__(self, hidden: int = 48, layers: int = 2, refinements: int = 1, steps: int = 10) -> None:
        """Network of width `hidden`; zero `refinements` or `steps` leave that stage out."""
        super().__init__()
        self.shape = {"hidden": hidden, "layers": layers, "refinements": refinements, "steps": steps}
        self.encode = nn.ModuleDict(
            {
                name: nn.Linear(size, hidden)
                for name, size in (("link", LINK_FEATURES), ("ue", UE_FEATURES), ("ap", AP_FEATURES))
            }
        )
        extra = (_LINK_EXTRA, _UE_EXTRA, _AP_EXTRA)
        self.layers = nn.ModuleList(MessageLayer(hidden, *extra) for _ in range(layers))
        self.refinements = nn.ModuleList(MessageLayer(hidden, *extra) for _ in range(refinements))
        self.heads = nn.ModuleList(nn.Linear(hidden, 1) for _ in range(1 + refinements))
        self.balance = BalancingSteps(hidden, steps)
        for parameter in self.heads.parameters():
            nn.init.zeros_(parameter)

    def forward(self, problem: MinMaxNmseProblem, graph: LinkGraph) -> Float[Tensor, "drop link"]:
        """Logits for `shares.powers`."""
        *_, last = self.trajectory(problem, graph)
        return last

    def trajectory(self, problem: MinMaxNmseProblem, graph: LinkGraph) -> Iterator[Float[Tensor, "drop link"]]:
        """Logits after each correction and each step; in evaluation mode the best of the steps comes once more, last."""
        logits = start_logits(problem)
        tokens = Tokens(*(self.encode[name](getattr(graph, name)).relu() for name in ("link", "ue", "ap")))
        extra = _point_features(problem, logits)
        for layer in self.layers:
            tokens = layer(tokens, problem, graph, extra)
        logits = logits + self.heads[0](tokens.link).squeeze(-1)
        yield logits
        for layer, head in zip(self.refinements, self.heads[1:], strict=True):
            tokens = layer(tokens, problem, graph, _point_features(problem, logits))
            logits = logits + head(tokens.link).squeeze(-1)
            yield logits
        yield from self.balance(tokens.node, problem, logits)

    def points(self, problem: MinMaxNmseProblem) -> list[Float[Tensor, "drop link"]]:
        """`trajectory` from the problem alone, for training; the first `corrections` of them come before the steps."""
        return list(self.trajectory(problem, link_graph(problem)))

    @property
    def corrections(self) -> int:
        """Corrections before the balancing steps."""
        return len(self.heads)


def _point_features(problem: MinMaxNmseProblem, logits: Tensor) -> Tokens:
    """What is known at the logits of links, UEs and APs.

    link: share of the AP's budget; the link's parts of its UE's strength and accuracy (`elasticities`) over the mean part.
    ue: NMSE over the worst; bound over Gamma. ap: load. Not differentiated through.
    """
    with torch.no_grad():
        power = powers(problem, logits)
        share = power / problem.budget.gather(1, problem.link_ap)
        parts = [standardised(part * problem.num_aps, _PART).flatten(1) for part in elasticities(problem, power)]
        loss = to_db(problem.weight * problem.nmse(power))
        bound = standardised(problem.crb(power) / problem.crb_max, (0.0, 5.0))
        ue = torch.stack([(loss - loss.amax(-1, keepdim=True)).clamp_min(-10.0) / 3.0, bound], -1)
        load = (problem.ap_load(power) / problem.budget).unsqueeze(-1)
        return Tokens(torch.stack([standardised(share, (-5.0, 5.0)), *parts], -1), ue, load)
