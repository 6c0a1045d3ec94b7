"""Sections of the report: one setting of an evaluation, one training run."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

from isac_torch.evaluation.card import facts, weights_lines
from isac_torch.evaluation.report import words
from isac_torch.evaluation.report.chart import curve, ratio_ranges
from isac_torch.evaluation.report.tables import Cell, Table, ink, number, short, swatch
from isac_torch.evaluation.tracking.columns import COLUMNS, SENSING_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isac_torch.evaluation.report.source import Setting, Training
    from isac_torch.evaluation.report.tables import Row
    from isac_torch.evaluation.tables import Column

RAW = ("gnn_dominate", "gnn", "gnn_shipped", "first_order")
"""Rows that stand for the policy itself, the first that is there."""

REFINED = ("gnn_refined", "gnn_repaired")
"""Rows that stand for the policy with help of the engine, the first that is there."""

_ROLES = ("gnn_dominate_roles", "gnn_dominate_scored_roles")
_LEARNED = {"gnn_dominate", "gnn_dominate_one_shot", *_ROLES, "gnn", "gnn_shipped", *REFINED}
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


def setting_section(setting: Setting) -> dict[str, Any]:
    """Tables, bars, pictures, worst drops and origin of one setting."""
    rows, context = rows_of(setting), setting.context
    return {
        "name": setting.name,
        "counts": setting.summary,
        "warnings": _warnings(context),
        "numbers": _numbers(rows),
        "ranges": _ranges(rows),
        "pictures": _gallery(setting.pictures),
        "policy": pick(rows, RAW),
        "worst": _worst_drops(setting),
        "facts": facts(context) if context else [],
        "scenario": [(name, str(value)) for name, value in context.get("scenario", {}).items() if value is not None],
    }


def training_section(training: Training) -> dict[str, Any]:
    """Curves, weights and configuration of one run."""
    tags = [tag for tag in words.CURVES if tag in training.curves]
    tags += [tag for tag in training.curves if tag not in tags and tag.startswith(("train/", "val/"))]
    return {
        "name": training.name,
        "figures": [(words.CURVES.get(tag, tag), _drawn(curve(training.curves[tag], tag))) for tag in tags],
        "weights": weights_lines(training.weights) if training.weights else [],
        "config": training.config,
    }


def _drawn(picture: str) -> Any:
    """A picture of `chart`, which has escaped its texts."""
    from markupsafe import Markup

    return Markup(picture)  # noqa: S704


def _warnings(context: Row) -> list[str]:
    lines = []
    if context.get("unresolved"):
        lines.append(f"{context['unresolved']} drops have neither an optimum nor a proof of infeasibility; they are left out.")
    wrong = {name: count for name, count in context.get("contradictions", {}).items() if count}
    if wrong:
        lines.append(f"Valid powers beat the certificate, which is a bug somewhere: {wrong}.")
    return lines


def _numbers(rows: dict[str, Row]) -> list[tuple[str, Table]]:
    """The full tables, less the columns that are empty for all: rates, and sensing quality."""
    parts = (("", (*COLUMNS, *words.EXTRA_COLUMNS)), ("Beside uniform power", SENSING_COLUMNS))
    return [(title, _table(rows, columns)) for title, columns in parts]


def _table(rows: dict[str, Row], all_columns: Sequence[Column]) -> Table:
    columns = [column for column in all_columns if any(row.get(column[0]) is not None for row in rows.values())]
    body: list[list[str | Cell]] = [
        [swatch(name), *(number(row, key, form) for key, _, form in columns)] for name, row in rows.items()
    ]
    titles = ["", *(words.KEYS.get(key, "") for key, _, _ in columns)]
    return Table(["allocator", *(title for _, title, _ in columns)], body, titles, [name in _LEARNED for name in rows])


def _ranges(rows: dict[str, Row]) -> Any:
    keys = ("min_rate_ratio_mean", "min_rate_ratio_p5", "min_rate_ratio_worst")
    bars: list[tuple[str, str, float, float, float]] = []
    for name, row in rows.items():
        mean, tail, worst = (row.get(key) for key in keys)
        if mean is not None and tail is not None and worst is not None:
            bars.append((name, ink(name), mean, tail, worst))
    return _drawn(ratio_ranges(bars)) if bars else ""


def _gallery(pictures: dict[str, bytes]) -> list[dict[str, Any]]:
    order = [name for name in words.PICTURES if name in pictures]
    order += [name for name in pictures if name not in words.PICTURES]
    return [
        {
            "alt": name.replace("_", " "),
            "wide": name in _WIDE_PICTURES,
            "data": b64encode(pictures[name]).decode("ascii"),
            "caption": words.PICTURES.get(name, name),
        }
        for name in order
    ]


def _worst_drops(setting: Setting) -> Table | None:
    """The drops on which the policy loses most: where to look first."""
    policy = pick(rows_of(setting), RAW)
    mine = [line for line in setting.lines if line["allocator"] == policy and line["kind"] == "feasible"]
    if policy is None or not mine:
        return None
    body = [[short(line.get(key) or "") for key, _ in _DROP_COLUMNS] for line in sorted(mine, key=_ratio)[:_WORST_DROPS]]
    return Table([title for _, title in _DROP_COLUMNS], body)


def _ratio(line: dict[str, Any]) -> float:
    try:
        return float(line["min_rate_ratio"])
    except ValueError:
        return 0.0
