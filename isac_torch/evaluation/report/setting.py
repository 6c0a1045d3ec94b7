"""Sections of the report: one setting of an evaluation, one training run."""

from __future__ import annotations

from base64 import b64encode
from html import escape
from typing import TYPE_CHECKING, Any

from isac_torch.evaluation.card import facts, weights_lines
from isac_torch.evaluation.report import words
from isac_torch.evaluation.report.chart import curve, ratio_ranges
from isac_torch.evaluation.report.html import fact_table, folded, ink, number, short, swatch, table
from isac_torch.evaluation.tracking.columns import COLUMNS, SENSING_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isac_torch.evaluation.report.html import Row
    from isac_torch.evaluation.report.source import Setting, Training
    from isac_torch.evaluation.tables import Column

RAW = ("gnn_dominate", "gnn", "gnn_shipped", "first_order")
"""Rows that stand for the policy itself, the first that is there."""

REFINED = ("gnn_refined", "gnn_repaired")
"""Rows that stand for the policy with help of the engine, the first that is there."""

_LEARNED = {"gnn_dominate", "gnn_dominate_roles", "gnn", "gnn_shipped", *REFINED}
_WIDE_PICTURES = ("powers_typical", "powers_worst", "load_worst")
_WORST_DROPS = 8
_DROP_COLUMNS = (
    ("drop", "drop"),
    ("status", "status"),
    ("min_rate_ratio", "ratio"),
    ("min_sinr_db", "min SINR dB"),
    ("optimal_min_sinr_db", "optimum dB"),
    ("worst_sir_db", "worst SIR dB"),
    ("best_sir_db", "largest SIR dB"),
    ("violation", "violation"),
)


def rows_of(setting: Setting) -> dict[str, Row]:
    """Each allocator's row."""
    rows: dict[str, Row] = setting.summary["allocators"]
    return rows


def pick(rows: dict[str, Row], names: Sequence[str]) -> str | None:
    """The first of `names` that has a row."""
    return next((name for name in names if name in rows), None)


def setting_section(setting: Setting, anchor: str, *, opened: bool) -> str:
    """Table, bars, pictures, worst drops and origin of one setting."""
    counts = setting.summary
    parts = [
        f"<p>{counts['num_drops']} drops: {counts['infeasible']} proven infeasible, {counts['outage']} in outage.</p>",
        _warnings(setting.context),
        _numbers(rows_of(setting)),
        _ranges(rows_of(setting)),
        _gallery(setting.pictures),
        _worst_drops(setting),
        _origin(setting.context),
    ]
    state = " open" if opened else ""
    return f'<details class="setting" id="{anchor}"{state}><summary>{escape(setting.name)}</summary>{"".join(parts)}</details>'


def training_section(training: Training) -> str:
    """Curves, weights and configuration of one run."""
    tags = [tag for tag in words.CURVES if tag in training.curves]
    tags += [tag for tag in training.curves if tag not in tags and tag.startswith(("train/", "val/"))]
    titles = {tag: escape(words.CURVES.get(tag, tag)) for tag in tags}
    figures = [f"<figure><figcaption>{titles[tag]}</figcaption>{curve(training.curves[tag], tag)}</figure>" for tag in tags]
    parts = [f"<h3>{escape(training.name)}</h3>"]
    if figures:
        parts.append(f'<div class="curves">{"".join(figures)}</div><p class="note">Over optimiser steps.</p>')
    if training.weights:
        parts.append(f'<div class="card scroll">{fact_table(weights_lines(training.weights))}</div>')
    if training.config:
        parts.append(folded("Configuration", f"<pre>{escape(training.config)}</pre>"))
    return "".join(parts)


def _warnings(context: Row) -> str:
    lines = []
    if context.get("unresolved"):
        lines.append(f"{context['unresolved']} drops have neither an optimum nor a proof of infeasibility; they are left out.")
    wrong = {name: count for name, count in context.get("contradictions", {}).items() if count}
    if wrong:
        lines.append(f"Valid powers beat the certificate, which is a bug somewhere: {wrong}.")
    return "".join(f'<p class="card warning">{escape(line)}</p>' for line in lines)


def _numbers(rows: dict[str, Row]) -> str:
    """The full tables, less the columns in which nobody has anything: rates, and what the radar feels."""
    parts = (("", (*COLUMNS, *words.EXTRA_COLUMNS)), ("<h3>Beside uniform power</h3>", SENSING_COLUMNS))
    return "".join(title + _table(rows, columns) for title, columns in parts)


def _table(rows: dict[str, Row], all_columns: Sequence[Column]) -> str:
    columns = [column for column in all_columns if any(row.get(column[0]) is not None for row in rows.values())]
    body = [[swatch(name), *(number(row, key, form) for key, _, form in columns)] for name, row in rows.items()]
    titles = ["", *(words.KEYS.get(key, "") for key, _, _ in columns)]
    return table(["allocator", *(title for _, title, _ in columns)], body, titles, [name in _LEARNED for name in rows])


def _ranges(rows: dict[str, Row]) -> str:
    keys = ("min_rate_ratio_mean", "min_rate_ratio_p5", "min_rate_ratio_worst")
    bars: list[tuple[str, str, float, float, float]] = []
    for name, row in rows.items():
        mean, tail, worst = (row.get(key) for key in keys)
        if mean is not None and tail is not None and worst is not None:
            bars.append((name, ink(name), mean, tail, worst))
    if not bars:
        return ""
    words = "Dot: mean. Bar: from the mean to the 5 % quantile. Tick: worst drop."
    return f'<h3>Share of the optimum</h3><div class="card">{ratio_ranges(bars)}<p class="note">{words}</p></div>'


def _gallery(pictures: dict[str, bytes]) -> str:
    order = [name for name in words.PICTURES if name in pictures]
    order += [name for name in pictures if name not in words.PICTURES]
    figures = []
    for name in order:
        look = " class=wide" if name in _WIDE_PICTURES else ""
        data = b64encode(pictures[name]).decode("ascii")
        image = f'<img alt="{escape(name.replace("_", " "))}" src="data:image/png;base64,{data}">'
        caption = escape(words.PICTURES.get(name, name))
        figures.append(f"<figure{look}>{image}<figcaption>{caption}</figcaption></figure>")
    return f'<h3>Pictures</h3><div class="gallery">{"".join(figures)}</div>' if figures else ""


def _worst_drops(setting: Setting) -> str:
    """The drops on which the policy loses most: where to look first."""
    policy = pick(rows_of(setting), RAW)
    mine = [line for line in setting.lines if line["allocator"] == policy and line["kind"] == "feasible"]
    if policy is None or not mine:
        return ""
    body = [[short(line.get(key) or "") for key, _ in _DROP_COLUMNS] for line in sorted(mine, key=_ratio)[:_WORST_DROPS]]
    return f"<h3>Worst drops of {escape(policy)}</h3>{table([title for _, title in _DROP_COLUMNS], body)}"


def _ratio(line: dict[str, Any]) -> float:
    try:
        return float(line["min_rate_ratio"])
    except ValueError:
        return 0.0


def _origin(context: Row) -> str:
    if not context:
        return '<p class="note">provenance.json is missing: where these numbers come from is not known.</p>'
    scenario = [(name, str(value)) for name, value in context.get("scenario", {}).items() if value is not None]
    more = folded("Scenario", fact_table(scenario)) if scenario else ""
    return f'<h3>Where the numbers come from</h3><div class="card scroll">{fact_table(facts(context))}{more}</div>'
