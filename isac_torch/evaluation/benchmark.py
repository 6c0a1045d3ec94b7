"""Run allocators of either system on the same fresh drops and hold what came out: answers, times, the certified optimum."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, runtime_checkable

import torch

from isac_torch.allocation import Allocation, allocate
from isac_torch.errors import AllocationError
from isac_torch.evaluation.optimum import Optimum, best_known, stored_allocate
from isac_torch.systems import DropT, ProblemT, ScenarioT, System
from isac_torch.tensors import cat_tensors

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure
    from torch.utils.tensorboard import SummaryWriter

    from isac_torch.allocation import Allocator
    from isac_torch.evaluation.tables import Column, Lead

_CHUNK = 64
_WARM_UP_SECONDS = 2.0

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
    """

    allocation: Allocation
    cpu_seconds: float | None = None


@dataclass(frozen=True)
class Policy:
    """An allocator together with what it is asked.

    Attributes:
        allocator: its name in the system's catalogue.
        variant: what its problems differ in from those of the setting, such as another requirement; the view knows how.
    """

    allocator: str
    variant: str


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


@dataclass(frozen=True)
class View(Generic[ScenarioT, DropT, ProblemT, OutcomeT]):
    """How the answers of one system are judged and shown.

    Attributes:
        system: whose answers.
        columns: of the table on the terminal.
        blocks: keys of summary.json that the table of several settings shows, with their headings.
        csv_fields: columns of drops.csv.
        outcome: judges one allocator, by name, on a benchmark whose `outcomes` are empty.
        summarise: the setting's entry of summary.json.
        csv_lines: the setting's lines of drops.csv.
        pictures: every figure of some settings, by name.
        words: what the terminal says of some settings, from their entries of summary.json and their provenance.
        prepare: changes the problems as the case asks.
        check: refuses, in one line, drops on which nothing can be measured.
        local: whether the certified value is that of a local optimum, so that anybody's valid answer counts.
        curves: writes what TensorBoard shows of a setting beyond figures, table and hyperparameters.
        policies: names of allocators that are asked something else than the setting's problems.
        vary: the drops and problems of a variant, from the setting's drops; with a folder for what takes long to find.
        asked: the variants whose requirement a setting has anyway.
        facts: what identifies a setting in TensorBoard's table of hyperparameters, besides its name.
        leads: columns between the names of setting and allocator in a table of several settings, which share one folder
            then; without any, each setting has a folder and a table of its own.
    """

    system: System[ScenarioT, DropT, ProblemT]
    columns: Sequence[Column]
    blocks: Sequence[tuple[str, str]]
    csv_fields: Sequence[str]
    outcome: Callable[[Benchmark[ScenarioT, DropT, ProblemT, OutcomeT], str], OutcomeT]
    summarise: Callable[[Benchmark[ScenarioT, DropT, ProblemT, OutcomeT]], dict[str, Any]]
    csv_lines: Callable[[Benchmark[ScenarioT, DropT, ProblemT, OutcomeT]], Iterable[dict[str, object]]]
    pictures: Callable[[Sequence[Benchmark[ScenarioT, DropT, ProblemT, OutcomeT]]], dict[str, Figure]]
    words: Callable[[Mapping[str, Any], Mapping[str, Any]], list[str]]
    prepare: Callable[[ProblemT, Case[ScenarioT]], ProblemT] | None = None
    check: Callable[[Case[ScenarioT], Optimum], None] | None = None
    local: Callable[[ProblemT], bool] | None = None
    curves: Callable[[SummaryWriter, Path, Benchmark[ScenarioT, DropT, ProblemT, OutcomeT]], None] | None = None
    facts: Callable[[ScenarioT], dict[str, float]] | None = None
    policies: Mapping[str, Policy] = field(default_factory=dict)
    vary: Callable[[Case[ScenarioT], DropT, str, Path], tuple[DropT, ProblemT]] | None = None
    asked: Callable[[Case[ScenarioT]], Sequence[str]] | None = None
    leads: Sequence[Lead] = ()

    def variant(self, case: Case[ScenarioT], name: str) -> str:
        """What the problems of an allocator or policy differ in from the setting's; empty where in nothing."""
        variant = self.policies[name].variant if name in self.policies else ""
        return "" if self.asked is not None and variant in self.asked(case) else variant

    def allocator(self, name: str, checkpoint: str | Path | None = None) -> Allocator[ProblemT]:
        """The allocator behind the name of a line in the table.

        Raises:
            AllocationError: if no allocator has that name.
            CheckpointError: if its weights cannot be used.
        """
        catalogue = self.system.allocators
        if name in self.policies:
            return catalogue.named(self.policies[name].allocator, checkpoint)
        try:
            return catalogue.named(name, checkpoint)
        except AllocationError as error:
            raise AllocationError(", ".join([str(error), *self.policies])) from None


def run_benchmark(
    view: View[ScenarioT, DropT, ProblemT, OutcomeT],
    case: Case[ScenarioT],
    named: Mapping[str, Allocator[ProblemT]],
    optima: Path,
) -> Benchmark[ScenarioT, DropT, ProblemT, OutcomeT]:
    """Give the same drops to every allocator.

    The optimum is the best of the certified allocators in `named` that got all drops; without any, the system's first one is
    asked. Where the optimum is a local one (shared pilots), the best valid answer of anybody counts.

    Args:
        view: of the scenario's system.
        case: the drops and the requirement.
        named: allocators by the name of their line in the table.
        optima: folder that keeps the answers of certified and slow allocators, with their times, for the next run.
    """
    from tqdm import tqdm

    drop, problem = draw(view.system, case.scenario, case.num_drops, case.seed)
    problem = problem if view.prepare is None else view.prepare(problem, case)
    groups: dict[str, list[str]] = {"": []}
    for name in named:
        groups.setdefault(view.variant(case, name), []).append(name)
    answers: dict[str, Timed] = {}
    from_store: list[str] = []
    parts: dict[str, Part[DropT, ProblemT]] = {}
    for variant, names in groups.items():
        own = (drop, problem) if variant == "" or view.vary is None else view.vary(case, drop, variant, optima)
        parts[variant] = _answered(view, case, own, {name: named[name] for name in names}, optima, answers, from_store)
    if view.check is not None:
        view.check(case, parts[""].optimum)
    variants = {name: parts[variant] for variant, names in groups.items() for name in names if variant}
    ordered = {name: answers[name] for name in named}
    found: Benchmark[ScenarioT, DropT, ProblemT, OutcomeT] = Benchmark(
        case, ordered, parts[""], variants, tuple(name for name in named if name in from_store)
    )
    judged = tqdm(named, desc="true echoes", unit="allocator", leave=False)
    return replace(found, outcomes=tuple(view.outcome(found, name) for name in judged))


def _answered(
    view: View[ScenarioT, DropT, ProblemT, OutcomeT],
    case: Case[ScenarioT],
    own: tuple[DropT, ProblemT],
    named: Mapping[str, Allocator[ProblemT]],
    optima: Path,
    answers: dict[str, Timed],
    from_store: list[str],
) -> Part[DropT, ProblemT]:
    """Ask `named` for powers of one part's problems, noting `answers` and who was found in the store."""
    from tqdm import tqdm

    catalogue, (drop, problem) = view.system.allocators, own
    behind = {name: view.policies[name].allocator if name in view.policies else name for name in named}
    kept = [name for name in named if behind[name] in (*catalogue.certified, *catalogue.slow)]
    bar = tqdm([*kept, *(name for name in named if name not in kept)], unit="allocator", leave=False)
    for name in bar:
        bar.set_description(name)
        part = problem.select(torch.arange(min(case.first_drops.get(name, case.num_drops), case.num_drops)))
        if name in kept:
            allocation, stored = stored_allocate(part, named[name], optima, _wall_time)
            answers[name] = Timed(allocation)
            from_store += [name] if stored else []
        else:
            answers[name] = timed_allocate(part, named[name])
    asked = [(one, name) for one in catalogue.certified for name in named if behind[name] == one]
    certified = {name: answers[name].allocation for _, name in asked}
    if not any(answer.value.shape[0] == case.num_drops for answer in certified.values()):
        certified[catalogue.certified[0]] = stored_allocate(problem, view.system.labeller(), optima)[0]
    local = view.local is not None and view.local(problem)
    others = [answers[name].allocation for name in named if name not in certified] if local else []
    return Part(drop, problem, certified, best_known(list(certified.values()), others))


def draw(
    system: System[ScenarioT, DropT, ProblemT], scenario: ScenarioT, num_drops: int, seed: int, *, progress: bool = True
) -> tuple[DropT, ProblemT]:
    """The drops of `seed` and their power problem, built piece by piece to bound the memory."""
    from tqdm import tqdm

    drop = system.sample(scenario, num_drops, torch.Generator().manual_seed(seed))
    starts = range(0, num_drops, _CHUNK)
    pieces = [torch.arange(start, min(start + _CHUNK, num_drops)) for start in starts]
    bar = tqdm(pieces, desc="statistics", unit="batch", disable=not progress, leave=False)
    problem = cat_tensors([system.power_problem(drop.select(piece), scenario) for piece in bar])
    problem.check()
    return drop, problem


def timed_allocate(problem: ProblemT, allocator: Allocator[ProblemT]) -> Timed:
    """The allocation of the whole set, with wall and processor time of allocate() after a warm-up.

    The warm-up is one or two drops, again if that was quick, and then the whole set once if that takes less than about two
    seconds: what takes longer than that has no need of it.
    """
    few = problem.select(torch.arange(min(2, 1 + problem.num_drops // 16)))
    seconds = _seconds(few, allocator)
    if seconds < _WARM_UP_SECONDS:
        seconds = _seconds(few, allocator)
    if seconds / few.num_drops * problem.num_drops < _WARM_UP_SECONDS:
        allocate(problem, allocator)
    start, cpu = time.perf_counter(), time.process_time()
    allocation = allocate(problem, allocator)
    return Timed(replace(allocation, seconds=time.perf_counter() - start), time.process_time() - cpu)


def _wall_time(problem: ProblemT, allocator: Allocator[ProblemT]) -> Allocation:
    return timed_allocate(problem, allocator).allocation


def _seconds(problem: ProblemT, allocator: Allocator[ProblemT]) -> float:
    start = time.perf_counter()
    allocate(problem, allocator)
    return time.perf_counter() - start
