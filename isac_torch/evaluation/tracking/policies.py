"""Policies that tables show beside plain allocators: an allocator, what it is asked of the radar, and which APs listen.

All of them ask for `dominate`: not worse than uniform power with the setting's own roles, in scan cells, SICNR and position
information (eq. (70) of docs/sensing.md). The optima are asked for a margin too, which covers what the expected SICNR
overstates, eased in drops that cannot meet it; the network's guard needs uniform power to meet what it is asked, so it is asked
for none. Policies with other roles choose the receive APs anew in every drop; a drop in which no other roles meet the
requirement keeps those of the setting.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from isac_torch.allocators.registry import TRACKING
from isac_torch.allocators.tracking.margin import eased, without_margin
from isac_torch.evaluation.tracking.role_store import chosen_roles
from isac_torch.evaluation.view import Policy
from isac_torch.roles.policies import ROLE_POLICIES
from isac_torch.tensors import cat_tensors
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.requirement import Requirement

if TYPE_CHECKING:
    from pathlib import Path

    from isac_torch.evaluation.benchmark import Case
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.problem import MaxMinSinrProblem
    from isac_torch.tracking.scenario import TrackingScenario

_CHUNK = 64
KEPT_ROLES = DOMINATE, WITH_MARGIN = "dominate", "dominate with margin"
"""Variants of policies that keep the setting's roles; the first one is the kind of their requirement."""
MARGIN = 0.2
"""Of the optima: at 64 drops of seed 940000 it brings the misses to within a standard error of those of
uniform power and costs no drop more than 5 % of its smallest SINR. docs/requirements.md has the table."""

POLICIES = {
    **{name: Policy(name, WITH_MARGIN) for name in TRACKING.makers if "opc_dominate" in name},
    **{name: Policy(name, DOMINATE) for name in ("newton_dominate", *TRACKING.learned) if "_dominate" in name},
    **{name: Policy(policy.allocator, name) for name, policy in ROLE_POLICIES.items()},
    "gnn_dominate_roles": Policy("gnn_dominate", "opc_dominate_roles"),
    "gnn_dominate_scored_roles": Policy("gnn_dominate", "opc_dominate_scored_roles"),
}
"""Allocator and variant behind the name of each policy."""


def dominating(scenario: TrackingScenario) -> TrackingScenario:
    """The scenario with the requirement `dominate`: its own factors where it asks for that anyway, else factors of 1."""
    return scenario if scenario.requirement.kind == "dominate" else replace(scenario, requirement=Requirement("dominate"))


def vary(
    case: Case[TrackingScenario], drop: TrackingDrop, variant: str, folder: Path
) -> tuple[TrackingDrop, MaxMinSinrProblem]:
    """The drops and their problems under `dominate`, with other receive APs where `variant` is a policy of roles.

    Roles that were searched for are kept in `folder`.
    """
    if variant in ROLE_POLICIES:
        return chosen_roles(ROLE_POLICIES[variant], drop, case.scenario, folder)
    pieces = torch.arange(drop.num_drops).split(_CHUNK)
    scenario = dominating(case.scenario)

    def problem(scenario: TrackingScenario) -> MaxMinSinrProblem:
        return cat_tensors([power_problem(drop.select(piece), scenario) for piece in pieces])

    if variant == DOMINATE:
        return drop, problem(scenario)
    wanted = problem(replace(scenario, requirement=replace(scenario.requirement, margin=MARGIN)))
    return drop, eased(wanted, without_margin(wanted, scenario.requirement.sicnr))
