"""Run allocators on the same fresh drops and hold what came out: answers, times, the certified optimum."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from isac_torch.allocation import Allocation, allocate
from isac_torch.allocators.registry import CERTIFIED, SLOW, named_allocator
from isac_torch.evaluation.metrics import Optimum, Outcome, Sensed, summarise
from isac_torch.evaluation.optimum import best_known, stored_allocate
from isac_torch.sensing.glrt import Glrt
from isac_torch.sensing.quality import assess, mutual_information
from isac_torch.sensing.setup import SensingSetup
from isac_torch.solvers.tracking.feasibility import largest_sir
from isac_torch.tensors import cat_tensors
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.communication import rate
from isac_torch.units import db_to_linear

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from isac_torch.allocation import Allocator
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.problem import MaxMinSinrProblem
    from isac_torch.tracking.scenario import TrackingScenario

_CHUNK = 64
_WARM_UP_SECONDS = 2.0

SENSED_DROPS, SENSED_BLOCKS = 50, 2
"""Drops whose true echoes are judged, and blocks drawn for each: a few ms a block at 16x16x4, the same for all allocators."""


@dataclass(frozen=True)
class Case:
    """One setting, complete: which drops, which requirement, who gets how many of them.

    Attributes:
        scenario: the network.
        num_drops: drops to judge on.
        seed: of the drops.
        name: of the setting.
        first_drops: how many of the first drops an allocator gets, by name; the others get all.
        sensed_drops: drops whose true echoes are judged.
        sir_below_best_db: require the largest SIR that each drop reaches less this many dB; None: the scenario's SIR0.
    """

    scenario: TrackingScenario
    num_drops: int
    seed: int
    name: str = ""
    first_drops: Mapping[str, int] = field(default_factory=dict)
    sensed_drops: int = SENSED_DROPS
    sir_below_best_db: float | None = None


@dataclass(frozen=True)
class Benchmark:
    """Everything that a benchmark found, ready to be shown.

    Attributes:
        case: what was asked for.
        drop: the networks drawn.
        problem: their power problems.
        outcomes: what each allocator did.
        optimum: the certified optimum of each drop.
        optimum_from: allocators that gave the optimum.
        from_store: allocators whose answers and times are those of an earlier run.
    """

    case: Case
    drop: TrackingDrop
    problem: MaxMinSinrProblem
    outcomes: tuple[Outcome, ...]
    optimum: Optimum
    optimum_from: tuple[str, ...]
    from_store: tuple[str, ...] = ()

    @property
    def scenario(self) -> TrackingScenario:
        """The network."""
        return self.case.scenario

    @property
    def seed(self) -> int:
        """Of the drops."""
        return self.case.seed

    @property
    def name(self) -> str:
        """Of the setting."""
        return self.case.name or self.scenario.name

    @property
    def optimal_rate(self) -> Tensor:
        """Minimum rate of each drop at its optimum, bit/s."""
        return rate(self.optimum.value, self.scenario)

    @property
    def summary(self) -> dict[str, Any]:
        """The content of summary.json."""
        return summarise(self.outcomes, self.optimum)


def run_benchmark(case: Case, named: dict[str, Allocator[MaxMinSinrProblem]], optima: Path) -> Benchmark:
    """Give the same drops to every allocator.

    The optimum is the best of the certified allocators in `named` that got all drops; without any, opc_batched is asked. With
    shared pilots, where the optimum is a local one, the best valid answer of anybody counts.

    Args:
        case: the drops and the requirement.
        named: allocators by the name of their row.
        optima: folder that keeps the answers of certified and slow allocators, with their times, for the next run.
    """
    from tqdm import tqdm

    drop, problem = fresh_problem(case.scenario, case.num_drops, case.seed)
    if case.sir_below_best_db is not None:
        problem = demanding(problem, case.sir_below_best_db)
    answers: dict[str, Allocation] = {}
    from_store = []
    bar = tqdm(named.items(), unit="allocator", leave=False)
    for name, allocator in bar:
        bar.set_description(name)
        part = problem.select(torch.arange(min(case.first_drops.get(name, case.num_drops), case.num_drops)))
        if name in (*CERTIFIED, *SLOW):
            answers[name], stored = stored_allocate(part, allocator, optima, timed_allocate)
            from_store += [name] if stored else []
        else:
            answers[name] = timed_allocate(part, allocator)
    certified = {name: answers[name] for name in CERTIFIED if name in answers}
    if not any(answer.value.shape[0] == case.num_drops for answer in certified.values()):
        certified[CERTIFIED[0]] = stored_allocate(problem, named_allocator(CERTIFIED[0]), optima)[0]
    others = [answer for name, answer in answers.items() if name not in certified] if problem.has_pilot_reuse else []
    outcomes = []
    for name, answer in tqdm(answers.items(), desc="true echoes", unit="allocator", leave=False):
        outcomes.append(_outcome(name, answer, problem, case.scenario, sensed(drop, problem, case, answer.power)))
    best = best_known(list(certified.values()), others)
    return Benchmark(case, drop, problem, tuple(outcomes), best, tuple(certified), tuple(from_store))


def demanding(problem: MaxMinSinrProblem, below_db: float) -> MaxMinSinrProblem:
    """The same drops, each with an SIR0 that lies `below_db` dB below the largest that any powers reach there."""
    best = largest_sir(problem).best_sir
    return replace(problem, sir_min=(best * db_to_linear(-below_db)).unsqueeze(-1).expand_as(problem.sir_min).clone())


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


def timed_allocate(problem: MaxMinSinrProblem, allocator: Allocator[MaxMinSinrProblem]) -> Allocation:
    """The allocation of the whole set, whose `seconds` are the wall time of allocate() after a warm-up.

    The warm-up is one or two drops, again if that was quick, and then the whole set once if that takes less than about two
    seconds: what takes longer than that has no need of it.
    """
    few = problem.select(torch.arange(min(2, 1 + problem.num_drops // 16)))
    seconds = _seconds(few, allocator)
    if seconds < _WARM_UP_SECONDS:
        seconds = _seconds(few, allocator)
    if seconds / few.num_drops * problem.num_drops < _WARM_UP_SECONDS:
        allocate(problem, allocator)
    start = time.perf_counter()
    allocation = allocate(problem, allocator)
    return replace(allocation, seconds=time.perf_counter() - start)


def _seconds(problem: MaxMinSinrProblem, allocator: Allocator[MaxMinSinrProblem]) -> float:
    start = time.perf_counter()
    allocate(problem, allocator)
    return time.perf_counter() - start


def sir_ceiling(drop: TrackingDrop) -> Tensor | None:
    """Largest SIR that the worst target can reach whatever the powers, linear, per drop; None with fewer than two targets.

    n targets heard by the same receive APs share all echoes, and one of them has at most an n-th of their sum: its SIR is at
    most 1/(n-1). inf where every target has receive APs of its own.
    """
    if drop.target_position.shape[1] < 2:
        return None
    heard_by = drop.listening_ap.sort(dim=-1).values
    alike = (heard_by.unsqueeze(1) == heard_by.unsqueeze(2)).all(-1).sum(-1).amax(-1)
    return 1.0 / (alike.to(drop.ue_gain.dtype) - 1.0)


def sensed(drop: TrackingDrop, problem: MaxMinSinrProblem, case: Case, power: Tensor) -> Sensed | None:
    """Judge powers (W) by true echoes on the first `case.sensed_drops` drops; None without drops or targets."""
    if case.scenario.num_targets == 0 or case.sensed_drops == 0:
        return None
    setup, first = SensingSetup(), torch.arange(min(case.sensed_drops, power.shape[0]))
    report = assess(
        drop.select(first),
        case.scenario,
        setup,
        power[first],
        Glrt("paper"),
        num_blocks=SENSED_BLOCKS,
        seed=case.seed,
        with_miss=True,
    )
    sir = problem.select(first).sir(power[first])
    miss = report.miss if report.miss is not None else torch.ones_like(report.quality.ratio)
    return Sensed(report.quality.ratio.mean(1), miss.mean(1), mutual_information(sir, case.scenario, setup))


def _outcome(
    name: str,
    allocation: Allocation,
    problem: MaxMinSinrProblem,
    scenario: TrackingScenario,
    echoes: Sensed | None,
) -> Outcome:
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
        seconds=allocation.seconds,
        sensed=echoes,
    )
