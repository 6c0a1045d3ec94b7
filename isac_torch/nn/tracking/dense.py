"""A power problem with one axis a kind of thing (node, AP, link) and matrices that say which link serves whom.

`NodeProblem` sums over the links of a node by their places on the link axis. Here such a sum is a product with a matrix, so
that an exporter can leave every size open, none, one or many targets are the same graph, and each step of the algorithm is one
product for all nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Float
from torch import Tensor

from isac_torch.tracking.problem import MaxMinSinrProblem

TINY = 1e-20
"""Far below every meaningful value; its square root is still safe in single precision."""


@dataclass(frozen=True)
class DenseProblem:
    """Coefficients of `NodeProblem`, which says what they mean, as what an exported network reads.

    A `Layout` of the balancing equations (`isac_torch.tracking.balancing`).

    Attributes:
        signal: a of each serving link, 1/sqrt(W); 0 on sensing links.
        heard: N of each UE, 1/W; S of each target over the largest in its constraint.
        required: 0 at UEs; SIR0 I of each target over the same.
        coherent: c of each serving link at each UE, 1/sqrt(W); 0 on sensing links and at targets.
        budget: W.
        sent: 1 where the AP sends the link.
        owner: 1 where the link serves the node. The name is that of the exported graphs.
        is_ue: 1 for each UE, 0 for each target.
    """

    signal: Float[Tensor, "drop 1 link"]
    heard: Float[Tensor, "drop node link"]
    required: Float[Tensor, "drop node link"]
    coherent: Float[Tensor, "drop node link"]
    budget: Float[Tensor, "drop 1 ap"]
    sent: Float[Tensor, "drop ap link"]
    owner: Float[Tensor, "node link"]
    is_ue: Float[Tensor, "1 node"]

    @classmethod
    def of(cls, problem: MaxMinSinrProblem) -> DenseProblem:
        """The same problems."""
        return cls(**problem.by_node.matrices(problem.signal.dtype))

    @cached_property
    def is_target(self) -> Float[Tensor, "1 node"]:
        """1 for each target, 0 for each UE."""
        return 1.0 - self.is_ue

    @cached_property
    def net(self) -> Float[Tensor, "drop node link"]:
        """N of each UE, S - SIR0 I of each target."""
        return self.heard - self.required

    @cached_property
    def own_echo(self) -> Float[Tensor, "drop 1 link"]:
        """Entry of each link at the node that it serves: of sensing links S over the largest in the constraint."""
        return (self.heard * self.owner).sum(1, keepdim=True)

    @cached_property
    def per_budget(self) -> Float[Tensor, "drop ap link"]:
        """1 / budget where the AP sends the link, 1/W."""
        return self.sent / self.budget.mT

    @cached_property
    def limit(self) -> Float[Tensor, "drop 1 link"]:
        """Budget of each link's AP, W."""
        return self.budget @ self.sent

    @cached_property
    def itself(self) -> Float[Tensor, "node node"]:
        """1 where both are the same target."""
        return (self.owner @ self.owner.mT).clamp_max(1.0) * self.is_target

    @cached_property
    def count(self) -> Float[Tensor, "1 1"]:
        """UEs."""
        return self.is_ue.sum(1, keepdim=True)

    def total(self, value: Float[Tensor, "drop row link"]) -> Float[Tensor, "drop row node"]:
        """Sums over the links that serve each node."""
        return value @ self.owner.mT

    def load(self, share: Float[Tensor, "drop 1 link"]) -> Float[Tensor, "drop ap node"]:
        """Share of each AP's budget that a watt of each node takes, 1/W."""
        return self.total(self.per_budget * share)
