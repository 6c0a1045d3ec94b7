"""How the answers of a system are judged and shown, and which policies its benchmark knows besides the allocators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic

from isac_torch.errors import AllocationError
from isac_torch.evaluation.benchmark import Benchmark, Case, OutcomeT
from isac_torch.systems import DropT, ProblemT, ScenarioT, System

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure
    from torch.utils.tensorboard import SummaryWriter

    from isac_torch.allocation import Allocator
    from isac_torch.evaluation.optimum import Optimum
    from isac_torch.evaluation.tables import Column, Lead


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
        single_calls: drops that every allocator answers once more, one per call, to measure the time of such a call.
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
    single_calls: int = 0
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
