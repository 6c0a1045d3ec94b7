"""The two systems that data sets are made for: what the rooms of this package need to know of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar, overload, runtime_checkable

import torch
from torch import Tensor
from torch.nn import Module

from isac_torch.allocators import registry
from isac_torch.downlink_pilots import build as downlink_pilots_build
from isac_torch.downlink_pilots import fields as downlink_pilots_fields
from isac_torch.downlink_pilots.drop import DownlinkPilotDrop
from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
from isac_torch.fields import FORMER_NAMES, Field
from isac_torch.problem import PowerProblem
from isac_torch.tensors import to_db
from isac_torch.tracking import build as tracking_build
from isac_torch.tracking import fields as tracking_fields
from isac_torch.tracking.drop import TrackingDrop
from isac_torch.tracking.position import PositionInformation
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.scenario import TrackingScenario

if TYPE_CHECKING:
    from isac_torch.allocation import Allocator

Scenario: TypeAlias = TrackingScenario | DownlinkPilotScenario
Problem: TypeAlias = MaxMinSinrProblem | MinMaxNmseProblem


@runtime_checkable
class Drops(Protocol):
    """A batch of networks as drawn."""

    def select(self: DropT, index: Tensor) -> DropT:
        """The drops at `index`, in that order."""
        ...


@runtime_checkable
class CheckedProblem(PowerProblem, Protocol):
    """A batch of power problems that knows what its arrays must look like."""

    def check(self) -> None:
        """Raise ProblemError, in one line, on an array with a wrong shape, sign or value."""
        ...


ScenarioT = TypeVar("ScenarioT", bound=Scenario)
DropT = TypeVar("DropT", bound=Drops)
ProblemT = TypeVar("ProblemT", bound=CheckedProblem)


@dataclass(frozen=True)
class System(Generic[ScenarioT, DropT, ProblemT]):
    """One system.

    Attributes:
        name: as in every shard, and the package that holds its physics.
        scenario: its scenarios.
        problem: its power problems.
        members: classes of those fields of a problem that hold arrays of their own; stored as `field.array`.
        fields: unit and axes of every array.
        sample: as many drops of a scenario as asked for, from a generator.
        power_problem: from drops and their scenario to problems.
        allocators: by name; the first of the certified ones labels data sets.
        network: class of its trained networks.
        size: size class of a scenario, in short.
        value_column: heading and content of the column that shows the objective.
        reach_column: heading and content of the column that shows how much sensing an infeasible drop can reach.
    """

    name: str
    scenario: type[ScenarioT]
    problem: type[Any]
    members: dict[str, type[Any]]
    fields: dict[str, Field]
    sample: Callable[[ScenarioT, int, torch.Generator], DropT]
    power_problem: Callable[[DropT, ScenarioT], ProblemT]
    allocators: registry.Catalogue[ProblemT]
    network: Callable[[], type[Any]]
    size: Callable[[ScenarioT], str]
    value_column: tuple[str, Callable[[Tensor], Tensor]]
    reach_column: tuple[str, Callable[[Tensor], Tensor]]

    def labeller(self) -> Allocator[ProblemT]:
        """The allocator that labels data sets."""
        return self.allocators.named(self.allocators.certified[0])


AnySystem: TypeAlias = System[Any, Any, Any]
"""A system where it does not matter which."""


def _tracking_network() -> type[Module]:
    from isac_torch.nn.tracking.network import AllocationNetwork

    return AllocationNetwork


def _downlink_pilot_network() -> type[Module]:
    from isac_torch.nn.downlink_pilots.network import DownlinkPilotNetwork

    return DownlinkPilotNetwork


TRACKING: System[TrackingScenario, TrackingDrop, MaxMinSinrProblem] = System(
    name="tracking",
    scenario=TrackingScenario,
    problem=MaxMinSinrProblem,
    members={"position": PositionInformation},
    fields=tracking_fields.FIELDS,
    sample=lambda scenario, count, generator: scenario.sample(count, generator=generator),
    power_problem=tracking_build.power_problem,
    allocators=registry.TRACKING,
    network=_tracking_network,
    size=lambda scenario: f"{scenario.num_aps}x{scenario.num_ues}x{scenario.num_targets}",
    value_column=("min SINR dB", to_db),
    reach_column=("reach dB", to_db),
)
DOWNLINK_PILOTS: System[DownlinkPilotScenario, DownlinkPilotDrop, MinMaxNmseProblem] = System(
    name="downlink_pilots",
    scenario=DownlinkPilotScenario,
    problem=MinMaxNmseProblem,
    members={},
    fields=downlink_pilots_fields.FIELDS,
    sample=lambda scenario, count, generator: scenario.sample(count, generator=generator),
    power_problem=downlink_pilots_build.power_problem,
    allocators=registry.DOWNLINK_PILOTS,
    network=_downlink_pilot_network,
    size=lambda scenario: f"{scenario.num_aps}x{scenario.num_ues}",
    value_column=("max NMSE dB", lambda value: -to_db(value)),
    reach_column=("CRB reach m2", torch.reciprocal),
)
SYSTEMS: dict[str, AnySystem] = {"tracking": TRACKING, "downlink_pilots": DOWNLINK_PILOTS}


def system_called(name: object) -> AnySystem | None:
    """The system of that name, present or former, as stored in files; None where there is none."""
    return SYSTEMS.get(FORMER_NAMES.get(str(name), str(name)))


def system_of(item: Scenario | Problem) -> AnySystem:
    """The system that a scenario or a problem belongs to."""
    return DOWNLINK_PILOTS if isinstance(item, DownlinkPilotScenario | MinMaxNmseProblem) else TRACKING


@overload
def power_problem(drop: TrackingDrop, scenario: TrackingScenario) -> MaxMinSinrProblem: ...
@overload
def power_problem(drop: DownlinkPilotDrop, scenario: DownlinkPilotScenario) -> MinMaxNmseProblem: ...
def power_problem(drop: Any, scenario: Scenario) -> Problem:
    """The power problem of every drop of either system, from the closed-form channel statistics.

    The tracking system asks for the largest smallest SINR under budgets and sensing constraints, eqs. (5)-(20) of
    docs/physics.md; the downlink-pilot system for the smallest largest channel-estimation error under budgets and bounds of
    localisation, docs/downlink_pilots.md.

    Args:
        drop: positions (m), large-scale gains (linear) and sets of APs, as `scenario.sample` draws them.
        scenario: its parameters; noise, budgets and requirements come from here.

    Returns:
        Coefficients over the noise, [drop, ...]; powers of its methods are in W.

    Example:
        >>> import torch
        >>> from isac_torch import TrackingScenario, power_problem
        >>> scenario = TrackingScenario.of_size("8x6x2")
        >>> problem = power_problem(scenario.sample(5, generator=torch.Generator().manual_seed(1)), scenario)
        >>> problem.num_drops, problem.num_ues, problem.num_aps    # 6 of the 8 APs transmit
        (5, 6, 6)
        >>> tuple(problem.signal.shape)                            # [drop, ue, serving AP], 1/sqrt(W)
        (5, 6, 4)
    """
    problem: Problem = system_of(scenario).power_problem(drop, scenario)
    return problem
