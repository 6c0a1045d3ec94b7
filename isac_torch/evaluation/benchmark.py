"""Run allocators on the same fresh drops and hold what came out: answers, times, the certified optimum."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from isac_torch.allocation import Allocation, allocate
from isac_torch.evaluation.catalog import CERTIFIED, SLOW, named_allocator
from isac_torch.evaluation.metrics import Optimum, Outcome, Sensed, summarise
from isac_torch.evaluation.optimum import best_known, stored_allocate
from isac_torch.tensors import cat_tensors
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.communication import rate
from isac_torch.tracking.glrt import Glrt
from isac_torch.tracking.quality import assess, mutual_information
from isac_torch.tracking.sensing_setup import SensingSetup

if TYPE_CHECKING:
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
class Benchmark:
    """Everything that a benchmark found, ready to be shown.

    Attributes:
        scenario: the network.
        seed: of the drops.
        drop: the networks drawn.
        problem: their power problems.
        outcomes: what each allocator did.
        optimum: the certified optimum of each drop.
        optimum_from: allocators that gave the optimum.
    """

    scenario: TrackingScenario
    seed: int
    drop: TrackingDrop
    problem: MaxMinSinrProblem
    outcomes: tuple[Outcome, ...]
    optimum: Optimum
    optimum_from: tuple[str, ...]

    @property
    def optimal_rate(self) -> Tensor:
        """Minimum rate of each drop at its optimum, bit/s."""
        return rate(self.optimum.value, self.scenario)

    @property
    def summary(self) -> dict[str, Any]:
        """The content of summary.json."""
        return summarise(self.outcomes, self.optimum)


def run_benchmark(
    scenario: TrackingScenario,
    named: dict[str, Allocator[MaxMinSinrProblem]],
    *,
    num_drops: int,
    seed: int,
    slow_drops: int,
    optima: Path,
) -> Benchmark:
    """Give the same drops to every allocator.

    The optimum is the best of the certified allocators in `named`; without any, opc_batched is asked, through `optima`.

    Args:
        scenario: the network.
        named: allocators by the name of their row.
        num_drops: drops to judge on.
        seed: of the drops.
        slow_drops: how many of the first drops the slow allocators get.
        optima: folder that keeps the optimum for the next run.
    """
    from tqdm import tqdm

    drop, problem = fresh_problem(scenario, num_drops, seed)
    answers: dict[str, tuple[Allocation, float]] = {}
    bar = tqdm(named.items(), unit="allocator", leave=False)
    for name, allocator in bar:
        bar.set_description(name)
        count = min(slow_drops, num_drops) if name in SLOW else num_drops
        answers[name] = timed_allocate(problem.select(torch.arange(count)), allocator)
    certified = {name: answers[name][0] for name in CERTIFIED if name in answers}
    if not certified:
        certified = {CERTIFIED[0]: stored_allocate(problem, named_allocator(CERTIFIED[0]), optima)}
    outcomes = (
        _outcome(name, *answer, problem, scenario, sensed(drop, problem, scenario, answer[0].power, seed))
        for name, answer in answers.items()
    )
    best = best_known(list(certified.values()))
    return Benchmark(scenario, seed, drop, problem, tuple(outcomes), best, tuple(certified))


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

    The warm-up is two drops, twice, and then the whole set once where that takes less than about two seconds.
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


def sensed(
    drop: TrackingDrop, problem: MaxMinSinrProblem, scenario: TrackingScenario, power: Tensor, seed: int
) -> Sensed | None:
    """Judge powers (W) by true echoes on the first SENSED_DROPS drops; None without targets."""
    if scenario.num_targets == 0:
        return None
    setup, first = SensingSetup(), torch.arange(min(SENSED_DROPS, power.shape[0]))
    report = assess(
        drop.select(first),
        scenario,
        setup,
        power[first],
        Glrt("paper"),
        num_blocks=SENSED_BLOCKS,
        seed=seed,
        with_miss=True,
    )
    sir = problem.select(first).sir(power[first])
    miss = report.miss if report.miss is not None else torch.ones_like(report.quality.ratio)
    return Sensed(report.quality.ratio.mean(1), miss.mean(1), mutual_information(sir, scenario, setup))


def _outcome(
    name: str,
    allocation: Allocation,
    seconds: float,
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
        seconds=seconds,
        sensed=echoes,
    )
