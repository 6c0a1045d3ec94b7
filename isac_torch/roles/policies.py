"""Choices of roles and powers by name, as tables, configurations and the benchmark use them. Section 4 of docs/roles.md.

    policy = ROLE_POLICIES["opc_dominate_roles"]
    chosen = policy.choose(drop, scenario)
    chosen.drop, chosen.problem, chosen.allocation      # the re-roled networks, what they are held to, their powers

Other roles make another drop, whose links and problem are its own: so these are no allocators, which are given one problem.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from math import comb
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isac_torch.allocation import allocate
from isac_torch.allocators.first_met import first_met
from isac_torch.allocators.registry import TRACKING
from isac_torch.roles.held import Chosen, Held, default_standard, joined, raised, worth
from isac_torch.roles.links import wider
from isac_torch.roles.scored import SCORER, ScoredSearch, scored_roles
from isac_torch.roles.search import Search, search_roles
from isac_torch.roles.target_search import TargetSearch, search_for_targets
from isac_torch.solvers.tracking.target_powers import target_powers
from isac_torch.tensors import map_tensors
from isac_torch.tracking.drop import all_aps
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.roles import MOST_SETS
from isac_torch.weights import shipped_weights

if TYPE_CHECKING:
    from isac_torch.allocation import Allocator
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.problem import MaxMinSinrProblem
    from isac_torch.tracking.scenario import TrackingScenario

_ROOM = 1e-3
"""Share by which factors are lowered, so that the certified solution has room."""


@dataclass(frozen=True)
class RolePolicy:
    """Roles and powers of each drop under `dominate`, with uniform power with the default roles as what it compares with.

    Attributes:
        name: short name for tables.
        allocator: who gives the powers, a name of `isac_torch.allocators.registry`.
        kept: share of the smallest SINR with the default roles that is kept while the mean SICNR of the targets is raised; 1:
            no target is asked for more than uniform power gives.
        enough_db: ratio of echo to noise (dB) up to which a scan cell is held to uniform power; None: always.
        search: how much to look at, in networks whose sets of receive APs can be listed; `Search.reduced` of it in larger ones.
            Or how many sets to solve of those that a network puts first.
        for_targets: how much to look at where `kept` is below 1.
    """

    name: str
    allocator: str = "opc_batched"
    kept: float = 1.0
    enough_db: float | None = None
    search: Search | ScoredSearch = field(default_factory=Search)
    for_targets: TargetSearch = field(default_factory=TargetSearch)

    def choose(self, drop: TrackingDrop, scenario: TrackingScenario) -> Chosen:
        """The best roles found for every drop, and powers.

        Args:
            drop: networks with the default roles.
            scenario: theirs. Of a requirement `dominate` the factors of R1 and R3 and the scan grid are kept; any other kind is
                replaced by `dominate` with factors of 1.
        """
        asked, allocator = self.asking(scenario), TRACKING.named(self.allocator)
        listed = comb(scenario.num_aps, scenario.receive_aps) <= MOST_SETS

        def plain(some: Tensor) -> Chosen:
            if isinstance(self.search, ScoredSearch):
                return scored_roles(drop.select(some), asked, allocator, self.search)
            return search_roles(drop.select(some), asked, allocator, self.search if listed else self.search.reduced())

        def more(some: Tensor) -> Chosen:
            return self._raised(drop.select(some), asked, allocator)

        tries = [plain] if self.kept >= 1.0 or drop.target_position.shape[1] == 0 else [more, plain]
        answer = first_met(drop.num_drops, tries, lambda chosen, _: worth(chosen.allocation) > 0.0)
        return map_tensors(joined(answer.answers), lambda t: t[answer.place])

    @property
    def weights(self) -> str:
        """SHA-256 of the weights that choose the roles; empty where a search does."""
        scored = isinstance(self.search, ScoredSearch)
        return hashlib.sha256(shipped_weights(SCORER).read_bytes()).hexdigest() if scored else ""

    @property
    def most_serving_aps(self) -> int | None:
        """APs that may serve a UE where links are divided freely over the UEs; None: every UE has as many as usual."""
        return self.search.most_serving_aps if isinstance(self.search, Search) else None

    def asking(self, scenario: TrackingScenario) -> TrackingScenario:
        """The scenario with what this policy asks of the radar, before the targets' SICNR is raised."""
        own = scenario.requirement
        asked = own if own.kind == "dominate" else Requirement("dominate", enough_db=self.enough_db)
        return replace(scenario, requirement=replace(asked, sicnr=1.0))

    def held(
        self,
        drop: TrackingDrop,
        scenario: TrackingScenario,
        receive: Int[Tensor, "drop rx"],
        factor: Float[Tensor, "drop target"],
        serves: Float[Tensor, "drop ue serving"] | None = None,
    ) -> tuple[TrackingDrop, MaxMinSinrProblem]:
        """Drops with the roles that `choose` found earlier, and the problems that it would give with them.

        Args:
            drop: networks with the default roles.
            scenario: theirs.
            receive: of `Chosen`.
            factor: of `Chosen`.
            serves: of the drop of `Chosen`.
        """
        asked, rows = self.asking(scenario), torch.arange(drop.num_drops)
        held = Held(drop, asked, raised(default_standard(drop, asked), factor))
        network = held.network(rows, receive)
        if serves is not None:
            network = replace(wider(network, serves.shape[2]), serves=serves)
        return network, held.problem_of(rows, network)

    def _raised(self, drop: TrackingDrop, asked: TrackingScenario, allocator: Allocator[MaxMinSinrProblem]) -> Chosen:
        """The roles and the factors of the largest mean SICNR; the allocator's powers under these factors."""
        held, rows = Held(drop, asked, default_standard(drop, asked)), torch.arange(drop.num_drops)
        default = all_aps(drop).receive
        floor = self.kept * allocate(held.problem(rows, default)[1], allocator).value
        receive = search_for_targets(held, floor, self.kept, self.for_targets)
        found = target_powers(held.problem(rows, receive)[1], floor)
        factor = torch.where(found.solved[:, None], found.quality * (1.0 - _ROOM), 1.0).clamp_min(1.0)
        network, problem = replace(held, standard=raised(held.standard, factor)).problem(rows, receive)
        changed = (receive.sort(-1).values != default.sort(-1).values).any(-1)
        return Chosen(receive, network, problem, allocate(problem, allocator), changed, factor)


ROLE_POLICIES = {
    policy.name: policy
    for policy in (
        RolePolicy("opc_dominate_roles", enough_db=13.0),
        RolePolicy("opc_dominate_scored_roles", enough_db=13.0, search=ScoredSearch()),
        RolePolicy("opc_dominate_joint", enough_db=13.0, search=Search(most_serving_aps=8)),
        RolePolicy("opc_sense_roles", kept=0.9, enough_db=13.0),
    )
}
"""Policies by name: the largest rate at uniform power's sensing by roles, by roles that a network puts first, and by roles and
serving sets together; roles for the targets' sake."""
