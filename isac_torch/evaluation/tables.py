"""The benchmark as text: a table for the terminal and for TensorBoard, summary.json, one CSV line per drop and allocator."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

from isac_torch.allocation import Status
from isac_torch.evaluation.metrics import Optimum, Outcome, rate_ratio
from isac_torch.files import written_whole
from isac_torch.tensors import to_db

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

COLUMNS = (
    ("num_drops", "drops", "{:d}"),
    ("min_rate_ratio_mean", "ratio", "{:.4f}"),
    ("min_rate_ratio_p5", "p5", "{:.4f}"),
    ("min_rate_ratio_worst", "worst", "{:.4f}"),
    ("min_rate_ratio_max", "max", "{:.4f}"),
    ("min_rate_ratio_valid_mean", "valid ratio", "{:.4f}"),
    ("valid_drop_share", "valid drops", "{:.1%}"),
    ("min_rate_mbps_mean", "min Mbit/s", "{:.3f}"),
    ("mean_rate_mbps", "mean Mbit/s", "{:.3f}"),
    ("sir_violation_rate", "SIR missed", "{:.2%}"),
    ("budget_violation_max", "overload", "{:.0e}"),
    ("ms_per_drop", "ms/drop", "{:.3f}"),
    ("sicnr_db_median", "SICNR dB", "{:.1f}"),
    ("miss_probability", "missed", "{:.2%}"),
)
"""Key in summary.json, heading and format of each column."""

SETTINGS_BLOCKS = (
    ("min_rate_ratio_mean", "ratio, mean"),
    ("min_rate_ratio_p5", "ratio, 5 % quantile"),
    ("min_rate_ratio_worst", "ratio, worst"),
    ("min_rate_ratio_valid_mean", "ratio, 0 where violated"),
    ("sir_violation_rate", "targets below SIR0"),
    ("ms_per_drop", "ms a drop"),
)
"""Numbers of summary.json that the table of several settings shows, with their headings."""

CSV_FIELDS = (
    "drop", "kind", "allocator", "status", "min_rate_ratio", "min_rate_mbps", "mean_rate_mbps", "min_sinr_db", "worst_sir_db",
    "violation", "budget_violation", "total_power_w", "optimal_min_sinr_db", "bound_min_sinr_db", "best_sir_db",
    "sir_ceiling_db",
)  # fmt: skip
"""Columns of drops.csv; dB values are empty where the quantity is not defined."""


def table_rows(summary: dict[str, Any]) -> list[list[str]]:
    """Heading and one line per allocator, as text cells; a dash where there is nothing to count."""
    head = ["allocator", *(title for _, title, _ in COLUMNS)]
    body = [
        [name, *("-" if row[key] is None else form.format(row[key]) for key, _, form in COLUMNS)]
        for name, row in summary["allocators"].items()
    ]
    return [head, *body]


def text_table(summary: dict[str, Any]) -> str:
    """The benchmark as aligned plain text."""
    return _aligned(table_rows(summary))


def settings_table(summaries: dict[str, dict[str, Any]]) -> str:
    """Several settings as aligned plain text: for each of a few numbers, a line per setting and a column per allocator."""
    names = list(dict.fromkeys(name for summary in summaries.values() for name in summary["allocators"]))
    formats = {key: (title, form) for key, title, form in COLUMNS}
    blocks = []
    for key, meaning in SETTINGS_BLOCKS:
        form = formats[key][1]
        rows = [[meaning, "drops", "left out", *names]]
        for setting, summary in summaries.items():
            values = [summary["allocators"].get(name, {}).get(key) for name in names]
            left_out = summary["infeasible"] + summary["outage"]
            cells = ["-" if value is None else form.format(value) for value in values]
            rows.append([setting, str(summary["num_drops"]), str(left_out), *cells])
        blocks.append(_aligned(rows))
    return "\n\n".join(blocks)


def write_settings_csv(path: Path, summaries: dict[str, dict[str, Any]]) -> None:
    """Write one line per setting and allocator with every number of summary.json."""
    lines = [
        {"setting": setting, "infeasible": summary["infeasible"], "outage": summary["outage"], "allocator": name, **row}
        for setting, summary in summaries.items()
        for name, row in summary["allocators"].items()
    ]
    with written_whole(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


def _aligned(rows: list[list[str]]) -> str:
    """Text cells in columns, the first row underlined."""
    width = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    names = [row[0].ljust(width[0]) for row in rows]
    lines = ["  ".join([name, *map(str.rjust, row[1:], width[1:])]) for name, row in zip(names, rows, strict=True)]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def markdown_table(summary: dict[str, Any]) -> str:
    """The benchmark as a Markdown table, for TensorBoard's text tab."""
    head, *body = ["| " + " | ".join(row) + " |" for row in table_rows(summary)]
    return "\n".join([head, "|---" * (len(COLUMNS) + 1) + "|", *body])


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` as JSON, whole or not at all; NaN is refused."""
    with written_whole(path) as partial:
        partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def write_csv(path: Path, outcomes: Sequence[Outcome], optimum: Optimum, sir_ceiling: Tensor | None) -> None:
    """Write one line per drop and allocator.

    Args:
        path: file to write.
        outcomes: what each allocator did.
        optimum: the certified optimum of all drops.
        sir_ceiling: largest SIR that the worst target of each drop could reach with any powers at all, linear (shared
            receive APs); None with fewer than two targets.
    """
    with written_whole(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, CSV_FIELDS)
        writer.writeheader()
        for outcome in outcomes:
            writer.writerows(_lines(outcome, optimum.first(outcome.num_drops), sir_ceiling))


def drop_kinds(optimum: Optimum) -> list[str]:
    """What each drop is: feasible, infeasible, outage or unresolved."""
    masks = (("infeasible", optimum.infeasible), ("outage", optimum.outage), ("unresolved", optimum.unresolved))
    kinds = ["feasible"] * optimum.value.shape[0]
    for name, mask in masks:
        for index in mask.nonzero().flatten().tolist():
            kinds[index] = name
    return kinds


def _lines(outcome: Outcome, optimum: Optimum, sir_ceiling: Tensor | None) -> list[dict[str, object]]:
    ratio = rate_ratio(outcome.sinr_min, optimum.value)
    kinds, counted = drop_kinds(optimum), optimum.counted.tolist()
    worst_sir = outcome.sir.amin(-1) if outcome.sir.shape[1] else None
    return [
        {
            "drop": i,
            "kind": kinds[i],
            "allocator": outcome.name,
            "status": Status(int(outcome.status[i])).name.lower(),
            "min_rate_ratio": _number(ratio[i]) if counted[i] else "",
            "min_rate_mbps": _number(outcome.rate[i].amin() / 1e6),
            "mean_rate_mbps": _number(outcome.rate[i].mean() / 1e6),
            "min_sinr_db": _decibel(outcome.sinr_min[i]),
            "worst_sir_db": "" if worst_sir is None else _decibel(worst_sir[i]),
            "violation": _number(outcome.violation[i]),
            "budget_violation": _number(outcome.budget_violation[i]),
            "total_power_w": _number(outcome.power[i].sum()),
            "optimal_min_sinr_db": _decibel(optimum.value[i]),
            "bound_min_sinr_db": _decibel(optimum.upper_bound[i]),
            "best_sir_db": _decibel(optimum.best_sir[i]),
            "sir_ceiling_db": "" if sir_ceiling is None else _decibel(sir_ceiling[i]),
        }
        for i in range(outcome.num_drops)
    ]


def _number(value: Tensor) -> str:
    return f"{value.item():.9g}" if bool(value.isfinite()) else ""


def _decibel(value: Tensor) -> str:
    return _number(to_db(value))
