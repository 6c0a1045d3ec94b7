"""A benchmark of either system as files and as the text on the terminal."""

from __future__ import annotations

import platform
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from isac_torch import __version__
from isac_torch.evaluation import figures, tables
from isac_torch.evaluation.card import weights_facts
from isac_torch.evaluation.optimum import contradictions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from isac_torch.evaluation.benchmark import Benchmark, OutcomeT
    from isac_torch.evaluation.tables import Summary
    from isac_torch.evaluation.view import View
    from isac_torch.systems import DropT, ProblemT, ScenarioT

CERTIFIED_GAP = 1e-3
"""Relative gap of the objective within which an optimum counts as certified; with shared pilots it may stay wider."""


def write_results(
    view: View[ScenarioT, DropT, ProblemT, OutcomeT],
    found: Sequence[Benchmark[ScenarioT, DropT, ProblemT, OutcomeT]],
    folder: Path,
    contexts: Mapping[str, dict[str, Any]],
    tensorboard: bool,
) -> str:
    """Write summary.json, provenance.json, drops.csv, the figures and, if asked for, event files of settings to one folder.

    Args:
        view: of their system.
        found: one benchmark, or all of a system whose settings share a folder.
        folder: where to write; it exists.
        contexts: `provenance` of each setting.
        tensorboard: whether to write event files.

    Returns:
        What the terminal should show.
    """
    summaries = {benchmark.name: view.summarise(benchmark) for benchmark in found}
    pictures = view.pictures(found)
    only = next(iter(summaries))
    tables.write_json(folder / "summary.json", {"settings": summaries} if view.leads else summaries[only])
    tables.write_json(folder / "provenance.json", {"settings": contexts} if view.leads else contexts[only])
    lines = (line for benchmark in found for line in view.csv_lines(benchmark))
    tables.write_csv(folder / "drops.csv", view.csv_fields, lines)
    for name, figure in pictures.items():
        figures.save(figure, folder / f"{name}.png")
    where = f"look at {folder}/summary.json, drops.csv, provenance.json and the figures *.png"
    said = ["", *view.words(summaries, contexts), "", where]
    if tensorboard:
        from isac_torch.evaluation.board import write_board

        write_board(folder / "tensorboard", view, found, pictures, contexts)
        said.append(f"        tensorboard --logdir {folder}/tensorboard")
    return "\n".join(said)


def write_settings(
    view: View[ScenarioT, DropT, ProblemT, OutcomeT],
    folder: Path,
    summaries: Mapping[str, Summary],
    contexts: Mapping[str, dict[str, Any]],
    tensorboard: bool,
) -> str:
    """Write summary.json and provenance.json of several settings and settings.csv, one line per setting and allocator.

    Returns:
        What the terminal should show.
    """
    tables.write_json(folder / "summary.json", {"settings": summaries})
    tables.write_json(folder / "provenance.json", {"settings": contexts})
    tables.write_settings_csv(folder / "settings.csv", summaries)
    where = f"look at {folder}/summary.json, settings.csv, provenance.json and the folder of each setting"
    lines = ["", tables.settings_table(view.columns, view.blocks, summaries), "", where]
    if tensorboard:
        lines.append(f"        tensorboard --logdir {folder}")
    return "\n".join(lines)


def provenance(
    view: View[ScenarioT, DropT, ProblemT, OutcomeT],
    benchmark: Benchmark[ScenarioT, DropT, ProblemT, OutcomeT],
    checkpoint: str | Path | None,
) -> dict[str, Any]:
    """How the numbers came about, and whether any of them contradicts a certificate."""
    optimum = benchmark.optimum
    gap = optimum.gap[optimum.counted]
    answers = {name: answer.allocation for name, answer in benchmark.answers.items()}
    return {
        "system": view.system.name,
        "setting": benchmark.name,
        "sir_below_best_db": benchmark.case.sir_below_best_db,
        "scenario_name": benchmark.scenario.name,
        "scenario": asdict(benchmark.scenario),
        "seed": benchmark.seed,
        "checkpoint": None if checkpoint is None else str(checkpoint),
        "weights": None if checkpoint is None else weights_facts(checkpoint),
        "version": __version__,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "optimum_from": list(benchmark.plain.certified),
        "from_store": list(benchmark.from_store),
        "optimum_gap_max": float(gap.max()) if gap.numel() else None,
        "optimum_gap_mean": float(gap.mean()) if gap.numel() else None,
        "certified_share": float((gap <= CERTIFIED_GAP).double().mean()) if gap.numel() else None,
        "unresolved": int(optimum.unresolved.sum()),
        "contradictions": {name: contradictions(answer, benchmark.part(name).optimum) for name, answer in answers.items()},
    }
