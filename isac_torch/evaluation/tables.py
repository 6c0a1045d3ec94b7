"""A benchmark as text: tables for the terminal and for TensorBoard, summary.json, one CSV line per drop and allocator."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any, TypeAlias

from isac_torch.files import written_whole
from isac_torch.tensors import to_db

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from isac_torch.evaluation.optimum import Optimum

Summary: TypeAlias = "dict[str, Any]"
"""A setting's entry of summary.json."""

Column: TypeAlias = "tuple[str, str, str]"
"""Key in summary.json, heading and format of a column."""

Lead: TypeAlias = "tuple[str, Callable[[Summary], str]]"
"""Heading and content, from the setting's summary, of a column between the names of setting and allocator."""


def table_rows(columns: Sequence[Column], summaries: Mapping[str, Summary], leads: Sequence[Lead] = ()) -> list[list[str]]:
    """Heading and one line per setting and allocator, as text cells; a dash where there is nothing to count."""
    names = ["setting", *(title for title, _ in leads), "allocator"] if leads else ["allocator"]
    rows = [[*names, *(title for _, title, _ in columns)]]
    for setting, summary in summaries.items():
        facts = [setting, *(content(summary) for _, content in leads)] if leads else []
        for name, row in summary["allocators"].items():
            values = ((row.get(key), form) for key, _, form in columns)
            rows.append([*facts, name, *("-" if value is None else form.format(value) for value, form in values)])
    return rows


def text_table(columns: Sequence[Column], summaries: Mapping[str, Summary], leads: Sequence[Lead] = ()) -> str:
    """The benchmark as aligned plain text."""
    return aligned(table_rows(columns, summaries, leads))


def markdown_table(columns: Sequence[Column], summaries: Mapping[str, Summary], leads: Sequence[Lead] = ()) -> str:
    """The benchmark as a Markdown table, for TensorBoard's text tab."""
    head, *body = ["| " + " | ".join(row) + " |" for row in table_rows(columns, summaries, leads)]
    return "\n".join([head, "|---" * head.count(" | ") + "|---|", *body])


def settings_table(columns: Sequence[Column], blocks: Sequence[tuple[str, str]], summaries: Mapping[str, Summary]) -> str:
    """Several settings as aligned plain text: for each of a few numbers, a line per setting and a column per allocator.

    Args:
        columns: with the format of each number.
        blocks: key and heading of each number to show.
        summaries: entries of summary.json.
    """
    names = list(dict.fromkeys(name for summary in summaries.values() for name in summary["allocators"]))
    formats = {key: form for key, _, form in columns}
    parts = []
    for key, meaning in blocks:
        rows = [[meaning, "drops", "left out", *names]]
        for setting, summary in summaries.items():
            values = [summary["allocators"].get(name, {}).get(key) for name in names]
            left_out = summary["infeasible"] + summary["outage"]
            cells = ["-" if value is None else formats[key].format(value) for value in values]
            rows.append([setting, str(summary["num_drops"]), str(left_out), *cells])
        parts.append(aligned(rows))
    return "\n\n".join(parts)


def write_settings_csv(path: Path, summaries: Mapping[str, Summary]) -> None:
    """Write one line per setting and allocator with every number of summary.json."""
    lines = [
        {"setting": setting, "infeasible": summary["infeasible"], "outage": summary["outage"], "allocator": name, **row}
        for setting, summary in summaries.items()
        for name, row in summary["allocators"].items()
    ]
    write_csv(path, list(lines[0]), lines)


def write_csv(path: Path, columns: Sequence[str], lines: Iterable[Mapping[str, object]]) -> None:
    """Write lines of a table, whole or not at all."""
    with written_whole(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON, whole or not at all; NaN is refused."""
    with written_whole(path) as partial:
        partial.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def drop_kinds(optimum: Optimum) -> list[str]:
    """What each drop is: feasible, infeasible, outage or unresolved."""
    masks = (("infeasible", optimum.infeasible), ("outage", optimum.outage), ("unresolved", optimum.unresolved))
    kinds = ["feasible"] * optimum.value.shape[0]
    for name, mask in masks:
        for index in mask.nonzero().flatten().tolist():
            kinds[index] = name
    return kinds


def numeric(value: Tensor) -> str:
    """A scalar as a cell of a CSV file; empty where it is not finite."""
    return f"{value.item():.9g}" if bool(value.isfinite()) else ""


def decibel(value: Tensor) -> str:
    """A linear scalar in dB as a cell of a CSV file; empty where it is 0 or not defined."""
    return numeric(to_db(value))


def aligned(rows: list[list[str]]) -> str:
    """Text cells in columns, the first row underlined."""
    width = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    names = [row[0].ljust(width[0]) for row in rows]
    lines = ["  ".join([name, *map(str.rjust, row[1:], width[1:])]) for name, row in zip(names, rows, strict=True)]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])
