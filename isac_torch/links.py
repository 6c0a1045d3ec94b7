"""Views of a link axis by node: the UE that a serving link serves, the target that a sensing link illuminates."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float, Int

from isac_torch.tensors import Array, counting, namespace


@runtime_checkable
class LinkLayout(Protocol):
    """Sizes of a problem whose links are ordered by node: those of each UE, then those of each target, if there are any."""

    @property
    def link_ap(self) -> Int[Any, "drop link"]:
        """AP of each link."""
        ...

    @property
    def num_aps(self) -> int:
        """APs."""
        ...

    @property
    def num_ues(self) -> int:
        """UEs."""
        ...

    @property
    def num_targets(self) -> int:
        """Targets with links of their own."""
        ...

    @property
    def num_links(self) -> int:
        """Links of a drop."""
        ...

    @property
    def num_comm_links(self) -> int:
        """Links of the UEs: the first ones."""
        ...

    @property
    def serving(self) -> int:
        """Links of each UE."""
        ...


@runtime_checkable
class LeavesLinksOut(Protocol):
    """A power problem some of whose links may not be used."""

    def served(self, power: Float[Any, "drop link"]) -> Float[Any, "drop link"]:
        """The same powers (W), 0 on these links."""
        ...


def power_of_used(problem: Any, power: Float[Array, "drop link"]) -> Float[Array, "drop link"]:
    """The same powers (W), 0 on links that the problem says may not be used; all of them where it says nothing."""
    return problem.served(power) if isinstance(problem, LeavesLinksOut) else power


def links_per_target(problem: LinkLayout) -> int:
    """Sensing links of each target; 0 without targets."""
    return (problem.num_links - problem.num_comm_links) // max(problem.num_targets, 1)


def split_by_node(
    problem: LinkLayout, value: Float[Array, "*lead link"]
) -> tuple[Float[Array, "*lead ue serving"], Float[Array, "*lead target sensing"]]:
    """An array over links as one block over (UE, its links) and one over (target, its links)."""
    comm, lead = problem.num_comm_links, value.shape[:-1]
    by_ue = value[..., :comm].reshape(*lead, problem.num_ues, problem.serving)
    return by_ue, value[..., comm:].reshape(*lead, problem.num_targets, links_per_target(problem))


def spread_to_links(problem: LinkLayout, value: Float[Array, "drop node *rest"]) -> Float[Array, "drop link *rest"]:
    """The number of each node, UEs then targets, on each of the links that serve or illuminate it."""
    ue, target = value[:, : problem.num_ues], value[:, problem.num_ues :]
    return namespace(value).concat([_repeated(ue, problem.serving), _repeated(target, links_per_target(problem))], axis=1)


def _repeated(node: Array, links: int) -> Array:
    drops, nodes, *rest = node.shape
    wide = namespace(node).broadcast_to(node[:, :, None], (drops, nodes, links, *rest))
    return wide.reshape(drops, nodes * links, *rest)


def own_constraints(problem: LinkLayout, value: Float[Array, "drop target link"]) -> Float[Array, "drop target sensing"]:
    """The entry of each sensing link in its own target's constraint."""
    every = counting(problem.num_targets, value)
    return split_by_node(problem, value)[1][:, every, every]


def own_entries(problem: LinkLayout, value: Float[Array, "drop ue link"]) -> Float[Array, "drop ue serving"]:
    """The entry of each serving link at its own UE."""
    every = counting(problem.num_ues, value)
    return split_by_node(problem, value)[0][:, every, every]
