"""The benchmark: any allocators on the same fresh drops, judged by the problem against the certified optimum."""

from __future__ import annotations

import platform
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from isac_torch import __version__
from isac_torch.allocation import Allocation, allocate
from isac_torch.errors import AllocationError, ScenarioError
from isac_torch.evaluation import figures, tables
from isac_torch.evaluation.catalog import CERTIFIED, SLOW, named_allocator
from isac_torch.evaluation.files import writable_folder
from isac_torch.evaluation.metrics import Optimum, Outcome, contradictions, score
from isac_torch.evaluation.optimum import best_known, stored_allocate
from isac_torch.tensors import cat_tensors
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.communication import rate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from isac_torch.allocation import Allocator
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.problem import MaxMinSinrProblem
    from isac_torch.tracking.scenario import TrackingScenario

MAX_SEED = 2**32 - 1
"""PyTorch's generator on a CPU uses 32 bits of its seed."""

CERTIFIED_GAP = 1e-3
"""Relative gap in SINR within which an optimum counts as certified; with shared pilots it may stay wider."""

_CHUNK = 64
_WARM_UP_SECONDS = 2.0
_LEARNED = ("gnn", "first_order")


def evaluate(
    scenario: TrackingScenario,
    *,
    allocators: Sequence[str],
    num_drops: int,
    seed: int,
    output: str | Path,
    checkpoint: str | Path | None = None,
    opc_paper_drops: int = 50,
    tensorboard: bool = True,
) -> dict[str, Any]:
    """Run `allocators` on the same drops and write summary.json, drops.csv, provenance.json, figures and event files.

    The ratios are over the certified optimum: the best answer of opc_batched and opc_global, or of opc_batched alone, from
    `output`/optima if it is there, when neither is in the list. docs/evaluation.md defines every number.

    Args:
        scenario: the network.
        allocators: names, see `isac_torch.evaluation.catalog.KNOWN`.
        num_drops: drops to judge on.
        seed: of the drops; take one that no training set uses.
        output: folder of the results.
        checkpoint: weights of gnn.
        opc_paper_drops: the paper's slow algorithm runs on the first ones only.
        tensorboard: whether to write event files too.

    Returns:
        The content of summary.json.

    Raises:
        IsacError: one line, before any work, on unknown names, missing weights or an output that cannot be written.
    """
    from tqdm import tqdm

    check_run(allocators, num_drops, seed)
    if opc_paper_drops < 1:
        raise ScenarioError(f"opc_paper_drops={opc_paper_drops} must be at least 1")
    named = {name: named_allocator(name, checkpoint) for name in allocators}
    folder = writable_folder(output)
    drop, problem = fresh_problem(scenario, num_drops, seed)
    answers = _run_all(named, problem, opc_paper_drops)
    outcomes = [_outcome(name, answer, problem, scenario) for name, answer in answers.items()]
    optimum = _optimum(answers, problem, folder)
    summary = summarise(outcomes, optimum)
    context = _provenance(scenario, seed, checkpoint, outcomes, optimum)
    optimal_rate = rate(optimum.value, scenario)
    pictures = _figures(outcomes, optimum, optimal_rate, drop, problem, scenario)
    tables.write_json(folder / "summary.json", summary)
    tables.write_json(folder / "provenance.json", context)
    tables.write_csv(folder / "drops.csv", outcomes, optimum, sir_ceiling(drop))
    for name, figure in pictures.items():
        figures.save(figure, folder / f"{name}.png")
    if tensorboard:
        from isac_torch.evaluation.board import write_board

        setting: dict[str, str | float | int] = {"scenario": scenario.name, "sir_min_db": scenario.sir_min_db}
        setting |= {"num_drops": num_drops, "seed": seed}
        write_board(folder / "tensorboard", pictures, summary, outcomes, optimum, optimal_rate, setting)
    tqdm.write(report(summary, context, folder, tensorboard))
    return summary


def fresh_problem(
    scenario: TrackingScenario, num_drops: int, seed: int, *, progress: bool = True
) -> tuple[TrackingDrop, MaxMinSinrProblem]:
    """The drops of `seed` and their power problem, built piece by piece to bound the memory."""
    from tqdm import tqdm

    drop = scenario.sample(num_drops, generator=torch.Generator().manual_seed(seed))
    starts = range(0, num_drops, _CHUNK)
    pieces = [torch.arange(start, min(start + _CHUNK, num_drops)) for start in starts]
    bar = tqdm(pieces, desc="statistics", unit="batch", disable=not progress, leave=False)
    problem = cat_tensors([power_problem(drop.select(piece), scenario) for piece in bar])
    problem.check()
    return drop, problem


def timed_allocate(problem: MaxMinSinrProblem, allocator: Allocator[MaxMinSinrProblem]) -> tuple[Allocation, float]:
    """The allocation of the whole set and the wall time of allocate() in s, after a warm-up.

    The warm-up is two drops, and then the whole set once more where that takes less than about two seconds.
    """
    few = problem.select(torch.arange(min(2, problem.num_drops)))
    allocate(few, allocator)
    start = time.perf_counter()
    allocate(few, allocator)
    if (time.perf_counter() - start) / few.num_drops * problem.num_drops < _WARM_UP_SECONDS:
        allocate(problem, allocator)
    start = time.perf_counter()
    allocation = allocate(problem, allocator)
    return allocation, time.perf_counter() - start


def sir_ceiling(drop: TrackingDrop) -> torch.Tensor | None:
    """Largest SIR that the worst target can reach whatever the powers, linear, per drop; None with fewer than two targets.

    n targets heard by the same receive APs share all echoes, and one of them has at most an n-th of their sum: its SIR is at
    most 1/(n-1). inf where every target has receive APs of its own.
    """
    if drop.target_position.shape[1] < 2:
        return None
    heard_by = drop.listening_ap.sort(dim=-1).values
    alike = (heard_by.unsqueeze(1) == heard_by.unsqueeze(2)).all(-1).sum(-1).amax(-1)
    return 1.0 / (alike.to(drop.ue_gain.dtype) - 1.0)


def summarise(outcomes: Sequence[Outcome], optimum: Optimum) -> dict[str, Any]:
    """The content of summary.json."""
    return {
        "num_drops": optimum.value.shape[0],
        "infeasible": int(optimum.infeasible.sum()),
        "outage": int(optimum.outage.sum()),
        "allocators": {outcome.name: score(outcome, optimum) for outcome in outcomes},
    }


def report(summary: dict[str, Any], context: dict[str, Any], folder: Path, tensorboard: bool) -> str:
    """What the terminal shows: the table, what was left out, where to look."""
    lines = [
        "",
        f"{summary['num_drops']} fresh drops of {context['scenario_name']} (seed {context['seed']}): "
        f"{summary['infeasible']} proven infeasible, {summary['outage']} in outage, both left out of ratios and rates",
        "",
        tables.text_table(summary),
        "",
        "ratio: minimum rate over the certified optimum's, capped at 1 where a constraint is broken; 'valid ratio' has 0 there",
        f"optimum: by {' and '.join(context['optimum_from'])}; certified to {CERTIFIED_GAP:g} in SINR on "
        f"{_text(context['certified_share'], '.1%')} of the drops, largest gap {_text(context['optimum_gap_max'], '.1e')}",
        f"ms/drop: allocate() on the whole set, {context['threads']} torch thread(s), after a warm-up, without statistics",
    ]
    if context["unresolved"]:
        lines.append(f"WARNING: {context['unresolved']} drops have neither an optimum nor a proof of infeasibility; left out")
    wrong = {name: count for name, count in context["contradictions"].items() if count}
    if wrong:
        lines.append(f"WARNING: valid powers that beat the certificate, a bug somewhere: {wrong}")
    lines += ["", f"look at {folder}/summary.json, drops.csv, provenance.json and the figures *.png"]
    if tensorboard:
        lines.append(f"        tensorboard --logdir {folder}/tensorboard")
    return "\n".join(lines)


def check_run(allocators: Sequence[str], num_drops: int, seed: int) -> None:
    """Refuse, in one line, an empty or repeating list of allocators, a number of drops or a seed out of range."""
    if not allocators:
        raise AllocationError("allocators=[] names nobody to evaluate; list at least one, such as upc")
    twice = {name for name in allocators if list(allocators).count(name) > 1}
    if twice:
        raise AllocationError(f"allocators names {sorted(twice)[0]!r} twice; name each once")
    if num_drops < 1:
        raise ScenarioError(f"num_drops={num_drops} must be at least 1")
    if not 0 <= seed <= MAX_SEED:
        raise ScenarioError(f"seed={seed} must lie in 0..{MAX_SEED}")


def _run_all(
    named: dict[str, Allocator[MaxMinSinrProblem]], problem: MaxMinSinrProblem, slow_drops: int
) -> dict[str, tuple[Allocation, float]]:
    from tqdm import tqdm

    answers = {}
    bar = tqdm(named.items(), unit="allocator", leave=False)
    for name, allocator in bar:
        bar.set_description(name)
        count = min(slow_drops, problem.num_drops) if name in SLOW else problem.num_drops
        answers[name] = timed_allocate(problem.select(torch.arange(count)), allocator)
    return answers


def _outcome(name: str, answer: tuple[Allocation, float], problem: MaxMinSinrProblem, scenario: TrackingScenario) -> Outcome:
    allocation, seconds = answer
    own = problem.select(torch.arange(allocation.power.shape[0]))
    return Outcome(
        name=name,
        power=allocation.power,
        rate=rate(own.sinr(allocation.power), scenario),
        sinr_min=allocation.value,
        sir=own.sir(allocation.power),
        sir_min=own.sir_min,
        budget_violation=own.violations(allocation.power).budget,
        violation=allocation.violation,
        status=allocation.status,
        seconds=seconds,
    )


def _optimum(answers: dict[str, tuple[Allocation, float]], problem: MaxMinSinrProblem, folder: Path) -> Optimum:
    certified = [answers[name][0] for name in CERTIFIED if name in answers]
    if not certified:
        certified = [stored_allocate(problem, named_allocator(CERTIFIED[0]), folder / "optima")]
    return best_known(certified)


def _provenance(
    scenario: TrackingScenario, seed: int, checkpoint: str | Path | None, outcomes: Sequence[Outcome], optimum: Optimum
) -> dict[str, Any]:
    names = [outcome.name for outcome in outcomes]
    gap = optimum.gap[optimum.counted]
    return {
        "scenario_name": scenario.name,
        "scenario": asdict(scenario),
        "seed": seed,
        "checkpoint": None if checkpoint is None else str(checkpoint),
        "version": __version__,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "optimum_from": [name for name in CERTIFIED if name in names] or [CERTIFIED[0]],
        "optimum_gap_max": float(gap.max()) if gap.numel() else None,
        "optimum_gap_mean": float(gap.mean()) if gap.numel() else None,
        "certified_share": float((gap <= CERTIFIED_GAP).double().mean()) if gap.numel() else None,
        "unresolved": int(optimum.unresolved.sum()),
        "contradictions": {outcome.name: contradictions(outcome, optimum) for outcome in outcomes},
    }


def _figures(
    outcomes: Sequence[Outcome],
    optimum: Optimum,
    optimal_rate: torch.Tensor,
    drop: TrackingDrop,
    problem: MaxMinSinrProblem,
    scenario: TrackingScenario,
) -> dict[str, Figure]:
    shown = _shown(outcomes)
    typical = int(optimum.counted.nonzero()[0]) if bool(optimum.counted.any()) else 0
    pictures = {
        "cdf_rate": figures.rate_distribution(outcomes, optimum),
        "cdf_min_rate": figures.min_rate_distribution(outcomes, optimum),
        "learned_v_optimal": figures.learned_v_optimal(shown, optimum, optimal_rate),
        "network_map": figures.network_map(drop, problem, shown, min(typical, shown.num_drops - 1), scenario.side),
    }
    if problem.num_rows:
        pictures["cdf_sir"] = figures.sir_distribution(outcomes, optimum)
    return pictures


def _shown(outcomes: Sequence[Outcome]) -> Outcome:
    """The allocator drawn against the optimum: the network, else first_order, else the last one that is not the optimum."""
    others = [o for o in outcomes if o.name not in CERTIFIED] or list(outcomes)
    return next((o for name in _LEARNED for o in others if o.name == name), others[-1])


def _text(value: float | None, form: str) -> str:
    return "unknown" if value is None else format(value, form)
