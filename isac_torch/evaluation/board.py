"""A benchmark in TensorBoard: figures, tables, card, hyperparameters, and what the system's own view adds.

What belongs to all settings lies in the folder itself (Images, Text); each allocator is a run of its own below it, so that
TensorBoard gives it one colour and one switch (Scalars, Histograms, HParams).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isac_torch.evaluation.card import markdown_card
from isac_torch.evaluation.tables import markdown_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from matplotlib.figure import Figure

    from isac_torch.evaluation.benchmark import Benchmark, OutcomeT
    from isac_torch.evaluation.view import View
    from isac_torch.systems import DropT, ProblemT, ScenarioT


def write_board(
    folder: Path,
    view: View[ScenarioT, DropT, ProblemT, OutcomeT],
    found: Sequence[Benchmark[ScenarioT, DropT, ProblemT, OutcomeT]],
    figures: Mapping[str, Figure],
    contexts: Mapping[str, dict[str, Any]],
) -> None:
    """Write event files to `folder`, replacing those of an earlier run.

    Args:
        folder: TensorBoard's log directory for these settings.
        view: of their system.
        found: what was found.
        figures: by name.
        contexts: `provenance` of each setting, for the card.
    """
    from torch.utils.tensorboard import SummaryWriter

    for stale in folder.glob("**/events.out.tfevents.*"):
        stale.unlink()
    summaries = {benchmark.name: view.summarise(benchmark) for benchmark in found}
    with SummaryWriter(str(folder)) as writer:
        for name, figure in figures.items():
            writer.add_figure(f"evaluation/{name}", figure, close=False)
        writer.add_text("evaluation/table", markdown_table(view.columns, summaries, view.leads))
        for place, context in enumerate(contexts.values()):
            writer.add_text("evaluation/card", markdown_card(context), place)
        for benchmark in found:
            own = {} if view.facts is None else view.facts(benchmark.scenario)
            facts = {"setting": benchmark.name, "seed": benchmark.seed, **own}
            for name, row in summaries[benchmark.name]["allocators"].items():
                metrics = {f"evaluation/{key}": value for key, value in row.items() if value is not None}
                run = f"{benchmark.name}/{name}" if view.leads else name
                writer.add_hparams({**facts, "allocator": name}, metrics, run_name=run)
            if view.curves is not None:
                view.curves(writer, folder, benchmark)
