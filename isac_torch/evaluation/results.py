"""A benchmark as files and as the text on the terminal."""

from __future__ import annotations

import platform
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from isac_torch import __version__
from isac_torch.allocators.registry import CERTIFIED
from isac_torch.evaluation import figures, policy_figures, tables
from isac_torch.evaluation.benchmark import sir_ceiling
from isac_torch.evaluation.card import weights_facts
from isac_torch.evaluation.metrics import contradictions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from isac_torch.evaluation.benchmark import Benchmark
    from isac_torch.evaluation.metrics import Outcome

CERTIFIED_GAP = 1e-3
"""Relative gap in SINR within which an optimum counts as certified; with shared pilots it may stay wider."""

_LEARNED = ("gnn", "first_order")


def write_results(benchmark: Benchmark, folder: Path, context: dict[str, Any], tensorboard: bool) -> str:
    """Write summary.json, provenance.json, drops.csv, the figures and, if asked for, event files.

    Args:
        benchmark: what was found.
        folder: where to write; it exists.
        context: its `provenance`.
        tensorboard: whether to write event files.

    Returns:
        What the terminal should show.
    """
    summary, pictures = benchmark.summary, draw(benchmark)
    tables.write_json(folder / "summary.json", summary)
    tables.write_json(folder / "provenance.json", context)
    tables.write_csv(folder / "drops.csv", benchmark.outcomes, benchmark.optimum, sir_ceiling(benchmark.drop))
    for name, figure in pictures.items():
        figures.save(figure, folder / f"{name}.png")
    if tensorboard:
        from isac_torch.evaluation.board import write_board

        write_board(folder / "tensorboard", benchmark, pictures, context)
    return report(summary, context, folder, tensorboard)


def write_settings(
    folder: Path, summaries: dict[str, dict[str, Any]], contexts: dict[str, dict[str, Any]], tensorboard: bool
) -> str:
    """Write summary.json and provenance.json of several settings and settings.csv, one line per setting and allocator.

    Returns:
        What the terminal should show.
    """
    tables.write_json(folder / "summary.json", {"settings": summaries})
    tables.write_json(folder / "provenance.json", {"settings": contexts})
    tables.write_settings_csv(folder / "settings.csv", summaries)
    lines = [
        "",
        tables.settings_table(summaries),
        "",
        f"look at {folder}/summary.json, settings.csv, provenance.json and the folder of each setting",
    ]
    if tensorboard:
        lines.append(f"        tensorboard --logdir {folder}")
    return "\n".join(lines)


def provenance(benchmark: Benchmark, checkpoint: str | Path | None) -> dict[str, Any]:
    """How the numbers came about, and whether any of them contradicts a certificate."""
    optimum = benchmark.optimum
    gap = optimum.gap[optimum.counted]
    return {
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
        "optimum_from": list(benchmark.optimum_from),
        "from_store": list(benchmark.from_store),
        "optimum_gap_max": float(gap.max()) if gap.numel() else None,
        "optimum_gap_mean": float(gap.mean()) if gap.numel() else None,
        "certified_share": float((gap <= CERTIFIED_GAP).double().mean()) if gap.numel() else None,
        "unresolved": int(optimum.unresolved.sum()),
        "contradictions": {outcome.name: contradictions(outcome, optimum) for outcome in benchmark.outcomes},
    }


def draw(benchmark: Benchmark) -> dict[str, Figure]:
    """Every figure by its name."""
    outcomes, optimum, problem = benchmark.outcomes, benchmark.optimum, benchmark.problem
    shown = _shown(outcomes)
    counted = optimum.first(shown.num_drops).counted
    typical = int(counted.nonzero()[0]) if bool(counted.any()) else 0
    pictures = {
        "cdf_rate": figures.rate_distribution(outcomes, optimum),
        "cdf_min_rate": figures.min_rate_distribution(outcomes, optimum),
        "learned_v_optimal": figures.learned_v_optimal(shown, optimum, benchmark.optimal_rate),
        "network_map": figures.network_map(benchmark.drop, problem, shown, typical, benchmark.scenario.side),
    }
    if problem.num_constraints:
        pictures["cdf_sir"] = figures.sir_distribution(outcomes, optimum)
    return pictures | policy_figures.policy_pictures(benchmark, shown)


def report(summary: dict[str, Any], context: dict[str, Any], folder: Path, tensorboard: bool) -> str:
    """What the terminal shows: the table, what was left out, where to look."""
    lines = [
        "",
        f"{summary['num_drops']} fresh drops of {context['setting']} (seed {context['seed']}): "
        f"{summary['infeasible']} proven infeasible, {summary['outage']} in outage, both left out of ratios and rates",
        "",
        tables.text_table(summary),
        "",
        "ratio: minimum rate over the certified optimum's, capped at 1 where a constraint is broken; 'valid ratio' has 0 there",
        f"optimum: by {' and '.join(context['optimum_from'])}; certified to {CERTIFIED_GAP:g} in SINR on "
        f"{_text(context['certified_share'], '.1%')} of the drops, largest gap {_text(context['optimum_gap_max'], '.1e')}",
        f"ms/drop: allocate() on the whole set, {context['threads']} torch thread(s), after a warm-up, without statistics",
    ]
    if context["from_store"]:
        lines.append(f"answers and times of {', '.join(context['from_store'])} are those that an earlier run left in optima")
    if context["unresolved"]:
        lines.append(f"WARNING: {context['unresolved']} drops have neither an optimum nor a proof of infeasibility; left out")
    wrong = {name: count for name, count in context["contradictions"].items() if count}
    if wrong:
        lines.append(f"WARNING: valid powers that beat the certificate, a bug somewhere: {wrong}")
    lines += ["", f"look at {folder}/summary.json, drops.csv, provenance.json and the figures *.png"]
    if tensorboard:
        lines.append(f"        tensorboard --logdir {folder}/tensorboard")
    return "\n".join(lines)


def _shown(outcomes: Sequence[Outcome]) -> Outcome:
    """The allocator drawn against the optimum: the network, else first_order, else the last one that is not the optimum."""
    others = [o for o in outcomes if o.name not in CERTIFIED] or list(outcomes)
    return next((o for name in _LEARNED for o in others if o.name == name), others[-1])


def _text(value: float | None, form: str) -> str:
    return "unknown" if value is None else format(value, form)
