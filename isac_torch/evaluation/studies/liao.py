"""Every figure of Liao et al. as PNG and CSV, and its claims judged: `isac-torch reproduce liao`."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from isac_torch.allocation import Status, allocate
from isac_torch.downlink_pilots.build import power_problem
from isac_torch.downlink_pilots.drop import build_drops
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
from isac_torch.errors import IsacError
from isac_torch.evaluation.studies.claims import judge_claims
from isac_torch.evaluation.studies.liao_claims import CLAIMS, POWER_MAP
from isac_torch.evaluation.studies.liao_study import allocators, points, run_points
from isac_torch.evaluation.studies.liao_traces import traces
from isac_torch.evaluation.tables import write_json
from isac_torch.files import writable_folder, written_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
    from isac_torch.evaluation.studies.liao_study import Sample

QUICK_DROPS = {"ratio": 100, "proportion": 100, "correlation_2": 50, "correlation_6": 25}
FULL_DROPS = {"ratio": 1000, "proportion": 1000, "correlation_2": 1000, "correlation_6": 1000}


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
FIGURES = ("2", *PLOTS, "convergence")
"""Names for `--figure`; "convergence" is ours."""

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


def reproduce(
    output: str | Path,
    figure: str | None = None,
    quick: bool = False,
    num_drops: int | None = None,
    seed: int = 1,
    workers: int = 1,
) -> list[dict[str, Any]]:
    """Write figures (PNG, CSV) and claims.json of Liao et al. to a folder.

    Args:
        output: Folder; made if need be.
        figure: One figure (2, 4a, 4b, 5, 6, 7a, 7b, 8, 9, 10a, 10b, convergence) instead of all.
        quick: 25 to 100 drops a point instead of 1000.
        num_drops: Drops at every point, in place of either.
        seed: Of the drops.
        workers: Processes; results do not depend on them.

    Returns:
        The rows of claims.json.
    """
    if figure is not None and figure not in FIGURES:
        raise IsacError(f"figure={figure!r} is not one of {', '.join(FIGURES)}; leave it out for all")
    if num_drops is not None and num_drops < 2:
        raise IsacError(f"num_drops={num_drops} must be at least 2")
    folder = writable_folder(output)
    chosen = FIGURES if figure is None else (figure,)
    studies: dict[str, list[Sample]] = {}
    claims: list[dict[str, Any]] = []
    for name in chosen:
        if name == "2":
            claims += _power_map(folder, seed)
        elif name == "convergence":
            _convergence(folder, seed)
        else:
            study = PLOTS[name].study
            if study not in studies:
                count = num_drops or (QUICK_DROPS if quick else FULL_DROPS)[study]
                studies[study] = _run(study, count, seed, workers)
            _plot(folder, name, studies[study])
    claims += judge_claims(CLAIMS, studies, lambda samples: {"num_drops": len(samples[0].values["full"]), "seed": seed})
    write_json(folder / "claims.json", claims)
    return claims


def _run(study: str, num_drops: int, seed: int, workers: int) -> list[Sample]:
    """One study, with a progress bar that says how long it takes."""
    from tqdm import tqdm

    chosen = points(study)
    with tqdm(desc=f"{study}, {num_drops} drops a point", unit="chunk", disable=None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return run_points(chosen, num_drops, seed, workers, progress)


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with written_whole(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _save(path: Path, figure: Any) -> None:
    with written_whole(path) as partial:
        figure.savefig(partial, format="png")


def _plot(folder: Path, name: str, samples: list[Sample]) -> None:
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
        axes.errorbar(x, mean, yerr=error, label=labels[scheme], marker=marker, markersize=4, linewidth=1.3, **style)
        rows += [(scheme, a, m, e, len(s.values[scheme])) for a, m, e, s in zip(x, mean, error, samples, strict=True)]
    if plot.limit is not None:
        axes.axhline(plot.limit, color="black", linewidth=0.8, linestyle=":", label="required")
    axes.set(xlabel=plot.xlabel, ylabel=plot.ylabel, yscale=plot.scale)
    axes.set_title(f"Liao et al., Fig. {name}: {samples[0].values['full'].shape[0]} drops a point", fontsize=10)
    axes.legend(fontsize=7, loc="best")
    _save(folder / f"figure_{name}.png", figure)
    _write_csv(folder / f"figure_{name}.csv", ("scheme", plot.xlabel, plot.ylabel, "standard_error", "num_drops"), rows)


def _mirrored() -> MinMaxNmseProblem:
    """Two UEs at mirrored places, the large-scale fading beta of the second halved."""
    scenario = DownlinkPilotScenario()
    positions = torch.tensor([[[100.0, 50.0], [200.0, 50.0]]], dtype=torch.float64)
    drop = build_drops(scenario, positions, torch.zeros(1, 2, scenario.num_aps, dtype=torch.float64))
    halved = drop.gain * torch.tensor([1.0, 0.5], dtype=torch.float64)[None, :, None]
    return power_problem(replace(drop, gain=halved), scenario)


def _power_map(folder: Path, seed: int) -> list[dict[str, Any]]:
    """Fig. 2: where the power goes when one of two mirrored UEs has half the channel."""
    from matplotlib.figure import Figure

    problem = _mirrored()
    answers = {name: allocate(problem, one) for name, one in allocators(DownlinkPilotScenario()).items()}
    maps = {name: problem.per_ue(answer.power)[0] for name, answer in answers.items()}
    labels = LABELS | ({"ours": CERTIFIED_LABEL} if int(answers["ours"].status) == Status.OPTIMAL else {})
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
    share = {name: float(power[1].sum() / power.sum()) for name, power in maps.items()}
    return [POWER_MAP.line(share, {"num_drops": 1, "seed": seed})]


def _convergence(folder: Path, seed: int) -> None:
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
            kind = {"marker": marker, "markersize": 3, "linewidth": 1.2, "label": name, **style}
            panels[0][column].semilogy(range(len(trace)), above, **kind)
            panels[1][column].semilogy(range(len(trace)), [max(residual, 1e-9) for _, _, residual in trace], **kind)
        panels[0][column].set_title(title, fontsize=9)
        panels[1][column].set_xlabel("step")
    panels[0][0].set_ylabel("NMSE / proven least - 1")
    panels[1][0].set_ylabel("KKT residual")
    for axes in panels.flat:
        axes.grid(alpha=0.3, linewidth=0.5)
    panels[0][0].legend(fontsize=7)
    _save(folder / "figure_convergence.png", figure)
    _write_csv(
        folder / "figure_convergence.csv", ("case", "allocator", "step", "largest_nmse", "proven_least", "kkt_residual"), rows
    )
