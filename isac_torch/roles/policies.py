"""Choices of roles and powers by name, as tables, configurations and the benchmark use them. Section 4 of docs/roles.md.

    policy = ROLE_POLICIES["opc_dominate_roles"]
    chosen = policy.choose(drop, scenario)
    chosen.drop, chosen.problem, chosen.allocation      # the re-roled networks, what they are held to, their powers

Other roles make another drop, whose links and problem are its own: so these are no allocators, which are given one problem.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import comb
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from isac_torch.allocation import FEASIBILITY_TOLERANCE
from isac_torch.allocators.first_met import first_met
from isac_torch.allocators.registry import TRACKING
from isac_torch.roles.held import Chosen, Held, default_standard, joined
from isac_torch.roles.search import Search, search_roles
from isac_torch.tensors import cat_tensors, map_tensors
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.roles import MOST_SETS

if TYPE_CHECKING:
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.problem import MaxMinSinrProblem
    from isac_torch.tracking.scenario import TrackingScenario


@dataclass(frozen=True)
class RolePolicy:
    """Roles and powers of each drop under `dominate`, with uniform power with the default roles as what it compares with.

    Attributes:
        name: short name for tables.
        allocator: who gives the powers, a name of `isac_torch.allocators.registry`.
        sicnr: factor of R2, the SICNR of every target; where no roles reach it, 1 is asked for.
        enough_db: ratio of echo to noise (dB) up to which a scan cell is held to uniform power; None: always.
        search: how much to look at, in networks whose sets of receive APs can be listed; `Search.reduced` of it in larger ones.
    """

    name: str
    allocator: str = "opc_batched"
    sicnr: float = 1.0
    enough_db: float | None = None
    search: Search = field(default_factory=Search)

    def choose(self, drop: TrackingDrop, scenario: TrackingScenario) -> Chosen:
        """The best roles found for every drop, and powers.

        Args:
            drop: networks with the default roles.
            scenario: theirs. Of a requirement `dominate` the factors of R1 and R3 and the scan grid are kept; any other kind is
                replaced by `dominate` with factors of 1.
        """
        wanted = [self.asking(scenario, eased=less) for less in ((False, True) if self.sicnr > 1.0 else (False,))]

        def ask(scenario: TrackingScenario) -> Callable[[Tensor], Chosen]:
            return lambda some: self._search(drop.select(some), scenario)

        found = first_met(
            drop.num_drops,
            [ask(scenario) for scenario in wanted],
            lambda chosen, _: chosen.allocation.violation <= FEASIBILITY_TOLERANCE,
        )
        return replace(map_tensors(joined(found.answers), lambda t: t[found.place]), eased=found.taken > 0)

    def asking(self, scenario: TrackingScenario, *, eased: bool = False) -> TrackingScenario:
        """The scenario with what this policy asks of the radar, or with what it asks where no roles reach that."""
        own = scenario.requirement
        asked = own if own.kind == "dominate" else Requirement("dominate", enough_db=self.enough_db)
        return replace(scenario, requirement=replace(asked, sicnr=1.0 if eased else self.sicnr))

    def held(
        self, drop: TrackingDrop, scenario: TrackingScenario, receive: Int[Tensor, "drop rx"], eased: Bool[Tensor, " drop"]
    ) -> tuple[TrackingDrop, MaxMinSinrProblem]:
        """Drops with the roles that `choose` found earlier, and the problems that it would give with them.

        Args:
            drop: networks with the default roles.
            scenario: theirs.
            receive: of `Chosen`.
            eased: of `Chosen`.
        """
        place, parts = torch.cat([(~eased).nonzero()[:, 0], eased.nonzero()[:, 0]]).argsort(), []
        for less in (False, True):
            index = (eased == less).nonzero()[:, 0]
            if len(index):
                some, asked = drop.select(index), self.asking(scenario, eased=less)
                parts.append(Held(some, asked, default_standard(some, asked)).problem(torch.arange(len(index)), receive[index]))
        networks, problems = zip(*parts, strict=True)
        return cat_tensors(networks).select(place), cat_tensors(problems).select(place)

    def _search(self, drop: TrackingDrop, scenario: TrackingScenario) -> Chosen:
        listed = comb(scenario.num_aps, scenario.receive_aps) <= MOST_SETS
        search = self.search if listed else self.search.reduced()
        return search_roles(drop, scenario, TRACKING.named(self.allocator), search)


ROLE_POLICIES = {
    policy.name: policy
    for policy in (
        RolePolicy("opc_dominate_roles", enough_db=13.0),
        RolePolicy("opc_sense_roles", sicnr=1.5, search=Search(reach=1.0)),
    )
}
"""Policies by name: the largest rate at uniform power's sensing, and roles for the targets' sake."""
