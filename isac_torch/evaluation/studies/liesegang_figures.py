"""The curves of figures 2-9 of Liesegang et al., and how they are drawn and tabulated."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from isac_torch.evaluation.figures import COLOURS
from isac_torch.evaluation.studies.liesegang_study import Case, Policy
from isac_torch.files import written_whole
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.tracking.setup import SensingSetup

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from torch import Tensor

    from isac_torch.evaluation.studies.liesegang_study import Study

RCS_DBSM = (-20.0, -10.0, 0.0, 10.0, 20.0)
"""Reflectivity variances of figures 2, 3 and 7."""
CLUTTER = (1e-3, 1e-2, 1e-1)
"""Clutter factors (varsigma) of figures 2 and 3; figure 7 goes to 1."""
UES = (2, 4, 8, 16, 32)
SAMPLES = (1, 2, 5, 10, 20, 50)
TUPLES = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0))
"""(kappa_c, kappa_s) of figures 6 and 8."""
FAIR_TUPLES = ((0.0, 0.0), (0.0, 0.5), (0.5, 0.0), (0.5, 0.5))
"""(kappa_c, kappa_s) of figure 9."""

Kinds = tuple[tuple[str, dict[str, Any], str], ...]
"""Name, changes of the case and line style of related curves."""

_SCNR, _SICNR, _RATE = "SCNR of a cell (dB)", "SICNR of a target (dB)", "rate of a UE (Mbit/s)"


@dataclass(frozen=True)
class Curve:
    """One line.

    Attributes:
        panel: which of the figure's panels, by its horizontal axis.
        label: in the legend.
        x: horizontal values, increasing.
        y: vertical values.
        colour: index of the colour.
        dash: line style.
    """

    panel: str
    label: str
    x: Sequence[float]
    y: Sequence[float]
    colour: int
    dash: str = "-"


def tracked(case: Case) -> Case:
    """The same case in the tracking phase."""
    return replace(case, phase="tracking")


def with_rcs(dbsm: float, **changes: object) -> Case:
    """The baseline at another reflectivity variance."""
    return replace(Case(setup=SensingSetup(rcs_variance_dbsm=dbsm)), **changes)  # type: ignore[arg-type]


def with_clutter(factor: float, **changes: object) -> Case:
    """The baseline at another clutter factor."""
    return replace(Case(setup=SensingSetup(clutter_factor=factor)), **changes)  # type: ignore[arg-type]


def with_ues(num_ues: int) -> Case:
    """The baseline with another number of UEs: the same block length, at most 16 pilots."""
    return Case(scenario=TrackingScenario(num_ues=num_ues, coherence_length=50, pilot_length=min(num_ues, 16)))


def with_samples(count: int) -> Case:
    """The baseline with fewer sensing samples."""
    return Case(setup=SensingSetup(sensing_samples=count))


def with_regions(count: int, association: str) -> Case:
    """The baseline with another number of regions and another association."""
    return Case(setup=SensingSetup(num_regions=count), association=association)  # type: ignore[arg-type]


NO_SENSING = Policy(beams="data")


def miss_against_rcs(study: Study) -> list[Curve]:
    """Figure 2: miss probability against the reflectivity variance."""
    curves = []
    for i, factor in enumerate(CLUTTER):
        kinds: Kinds = (
            ("ISAC", {}, "-"),
            ("no sensing", {"policy": NO_SENSING}, "--"),
            ("noise only", {"clutter_statistics": False}, ":"),
        )
        for name, change, dash in kinds:
            y = []
            for level in RCS_DBSM:
                case = Case(setup=SensingSetup(rcs_variance_dbsm=level, clutter_factor=factor))
                y.append(float(study.run(replace(case, **change), with_miss=True).miss.mean()))
            curves.append(Curve("RCS variance (dBsm)", f"{name}, ς = {100 * factor:g} %", RCS_DBSM, y, i, dash))
    return curves


def scnr_sweeps(study: Study) -> list[Curve]:
    """Figure 3: SCNR against reflectivity variance and clutter."""
    curves = []
    kinds: Kinds = (
        ("", {}, "-"),
        (", no sensing", {"policy": NO_SENSING}, "--"),
        (", noise only", {"clutter_statistics": False}, ":"),
    )
    for name, change, dash in kinds:
        for i, level in enumerate(RCS_DBSM[2:]):
            case = with_rcs(level, **change)
            curves.append(_cdf(f"{_SCNR}, RCS", f"{level:g} dBsm{name}", study.run(case).ratio_db, i, dash))
        for i, factor in enumerate(CLUTTER):
            case = with_clutter(factor, **change)
            curves.append(_cdf(f"{_SCNR}, clutter", f"{100 * factor:g} %{name}", study.run(case).ratio_db, i, dash))
    return curves


def scnr_loads(study: Study) -> list[Curve]:
    """Figure 4: SCNR against the number of UEs and of samples."""
    curves = [_cdf(f"{_SCNR}, UEs", f"K = {k}", study.run(with_ues(k)).ratio_db, i) for i, k in enumerate(UES)]
    for i, count in enumerate(SAMPLES):
        curves.append(_cdf(f"{_SCNR}, samples", f"{count} samples", study.run(with_samples(count)).ratio_db, i))
    return curves


def associations(study: Study) -> list[Curve]:
    """Figure 5: SCNR and rate of the four associations."""
    curves = []
    lines = [("utc", s, "-", i) for i, s in enumerate((9, 4, 1))] + [("tc", s, "-.", i) for i, s in enumerate((9, 4, 1))]
    for kind, regions, dash, colour in [*lines, ("uc", 9, ":", 3), ("cf", 9, "--", 4)]:
        result = study.run(with_regions(regions, kind))
        label = f"{kind.upper()}, S = {regions}" if kind in ("utc", "tc") else f"{kind.upper()}, cells in turn"
        curves += [_cdf(_SCNR, label, result.ratio_db, colour, dash), _cdf(_RATE, label, result.rate / 1e6, colour, dash)]
    return curves


def policies(study: Study, base: Case, quantity: str, extra: Sequence[str] = ()) -> list[Curve]:
    """Figures 6 and 8: quality and rate of fractional power control, of either kind of beams alone, and of other allocators."""
    curves = []
    chosen: list[tuple[Policy | str, str]] = [(Policy(*pair), "-") for pair in TUPLES]
    chosen += [(Policy(c, 0.0, "data"), "--") for c in (0.0, 1.0)] + [(Policy(0.0, s, "probe"), ":") for s in (0.0, 1.0)]
    chosen += [(name, "-") for name in extra]
    for i, (policy, dash) in enumerate(chosen):
        result = study.run(replace(base, policy=policy))
        label = policy.label if isinstance(policy, Policy) else policy
        curves.append(_cdf(quantity, label, result.ratio_db, i, dash))
        if not (isinstance(policy, Policy) and policy.beams == "probe"):
            curves.append(_cdf(_RATE, label, result.rate / 1e6, i, dash))
    return curves


def sicnr_sweeps(study: Study) -> list[Curve]:
    """Figure 7: SICNR against reflectivity variance and clutter."""
    curves = []
    for name, change, dash in (("", {}, "-"), (", no sensing", {"policy": NO_SENSING}, "--")):
        for i, level in enumerate(RCS_DBSM):
            case = tracked(with_rcs(level, **change))
            curves.append(_cdf(f"{_SICNR}, RCS", f"{level:g} dBsm{name}", study.run(case).ratio_db, i, dash))
        for i, factor in enumerate((*CLUTTER, 1.0)):
            case = tracked(with_clutter(factor, **change))
            curves.append(_cdf(f"{_SICNR}, clutter", f"{100 * factor:g} %{name}", study.run(case).ratio_db, i, dash))
    return curves


def optimal_control(study: Study, extra: Sequence[str] = ()) -> list[Curve]:
    """Figure 9: quality and rate of optimal against fractional power control."""
    curves = []
    chosen: list[tuple[Policy | str, str, str]] = [(Policy(*pair), Policy(*pair).label, "--") for pair in FAIR_TUPLES]
    chosen += [("opc_communication", "OPC, communication p.", "-"), ("opc_sensing", "OPC, sensing p.", "-")]
    chosen.append(("opc_dominate", "OPC, senses as UPC", ":"))
    chosen += [(name, name, "-.") for name in extra]
    for i, (policy, label, dash) in enumerate(chosen):
        result = study.run(tracked(Case(policy=policy)))
        curves += [_cdf(_SICNR, label, result.ratio_db, i, dash), _cdf(_RATE, label, result.rate / 1e6, i, dash)]
    return curves


def figure_curves(study: Study) -> dict[str, Callable[[], list[Curve]]]:
    """How to make the curves of each figure; the learned allocator is drawn where there are weights."""
    learned = ("gnn",) if study.checkpoint is not None else ()
    return {
        "2": lambda: miss_against_rcs(study),
        "3": lambda: scnr_sweeps(study),
        "4": lambda: scnr_loads(study),
        "5": lambda: associations(study),
        "6": lambda: policies(study, Case(), _SCNR),
        "7": lambda: sicnr_sweeps(study),
        "8": lambda: policies(study, tracked(Case()), _SICNR, learned),
        "9": lambda: optimal_control(study, learned),
    }


def draw(path: Path, title: str, curves: Sequence[Curve]) -> None:
    """Write one figure, a panel for each horizontal axis."""
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys(curve.panel for curve in curves))
    figure = Figure(figsize=(5.0 * len(panels), 4.0), dpi=130, layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False).flat, panels, strict=True):
        _draw_panel(axes, panel, [curve for curve in curves if curve.panel == panel])
    figure.suptitle(title, fontsize=10)
    with written_whole(path) as partial:
        figure.savefig(partial, metadata={"Software": None})


def tabulate(path: Path, curves: Sequence[Curve]) -> None:
    """Write every point of every curve as CSV."""
    with written_whole(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("panel", "curve", "x", "y"))
        for curve in curves:
            writer.writerows((curve.panel, curve.label, f"{x:.7g}", f"{y:.7g}") for x, y in zip(curve.x, curve.y, strict=True))


def _draw_panel(axes: Axes, panel: str, curves: Sequence[Curve]) -> None:
    is_cdf = not panel.startswith("RCS variance")
    for curve in curves:
        look: dict[str, Any] = {
            "color": COLOURS[curve.colour % len(COLOURS)],
            "linestyle": curve.dash,
            "label": curve.label,
            "linewidth": 1.3,
        }
        if is_cdf:
            axes.step(curve.x, curve.y, where="post", **look)
        else:
            axes.plot(curve.x, curve.y, marker=".", **look)
    axes.grid(alpha=0.3, linewidth=0.5)
    axes.set_xlabel(panel)
    if is_cdf:
        axes.set(ylabel="share at or below", ylim=(0.0, 1.0))
        starts = [torch.tensor(curve.x).quantile(0.02).item() for curve in curves]
        axes.set_xlim(left=max(min(starts), -40.0))
    else:
        axes.set(ylabel="miss probability", yscale="log", ylim=(1e-4, 1.1))
    axes.legend(fontsize=6, loc="best")


def _cdf(panel: str, label: str, sample: Tensor, colour: int, dash: str = "-") -> Curve:
    """The empirical distribution of a sample (any shape)."""
    x = sample.flatten().sort().values
    y = torch.arange(1, len(x) + 1) / len(x)
    return Curve(panel, label, x.tolist(), y.tolist(), colour, dash)
