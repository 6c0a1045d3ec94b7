"""Problems of drops whose roles changed, held to what uniform power reaches with the default roles. Section 2 of docs/roles.md.

A target asks for the same as before: its SICNR (R2) and its position information (R3) times their factors. A scan cell cannot:
cells near the former receive APs lose and others gain. What must not get worse is the coverage of the area. With the cells in
the order of their echo under uniform power, the k-th weakest cell with the new roles is held to the k-th weakest with the
default roles: for every threshold, no larger part of the area is heard below it. Where no role changed this is R1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from isac_torch.allocation import FEASIBILITY_TOLERANCE, Allocation, allocate
from isac_torch.errors import ScenarioError
from isac_torch.tensors import cat_tensors, map_tensors
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.drop import with_roles
from isac_torch.tracking.requirement import PLAIN
from isac_torch.tracking.requirements import reference_standard

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from isac_torch.allocation import Allocator
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.problem import MaxMinSinrProblem
    from isac_torch.tracking.requirements import Standard
    from isac_torch.tracking.scenario import TrackingScenario

TOGETHER = 256
"""Problems in memory at the same time."""


def default_standard(drop: TrackingDrop, scenario: TrackingScenario) -> Standard | None:
    """How well uniform power senses in drops with the default roles; None where the requirement compares with nothing.

    Raises:
        ScenarioError: the requirement is blind to distance, noise and clutter, so that no choice of roles can be held to it.
    """
    kind = scenario.requirement.kind
    if kind in PLAIN:
        raise ScenarioError(
            f"requirement.kind={kind!r} knows no distance and no noise: roles chosen under it may hear nothing; "
            "take 'dominate', 'sicnr', 'detection' or 'position'"
        )
    return reference_standard(power_problem(drop, scenario), drop, scenario) if kind == "dominate" else None


def raised(standard: Standard | None, factor: Float[Tensor, "drop target"]) -> Standard | None:
    """The standard with the SICNR of every target times its factor."""
    return None if standard is None else replace(standard, sicnr=standard.sicnr * factor)


def held_problem(drop: TrackingDrop, scenario: TrackingScenario, standard: Standard | None) -> MaxMinSinrProblem:
    """The power problem of drops with any roles under the scenario's requirement, held to `standard`.

    Args:
        drop: networks.
        scenario: theirs.
        standard: of the same networks with the default roles, by `default_standard`.
    """
    problem = power_problem(drop, scenario, standard=standard)
    if standard is None or problem.num_cells == 0 or problem.reference is None:
        return problem
    first = problem.num_constraints - problem.num_cells
    own = problem.sir(problem.reference)[:, first:] * standard.scan
    scale = standard.scan / in_order_of(own, standard.scan)
    echo = torch.cat([problem.echo[:, :first], problem.echo[:, first:] * scale[..., None]], dim=1)
    return replace(problem, echo=echo)


@dataclass(frozen=True)
class Chosen:
    """Drops with the roles that were found best, and the powers that they were chosen by.

    Attributes:
        receive: APs that listen, counted through the default drop's transmit APs and then its receive APs (`all_aps`).
        drop: the networks with these roles.
        problem: theirs, held to uniform power with the default roles.
        allocation: powers of the allocator.
        changed: where other roles than the default ones were found better.
        factor: on the SICNR of uniform power, that was asked for of every target.
    """

    receive: Int[Tensor, "drop rx"]
    drop: TrackingDrop
    problem: MaxMinSinrProblem
    allocation: Allocation
    changed: Bool[Tensor, " drop"]
    factor: Float[Tensor, "drop target"]

    def select(self, index: Int[Tensor, " some"]) -> Chosen:
        """The choices for the drops at `index`."""
        return map_tensors(self, lambda t: t[index])


@dataclass(frozen=True)
class Held:
    """Networks whose roles may change, and what they are held to whatever these are.

    Attributes:
        drop: networks with the default roles.
        scenario: theirs.
        standard: what the requirement `dominate` compares with; None for the other kinds.
    """

    drop: TrackingDrop
    scenario: TrackingScenario
    standard: Standard | None

    def select(self, index: Int[Tensor, " chosen"]) -> Held:
        """The networks at `index`."""
        standard = None if self.standard is None else map_tensors(self.standard, lambda t: t[index])
        return Held(self.drop.select(index), self.scenario, standard)

    def problem(self, index: Int[Tensor, " piece"], receive: Int[Tensor, "piece rx"]) -> tuple[TrackingDrop, MaxMinSinrProblem]:
        """The networks at `index`, each with its own receive APs, and their problems."""
        drop = self.network(index, receive)
        return drop, self.problem_of(index, drop)

    def network(self, index: Int[Tensor, " piece"], receive: Int[Tensor, "piece rx"]) -> TrackingDrop:
        """The networks at `index`, each with its own receive APs."""
        return with_roles(self.drop.select(index), self.scenario, receive)

    def problem_of(self, index: Int[Tensor, " piece"], network: TrackingDrop) -> MaxMinSinrProblem:
        """The problems of the networks at `index`, whose roles and links may have changed."""
        return held_problem(network, self.scenario, self.select(index).standard)

    def each(
        self, sets: Int[Tensor, "drop set rx"], measure: Callable[[MaxMinSinrProblem, Tensor], Tensor]
    ) -> Float[Tensor, "drop set"]:
        """What `measure` makes of the problems of all sets; it is told the drop of each."""
        drop, flat = torch.arange(len(sets)).repeat_interleave(sets.shape[1]), sets.flatten(0, 1)
        pieces = torch.arange(len(flat)).split(TOGETHER)
        found = [measure(self.problem(drop[piece], flat[piece])[1], drop[piece]) for piece in pieces]
        return torch.cat(found).unflatten(0, sets.shape[:2])

    def best(self, sets: Int[Tensor, "drop set rx"], allocator: Allocator[MaxMinSinrProblem]) -> Chosen:
        """Of some sets for every network the one with the largest minimum SINR under the whole requirement.

        The first set, which is that of the default roles, is the answer where no other meets the requirement at a larger value.
        """
        index = torch.arange(len(sets)).repeat_interleave(sets.shape[1])
        network, problem = self.problem(index, sets.flatten(0, 1))
        return self.chosen(sets, network, problem, allocate(problem, allocator))

    def chosen(
        self, sets: Int[Tensor, "drop set rx"], network: TrackingDrop, problem: MaxMinSinrProblem, answer: Allocation
    ) -> Chosen:
        """The set of largest worth for every network, the first where none has any; `answer` is that of all sets."""
        drops, count, _ = sets.shape
        value = worth(answer).unflatten(0, (drops, count))
        best = torch.where(value.amax(1) > 0, value.argmax(1), 0)
        rows = torch.arange(drops)
        picked, chosen = rows * count + best, sets[rows, best]
        return Chosen(
            receive=chosen,
            drop=network.select(picked),
            problem=problem.select(picked),
            allocation=map_tensors(answer, lambda t: t[picked]),
            changed=(chosen.sort(-1).values != sets[:, 0].sort(-1).values).any(-1),
            factor=torch.ones_like(self.drop.target_position[..., 0]),
        )


def joined(parts: Sequence[Chosen]) -> Chosen:
    """The choices for several batches as one; `allocation.seconds` add up."""
    both = cat_tensors(parts)
    seconds = sum(part.allocation.seconds for part in parts)
    return replace(both, allocation=replace(both.allocation, seconds=seconds))


def worth(allocation: Allocation, tolerance: float = FEASIBILITY_TOLERANCE) -> Float[Tensor, " drop"]:
    """The value of every drop whose constraints are met, 0 elsewhere: what sets are compared by."""
    return torch.where(allocation.violation <= tolerance, allocation.value, 0.0)


def in_order_of(own: Float[Tensor, "drop cell"], wanted: Float[Tensor, "drop cell"]) -> Float[Tensor, "drop cell"]:
    """The values `wanted`, dealt out so that the k-th smallest goes to the cell whose value `own` is the k-th smallest."""
    return torch.empty_like(wanted).scatter(1, own.argsort(dim=1, stable=True), wanted.sort(dim=1).values)
