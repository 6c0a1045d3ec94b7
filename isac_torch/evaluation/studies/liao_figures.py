"""Pictures and CSV files of the figures of Liao et al."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from isac_torch.allocation import Status, allocate, equal_split
from isac_torch.allocators.downlink_pilots.batched import BatchedMinMaxNmse
from isac_torch.allocators.downlink_pilots.classical import PaperSca
from isac_torch.downlink_pilots.build import power_problem
from isac_torch.downlink_pilots.drop import build_drops
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
from isac_torch.evaluation.studies.liao_powers import GAP
from isac_torch.evaluation.studies.liao_traces import traces
from isac_torch.files import written_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
    from isac_torch.evaluation.studies.liao_study import Sample


@dataclass(frozen=True)
class Plot:
    """One figure that is a plot of averages.

    Attributes:
        study: where its numbers come from.
        quantity: which of them.
        schemes: lines.
        ylabel: with unit.
        xlabel: of the study's x.
        scale: of the vertical axis.
        factor: from the stored unit to the shown one.
        limit: horizontal line, if any.
    """

    study: str
    quantity: str
    schemes: tuple[str, ...]
    ylabel: str
    xlabel: str
    scale: str = "linear"
    factor: float = 1.0
    limit: float | None = None


_RATIO = "DL share of 20 pilot symbols"
_PROPORTION = "pilot share of the 40-symbol frame"
_CORRELATION = "correlation of downlink pilots (amplitude)"
_NMSE = "largest NMSE, mean over drops"
_CRB = "mean localisation bound (m²)"
_KNOWN = ("full", "sca_paper", "ours", "no_dl")
_LOCATED = ("full", "sca_paper", "ours", "existing")
_SPENT = ("full", "sca_paper", "ours", "ours_slack_5", "ours_as_full")

PLOTS = {
    "4a": Plot("ratio", "nmse", _KNOWN, _NMSE, _RATIO, "log"),
    "4b": Plot("ratio", "rate", _KNOWN, "rate of a UE (Mbit/s)", _RATIO, factor=1e-6),
    "5": Plot("ratio", "crb", _LOCATED, _CRB, _RATIO, "log", limit=1.0),
    "6": Plot("ratio", "power", _SPENT, "power of all APs per DL pilot symbol (W)", _RATIO),
    "7a": Plot("proportion", "nmse", _KNOWN, _NMSE, _PROPORTION, "log"),
    "7b": Plot("proportion", "rate", _KNOWN, "rate of a UE (Mbit/s)", _PROPORTION, factor=1e-6),
    "8": Plot("proportion", "crb", ("full", "sca_paper", "ours"), _CRB, _PROPORTION, "log", limit=1.0),
    "9": Plot("proportion", "power", _SPENT, "power of all APs per DL pilot symbol (W)", _PROPORTION),
    "10a": Plot("correlation_2", "nmse", _KNOWN, _NMSE, _CORRELATION, "log"),
    "10b": Plot("correlation_6", "nmse", _KNOWN, _NMSE, _CORRELATION, "log"),
}
LABELS = {
    "full": "full power",
    "sca_paper": "SCA as printed",
    "ours": "ours (best known)",
    "ours_slack_5": "ours, 5 % slack",
    "ours_as_full": "ours at full power's NMSE",
    "existing": "Existing",
    "no_dl": "no DL pilots",
}
CERTIFIED_LABEL = "ours (certified optimum)"
"""Of `ours` where every drop that can be located is proven optimal."""


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with written_whole(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _save(path: Path, figure: Any) -> None:
    with written_whole(path) as partial:
        figure.savefig(partial, format="png")


def plot_averages(folder: Path, name: str, samples: list[Sample]) -> None:
    """One figure of averages with its standard errors, and every average of its study's quantity."""
    from isac_torch.evaluation.figures import new_axes, styles

    plot = PLOTS[name]
    figure, axes = new_axes()
    rows = []
    x = [sample.point.x for sample in samples]
    markers = "osv^Dx*"
    certified = all(sample.certified_share == 1.0 for sample in samples)
    labels = LABELS | ({"ours": CERTIFIED_LABEL} if certified else {})
    for scheme, style, marker in zip(plot.schemes, styles(len(plot.schemes)), markers, strict=False):
        mean = [plot.factor * sample.mean(scheme, plot.quantity) for sample in samples]
        error = [plot.factor * sample.error(scheme, plot.quantity) for sample in samples]
        shape: dict[str, Any] = {"marker": marker, "markersize": 5, "markerfacecolor": "none", "linewidth": 1.3}
        axes.errorbar(x, mean, yerr=error, label=labels[scheme], **shape, **style)
        rows += [(scheme, a, m, e, len(s.values[scheme])) for a, m, e, s in zip(x, mean, error, samples, strict=True)]
    if plot.limit is not None:
        axes.axhline(plot.limit, color="black", linewidth=0.8, linestyle=":", label="required")
    axes.set(xlabel=plot.xlabel, ylabel=plot.ylabel, yscale=plot.scale)
    if plot.quantity == "crb":
        for ticks in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            ticks("{x:g}")
    axes.set_title(f"Liao et al., Fig. {name}: {samples[0].values['full'].shape[0]} drops per point", fontsize=10)
    figure.legend(*axes.get_legend_handles_labels(), fontsize=7, loc="outside lower center", ncols=3)
    _save(folder / f"figure_{name}.png", figure)
    _write_csv(folder / f"figure_{name}.csv", ("scheme", plot.xlabel, plot.ylabel, "standard_error", "num_drops"), rows)


def _mirrored() -> MinMaxNmseProblem:
    """Two UEs at mirrored places, the large-scale fading beta of the second halved."""
    scenario = DownlinkPilotScenario()
    positions = torch.tensor([[[100.0, 50.0], [200.0, 50.0]]], dtype=torch.float64)
    drop = build_drops(scenario, positions, torch.zeros(1, 2, scenario.num_aps, dtype=torch.float64))
    halved = drop.gain * torch.tensor([1.0, 0.5], dtype=torch.float64)[None, :, None]
    return power_problem(replace(drop, gain=halved), scenario)


def power_map(folder: Path, eps: float) -> None:
    """Fig. 2: where the power goes when one of two mirrored UEs has half the channel."""
    from matplotlib.figure import Figure

    problem = _mirrored()
    ours = allocate(problem, BatchedMinMaxNmse(gap=GAP))
    powers = {"full": equal_split(problem), "sca_paper": allocate(problem, PaperSca(tolerance=eps)).power, "ours": ours.power}
    maps = {name: problem.per_ue(power)[0] for name, power in powers.items()}
    labels = LABELS | ({"ours": CERTIFIED_LABEL} if int(ours.status) == Status.OPTIMAL else {})
    figure = Figure(figsize=(5.0, 4.0), dpi=150, layout="constrained")
    panels = figure.subplots(len(maps), 1, sharex=True)
    image: Any = None
    rows = []
    for axes, (name, power) in zip(panels, maps.items(), strict=True):
        image = axes.imshow(1e3 * power.numpy(), aspect="auto", cmap="cividis", vmin=0.0, vmax=200.0)
        for ue in range(2):
            for ap in range(problem.num_aps):
                value = 1e3 * float(power[ue, ap])
                axes.text(
                    ap, ue, f"{value:.0f}", ha="center", va="center", fontsize=7, color="white" if value < 110 else "black"
                )
                rows.append((name, ue + 1, ap + 1, float(power[ue, ap])))
        axes.set_yticks([0, 1], ["UE 1", "UE 2 (half)"], fontsize=7)
        axes.set_title(labels[name], fontsize=8)
    panels[-1].set_xticks(range(problem.num_aps), [str(ap + 1) for ap in range(problem.num_aps)])
    panels[-1].set_xlabel("AP (1-4 on one side of the road, 5-8 on the other)")
    figure.colorbar(image, ax=panels, label="power (mW)")
    _save(folder / "figure_2.png", figure)
    _write_csv(folder / "figure_2.csv", ("scheme", "ue", "ap", "power_w"), rows)


def road_map(folder: Path, seed: int) -> None:
    """Fig. 3: the road with its APs, two vehicles, and the paths of a pilot and of its echoes."""
    from matplotlib.figure import Figure

    from isac_torch.evaluation.figures import COLOURS

    scenario = DownlinkPilotScenario()
    drop = scenario.sample(1, generator=torch.Generator().manual_seed(seed))
    aps, ues = drop.ap_position[0].numpy(), drop.ue_position[0].numpy()
    figure = Figure(figsize=(6.0, 3.3), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.axhspan(scenario.margin, scenario.width - scenario.margin, color="0.92", label="where vehicles are drawn")
    axes.axhline(0.5 * scenario.width, color="white", linewidth=1.5, linestyle="--")
    sender = aps[1]
    axes.plot(*zip(sender, ues[0], strict=True), color=COLOURS[1], linewidth=1.3, label="pilot of AP 2 to UE 1")
    for n, receiver in enumerate(aps):
        label = "its echoes to all APs" if n == 0 else None
        axes.plot(*zip(ues[0], receiver, strict=True), color=COLOURS[0], linewidth=0.8, linestyle=":", label=label)
    axes.scatter(aps[:, 0], aps[:, 1], marker="^", s=45, color="black", label="APs", zorder=3)
    axes.scatter(ues[:, 0], ues[:, 1], marker="s", s=35, color=COLOURS[2], label="vehicles (UEs, targets)", zorder=3)
    for kind, places in (("AP", aps), ("UE", ues)):
        for index, (x, y) in enumerate(places, 1):
            axes.annotate(f"{kind} {index}", (x, y), xytext=(4, 4), textcoords="offset points", fontsize=7)
    axes.set(
        xlabel="x (m)", ylabel="y (m)", xlim=(-5.0, scenario.length + 5.0), ylim=(-8.0, scenario.width + 12.0), aspect="equal"
    )
    axes.set_title("Liao et al., Fig. 3: the road", fontsize=10)
    figure.legend(*axes.get_legend_handles_labels(), fontsize=7, loc="outside lower center", ncols=3)
    _save(folder / "figure_3.png", figure)
    rows = [(kind, i, x, y) for kind, places in (("ap", aps), ("ue", ues)) for i, (x, y) in enumerate(places.tolist(), 1)]
    _write_csv(folder / "figure_3.csv", ("kind", "number", "x_m", "y_m"), rows)


def convergence(folder: Path, seed: int) -> None:
    """Error above the certified bound and KKT residual against steps, without and with contamination."""
    from matplotlib.figure import Figure

    from isac_torch.evaluation.figures import styles

    cases = {
        "2 UEs, orthogonal pilots": DownlinkPilotScenario(),
        "2 UEs, correlation 0.3": DownlinkPilotScenario(downlink_correlation=0.3, receiver="projection"),
    }
    figure = Figure(figsize=(7.0, 5.0), dpi=150, layout="constrained")
    panels = figure.subplots(2, len(cases), sharex=True, squeeze=False)
    rows = []
    for column, (title, scenario) in enumerate(cases.items()):
        problem = power_problem(scenario.sample(1, generator=torch.Generator().manual_seed(seed)), scenario)
        answers = traces(problem)
        for (name, trace), style, marker in zip(answers.items(), styles(len(answers)), "osv^D", strict=True):
            rows += [(title, name, step, 1.0 / v, 1.0 / b, r) for step, (v, b, r) in enumerate(trace)]
            above = [max(bound / value - 1.0, 1e-7) for value, bound, _ in trace]
            kind = {"marker": marker, "markersize": 4, "markerfacecolor": "none", "linewidth": 1.2, "label": name, **style}
            panels[0][column].semilogy(range(len(trace)), above, **kind)
            panels[1][column].semilogy(range(len(trace)), [max(residual, 1e-9) for _, _, residual in trace], **kind)
        panels[0][column].set_title(title, fontsize=9)
        panels[1][column].set_xlabel("step")
    panels[0][0].set_ylabel("NMSE / proven least - 1")
    panels[1][0].set_ylabel("KKT residual")
    for axes in panels.flat:
        axes.grid(alpha=0.3, linewidth=0.5)
    figure.legend(*panels[0][0].get_legend_handles_labels(), fontsize=7, loc="outside lower center", ncols=5)
    _save(folder / "figure_convergence.png", figure)
    _write_csv(
        folder / "figure_convergence.csv", ("case", "allocator", "step", "largest_nmse", "proven_least", "kkt_residual"), rows
    )
