"""The benchmark in TensorBoard: figures, learned against optimal on one chart, histograms, hyperparameters, table and card.

What belongs to the set of drops lies in `folder` itself (Images, Text, Custom Scalars); each allocator is a run of its own
below it, so that TensorBoard gives it one colour and one switch (Scalars, Histograms, HParams).
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from isac_torch.evaluation.card import markdown_card
from isac_torch.evaluation.policy_figures import strict_ratio
from isac_torch.evaluation.tables import markdown_table

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from matplotlib.figure import Figure

    from isac_torch.evaluation.benchmark import Benchmark

CHART = "min_rate_mbps"
"""Tag, with the setting's name behind it, of each drop's minimum rate, in an allocator's own run: TensorBoard gives every run
a colour and a name, and every setting a chart. The step is the drop's rank by its optimum."""


_BINS = [i / 500 for i in range(501)]

RATIO = "ratio, 0 with a violation"
"""Tag of the histogram of each allocator's minimum rates over the optimum's."""


def write_board(folder: Path, benchmark: Benchmark, figures: dict[str, Figure], context: dict[str, Any]) -> None:
    """Write event files to `folder`, replacing those of an earlier run.

    Args:
        folder: TensorBoard's log directory for this benchmark.
        benchmark: what was found.
        figures: by name.
        context: the content of provenance.json, for the card.
    """
    from torch.utils.tensorboard import SummaryWriter

    for stale in folder.glob("**/events.out.tfevents.*"):
        stale.unlink()
    summary = benchmark.summary
    setting = {"setting": benchmark.name, "seed": benchmark.seed}
    outcomes = {outcome.name: outcome for outcome in benchmark.outcomes}
    with SummaryWriter(str(folder)) as writer:
        for name, figure in figures.items():
            writer.add_figure(f"evaluation/{name}", figure, close=False)
        writer.add_text("evaluation/table", markdown_table(summary))
        writer.add_text("evaluation/card", markdown_card(context))
        chart = f"{benchmark.name}: minimum rate of a drop (Mbit/s)"
        writer.add_custom_scalars({"learned v optimal": {chart: ["Multiline", [f"^{re.escape(chart_tag(benchmark))}$"]]}})
        for name, row in summary["allocators"].items():
            metrics = {f"evaluation/{key}": value for key, value in row.items() if value is not None}
            writer.add_hparams({**setting, "allocator": name}, metrics, run_name=name)
    _write_lines(folder, benchmark)
    for name, outcome in outcomes.items():
        ratio = strict_ratio(outcome, benchmark.optimum)
        if ratio.numel():
            with SummaryWriter(str(folder / name)) as writer:
                writer.add_histogram(RATIO, ratio.clamp(0.0, 1.0), bins=_BINS)


def chart_tag(benchmark: Benchmark) -> str:
    """Tag of the minimum rates in the runs of this setting."""
    return f"{CHART}/{benchmark.name}"


def _write_lines(folder: Path, benchmark: Benchmark) -> None:
    """One run per allocator with its minimum rates, sorted by the drops' optimum, for the chart of the Custom Scalars tab."""
    from torch.utils.tensorboard import SummaryWriter

    best, counted = benchmark.optimal_rate, benchmark.optimum.counted.tolist()
    drops = [i for i in best.nan_to_num(math.inf).argsort(stable=True).tolist() if counted[i]]
    lines = {"optimum": best, **{o.name: o.rate.amin(-1) for o in benchmark.outcomes}}
    for name, line in lines.items():
        with SummaryWriter(str(folder / name)) as writer:
            for rank, index in enumerate(drops):
                if index < line.shape[0]:
                    writer.add_scalar(chart_tag(benchmark), float(line[index]) / 1e6, rank)
