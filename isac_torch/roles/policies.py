"""Choices of roles and powers by name, as tables, configurations and the benchmark use them. Section 4 of docs/roles.md.

    policy = ROLE_POLICIES["opc_dominate_roles"]
    chosen = policy.choose(drop, scenario)
    chosen.drop, chosen.problem, chosen.allocation      # the re-roled networks, what they are held to, their powers

Other roles make another drop, whose links and problem are its own: so these are no allocators, which are given one problem.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from isac_torch.allocation import FEASIBILITY_TOLERANCE
from isac_torch.allocators.registry import TRACKING
from isac_torch.errors import AllocationError
from isac_torch.roles.held import Chosen, joined
from isac_torch.roles.search import Search, search_roles
from isac_torch.tensors import map_tensors
from isac_torch.tracking.requirement import Requirement

if TYPE_CHECKING:
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.scenario import TrackingScenario


@dataclass(frozen=True)
class RolePolicy:
    """Roles and powers of each drop under `dominate`, with uniform power with the default roles as what it compares with.

    Attributes:
        name: short name for tables.
        allocator: who gives the powers, a name of `isac_torch.allocators.registry`.
        sicnr: factor of R2, the SICNR of every target; where no roles reach it, 1 is asked for.
        search: how much to look at.
    """

    name: str
    allocator: str = "opc_batched"
    sicnr: float = 1.0
    search: Search = field(default_factory=Search)

    def choose(self, drop: TrackingDrop, scenario: TrackingScenario) -> Chosen:
        """The best roles found for every drop, and powers.

        Args:
            drop: networks with the default roles.
            scenario: theirs. Of a requirement `dominate` the factors of R1 and R3 and the scan grid are kept; any other kind is
                replaced by `dominate` with factors of 1.
        """
        asked = scenario.requirement if scenario.requirement.kind == "dominate" else Requirement("dominate")
        found = self._search(drop, scenario, replace(asked, sicnr=self.sicnr))
        missed = (found.allocation.violation > FEASIBILITY_TOLERANCE).nonzero()[:, 0]
        if self.sicnr <= 1.0 or len(missed) == 0:
            return found
        again = self._search(drop.select(missed), scenario, replace(asked, sicnr=1.0))
        place = torch.arange(drop.num_drops).index_copy(0, missed, drop.num_drops + torch.arange(len(missed)))
        return map_tensors(joined([found, again]), lambda t: t[place])

    def _search(self, drop: TrackingDrop, scenario: TrackingScenario, asked: Requirement) -> Chosen:
        return search_roles(drop, replace(scenario, requirement=asked), TRACKING.named(self.allocator), self.search)


ROLE_POLICIES = {
    policy.name: policy
    for policy in (RolePolicy("opc_dominate_roles"), RolePolicy("opc_sense_roles", sicnr=1.5, search=Search(reach=1.0)))
}
"""Policies by name: the largest rate at uniform power's sensing, and roles for the targets' sake."""


def named_policy(name: str) -> RolePolicy:
    """The policy called `name`. Raises AllocationError where there is none."""
    if name not in ROLE_POLICIES:
        raise AllocationError(f"roles {name!r} are unknown; choose among {', '.join(ROLE_POLICIES)}")
    return ROLE_POLICIES[name]
