"""The allocating network: graph in, directions for the balancing layer out. It knows no physics and no powers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isac_torch.graph import LinkGraph
from isac_torch.nn.ascent import LearnedSteps
from isac_torch.nn.layers import MessageLayer, Tokens
from isac_torch.nn.tracking.balance import start_logits
from isac_torch.nn.tracking.directions import DirectionNetwork
from isac_torch.nn.tracking.merit import (
    ALL_AIMS,
    COLD_ITERATIONS,
    FIRST_SENSING_WEIGHT,
    MAX_MIN,
    WARM_ITERATIONS,
    Aim,
    DirectionsHill,
    merit_gradient,
)
from isac_torch.tracking.graph import FEATURE_VERSION, LINK_FEATURES, UE_FEATURES, link_graph
from isac_torch.tracking.problem import MaxMinSinrProblem


class AllocationNetwork(DirectionNetwork):
    """Corrects the untrained directions in three stages, each fed with the gradient of the merit where it stands.

    1. `layers` message layers, then a first correction. 2. `refinements` message layers, each with a correction of its own.
    3. `steps` learned steps, shaped like Adam's, whose lengths the token's state decides.
    Gradients of the merit are inputs, not differentiated through.
    """

    SYSTEM: ClassVar[str] = "tracking"
    FEATURE_VERSION: ClassVar[int] = FEATURE_VERSION
    AIMS: ClassVar[tuple[Aim, ...]] = ALL_AIMS
    """What it can be asked for."""

    def __init__(self, hidden: int = 48, layers: int = 2, refinements: int = 2, steps: int = 8) -> None:
        """Network of width `hidden`; zero `refinements` or `steps` leave that stage out."""
        super().__init__()
        self.shape = {"hidden": hidden, "layers": layers, "refinements": refinements, "steps": steps}
        self.encode_link = nn.Linear(LINK_FEATURES, hidden)
        self.encode_ue = nn.Linear(UE_FEATURES, hidden)
        first = (nn.init.normal_(torch.empty(hidden), std=hidden**-0.5) for _ in range(2))
        self.first_target, self.first_ap = map(nn.Parameter, first)
        self.encode_aim = nn.Embedding(len(ALL_AIMS), hidden)
        self.layers = nn.ModuleList(MessageLayer(hidden, 1, 1) for _ in range(layers))
        self.refinements = nn.ModuleList(MessageLayer(hidden, 1, 1) for _ in range(refinements))
        self.heads = nn.ModuleList(_Head(hidden) for _ in range(1 + refinements))
        self.stepper = LearnedSteps(hidden, steps) if steps else None

    def forward(self, problem: MaxMinSinrProblem, graph: LinkGraph, aim: Aim = MAX_MIN) -> Float[Tensor, "drop logit"]:
        """Directions for `balance`, laid out as its `logit_size` says."""
        *_, last = self.trajectory(problem, graph, aim)
        return last

    def trajectory(
        self, problem: MaxMinSinrProblem, graph: LinkGraph, aim: Aim = MAX_MIN
    ) -> Iterator[Float[Tensor, "drop logit"]]:
        """Directions after each correction and each step; in evaluation mode the best of the steps comes once more, last."""
        logits = start_logits(problem, aim.start_spread)
        tokens = self._encode(graph, aim)
        gradient, _, point = merit_gradient(problem, logits, None, COLD_ITERATIONS, FIRST_SENSING_WEIGHT, aim)
        slope = _slope(problem, gradient)
        for layer in self.layers:
            tokens = layer(tokens, problem, graph, slope)
        logits = logits + self.heads[0](tokens, problem)
        yield logits
        for layer, head in zip(self.refinements, self.heads[1:], strict=True):
            gradient, _, point = merit_gradient(problem, logits, point.scale, 2 * WARM_ITERATIONS, FIRST_SENSING_WEIGHT, aim)
            tokens = layer(tokens, problem, graph, _slope(problem, gradient))
            logits = logits + head(tokens, problem)
            yield logits
        if self.stepper is not None:
            state = torch.cat([tokens.link, tokens.node], 1)
            yield from self.stepper(state, DirectionsHill(problem, aim, point.scale), logits)

    def points(self, problem: MaxMinSinrProblem, aim: Aim = MAX_MIN) -> list[Float[Tensor, "drop logit"]]:
        """`trajectory` from the problem alone, for training; the first `corrections` of them come before the learned steps."""
        return list(self.trajectory(problem, link_graph(problem), aim))

    @property
    def corrections(self) -> int:
        """Corrections before the learned steps."""
        return len(self.heads)

    def _encode(self, graph: LinkGraph, aim: Aim) -> Tokens:
        """States before the first layer: targets and APs, which have no features, all start at a learned one."""
        ue = self.encode_ue(graph.ue) + self.encode_aim.weight[aim.index]
        target, ap = (
            first.expand(*nodes.shape[:2], -1)
            for first, nodes in ((self.first_target, graph.target), (self.first_ap, graph.ap))
        )
        return Tokens(self.encode_link(graph.link).relu(), torch.cat([ue, target], 1).relu(), ap.relu())


class _Head(nn.Module):
    """Corrections of the logits of links, UEs and targets from their tokens; starts at zero."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.parts = nn.ModuleDict({name: nn.Linear(hidden, 1) for name in ("serving", "sensing", "ue", "target")})
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, tokens: Tokens, problem: MaxMinSinrProblem) -> Tensor:
        comm = problem.num_comm_links
        blocks = [
            tokens.link[:, :comm],
            tokens.link[:, comm:],
            tokens.node[:, : problem.num_ues],
            tokens.node[:, problem.num_ues :],
        ]
        out = [part(block) for part, block in zip(self.parts.values(), blocks, strict=True)]
        return torch.cat(out, 1).squeeze(-1)


def _slope(problem: MaxMinSinrProblem, gradient: Tensor) -> Tokens:
    """The gradient on each link, UE and target, relative to its root mean square over the drop."""
    with torch.no_grad():
        size = gradient.square().mean(-1, keepdim=True).sqrt() + 1e-8
        link, node = _compressed(gradient / size)[..., None].tensor_split([problem.num_links], 1)
        return Tokens(link, node, link.new_zeros(problem.num_drops, problem.num_aps, 0))


def _compressed(value: Tensor) -> Tensor:
    """Odd, nearly linear near zero, logarithmic far out."""
    return value.sign() * value.abs().log1p()
