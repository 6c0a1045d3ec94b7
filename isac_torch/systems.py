"""The two systems that data sets are made for: what the rooms of this package need to know of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, overload

import torch
from torch import Tensor

from isac_torch.downlink_pilots import build as downlink_pilots_build
from isac_torch.downlink_pilots import fields as downlink_pilots_fields
from isac_torch.downlink_pilots.drop import DownlinkPilotDrop
from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
from isac_torch.fields import FORMER_NAMES, Field
from isac_torch.tensors import to_db
from isac_torch.tracking import build as tracking_build
from isac_torch.tracking import fields as tracking_fields
from isac_torch.tracking.drop import TrackingDrop
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.scenario import TrackingScenario

Scenario: TypeAlias = TrackingScenario | DownlinkPilotScenario
Problem: TypeAlias = MaxMinSinrProblem | MinMaxNmseProblem


@dataclass(frozen=True)
class System:
    """One system.

    Attributes:
        name: as in every shard, and the package that holds its physics.
        scenario: its scenarios.
        problem: its power problems.
        fields: unit and axes of every array.
        power_problem: from drops and their scenario to problems.
        labeller: the allocator that labels.
        size: size class of a scenario, in short.
        value_column: heading and content of the column that shows the objective.
        reach_column: heading and content of the column that shows how much sensing an infeasible drop can reach.
    """

    name: str
    scenario: type[Scenario]
    problem: type[Problem]
    fields: dict[str, Field]
    power_problem: Callable[[Any, Any], Any]
    labeller: Callable[[], Any]
    size: Callable[[Any], str]
    value_column: tuple[str, Callable[[Tensor], Tensor]]
    reach_column: tuple[str, Callable[[Tensor], Tensor]]


def _batched_optimal() -> Any:
    from isac_torch.allocators.tracking.batched import BatchedOptimal

    return BatchedOptimal()


def _batched_min_max_nmse() -> Any:
    from isac_torch.allocators.downlink_pilots.batched import BatchedMinMaxNmse

    return BatchedMinMaxNmse()


TRACKING = System(
    name="tracking",
    scenario=TrackingScenario,
    problem=MaxMinSinrProblem,
    fields=tracking_fields.FIELDS,
    power_problem=tracking_build.power_problem,
    labeller=_batched_optimal,
    size=lambda scenario: f"{scenario.num_aps}x{scenario.num_ues}x{scenario.num_targets}",
    value_column=("min SINR dB", to_db),
    reach_column=("SIR reach dB", to_db),
)
DOWNLINK_PILOTS = System(
    name="downlink_pilots",
    scenario=DownlinkPilotScenario,
    problem=MinMaxNmseProblem,
    fields=downlink_pilots_fields.FIELDS,
    power_problem=downlink_pilots_build.power_problem,
    labeller=_batched_min_max_nmse,
    size=lambda scenario: f"{scenario.num_aps}x{scenario.num_ues}",
    value_column=("max NMSE dB", lambda value: -to_db(value)),
    reach_column=("CRB reach m2", torch.reciprocal),
)
SYSTEMS = {system.name: system for system in (TRACKING, DOWNLINK_PILOTS)}


def system_called(name: object) -> System | None:
    """The system of that name, present or former, as stored in files; None where there is none."""
    return SYSTEMS.get(FORMER_NAMES.get(str(name), str(name)))


def system_of(item: Scenario | Problem) -> System:
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
