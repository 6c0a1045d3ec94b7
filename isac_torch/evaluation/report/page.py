"""The page of a report: HTML text from what `source` has read. Everything that comes from a file is escaped."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

from isac_torch import __version__
from isac_torch.allocators.registry import TRACKING
from isac_torch.evaluation.report import words
from isac_torch.evaluation.report.html import number, percent, swatch, table
from isac_torch.evaluation.report.setting import RAW, REFINED, pick, rows_of, setting_section, training_section
from isac_torch.evaluation.tracking.columns import COLUMNS, SENSING_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isac_torch.evaluation.report.html import Row
    from isac_torch.evaluation.report.source import Setting, Source

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""Content security policy: the browser itself sees to it that the page loads nothing."""

_LEFT_OUT = (
    "Ratios are smallest rate over the certified optimum's, drop by drop. Infeasible drops (proven: no powers meet the sensing "
    "rows) and drops in outage (certified: some UE stays below -30 dB) are left out of ratios and rates and counted apart."
)
_OVERVIEW = (
    "setting", "allocator", "mean", "p5", "worst", "strict mean", "drops broken", "targets missed", "x FPC", "ms/drop", "drops",
    "infeasible", "outage",
)  # fmt: skip


def page(source: Source, title: str) -> str:
    """The whole page: it loads nothing, so that it can be mailed, archived and opened anywhere."""
    settings, trainings = source.settings, source.trainings
    parts = [f"<h1>{escape(title)}</h1>"]
    if settings:
        parts += [_lead(settings), _contents(source), _overview(settings)]
        parts += [setting_section(each, f"set-{i}", opened=len(settings) == 1) for i, each in enumerate(settings)]
    if trainings:
        parts.append('<h2 id="training">Training</h2>')
        parts += map(training_section, trainings)
    if settings:
        parts.append(_words(settings))
    parts.append(f'<p class="note">Written by isac-torch {escape(__version__)}. This page loads nothing from anywhere.</p>')
    style, script = (
        files("isac_torch.evaluation.report").joinpath(f"report.{kind}").read_text("utf-8") for kind in ("css", "js")
    )
    head = [
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>",
        f"<style>\n{style}</style>",
    ]
    body = [*parts, f"<script>\n{script}</script>"]
    lines = ["<!doctype html>", '<html lang="en">', "<head>", *head, "</head>", "<body>", *body, "</body>", "</html>", ""]
    return "\n".join(lines)


def baseline(rows: dict[str, Row]) -> str | None:
    """The row of fractional power control: fpc_0_1, else the first simple rule."""
    return pick(rows, ["fpc_0_1", *(name for name in rows if name.startswith("fpc_")), "upc"])


def times_baseline(rows: dict[str, Row], name: str) -> float | None:
    """Mean smallest rate of `name` over that of the baseline; None where either is unknown or on other drops."""
    stated: float | None = rows[name].get("rate_vs_fpc_0_1")
    simple = baseline(rows)
    if stated is not None:
        return stated
    if simple is None or rows[simple].get("num_drops") != rows[name].get("num_drops"):
        return None
    ours, theirs = rows[name].get("min_rate_mbps_mean"), rows[simple].get("min_rate_mbps_mean")
    return ours / theirs if ours is not None and theirs else None


def _lead(settings: Sequence[Setting]) -> str:
    """The result in a few sentences and numbers."""
    found = [(setting, pick(rows_of(setting), RAW)) for setting in settings]
    judged = [(setting, rows_of(setting)[name], name) for setting, name in found if name]
    judged = [item for item in judged if item[1].get("min_rate_ratio_mean") is not None]
    if not judged:
        return '<p class="lead">No learned policy is in this evaluation; the tables compare the classical ones.</p>'
    setting, row, name = judged[0]
    mean, tail, worst, strict = (
        number(row, f"min_rate_ratio_{key}") for key in ("mean", "p5", "worst", "valid_mean")
    )  # fmt: skip
    text = (
        f"On {escape(setting.name)}, <b>{escape(name)}</b> reaches {mean} of the certified optimum's smallest rate in the mean "
        f"(5 % of the drops below {tail}, worst {worst}); with every drop that breaks a constraint counted as 0, {strict}."
    )
    if len(judged) > 1:
        ordered = sorted(judged, key=lambda item: float(item[1]["min_rate_ratio_mean"]))
        ends = [f"{number(own, 'min_rate_ratio_mean')} ({escape(where.name)})" for where, own, _ in (ordered[0], ordered[-1])]
        text += f" Over {len(judged)} settings its mean lies between {ends[0]} and {ends[1]}."
    tiles = "".join(f"<div><b>{value}</b><span>{escape(label)}</span></div>" for value, label in _tiles(rows_of(setting), name))
    return f'<p class="lead">{text}</p><div class="numbers">{tiles}</div><p class="note">Tiles: {escape(setting.name)}.</p>'


def _tiles(rows: dict[str, Row], name: str) -> list[tuple[str, str]]:
    """Value and label of the numbers that come first."""
    row, refined, simple = rows[name], pick(rows, REFINED), baseline(rows)
    tiles = [(number(row, "min_rate_ratio_mean"), f"mean ratio of {name} to the optimum")]
    if refined:
        tiles.append((number(rows[refined], "min_rate_ratio_mean"), f"mean ratio of {refined}"))
    if simple:
        tiles.append((number(rows[simple], "min_rate_ratio_mean"), f"mean ratio of {simple}"))
        factor = times_baseline(rows, name)
        tiles += [(f"{factor:.2f} x", f"smallest rate of {name} over that of {simple}")] if factor else []
    tiles.append((percent(row, "sir_violation_rate"), f"targets missed by {name}"))
    tiles.append((number(row, "ms_per_drop", "{:.2f}"), f"ms a drop, {name}"))
    return tiles


def _contents(source: Source) -> str:
    links = [(f"set-{i}", setting.name) for i, setting in enumerate(source.settings)] if len(source.settings) > 1 else []
    links += [("training", "Training")] if source.trainings else []
    links.append(("words", "What the numbers mean"))
    anchors = (f'<a href="#{anchor}">{escape(name)}</a>' for anchor, name in links)
    return f"<nav>{''.join(anchors)}</nav>"


def _overview(settings: Sequence[Setting]) -> str:
    """Of each setting a line for fractional power control, for the policy, for the policy with help, for the optimum."""
    lines, marked = [], []
    for place, setting in enumerate(settings):
        rows = rows_of(setting)
        raw, refined = pick(rows, RAW), pick(rows, REFINED)
        names = [name for name in (baseline(rows), raw, refined, pick(rows, TRACKING.certified)) if name]
        lines += [_overview_line(setting, f"set-{place}", name) for name in names]
        marked += [name == raw for name in names]
    cells = table(_OVERVIEW, lines, marked=marked)
    return f'<h2>Learned, optimal, fractional</h2>{cells}<p class="note">{_LEFT_OUT}</p>'


def _overview_line(setting: Setting, anchor: str, name: str) -> list[str]:
    rows = rows_of(setting)
    row, factor = rows[name], times_baseline(rows, name)
    return [
        f'<a href="#{anchor}">{escape(setting.name)}</a>',
        swatch(name),
        *(number(row, f"min_rate_ratio_{key}") for key in ("mean", "p5", "worst", "valid_mean")),
        percent(row, "valid_drop_share", missing=True),
        percent(row, "sir_violation_rate"),
        f"{factor:.2f}" if factor else "-",
        number(row, "ms_per_drop", "{:.2f}"),
        number(row, "num_drops", "{:d}"),
        *(str(setting.summary[key]) for key in ("infeasible", "outage")),
    ]


def _words(settings: Sequence[Setting]) -> str:
    """What the rows and columns of this page mean."""
    names = {name for setting in settings for name in rows_of(setting)}
    titles = {key: title for key, title, _ in (*COLUMNS, *SENSING_COLUMNS, *words.EXTRA_COLUMNS)}
    lines = [(titles[key], text) for key, text in words.KEYS.items() if key in titles]
    lines += [(name, text) for name, text in words.ALLOCATORS.items() if name in names]
    body = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in lines)
    return f'<h2 id="words">What the numbers mean</h2><dl class="words card">{body}</dl>'
