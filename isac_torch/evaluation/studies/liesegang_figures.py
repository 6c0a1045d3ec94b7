"""The curves of figures 2-9 of Liesegang et al., and of detection against false alarms; how they are drawn and tabulated."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from isac_torch.evaluation.figures import COLOURS
from isac_torch.evaluation.studies.liesegang_cases import FALSE_ALARMS, NO_SENSING, Policy
from isac_torch.files import written_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from jaxtyping import Float
    from matplotlib.axes import Axes
    from torch import Tensor

    from isac_torch.evaluation.studies.liesegang_cases import Association, Case
    from isac_torch.evaluation.studies.liesegang_study import Result, Study

Kinds = tuple[tuple[str, dict[str, Any], str], ...]
"""Name, changes of the case and line style of related curves."""

_SCNR, _SICNR, _RATE = "SCNR of a cell (dB)", "SICNR of a target (dB)", "rate of a UE (Mbit/s)"
_RCS, _FALSE_ALARM = "variance of the reflectivity (dBsm)", "probability of false alarm"
_POINTS = 200
"""Of a distribution, at most: its curve is not smoother in print."""
_DEVIATIONS = 1.96
"""Standard errors on either side of a curve within its 95 % confidence band."""


@dataclass(frozen=True)
class Curve:
    """One line.

    Attributes:
        panel: title of the panel that it belongs to.
        axis: what its horizontal values are, with their unit.
        label: in the legend.
        x: horizontal values, increasing.
        y: vertical values.
        error: standard error of every vertical value over the drops.
        colour: index of the colour.
        dash: line style.
    """

    panel: str
    axis: str
    label: str
    x: Sequence[float]
    y: Sequence[float]
    error: Sequence[float]
    colour: int
    dash: str = "-"


def miss_against_rcs(study: Study) -> list[Curve]:
    """Figure 2: miss probability against the reflectivity variance."""
    reading, curves = study.reading, []
    swept = reading.sweeps.rcs_dbsm
    for i, factor in enumerate(reading.sweeps.clutter):
        for name, change, dash in _KINDS:
            cases = [reading.with_setup({"rcs_variance_dbsm": x, "clutter_factor": factor}, **change) for x in swept]
            label = f"{name or 'ISAC'}, ς = {100 * factor:g} %"
            curves.append(_misses(study, "miss probability", _RCS, label, swept, cases, i, dash))
    return curves


def operating_characteristic(study: Study) -> list[Curve]:
    """Miss probability against false alarms, which the paper holds at one value: 0 dBsm, with and without sensing beams."""
    curves = []
    for i, factor in enumerate(study.reading.sweeps.clutter):
        for name, change, dash in _KINDS[:2]:
            setups = [{"rcs_variance_dbsm": 0.0, "clutter_factor": factor, "false_alarm": rate} for rate in FALSE_ALARMS]
            cases = [study.reading.with_setup(setup, **change) for setup in setups]
            label = f"{name or 'ISAC'}, ς = {100 * factor:g} %"
            curves.append(_misses(study, "0 dBsm", _FALSE_ALARM, label, FALSE_ALARMS, cases, i, dash))
    return curves


_KINDS: Kinds = (
    ("", {}, "-"),
    ("no sensing", {"policy": NO_SENSING}, "--"),
    ("noise only", {"clutter_statistics": False}, ":"),
)


def _misses(
    study: Study, panel: str, axis: str, label: str, x: Sequence[float], cases: Sequence[Case], colour: int, dash: str
) -> Curve:
    """The mean miss probability of each case."""
    of_drops = [study.run(case, with_miss=True).miss.mean(1) for case in cases]
    error = [float(values.std(correction=0)) / len(values) ** 0.5 for values in of_drops]
    return Curve(panel, axis, label, x, [float(values.mean()) for values in of_drops], error, colour, dash)


def scnr_sweeps(study: Study) -> list[Curve]:
    """Figure 3: SCNR against reflectivity variance and clutter."""
    reading, curves = study.reading, []
    for name, change, dash in _KINDS:
        suffix = f", {name}" if name else ""
        for i, rcs_dbsm in enumerate(reading.sweeps.rcs_dbsm[2:]):
            case = reading.with_setup({"rcs_variance_dbsm": rcs_dbsm}, **change)
            curves.append(_cdf("cross-section", _SCNR, f"{rcs_dbsm:g} dBsm{suffix}", study.run(case).ratio_db, i, dash))
        for i, factor in enumerate(reading.sweeps.clutter):
            case = reading.with_setup({"clutter_factor": factor}, **change)
            curves.append(_cdf("clutter", _SCNR, f"{100 * factor:g} %{suffix}", study.run(case).ratio_db, i, dash))
    return curves


def scnr_loads(study: Study) -> list[Curve]:
    """Figure 4: SCNR against the number of UEs and of samples; the baseline is the thick line."""
    reading, curves = study.reading, []
    for i, count in enumerate(reading.sweeps.ues):
        suffix = " (baseline)" if count == reading.scenario.num_ues else ""
        sample = study.run(reading.with_ues(count)).ratio_db
        curves.append(_cdf("number of UEs", _SCNR, f"K = {count}{suffix}", sample, i))
    for i, count in enumerate(reading.sweeps.samples):
        suffix = " (baseline)" if count == reading.setup.samples(reading.scenario) else ""
        label = f"{count} sample{'s' if count > 1 else ''}{suffix}"
        sample = study.run(reading.with_setup({"sensing_samples": count})).ratio_db
        curves.append(_cdf("number of samples", _SCNR, label, sample, i))
    return curves


def associations(study: Study) -> list[Curve]:
    """Figure 5: SCNR and rate of the four associations."""
    curves = []
    counts = study.reading.sweeps.regions
    kinds: tuple[tuple[Association, str], ...] = (("utc", "-"), ("tc", "-."))
    lines = [(kind, count, dash, i) for kind, dash in kinds for i, count in enumerate(counts)]
    lines += [("uc", counts[0], ":", len(counts)), ("cf", counts[0], "--", len(counts) + 1)]
    for kind, regions, dash, colour in lines:
        result = study.run(study.reading.with_setup({"num_regions": regions}, association=kind))
        label = f"{kind.upper()}, S = {regions}" if kind in ("utc", "tc") else f"{kind.upper()}, cells in turn"
        curves += _both(_SCNR, label, result, colour, dash)
    return curves


def policies(study: Study, base: Case, quantity: str, extra: Sequence[str] = ()) -> list[Curve]:
    """Figures 6 and 8: quality and rate of fractional power control, of either kind of beams alone, and of other allocators."""
    curves = []
    chosen: list[tuple[Policy | str, str]] = [(Policy(*pair), "-") for pair in study.reading.sweeps.tuples]
    chosen += [(Policy(c, 0.0, "data"), "--") for c in (0.0, 1.0)] + [(Policy(0.0, s, "probe"), ":") for s in (0.0, 1.0)]
    chosen += [(name, "-") for name in extra]
    for i, (policy, dash) in enumerate(chosen):
        result = study.run(replace(base, policy=policy))
        label = policy.label if isinstance(policy, Policy) else policy
        both = _both(quantity, label, result, i, dash)
        curves += both[:1] if isinstance(policy, Policy) and policy.beams == "probe" else both
    return curves


def sicnr_sweeps(study: Study) -> list[Curve]:
    """Figure 7: SICNR against reflectivity variance and clutter."""
    reading, curves = study.reading, []
    for name, change, dash in _KINDS[:2]:
        suffix = f", {name}" if name else ""
        for i, rcs_dbsm in enumerate(reading.sweeps.rcs_dbsm):
            case = reading.with_setup({"rcs_variance_dbsm": rcs_dbsm}, phase="tracking", **change)
            curves.append(_cdf("cross-section", _SICNR, f"{rcs_dbsm:g} dBsm{suffix}", study.run(case).ratio_db, i, dash))
        for i, factor in enumerate((*reading.sweeps.clutter, 1.0)):
            case = reading.with_setup({"clutter_factor": factor}, phase="tracking", **change)
            curves.append(_cdf("clutter", _SICNR, f"{100 * factor:g} %{suffix}", study.run(case).ratio_db, i, dash))
    return curves


_NAMES = {
    "opc_communication": "OPC, communication p.",
    "opc_sensing": "OPC, sensing p.",
    "opc_dominate": "OPC, senses as UPC",
}


def optimal_control(study: Study, extra: Sequence[str] = ()) -> list[Curve]:
    """Figure 9: quality and rate of optimal against fractional power control."""
    curves = []
    chosen: list[tuple[Policy | str, str, str]] = [
        (Policy(*pair), Policy(*pair).label, "--") for pair in study.reading.sweeps.fair_tuples
    ]
    chosen += [(name, _NAMES.get(name, name), "-") for name in study.reading.sweeps.optimal]
    chosen += [(name, name, "-.") for name in extra]
    for i, (policy, label, dash) in enumerate(chosen):
        curves += _both(_SICNR, label, study.run(study.reading.tracked(policy=policy)), i, dash)
    return curves


def figure_curves(study: Study) -> dict[str, Callable[[], list[Curve]]]:
    """How to make the curves of each figure; the learned allocator is drawn where there are weights."""
    learned = ("gnn",) if study.checkpoint is not None else ()
    reading = study.reading
    return {
        "2": lambda: miss_against_rcs(study),
        "3": lambda: scnr_sweeps(study),
        "4": lambda: scnr_loads(study),
        "5": lambda: associations(study),
        "6": lambda: policies(study, reading.case(), _SCNR),
        "7": lambda: sicnr_sweeps(study),
        "8": lambda: policies(study, reading.tracked(), _SICNR, learned),
        "9": lambda: optimal_control(study, learned),
        "roc": lambda: operating_characteristic(study),
    }


def draw(path: Path, title: str, curves: Sequence[Curve]) -> None:
    """Write one figure, a panel for each horizontal axis."""
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys(curve.panel for curve in curves))
    figure = Figure(figsize=(5.0 * len(panels), 4.0), dpi=130, layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False).flat, panels, strict=True):
        _draw_panel(axes, panel, [curve for curve in curves if curve.panel == panel])
    figure.suptitle(title, fontsize=10 if len(panels) > 1 else 8)
    with written_whole(path) as partial:
        figure.savefig(partial, metadata={"Software": None})


def tabulate(path: Path, curves: Sequence[Curve]) -> None:
    """Write every point of every curve as CSV."""
    with written_whole(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("panel", "axis", "curve", "x", "y", "standard_error"))
        for curve in curves:
            for x, y, error in zip(curve.x, curve.y, curve.error, strict=True):
                writer.writerow((curve.panel, curve.axis, curve.label, f"{x:.7g}", f"{y:.7g}", f"{error:.3g}"))


def _draw_panel(axes: Axes, panel: str, curves: Sequence[Curve]) -> None:
    axis = curves[0].axis
    is_cdf = axis not in (_RCS, _FALSE_ALARM)
    for curve in curves:
        look: dict[str, Any] = {
            "color": COLOURS[curve.colour % len(COLOURS)],
            "linestyle": curve.dash,
            "label": curve.label,
            "linewidth": 2.2 if "baseline" in curve.label else 1.3,
        }
        if is_cdf:
            axes.step(curve.x, curve.y, where="post", **look)
        else:
            axes.plot(curve.x, curve.y, marker=".", **look)
        reach = [_DEVIATIONS * error for error in curve.error]
        low, high = ([y + sign * r for y, r in zip(curve.y, reach, strict=True)] for sign in (-1, 1))
        axes.fill_between(curve.x, low, high, color=look["color"], alpha=0.12, linewidth=0)
    axes.grid(alpha=0.3, linewidth=0.5)
    axes.set_title(panel, fontsize=9)
    axes.set_xlabel(axis)
    if is_cdf:
        axes.set(ylabel="share at or below", ylim=(0.0, 1.0))
        starts = [torch.tensor(curve.x).quantile(0.02).item() for curve in curves]
        axes.set_xlim(left=max(min(starts), -40.0))
    else:
        least = min((y for curve in curves for y in curve.y if y > 0.0), default=1e-4)
        axes.set(ylabel="miss probability", yscale="log", ylim=(max(0.5 * least, 1e-6), 1.1))
        axes.set_xscale("log" if axis == _FALSE_ALARM else "linear")
    axes.legend(fontsize=6, loc="best")


def _both(quantity: str, label: str, result: Result, colour: int, dash: str) -> list[Curve]:
    """Distributions of the quality and of the rates."""
    sensed = _cdf("sensing", quantity, label, result.ratio_db, colour, dash)
    return [sensed, _cdf("communication", _RATE, label, result.rate / 1e6, colour, dash)]


def _cdf(panel: str, axis: str, label: str, sample: Float[Tensor, "drop value"], colour: int, dash: str = "-") -> Curve:
    """The empirical distribution of values, with its standard error: values of one drop are not independent, drops are."""
    x = sample.flatten().sort().values
    if len(x) > _POINTS:
        x = x[torch.linspace(0, len(x) - 1, _POINTS).round().long()]
    below = torch.searchsorted(sample.sort(-1).values, x.expand(len(sample), -1).contiguous(), right=True) / sample.shape[1]
    error = below.std(0, correction=0) / len(sample) ** 0.5
    return Curve(panel, axis, label, x.tolist(), below.mean(0).tolist(), error.tolist(), colour, dash)
