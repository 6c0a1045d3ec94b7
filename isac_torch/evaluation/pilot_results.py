"""Downlink pilots: benchmark as files and as text: summary.json, provenance.json, drops.csv, figures, TensorBoard."""

from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING, Any

from isac_torch.allocation import Status
from isac_torch.evaluation import figures
from isac_torch.evaluation.pilot_benchmark import TIGHT, broken_bounds
from isac_torch.evaluation.tables import write_json
from isac_torch.files import written_whole
from isac_torch.tensors import to_db

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from isac_torch.evaluation.pilot_benchmark import Setting

COLUMNS = (
    ("nmse_ratio_mean", "ratio", "{:.4f}"),
    ("nmse_ratio_p95", "p95", "{:.4f}"),
    ("nmse_ratio_max", "max", "{:.4f}"),
    ("crb_violation_rate", "CRB missed", "{:.2%}"),
    ("power_share_mean", "power", "{:.1%}"),
    ("cpu_ms_per_drop", "CPU ms/drop", "{:.3f}"),
    ("ms_per_drop", "ms/drop", "{:.3f}"),
)
"""Key in summary.json, heading and format of each column."""

CSV_FIELDS = (
    "setting", "drop", "kind", "allocator", "status", "largest_nmse", "least_nmse", "bound_nmse", "largest_crb_m2", "power_w",
)  # fmt: skip


def write_results(
    settings: Sequence[Setting], summary: dict[str, Any], context: dict[str, Any], folder: Path, tensorboard: bool
) -> str:
    """Write everything to `folder`, which exists, and return what the terminal should show."""
    pictures = {"nmse_ratio": ratio_distributions(settings), "learned_v_optimal": learned_v_optimal(settings)}
    write_json(folder / "summary.json", summary)
    write_json(folder / "provenance.json", context)
    write_csv(folder / "drops.csv", settings)
    for name, figure in pictures.items():
        figures.save(figure, folder / f"{name}.png")
    if tensorboard:
        _write_board(folder / "tensorboard", summary, context, pictures)
    return f"\n{text_table(summary)}\n\nlook at {folder}/summary.json, drops.csv, provenance.json and the figures *.png"


def table_rows(summary: dict[str, Any]) -> list[list[str]]:
    """Heading and a line per setting and allocator, as text cells."""
    rows = [["setting", "infeasible", "active", "allocator", *(title for _, title, _ in COLUMNS)]]
    for name, setting in summary["settings"].items():
        facts = [name, f"{setting['infeasible'] / setting['num_drops']:.1%}", f"{setting['crb_active_share']:.1%}"]
        for row_name, row in setting["allocators"].items():
            cells = ["-" if key not in row else form.format(row[key]) for key, _, form in COLUMNS]
            rows.append([*facts, row_name, *cells])
    return rows


def text_table(summary: dict[str, Any]) -> str:
    """The benchmark as aligned plain text with a legend."""
    rows = table_rows(summary)
    width = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(map(str.rjust, row, width)) for row in rows]
    counts = {setting["num_drops"] for setting in summary["settings"].values()}
    certified = min(setting["certified_share"] for setting in summary["settings"].values())
    legend = [
        f"{' or '.join(map(str, sorted(counts)))} fresh drops a setting",
        "ratio: largest NMSE over the optimum's, on feasible drops; CRB missed: share of these with a bound above 1.01 Gamma",
        f"active: feasible drops with a localisation bound within {TIGHT:g} of Gamma at the optimum",
        f"optimum certified to 1e-3 on at least {certified:.1%} of the feasible drops of each setting",
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], "", *legend])


def markdown_table(summary: dict[str, Any]) -> str:
    """The benchmark as a Markdown table."""
    head, *body = ["| " + " | ".join(row) + " |" for row in table_rows(summary)]
    return "\n".join([head, "|---" * head.count(" | ") + "|---|", *body])


def write_csv(path: Path, settings: Sequence[Setting]) -> None:
    """Write one line per setting, allocator and drop."""
    with written_whole(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CSV_FIELDS)
        for setting in settings:
            writer.writerows(_lines(setting))


def _lines(setting: Setting) -> list[tuple[object, ...]]:
    problem, best = setting.problem, setting.optimum
    kinds = ["feasible" if feasible else "infeasible" for feasible in setting.feasible.tolist()]
    lines: list[tuple[object, ...]] = []
    for name, answer in setting.answers.items():
        crb = problem.crb(answer.power).amax(-1)
        columns = (answer.value.reciprocal(), best.value.reciprocal(), best.upper_bound.reciprocal(), crb, answer.power.sum(-1))
        numbers = zip(*(column.tolist() for column in columns), strict=True)
        for index, row in enumerate(numbers):
            status = Status(int(answer.status[index])).name.lower()
            lines.append((setting.scenario.name, index, kinds[index], name, status, *(f"{value:.9g}" for value in row)))
    return lines


def _panels(count: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each setting, three in a row."""
    from matplotlib.figure import Figure

    columns = min(3, count)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(3.4 * columns + 0.6, height * rows + 0.4), dpi=120, layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for unused in panels[count:]:
        unused.set_visible(False)
    return figure, panels[:count]


def ratio_distributions(settings: Sequence[Setting]) -> Figure:
    """Of every allocator, the share of drops by how much its largest NMSE exceeds the optimum's; dotted: 5 %."""
    figure, panels = _panels(len(settings), 2.6)
    for setting, axes in zip(settings, panels, strict=True):
        shown = [name for name in setting.answers if setting.answers[name] is not setting.optimum]
        for name, style in zip(shown, figures.allocator_styles(shown), strict=True):
            ratio = (setting.optimum.value / setting.answers[name].value)[setting.feasible]
            axes.ecdf((ratio - 1.0).clamp_min(1e-4).numpy(), label=name, linewidth=1.4, **style)
        axes.axvline(0.05, color="black", linewidth=0.8, linestyle=":")
        axes.set(xscale="log", xlim=(1e-4, 10.0), ylim=(0.0, 1.0))
        axes.set_title(setting.scenario.name, fontsize=9)
        axes.grid(alpha=0.3, linewidth=0.5)
        axes.tick_params(labelsize=7)
    if panels[0].get_legend_handles_labels()[0]:
        panels[0].legend(fontsize=7, loc="upper left")
    figure.supxlabel("largest NMSE over the optimum's, less 1", fontsize=9)
    figure.supylabel("share of feasible drops at or below", fontsize=9)
    return figure


def learned_v_optimal(settings: Sequence[Setting]) -> Figure:
    """One point a feasible drop: largest NMSE of the network (or of the last allocator) against the least possible."""
    figure, panels = _panels(len(settings), 2.8)
    for setting, axes in zip(settings, panels, strict=True):
        name = next((name for name in ("gnn", "gnn_raw", "first_order") if name in setting.answers), list(setting.answers)[-1])
        answer = setting.answers[name]
        least, reached = (-to_db(value) for value in (setting.optimum.value, answer.value))
        broken = broken_bounds(setting.problem, answer.power) & setting.feasible
        kinds = (
            ("localisation slack", setting.feasible & ~setting.active & ~broken, figures.COLOURS[0], "o"),
            ("localisation active", setting.active & ~broken, figures.COLOURS[2], "o"),
            ("bound missed", broken, figures.BROKEN, "x"),
        )
        for label, chosen, colour, marker in kinds:
            size = 20 if marker == "x" else 5
            axes.scatter(least[chosen], reached[chosen], s=size, c=colour, marker=marker, label=label, linewidths=1.0)
        ends = [float(least[setting.feasible].min()), float(least[setting.feasible].max())]
        axes.plot(ends, ends, color="black", linewidth=0.8)
        axes.set_title(f"{setting.scenario.name}: {name}", fontsize=9)
        axes.grid(alpha=0.3, linewidth=0.5)
        axes.tick_params(labelsize=7)
    panels[0].legend(fontsize=7, loc="upper left")
    figure.supxlabel("least largest NMSE of the drop, certified (dB)", fontsize=9)
    figure.supylabel("largest NMSE reached (dB)", fontsize=9)
    return figure


def _write_board(folder: Path, summary: dict[str, Any], context: dict[str, Any], pictures: dict[str, Figure]) -> None:
    """Figures, table and a run of hyperparameters for each setting and allocator, in place of those of an earlier run."""
    from torch.utils.tensorboard import SummaryWriter

    for stale in folder.glob("**/events.out.tfevents.*"):
        stale.unlink()
    with SummaryWriter(str(folder)) as writer:
        for name, figure in pictures.items():
            writer.add_figure(f"evaluation/{name}", figure, close=False)
        writer.add_text("evaluation/table", markdown_table(summary))
        for name, setting in summary["settings"].items():
            facts = {"setting": name, "crb_max_m2": setting["crb_max_m2"], "seed": context["seed"]}
            for row_name, row in setting["allocators"].items():
                metrics = {f"evaluation/{key}": value for key, value in row.items()}
                writer.add_hparams({**facts, "allocator": row_name}, metrics, run_name=f"{name}/{row_name}")
