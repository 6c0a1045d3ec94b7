"""Problems of drops whose roles changed, held to what uniform power reaches with the default roles. Section 2 of docs/roles.md.

A target asks for the same as before: its SICNR (R2) and its position information (R3) times their factors. A scan cell cannot:
cells near the former receive APs lose and others gain. What must not get worse is the coverage of the area. With the cells in
the order of their echo under uniform power, the k-th weakest cell with the new roles is held to the k-th weakest with the
default roles: for every threshold, no larger part of the area is heard below it. Where no role changed this is R1.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.errors import ScenarioError
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.requirements import reference_standard

if TYPE_CHECKING:
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.problem import MaxMinSinrProblem
    from isac_torch.tracking.requirements import Standard
    from isac_torch.tracking.scenario import TrackingScenario


def default_standard(drop: TrackingDrop, scenario: TrackingScenario) -> Standard | None:
    """How well uniform power senses in drops with the default roles; None where the requirement compares with nothing.

    Raises:
        ScenarioError: the requirement is blind to distance, noise and clutter, so that no choice of roles can be held to it.
    """
    kind = scenario.requirement.kind
    if kind in ("sir", "none"):
        raise ScenarioError(
            f"requirement.kind={kind!r} knows no distance and no noise: roles chosen under it may hear nothing; "
            "take 'dominate', 'sicnr', 'detection' or 'position'"
        )
    return reference_standard(power_problem(drop, scenario), drop, scenario) if kind == "dominate" else None


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


def in_order_of(own: Float[Tensor, "drop cell"], wanted: Float[Tensor, "drop cell"]) -> Float[Tensor, "drop cell"]:
    """The values `wanted`, dealt out so that the k-th smallest goes to the cell whose value `own` is the k-th smallest."""
    return torch.empty_like(wanted).scatter(1, own.argsort(dim=1, stable=True), wanted.sort(dim=1).values)
