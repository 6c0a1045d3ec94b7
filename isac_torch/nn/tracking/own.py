"""A network that a user wrote outside the package, as one that can be trained and asked like those of the package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isac_torch.errors import IsacError
from isac_torch.graph import LinkGraph
from isac_torch.nn.tracking.balance import logit_size, start_logits
from isac_torch.nn.tracking.directions import DirectionNetwork
from isac_torch.nn.tracking.merit import MAX_MIN, Aim
from isac_torch.tracking.graph import FEATURE_VERSION, link_graph
from isac_torch.tracking.problem import MaxMinSinrProblem


class OwnNetwork(DirectionNetwork):
    """A user's module before the layer that gives all UEs one common SINR and meets the sensing constraints.

    `module(problem, graph)` answers with the change of the logarithm of every link's share, [drop, link]. It may append the
    log-excess of each UE and the log-floor of each target, [drop, logit]. Zeros leave the directions that need no training
    (`balance.start_logits`).

    Example:
        >>> import torch
        >>> from isac_torch import TrackingScenario, power_problem
        >>> from isac_torch.tracking.graph import LINK_FEATURES
        >>> class Linear(torch.nn.Linear):
        ...     def forward(self, problem, graph):
        ...         return super().forward(graph.link).squeeze(-1)
        >>> scenario = TrackingScenario.of_size("8x6x2")
        >>> problem = power_problem(scenario.sample(3, generator=torch.Generator().manual_seed(1)), scenario)
        >>> network = OwnNetwork(Linear(LINK_FEATURES, 1, dtype=torch.float64))
        >>> power = network.power(problem, network.points(problem)[-1])    # W, [drop, link]
        >>> bool((problem.ap_load(power) <= problem.budget * (1 + 1e-6)).all())
        True
    """

    SYSTEM: ClassVar[str] = "tracking-own"
    FEATURE_VERSION: ClassVar[int] = FEATURE_VERSION
    AIMS: ClassVar[tuple[Aim, ...]] = (MAX_MIN,)
    """What it can be asked for."""
    corrections: ClassVar[int] = 1

    def __init__(self, module: nn.Module, arguments: Mapping[str, Any] | None = None) -> None:
        """`arguments` are those that the user's class was made with, plain values, to make it again from a file."""
        super().__init__()
        self.module = module
        self.shape = {"class_path": class_path(type(module)), "init_args": dict(arguments or {})}

    def remember(self, arguments: Mapping[str, Any]) -> None:
        """Take down with which arguments the module was made, where that becomes known later."""
        self.shape = self.shape | {"init_args": dict(arguments)}

    def forward(self, problem: MaxMinSinrProblem, graph: LinkGraph, aim: Aim = MAX_MIN) -> Float[Tensor, "drop logit"]:
        """Directions for `balance`, laid out as its `logit_size` says. IsacError where the module answers in another shape."""
        change = self.module(problem, graph)
        links, size = problem.num_links, logit_size(problem)
        shape = tuple(change.shape) if isinstance(change, Tensor) else type(change).__name__
        if shape not in ((problem.num_drops, links), (problem.num_drops, size)):
            raise IsacError(
                f"{self.shape['class_path']}: forward(problem, graph) gives {shape}; "
                f"give a tensor of shape {(problem.num_drops, links)} or {(problem.num_drops, size)}"
            )
        return start_logits(problem, aim.start_spread) + torch.nn.functional.pad(change, (0, size - change.shape[1]))

    def points(self, problem: MaxMinSinrProblem, aim: Aim = MAX_MIN) -> list[Float[Tensor, "drop logit"]]:
        """The directions, as the only point on the way, for training."""
        return [self(problem, link_graph(problem), aim)]


def class_path(kind: type) -> str:
    """`package.module.Name` of a class."""
    return f"{kind.__module__}.{kind.__qualname__}"
