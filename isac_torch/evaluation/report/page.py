"""The page of a report from what `source` has read; the template report.html.j2 writes it and escapes every text."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from isac_torch import __version__
from isac_torch.allocators.registry import TRACKING
from isac_torch.evaluation.report import words
from isac_torch.evaluation.report.setting import RAW, REFINED, pick, rows_of, setting_section, training_section
from isac_torch.evaluation.report.tables import Cell, Table, number, percent, swatch
from isac_torch.evaluation.report.verdict import Verdict, judged, sentences
from isac_torch.evaluation.tracking.columns import COLUMNS, SENSING_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isac_torch.evaluation.report.source import Setting, Source
    from isac_torch.evaluation.report.tables import Row

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""Content security policy: the browser itself sees to it that the page loads nothing."""

_LEFT_OUT = (
    "Ratios are smallest rate over the certified optimum's, drop by drop. Infeasible drops (proven: no powers meet the sensing "
    "constraints) and drops in outage (certified: some UE stays below -30 dB) are left out of ratios and rates, counted apart."
)
_OVERVIEW = (
    "setting", "allocator", "mean", "p5", "worst", "strict mean", "drops broken", "targets missed", "x FPC", "ms/drop", "drops",
    "infeasible", "outage",
)  # fmt: skip


def page(source: Source, title: str) -> str:
    """The whole page: it loads nothing, so that it can be mailed, archived and opened anywhere."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    own = files("isac_torch.evaluation.report")
    style, script = (Markup(own.joinpath(f"report.{kind}").read_text("utf-8")) for kind in ("css", "js"))  # noqa: S704 - ours
    loader = PackageLoader("isac_torch.evaluation.report", "")
    pages = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    settings = source.settings
    return pages.get_template("report.html.j2").render(
        title=title,
        policy=Markup(_POLICY),  # noqa: S704 - ours
        style=style,
        script=script,
        version=__version__,
        lead=_lead(settings),
        contents=_contents(source),
        overview=_overview(settings),
        left_out=_LEFT_OUT,
        settings=[setting_section(each) for each in settings],
        trainings=[training_section(each) for each in source.trainings],
        words=_words(settings),
    )


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


def _lead(settings: Sequence[Setting]) -> Verdict | None:
    """The result in a few sentences and numbers; None without a learned policy."""
    found = [(setting, pick(rows_of(setting), RAW)) for setting in settings]
    known = [(setting, rows_of(setting)[name], name) for setting, name in found if name]
    known = [item for item in known if item[1].get("min_rate_ratio_mean") is not None]
    if not known:
        return None
    setting, row, name = known[0]
    rows = rows_of(setting)
    grade, headline = judged(name, row)
    said = sentences(row, times_baseline(rows, name), baseline(rows))
    if len(known) > 1:
        ordered = sorted(known, key=lambda item: float(item[1]["min_rate_ratio_mean"]))
        ends = [f"{number(own, 'min_rate_ratio_mean')} ({where.name})" for where, own, _ in (ordered[0], ordered[-1])]
        said.append(f"Over {len(known)} settings its mean ratio lies between {ends[0]} and {ends[1]}.")
    return Verdict(setting.name, headline, said, grade, _tiles(rows, name))


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
    tiles.append((number(row, "ms_per_drop", "{:.2f}"), f"ms per drop, {name}"))
    return tiles


def _contents(source: Source) -> list[tuple[str, str]]:
    """Anchors and names of the parts of the page."""
    links = [(f"set-{i}", setting.name) for i, setting in enumerate(source.settings)] if len(source.settings) > 1 else []
    links += [("training", "Training")] if source.trainings else []
    return [*links, ("words", "What the numbers mean")]


def _overview(settings: Sequence[Setting]) -> Table:
    """Of each setting a line for fractional power control, for the policy, for the policy with help, for the optimum."""
    lines, marked = [], []
    for place, setting in enumerate(settings):
        rows = rows_of(setting)
        raw, refined = pick(rows, RAW), pick(rows, REFINED)
        names = [name for name in (baseline(rows), raw, refined, pick(rows, TRACKING.certified)) if name]
        lines += [_overview_line(setting, f"set-{place}", name) for name in names]
        marked += [name == raw for name in names]
    return Table(_OVERVIEW, lines, marked=marked)


def _overview_line(setting: Setting, anchor: str, name: str) -> list[str | Cell]:
    rows = rows_of(setting)
    row, factor = rows[name], times_baseline(rows, name)
    return [
        Cell(setting.name, anchor=anchor),
        swatch(name),
        *(number(row, f"min_rate_ratio_{key}") for key in ("mean", "p5", "worst", "valid_mean")),
        percent(row, "valid_drop_share", missing=True),
        percent(row, "sir_violation_rate"),
        f"{factor:.2f}" if factor else "-",
        number(row, "ms_per_drop", "{:.2f}"),
        number(row, "num_drops", "{:d}"),
        *(str(setting.summary[key]) for key in ("infeasible", "outage")),
    ]


def _words(settings: Sequence[Setting]) -> list[tuple[str, str]]:
    """What the rows and columns of this page mean."""
    names = {name for setting in settings for name in rows_of(setting)}
    titles = {key: title for key, title, _ in (*COLUMNS, *SENSING_COLUMNS, *words.EXTRA_COLUMNS)}
    lines = [(titles[key], text) for key, text in words.KEYS.items() if key in titles]
    return lines + [(name, text) for name, text in words.ALLOCATORS.items() if name in names]
