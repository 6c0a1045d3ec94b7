"""The benchmark in TensorBoard: figures, learned against optimal on one chart, hyperparameters, the table as text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from isac_torch.evaluation.tables import markdown_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from matplotlib.figure import Figure
    from torch import Tensor

    from isac_torch.evaluation.metrics import Optimum, Outcome

CHART = "min_rate_mbps"
"""Scalars of this group hold each drop's minimum rate; the step is the drop's rank by its optimum."""


def write_board(
    folder: Path,
    figures: dict[str, Figure],
    summary: dict[str, Any],
    outcomes: Sequence[Outcome],
    optimum: Optimum,
    optimal_rate: Tensor,
    setting: dict[str, str | float | int],
) -> None:
    """Write event files to `folder`, replacing those of an earlier run.

    Args:
        folder: TensorBoard's log directory for this benchmark.
        figures: by name.
        summary: content of summary.json.
        outcomes: what each allocator did.
        optimum: the certified optimum.
        optimal_rate: minimum rate at the optimum, bit/s, of each drop.
        setting: hyperparameters common to all rows (sizes, SIR0, seed).
    """
    from torch.utils.tensorboard import SummaryWriter

    for stale in folder.glob("**/events.out.tfevents.*"):
        stale.unlink()
    with SummaryWriter(str(folder)) as writer:
        for name, figure in figures.items():
            writer.add_figure(f"evaluation/{name}", figure, close=False)
        writer.add_text("evaluation/table", markdown_table(summary))
        _write_chart(writer, outcomes, optimum, optimal_rate)
        for name, row in summary["allocators"].items():
            metrics = {f"evaluation/{key}": value for key, value in row.items() if value is not None}
            writer.add_hparams({**setting, "allocator": name}, metrics, run_name=name)


def _write_chart(writer: Any, outcomes: Sequence[Outcome], optimum: Optimum, optimal_rate: Tensor) -> None:
    """One line per allocator over the drops, sorted by their optimum, on one chart of the Custom Scalars tab."""
    order = optimal_rate.nan_to_num(math.inf).argsort(stable=True).tolist()
    counted = optimum.counted.tolist()
    drops = [i for i in order if counted[i]]
    lines = {"optimum": optimal_rate, **{o.name: o.rate.amin(-1) for o in outcomes}}
    for name, line in lines.items():
        for rank, index in enumerate(drops):
            if index < line.shape[0]:
                writer.add_scalar(f"{CHART}/{name}", float(line[index]) / 1e6, rank)
    tags = [f"{CHART}/{name}" for name in lines]
    writer.add_custom_scalars({"learned v optimal": {"minimum rate of a drop (Mbit/s)": ["Multiline", tags]}})
