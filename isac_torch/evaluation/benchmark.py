"""What a benchmark is asked and what it found: setting, answers with their times, certified optimum, outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, runtime_checkable

from isac_torch.systems import DropT, ProblemT, ScenarioT

if TYPE_CHECKING:
    from isac_torch.allocation import Allocation
    from isac_torch.evaluation.optimum import Optimum

SENSED_DROPS, SENSED_BLOCKS = 50, 2
"""Drops whose true echoes are judged, and blocks drawn for each, unless told otherwise: a few ms per block at 16x16x4."""


@dataclass(frozen=True)
class Case(Generic[ScenarioT]):
    """One setting, complete: which drops, which requirement, who gets how many of them.

    Attributes:
        scenario: the network.
        num_drops: drops to judge on.
        seed: of the drops.
        name: of the setting.
        first_drops: how many of the first drops an allocator gets, by name; the others get all.
        sensed_drops: drops whose true echoes are judged.
        sir_below_best_db: require the largest SIR that each drop reaches less this many dB; None: the scenario's SIR0.
        sensed_blocks: coherence blocks over which true echoes are averaged.
    """

    scenario: ScenarioT
    num_drops: int
    seed: int
    name: str = ""
    first_drops: Mapping[str, int] = field(default_factory=dict)
    sensed_drops: int = SENSED_DROPS
    sir_below_best_db: float | None = None
    sensed_blocks: int = SENSED_BLOCKS


@runtime_checkable
class Judged(Protocol):
    """What every view makes of an allocator's answer, besides numbers of its own."""

    @property
    def name(self) -> str:
        """The allocator, as in the table."""
        ...

    @property
    def num_drops(self) -> int:
        """Drops that the allocator answered."""
        ...


OutcomeT = TypeVar("OutcomeT", bound=Judged)


@dataclass(frozen=True)
class Timed:
    """An allocator's answer with the processor time that it took.

    Attributes:
        allocation: the answer; its `seconds` are wall time, s.
        cpu_seconds: processor time, s; None for an answer that is kept on disk, where only wall time is.
        call_cpu_seconds: processor time of a call for a single drop, s; None where none was made.
    """

    allocation: Allocation
    cpu_seconds: float | None = None
    call_cpu_seconds: float | None = None


@dataclass(frozen=True)
class Part(Generic[DropT, ProblemT]):
    """Drops of a setting with one requirement, and their certified optimum.

    Attributes:
        drop: the networks drawn; all parts of a setting hold the same, perhaps with other roles.
        problem: their power problems.
        certified: answers of the certified allocators that gave the optimum, by name.
        optimum: the certified optimum of each drop.
    """

    drop: DropT
    problem: ProblemT
    certified: Mapping[str, Allocation]
    optimum: Optimum


@dataclass(frozen=True)
class Benchmark(Generic[ScenarioT, DropT, ProblemT, OutcomeT]):
    """Everything that a benchmark found, ready to be shown.

    Attributes:
        case: what was asked for.
        answers: of each allocator or policy, by name.
        plain: the drops under the setting's own requirement.
        variants: the drops of each policy under its own one, by the policy's name.
        from_store: allocators whose answers and times are those of an earlier run.
        outcomes: what each allocator did, as its system judges it.
    """

    case: Case[ScenarioT]
    answers: Mapping[str, Timed]
    plain: Part[DropT, ProblemT]
    variants: Mapping[str, Part[DropT, ProblemT]] = field(default_factory=dict)
    from_store: tuple[str, ...] = ()
    outcomes: tuple[OutcomeT, ...] = ()

    def part(self, name: str) -> Part[DropT, ProblemT]:
        """The drops that the allocator or policy of that name answered."""
        return self.variants.get(name, self.plain)

    @property
    def scenario(self) -> ScenarioT:
        """The network."""
        return self.case.scenario

    @property
    def seed(self) -> int:
        """Of the drops."""
        return self.case.seed

    @property
    def name(self) -> str:
        """Of the setting."""
        return self.case.name or self.case.scenario.name

    @property
    def drop(self) -> DropT:
        """The networks drawn."""
        return self.plain.drop

    @property
    def problem(self) -> ProblemT:
        """Their power problems, under the setting's own requirement."""
        return self.plain.problem

    @property
    def optimum(self) -> Optimum:
        """The certified optimum of each drop, under the setting's own requirement."""
        return self.plain.optimum

    @property
    def comparable(self) -> tuple[OutcomeT, ...]:
        """What the allocators did that were asked under the setting's own requirement: who can be drawn in one picture."""
        return tuple(outcome for outcome in self.outcomes if outcome.name not in self.variants)
