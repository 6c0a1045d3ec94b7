"""What every power problem answers, whatever system it comes from.

A problem is a batch of drops of one size class as frozen tensors, or numpy arrays. `objective` and `violations` are the only
judges of value and feasibility: solvers, networks, tests and reports all ask here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

from jaxtyping import Float, Int

from isac_torch.tensors import Array, namespace

ProblemT = TypeVar("ProblemT", bound="PowerProblem")  # not Self, which beartype refuses in methods


@dataclass(frozen=True)
class Violations(Generic[Array]):
    """How far powers break the constraints of a problem, relative to each constraint's right-hand side; 0 is kept.

    Attributes:
        budget: worst AP overload, load / budget - 1, per drop.
        sensing: worst sensing shortfall, 1 - quality / required quality, per drop; 0 where a drop has no sensing constraint.
        negative: largest negative power over the largest budget, per drop.
    """

    budget: Float[Array, " drop"]
    sensing: Float[Array, " drop"]
    negative: Float[Array, " drop"]

    @property
    def worst(self) -> Float[Array, " drop"]:
        """Largest relative violation of any kind, per drop."""
        xp = namespace(self.budget)
        return xp.maximum(xp.maximum(self.budget, self.sensing), self.negative)


@runtime_checkable
class PowerProblem(Protocol[Array]):
    """Powers per link under per-AP budgets and sensing constraints; larger objective is better."""

    @property
    def budget(self) -> Float[Array, "drop ap"]:
        """Power budget of each transmit AP, W."""
        ...

    @property
    def link_ap(self) -> Int[Array, "drop link"]:
        """Transmit AP of each link."""
        ...

    @property
    def num_drops(self) -> int:
        """Drops in the batch."""
        ...

    def objective(self, power: Float[Array, "drop link"]) -> Float[Array, " drop"]:
        """Value of the powers (W), per drop."""
        ...

    def violations(self, power: Float[Array, "drop link"]) -> Violations[Array]:
        """Relative constraint violations of the powers (W), per drop."""
        ...

    def select(self: ProblemT, index: Int[Array, " chosen"]) -> ProblemT:
        """The drops at `index`, in that order."""
        ...
