"""Batches of freshly drawn drops for training: no label, any mixture of sizes and of sensing requirements.

Drawing a drop costs as much as learning from it, so each is used a few times, with a newly drawn requirement each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.datasets.recipe import MAX_SEED
from isac_torch.datasets.share import ALL, Share
from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
from isac_torch.errors import DatasetError
from isac_torch.solvers.tracking.feasibility import largest_sir
from isac_torch.systems import Problem, Scenario, system_of
from isac_torch.tensors import from_db
from isac_torch.tracking.build import power_problem as tracking_problem
from isac_torch.tracking.drop import TrackingDrop
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.scenario import TrackingScenario

_KEPT = 32
"""Batches held for further use, at most."""
_REFERENCE_WORK = 1600
"""Links of a 16x16x4 drop times its UEs and targets, for which `batch_size` is meant: larger drops come in smaller batches."""
_LEAST_BATCH = 4
_REQUIREMENTS = 2**29
"""Blocks between the seeds of drops and those of their requirements, which must not follow the drops' positions."""


@dataclass(frozen=True)
class SirMix:
    """From what the required SIR of each drop is drawn.

    Attributes:
        low_db, high_db: range of SIR0, uniform per drop, dB.
        tight_share: share of the drops whose SIR0 is drawn near their largest reachable SIR instead.
        tight_db: range below the largest reachable SIR from which that is drawn, dB.
        least_slack_db: no drop is asked for more than its largest reachable SIR less this: none is infeasible.
    """

    low_db: float = -11.0
    high_db: float = -2.0
    tight_share: float = 0.2
    tight_db: tuple[float, float] = (0.3, 3.0)
    least_slack_db: float = 0.3

    def limit(self, problem: MaxMinSinrProblem) -> Float[Tensor, " drop"]:
        """The largest SIR that each drop can reach, linear; inf without sensing rows."""
        return largest_sir(problem).best_sir if problem.num_constraints else torch.full_like(problem.budget[:, 0], torch.inf)

    def vary(self, problem: MaxMinSinrProblem, limit: Float[Tensor, " drop"], generator: torch.Generator) -> MaxMinSinrProblem:
        """The same drops with a newly drawn SIR0 each, given what `limit` said of them."""
        tight, plain, choice = torch.rand(3, len(limit), generator=generator, dtype=limit.dtype)
        near, far = self.tight_db
        wanted = from_db(self.low_db + (self.high_db - self.low_db) * plain)
        wanted = torch.where(choice < self.tight_share, limit * from_db(-near - (far - near) * tight), wanted)
        wanted = torch.minimum(wanted, limit * from_db(torch.full_like(tight, -self.least_slack_db)))
        return replace(problem, sir_min=wanted.to(problem.sir_min)[:, None].expand_as(problem.sir_min).contiguous())


@dataclass(frozen=True)
class FactorMix:
    """How much of its scenario's requirement each drop is asked for: factors on its sensing constraints.

    Attributes:
        low, high: range of a factor on all of a drop's constraints, uniform.
        own_share: share of the drops that keep the requirement as it is.
        spread: standard deviation of the logarithm of a further factor on each constraint of the others, as where what is
            required comes from the same sites in other roles.
    """

    low: float = 0.8
    high: float = 1.05
    own_share: float = 0.5
    spread: float = 0.0

    def limit(self, problem: MaxMinSinrProblem) -> Float[Tensor, " drop"]:
        """Nothing has to be known of the drops."""
        return torch.full_like(problem.budget[:, 0], torch.inf)

    def vary(self, problem: MaxMinSinrProblem, limit: Float[Tensor, " drop"], generator: torch.Generator) -> MaxMinSinrProblem:
        """The same drops with a newly drawn factor each."""
        plain, choice = torch.rand(2, len(limit), 1, generator=generator, dtype=limit.dtype)
        own, common = choice < self.own_share, self.low + (self.high - self.low) * plain

        def changed(required: Tensor) -> Tensor:
            noise = torch.randn(required.shape, generator=generator, dtype=limit.dtype)
            return required * torch.where(own, 1.0, common * (self.spread * noise).exp()).to(required)

        position = problem.position
        if position is not None:
            position = replace(position, required=changed(position.required))
        return replace(problem, sir_min=changed(problem.sir_min), position=position)


@dataclass(frozen=True)
class EitherMix:
    """A SIR0 for drops whose scenario requires a SIR, factors for those with any other requirement.

    Attributes:
        sir: from what SIR0 is drawn.
        factor: from what the factors are drawn.
    """

    sir: SirMix
    factor: FactorMix

    def _of(self, problem: MaxMinSinrProblem) -> SirMix | FactorMix:
        return self.factor if problem.asks_for_watts else self.sir

    def limit(self, problem: MaxMinSinrProblem) -> Float[Tensor, " drop"]:
        """What the one that fits has to know of the drops."""
        return self._of(problem).limit(problem)

    def vary(self, problem: MaxMinSinrProblem, limit: Float[Tensor, " drop"], generator: torch.Generator) -> MaxMinSinrProblem:
        """The same drops with newly drawn requirements."""
        return self._of(problem).vary(problem, limit, generator)


@dataclass(frozen=True)
class BudgetMix:
    """How the budgets of fresh drops differ from AP to AP.

    Attributes:
        share: share of the drops in which they differ.
        most_db: largest factor on a budget, and smallest in the same way, dB. Each drop has a range of its own below it.
    """

    share: float = 0.3
    most_db: float = 10.0

    def budget(self, drops: int, aps: int, power: float, generator: torch.Generator) -> Float[Tensor, "drop ap"]:
        """Budgets (W) about `power` (W)."""
        choice, reach = torch.rand(2, drops, 1, generator=generator, dtype=torch.float64)
        each = 2.0 * torch.rand(drops, aps, generator=generator, dtype=torch.float64) - 1.0
        return power * from_db(each * self.most_db * reach * (choice < self.share))


@dataclass(frozen=True)
class CrbMix:
    """From what the localisation limit Gamma of each drop is drawn: factors on the scenario's, uniform on a logarithmic axis.

    Attributes:
        low, high: range of the factor, positive.
    """

    low: float = 1.0
    high: float = 1.0

    def limit(self, problem: MinMaxNmseProblem) -> Float[Tensor, " drop"]:
        """Nothing has to be known of the drops."""
        return torch.full_like(problem.crb_max[:, 0], torch.inf)

    def vary(self, problem: MinMaxNmseProblem, limit: Float[Tensor, " drop"], generator: torch.Generator) -> MinMaxNmseProblem:
        """The same drops with a newly drawn Gamma each."""
        drawn = torch.rand(len(limit), 1, generator=generator, dtype=limit.dtype)
        factor = self.low * (self.high / self.low) ** drawn
        return replace(problem, crb_max=problem.crb_max * factor.to(problem.crb_max))


class FreshBatches:
    """Batches of drops that nobody has seen: drawn as they are needed, without labels.

    Block b of the run draws from a generator seeded with seed + b, so that the same seed gives the same training run; keep
    this range apart from those of stored and held-out drops. Of several processes each takes every so-many-th block, all of
    the same scenario at the same step, so that nobody waits for a larger network. A loader with the `state_dict` of another
    gives the batches that the other would have given next; where another number of processes goes on, none that any has drawn.
    """

    def __init__(
        self,
        scenarios: Sequence[Scenario],
        batch_size: int,
        batches: int,
        *,
        seed: int,
        dtype: torch.dtype = torch.float32,
        mix: SirMix | FactorMix | EitherMix | CrbMix | None = None,
        budgets: BudgetMix | None = None,
        uses: int = 1,
        share: Share = ALL,
    ) -> None:
        """Set up without drawing.

        Args:
            scenarios: what to draw from, in turns.
            batch_size: drops of a batch at 16x16x4; fewer for larger drops, so that batches cost alike.
            batches: batches in a pass.
            seed: of the first block.
            dtype: of the tensors.
            mix: sensing requirements; default each scenario's own.
            budgets: of the APs of the tracking system; default each scenario's own.
            uses: times that each drop is used, in the mean.
            share: which of several processes this is.
        """
        if batch_size < 1 or batches < 1 or uses < 1 or not scenarios:
            raise DatasetError(f"batch_size={batch_size}, batches={batches}, uses={uses}, scenarios: each needs at least one")
        self.scenarios, self.batch_size, self.batches = list(scenarios), batch_size, batches
        self.seed, self.dtype, self.mix, self.budgets, self.uses, self.share = seed, dtype, mix, budgets, uses, share
        self.drawn = self.given = 0
        self._kept: list[tuple[Any, Tensor | None]] = []

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[tuple[Problem, dict[str, Tensor]]]:
        for _ in range(self.batches):
            yield self._next(), {}

    def _next(self) -> Problem:
        generator = self._generator(self.given + _REQUIREMENTS)
        if self.given % self.uses == 0 or not self._kept:
            self._kept = [*self._kept[1 - _KEPT :], self._draw(self.drawn)]
            self.drawn += 1
            place = len(self._kept) - 1
        else:
            everyone = self._generator(self.given + _REQUIREMENTS, 0)  # the same place, so the same scenario
            place = int(torch.randint(len(self._kept), (), generator=everyone))
        self.given += 1
        problem, limit = self._kept[place]
        drops: Problem = problem if self.mix is None or limit is None else self.mix.vary(problem, limit, generator)
        return drops.cast(self.dtype)

    def _draw(self, place: int) -> tuple[Any, Tensor | None]:
        """The drops of block number `place`, and what the mixture of requirements needs to know of them."""
        generator = self._generator(place)
        scenario = self.scenarios[place % len(self.scenarios)]
        drops = scenario.sample(self._batch(scenario), generator=generator)
        problem: Any
        if self.budgets is not None and isinstance(scenario, TrackingScenario):
            tracked = cast("TrackingDrop", drops)
            budget = self.budgets.budget(drops.num_drops, tracked.tx_position.shape[1], scenario.ap_power, generator)
            problem = tracking_problem(tracked, scenario, budget=budget)
        else:
            problem = system_of(scenario).power_problem(drops, scenario)
        return problem, None if self.mix is None else self.mix.limit(problem)

    def _generator(self, place: int, rank: int | None = None) -> torch.Generator:
        """That of block number `place` of a process, by default of this one."""
        rank = self.share.rank if rank is None else rank
        return torch.Generator().manual_seed((self.seed + place * self.share.processes + rank) % MAX_SEED)

    def state_dict(self) -> dict[str, int]:
        """Blocks that all processes have drawn and given together, and how many processes there are."""
        processes = self.share.processes
        return {"drawn": self.drawn * processes, "given": self.given * processes, "processes": processes}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on behind the blocks that were given."""
        self.drawn, self.given = (-(-state[name] // self.share.processes) for name in ("drawn", "given"))
        again = self.uses > 1 and state.get("processes") == self.share.processes
        self._kept = [self._draw(place) for place in range(max(0, self.drawn - _KEPT), self.drawn)] if again else []

    def _batch(self, scenario: Scenario) -> int:
        if isinstance(scenario, TrackingScenario):
            nodes = scenario.num_ues + scenario.num_targets
            links = scenario.num_ues * scenario.serving_links + scenario.num_targets * scenario.sensing_links
        else:
            nodes, links = scenario.num_ues, scenario.num_ues * scenario.num_aps
        share = min(1.0, _REFERENCE_WORK / (links * nodes))
        return max(min(_LEAST_BATCH, self.batch_size), round(self.batch_size * share))
