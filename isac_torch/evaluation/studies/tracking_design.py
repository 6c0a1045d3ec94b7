"""Which APs listen and what powers they send with, at a step of the tracking loop. "Tracking loop" in docs/sensing.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isac_torch.allocation import FEASIBILITY_TOLERANCE, allocate
from isac_torch.allocators.first_met import first_met
from isac_torch.propagation.geometry import distance
from isac_torch.roles.held import Held, default_standard
from isac_torch.roles.search import search_roles
from isac_torch.tracking.association import closest
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.drop import all_aps
from isac_torch.tracking.mixing import mixed_with_reference

if TYPE_CHECKING:
    from isac_torch.allocation import Allocator
    from isac_torch.evaluation.studies.worlds import Contender
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.problem import MaxMinSinrProblem
    from isac_torch.tracking.requirement import Requirement
    from isac_torch.tracking.scenario import TrackingScenario


@dataclass(frozen=True)
class Design:
    """What is decided for one step.

    Attributes:
        drop: the network as the allocator believes it to be, with the roles that were chosen.
        problem: its power problem.
        power: of every link, W.
        receive: APs that listen, counted as `all_aps` does.
    """

    drop: TrackingDrop
    problem: MaxMinSinrProblem
    power: Float[Tensor, "1 link"]
    receive: Int[Tensor, "1 rx"]


def design(
    network: TrackingDrop,
    beams: Float[Tensor, "beam 3"],
    scenario: TrackingScenario,
    contender: Contender,
    allocator: Allocator[MaxMinSinrProblem],
    kept: Int[Tensor, "1 rx"] | None = None,
) -> Design:
    """Roles and powers for beams at these places.

    Requirements are tried in the contender's order, and the first that some powers meet is taken; the last one where none is.
    A contender with a search for roles looks for other receive APs where it has none from the steps before; else the better of
    these and the scenario's own are taken. The requirement compares with uniform power and the scenario's own roles always.

    Args:
        network: with the scenario's roles.
        beams: where sensing beams point, m.
        scenario: the network's, with the angle error that the filters expect.
        contender: who decides.
        allocator: the one that it names.
        kept: receive APs of the step before, as `Design.receive` counts them; None: search anew.
    """
    default = _believed(network, beams, scenario)

    def ask(requirement: Requirement) -> Callable[[Tensor], tuple[Design, Tensor]]:
        return lambda _: _under(requirement, default, scenario, contender, allocator, kept)

    tries = [ask(requirement) for requirement in contender.requirements or (scenario.requirement,)]
    found = first_met(1, tries, lambda answer, _: answer[1] <= FEASIBILITY_TOLERANCE)
    return found.answers[-1][0]


def _under(
    requirement: Requirement,
    default: TrackingDrop,
    scenario: TrackingScenario,
    contender: Contender,
    allocator: Allocator[MaxMinSinrProblem],
    kept: Int[Tensor, "1 rx"] | None,
) -> tuple[Design, Tensor]:
    """The design under one requirement, and how far it misses that."""
    scenario = replace(scenario, requirement=requirement)
    if contender.roles is None:
        problem = power_problem(default, scenario)
        power, violation = _mixed(problem, allocator, contender.uniform)
        return Design(default, problem, power, all_aps(default).receive), violation
    held = Held(default, scenario, default_standard(default, scenario))
    if kept is None:
        chosen = search_roles(default, scenario, allocator, contender.roles)
    else:
        chosen = held.best(torch.stack([all_aps(default).receive, kept], dim=1), allocator)
    power, violation = chosen.allocation.power, chosen.allocation.violation
    if contender.uniform > 0.0:
        power, violation = _mixed(chosen.problem, allocator, contender.uniform)
    return Design(chosen.drop, chosen.problem, power, chosen.receive), violation


def _mixed(
    problem: MaxMinSinrProblem, allocator: Allocator[MaxMinSinrProblem], share: float
) -> tuple[Float[Tensor, "1 link"], Float[Tensor, " 1"]]:
    """The allocator's powers with a share of the reference's mixed in, W, and how far the mixture misses the requirement."""
    if share == 0.0 or problem.reference is None:
        answer = allocate(problem, allocator)
        return answer.power, answer.violation
    power = mixed_with_reference(problem, share, lambda asked: allocate(asked, allocator).power)
    return power, problem.violations(power).worst


def _believed(network: TrackingDrop, beams: Float[Tensor, "beam 3"], scenario: TrackingScenario) -> TrackingDrop:
    """The network with targets where the beams point."""
    place = beams.unsqueeze(0)
    return replace(
        network,
        target_position=place,
        sensing_ap=closest(distance(place, network.tx_position), scenario.sensing_links),
        listening_ap=closest(distance(place, network.rx_position), scenario.listening_aps),
    )
