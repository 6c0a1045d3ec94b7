"""Run allocators of either system on the same fresh drops: answers, times, the certified optimum."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from isac_torch.allocation import Allocation, allocate
from isac_torch.evaluation.benchmark import Benchmark, Case, OutcomeT, Part, Timed
from isac_torch.evaluation.optimum import best_known, stored_allocate
from isac_torch.evaluation.view import View
from isac_torch.systems import DropT, ProblemT, ScenarioT, System
from isac_torch.tensors import cat_tensors

if TYPE_CHECKING:
    from pathlib import Path

    from isac_torch.allocation import Allocator

_CHUNK = 64
_WARM_UP_SECONDS = 2.0


def run_benchmark(
    view: View[ScenarioT, DropT, ProblemT, OutcomeT],
    case: Case[ScenarioT],
    named: Mapping[str, Allocator[ProblemT]],
    optima: Path,
) -> Benchmark[ScenarioT, DropT, ProblemT, OutcomeT]:
    """Give the same drops to every allocator.

    The optimum is the best of the certified allocators in `named` that got all drops; without any, the system's first one is
    asked. Where the optimum is a local one (shared pilots), the best valid answer of anybody counts.

    Args:
        view: of the scenario's system.
        case: the drops and the requirement.
        named: allocators by the name of their line in the table.
        optima: folder that keeps the answers of certified and slow allocators, with their times, for the next run.
    """
    from tqdm import tqdm

    drop, problem = draw(view.system, case.scenario, case.num_drops, case.seed)
    problem = problem if view.prepare is None else view.prepare(problem, case)
    groups: dict[str, list[str]] = {"": []}
    for name in named:
        groups.setdefault(view.variant(case, name), []).append(name)
    answers: dict[str, Timed] = {}
    from_store: list[str] = []
    parts: dict[str, Part[DropT, ProblemT]] = {}
    for variant, names in groups.items():
        own = (drop, problem) if variant == "" or view.vary is None else view.vary(case, drop, variant, optima)
        parts[variant] = _answered(view, case, own, {name: named[name] for name in names}, optima, answers, from_store)
    if view.check is not None:
        view.check(case, parts[""].optimum)
    variants = {name: parts[variant] for variant, names in groups.items() for name in names if variant}
    ordered = {name: answers[name] for name in named}
    found: Benchmark[ScenarioT, DropT, ProblemT, OutcomeT] = Benchmark(
        case, ordered, parts[""], variants, tuple(name for name in named if name in from_store)
    )
    judged = tqdm(named, desc="true echoes", unit="allocator", leave=False)
    return replace(found, outcomes=tuple(view.outcome(found, name) for name in judged))


def _answered(
    view: View[ScenarioT, DropT, ProblemT, OutcomeT],
    case: Case[ScenarioT],
    own: tuple[DropT, ProblemT],
    named: Mapping[str, Allocator[ProblemT]],
    optima: Path,
    answers: dict[str, Timed],
    from_store: list[str],
) -> Part[DropT, ProblemT]:
    """Ask `named` for powers of one part's problems, noting `answers` and who was found in the store."""
    from tqdm import tqdm

    catalogue, (drop, problem) = view.system.allocators, own
    behind = {name: view.policies[name].allocator if name in view.policies else name for name in named}
    kept = [name for name in named if behind[name] in (*catalogue.certified, *catalogue.slow)]
    bar = tqdm([*kept, *(name for name in named if name not in kept)], unit="allocator", leave=False)
    for name in bar:
        bar.set_description(name)
        part = problem.select(torch.arange(min(case.first_drops.get(name, case.num_drops), case.num_drops)))
        timed = _stored_or_timed(part, named[name], optima) if name in kept else timed_allocate(part, named[name])
        if timed.cpu_seconds is None:
            from_store.append(name)
        elif view.single_calls:
            timed = replace(timed, call_cpu_seconds=call_time(part, named[name], view.single_calls))
        answers[name] = timed
    asked = [(one, name) for one in catalogue.certified for name in named if behind[name] == one]
    certified = {name: answers[name].allocation for _, name in asked}
    if not any(answer.value.shape[0] == case.num_drops for answer in certified.values()):
        certified[catalogue.certified[0]] = stored_allocate(problem, view.system.labeller(), optima)[0]
    local = view.local is not None and view.local(problem)
    others = [answers[name].allocation for name in named if name not in certified] if local else []
    return Part(drop, problem, certified, best_known(list(certified.values()), others))


def draw(
    system: System[ScenarioT, DropT, ProblemT], scenario: ScenarioT, num_drops: int, seed: int, *, progress: bool = True
) -> tuple[DropT, ProblemT]:
    """The drops of `seed` and their power problem, built piece by piece to bound the memory."""
    from tqdm import tqdm

    drop = system.sample(scenario, num_drops, torch.Generator().manual_seed(seed))
    starts = range(0, num_drops, _CHUNK)
    pieces = [torch.arange(start, min(start + _CHUNK, num_drops)) for start in starts]
    bar = tqdm(pieces, desc="statistics", unit="batch", disable=not progress, leave=False)
    problem = cat_tensors([system.power_problem(drop.select(piece), scenario) for piece in bar])
    problem.check()
    return drop, problem


def timed_allocate(problem: ProblemT, allocator: Allocator[ProblemT]) -> Timed:
    """The allocation of the whole set, with wall and processor time of allocate() after a warm-up."""
    _warm_up(problem, allocator)
    start, cpu = time.perf_counter(), time.process_time()
    allocation = allocate(problem, allocator)
    return Timed(replace(allocation, seconds=time.perf_counter() - start), time.process_time() - cpu)


def call_time(problem: ProblemT, allocator: Allocator[ProblemT], calls: int) -> float:
    """Processor time of allocate() for a single drop, s: the median over the first `calls` drops, or all if there are fewer."""
    spent = []
    for index in range(min(calls, problem.num_drops)):
        one = problem.select(torch.tensor([index]))
        begin = time.process_time()
        allocate(one, allocator)
        spent.append(time.process_time() - begin)
    return statistics.median(spent)


def _warm_up(problem: ProblemT, allocator: Allocator[ProblemT]) -> None:
    """One or two drops, again if that was quick, and then the whole set once if that takes less than about two seconds: what
    takes longer than that has no need of it.
    """
    few = problem.select(torch.arange(min(2, 1 + problem.num_drops // 16)))
    seconds = _seconds(few, allocator)
    if seconds < _WARM_UP_SECONDS:
        seconds = _seconds(few, allocator)
    if seconds / few.num_drops * problem.num_drops < _WARM_UP_SECONDS:
        allocate(problem, allocator)


def _stored_or_timed(problem: ProblemT, allocator: Allocator[ProblemT], optima: Path) -> Timed:
    """The answer in `optima`, without processor time, or a new one."""
    new: list[Timed] = []

    def ask(problem: ProblemT, allocator: Allocator[ProblemT]) -> Allocation:
        new.append(timed_allocate(problem, allocator))
        return new[0].allocation

    allocation, _ = stored_allocate(problem, allocator, optima, ask)
    return new[0] if new else Timed(allocation)


def _seconds(problem: ProblemT, allocator: Allocator[ProblemT]) -> float:
    start = time.perf_counter()
    allocate(problem, allocator)
    return time.perf_counter() - start
