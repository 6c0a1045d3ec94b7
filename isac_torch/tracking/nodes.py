"""A batch's coefficients with one axis over the nodes that links serve: the UEs, then the targets.

`MaxMinSinrProblem` keeps UEs and targets apart. Here both are rows of the same matrices, as the balancing equations
(`tracking.balancing`) and exported networks want them. Vectors are rows [drop, 1, n]; links are in the order of their nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from isac_torch.caches import MEBIBYTE, kept
from isac_torch.tensors import Array, at_least, counting, namespace, sum_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from isac_torch.tracking.problem import MaxMinSinrProblem

INPUTS = ("signal", "heard", "required", "coherent", "budget", "sent", "owner", "is_ue")
"""What a network reads that has been exported, in the order of its arguments; see `NodeProblem.matrices`."""
_TINY = 1e-20
_CACHE = 41_000
"""Largest number of entries of a matrix over nodes and links per chunk of a batch, so that it fits in the processor's cache."""


@dataclass(frozen=True)
class Nodes:
    """Which node each link serves; the same for all drops of a size class.

    Attributes:
        ues: how many nodes are UEs: the first ones.
        runs: nodes and links of each, for the UEs and for the targets.
        kind: "ue" or "target" of each link.
        index: which UE or target.
        of_link: node of each link.
        first: first link of each node.
        serves: 1 where the link serves the node.
        is_ue: 1 for UEs, 0 for targets.
        is_target: 0 for UEs, 1 for targets.
        itself: 1 where both are the same target.
        eye: the unit matrix.
    """

    ues: int
    runs: tuple[tuple[int, int], tuple[int, int]]
    kind: tuple[str, ...]
    index: Int[ndarray, " link"]
    of_link: Int[ndarray, " link"]
    first: Int[ndarray, " node"]
    serves: Float[ndarray, "node link"]
    is_ue: Float[ndarray, "1 node"]
    is_target: Float[ndarray, "1 node"]
    itself: Float[ndarray, "node node"]
    eye: Float[ndarray, "node node"]


@dataclass(frozen=True)
class NodeProblem(Generic[Array]):
    """Coefficients with an axis over nodes, as tensors or numpy arrays; zeros for a target without a sensing constraint.

    Attributes:
        nodes: which node each link serves.
        signal: a of each serving link, 1/sqrt(W); 0 on sensing links.
        heard: N of each UE, 1/W; S of each target over the largest in its constraint.
        required: SIR0 I of each target over the same.
        coherent: c of each serving link at each UE, 1/sqrt(W); 0 on sensing links and at targets; None where no
            pilot is shared.
        budget: W.
        link_ap: AP of each link.
        is_ue: 1 for each UE, 0 for each target.
        is_target: 1 for each target, 0 for each UE.
        itself: 1 where both are the same target.
    """

    nodes: Nodes
    signal: Float[Array, "drop 1 link"]
    heard: Float[Array, "drop node link"]
    required: Float[Array, "drop target link"]
    coherent: Float[Array, "drop node link"] | None
    budget: Float[Array, "drop 1 ap"]
    link_ap: Int[Array, "drop link"]
    is_ue: Float[Array, "1 node"]
    is_target: Float[Array, "1 node"]
    itself: Float[Array, "node node"]

    @classmethod
    def of(cls, problem: MaxMinSinrProblem[Array]) -> NodeProblem[Array]:
        """The same problems."""
        xp = namespace(problem.signal)
        drops, links, comm, ues = problem.num_drops, problem.num_links, problem.num_comm_links, problem.num_ues
        nodes = nodes_of(problem)
        signal = _zeros((drops, 1, links), problem.signal)
        signal[:, 0, :comm] = problem.signal.reshape(drops, comm)
        if problem.num_constraints:
            size = at_least(xp.max(problem.echo, axis=-1, keepdims=True), _TINY)
            echo, required = problem.echo / size, problem.cross_echo * (problem.sir_min[..., None] / size)
        else:
            echo = required = _zeros((drops, problem.num_targets, links), problem.signal)
        heard = xp.concat([problem.leakage, echo], axis=1)
        coherent = None
        if problem.has_pilot_reuse:
            coherent = xp.zeros_like(heard)
            coherent[:, :ues, :comm] = problem.coherent.reshape(drops, ues, comm)
        tables = (_table(table, signal) for table in (nodes.is_ue, nodes.is_target, nodes.itself))
        return cls(nodes, signal, heard, required, coherent, problem.budget[:, None], problem.link_ap, *tables)

    @cached_property
    def net(self) -> Float[Array, "drop node link"]:
        """N of each UE, S - SIR0 I of each target; not to be written to."""
        net = namespace(self.heard).asarray(self.heard, copy=True)
        net[:, self.nodes.ues :] -= self.required
        return net

    @cached_property
    def own_echo(self) -> Float[Array, "drop 1 link"]:
        """Entry of each link at the node that it serves: of sensing links S over the largest in the constraint."""
        links = counting(self.heard.shape[2], self.link_ap)
        return self.heard[:, _table(self.nodes.of_link, self.link_ap), links][:, None]

    def total(self, value: Float[Array, "drop row link"]) -> Float[Array, "drop row node"]:
        """Sums over the links that serve each node."""
        if isinstance(value, ndarray):
            return np.add.reduceat(value, self.nodes.first, 2)
        parts, begin = [], 0
        for count, links in self.nodes.runs:
            part = value[:, :, begin : begin + count * links]
            parts.append(part.reshape(*value.shape[:2], count, links).sum(-1))
            begin += count * links
        return namespace(value).concat(parts, axis=2)

    def load(self, share: Float[Array, "drop 1 link"]) -> Float[Array, "drop ap node"]:
        """Share of each AP's budget that a watt of each node takes, 1/W."""
        drops, aps, nodes = len(share), self.budget.shape[2], self.is_ue.shape[1]
        place = self.link_ap * nodes + _table(self.nodes.of_link, self.link_ap)
        return sum_at(share[:, 0], place, aps * nodes).reshape(drops, aps, nodes) / self.budget[:, 0, :, None]

    def matrices(self, dtype: Any, part: slice = slice(None)) -> dict[str, Array]:
        """Arrays of some drops by the names of INPUTS, floating of the given type.

        `sent` [drop, ap, link] is 1 where the AP sends the link, `owner` [node, link] where the link serves the node.
        """
        xp, heard = namespace(self.heard), self.heard[part]
        required = xp.zeros_like(heard)
        required[:, self.nodes.ues :] = self.required[part]
        aps = counting(self.budget.shape[2], self.link_ap)
        found = {
            "signal": self.signal[part],
            "heard": heard,
            "required": required,
            "coherent": xp.zeros_like(heard) if self.coherent is None else self.coherent[part],
            "budget": self.budget[part],
            "sent": self.link_ap[part, None] == aps[:, None],
            "owner": _table(self.nodes.serves, heard),
            "is_ue": self.is_ue,
        }
        return {name: xp.astype(value, dtype, copy=False) for name, value in found.items()}

    def network_inputs(self) -> Iterator[dict[str, Array]]:
        """What an exported network reads, in single precision; a batch in parts that stay in the processor's cache."""
        drops, rows, links = self.heard.shape
        size = max(1, _CACHE // ((rows + self.budget.shape[2]) * links))
        for start in range(0, drops, size):
            yield self.matrices(namespace(self.heard).float32, slice(start, start + size))


def nodes_of(problem: MaxMinSinrProblem[Array]) -> Nodes:
    """Of the links of a batch."""
    return nodes_between(problem.num_ues, problem.serving, problem.num_targets, problem.num_links)


@kept(32 * MEBIBYTE)
def nodes_between(ues: int, serving: int, targets: int, links: int) -> Nodes:
    """Of `links` links, of which each UE has `serving` and the targets share the others evenly."""
    sensing = (links - ues * serving) // max(targets, 1)
    of_link = np.concatenate([np.arange(ues).repeat(serving), ues + np.arange(targets).repeat(sensing)])
    node = np.arange(ues + targets)
    found = Nodes(
        ues=ues,
        runs=((ues, serving), (targets, sensing)),
        kind=tuple("ue" if one < ues else "target" for one in of_link),
        index=np.where(of_link < ues, of_link, of_link - ues),
        of_link=of_link,
        first=np.searchsorted(of_link, node),
        serves=(node[:, None] == of_link).astype(np.float32),
        is_ue=(node < ues).astype(np.float64)[None],
        is_target=(node >= ues).astype(np.float64)[None],
        itself=np.diag((node >= ues).astype(np.float64)),
        eye=np.eye(len(node)),
    )
    for value in vars(found).values():
        if isinstance(value, ndarray):
            value.flags.writeable = False
    return found


def _zeros(shape: tuple[int, ...], like: Array) -> Array:
    xp = namespace(like)
    return xp.zeros(shape, dtype=like.dtype, device=like.device)


def _table(values: ndarray, like: Array) -> Array:
    """The values in the library, of the type and on the device of `like`; not to be written to."""
    if isinstance(like, ndarray):
        return values
    xp = namespace(like)
    return xp.astype(xp.asarray(values, device=like.device, copy=True), like.dtype, copy=False)
