"""Trade-off between rate and sensing: what each allocator reaches on the same drops as the required SIR grows."""

from __future__ import annotations

import csv
import math
from dataclasses import astuple, dataclass, fields, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch

from isac_torch.allocation import FEASIBILITY_TOLERANCE, Allocation, Status, allocate
from isac_torch.allocators.registry import named_allocator
from isac_torch.errors import ScenarioError
from isac_torch.evaluation import figures
from isac_torch.evaluation.suite import check_run
from isac_torch.evaluation.tracking.view import fresh_problem
from isac_torch.files import writable_folder, written_whole
from isac_torch.tensors import to_db
from isac_torch.tracking.communication import rate
from isac_torch.units import db_to_linear

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from _typeshed import DataclassInstance
    from matplotlib.figure import Figure

    from isac_torch.tracking.problem import MaxMinSinrProblem
    from isac_torch.tracking.scenario import TrackingScenario

DEFAULT_SIR_DB = (-20.0, -15.0, -10.0, -7.5, -5.0, -2.5, 0.0, 5.0, 10.0)
"""Required SIRs of a trade-off, dB."""


@dataclass(frozen=True)
class Point:
    """One allocator at one required SIR, over all drops.

    Attributes:
        allocator: its name.
        sir_min_db: required SIR of every target, dB.
        num_drops: drops in the set, infeasible ones included.
        infeasible_share: share of drops that this allocator proves infeasible; 0 for those that prove nothing.
        valid_share: share of drops answered without violation.
        min_rate_mbps_valid_mean: mean over all drops of the minimum rate, Mbit/s, where a drop with a violation counts 0.
        min_rate_mbps_when_valid: mean minimum rate over the drops without violation, Mbit/s; NaN without any.
        worst_sir_db_median: median over the drops of their worst target's SIR, dB.
        gap_max: largest certified gap over the valid drops, in SINR; 1 without a certificate.
    """

    allocator: str
    sir_min_db: float
    num_drops: int
    infeasible_share: float
    valid_share: float
    min_rate_mbps_valid_mean: float
    min_rate_mbps_when_valid: float
    worst_sir_db_median: float
    gap_max: float


def pareto(
    scenario: TrackingScenario,
    *,
    allocators: Sequence[str],
    num_drops: int,
    seed: int,
    output: str | Path,
    sir_min_db: Sequence[float] = DEFAULT_SIR_DB,
    checkpoint: str | Path | None = None,
) -> list[Point]:
    """Trace the trade-off and write pareto.csv and pareto.png.

    Args:
        scenario: the network; its own SIR0 is not used.
        allocators: names, see `isac_torch.allocators.registry.TRACKING`; opc_batched or opc_global give the certified front.
        num_drops: drops, the same for every point.
        seed: of the drops.
        output: folder of the results.
        sir_min_db: required SIRs, dB.
        checkpoint: weights of gnn.

    Returns:
        A point per allocator and required SIR.

    Raises:
        IsacError: one line, before any work, on bad input.
    """
    from tqdm import tqdm

    check_run(allocators, num_drops, seed)
    if scenario.num_targets < 2:
        raise ScenarioError(f"num_targets={scenario.num_targets} has no sensing SIR to trade for rate; take at least 2 targets")
    if not sir_min_db or not all(math.isfinite(value) for value in sir_min_db):
        raise ScenarioError(f"sir_min_db={list(sir_min_db)} must list at least one finite value in dB")
    named = {name: named_allocator(name, checkpoint) for name in allocators}
    folder = writable_folder(output)
    _, problem = fresh_problem(scenario, num_drops, seed)
    tasks = [(name, required) for name in named for required in sorted(set(sir_min_db))]
    points = []
    bar = tqdm(tasks, unit="point", leave=False)
    for name, required in bar:
        bar.set_description(f"{name} at {required:g} dB")
        demanding = requiring(problem, required)
        points.append(_point(name, required, demanding, allocate(demanding, named[name]), scenario))
    write_points(folder / "pareto.csv", points)
    figures.save(
        trade_off(points, attrgetter("sir_min_db"), "required sensing SIR of every target (dB)"), folder / "pareto.png"
    )
    tqdm.write(f"look at {folder}/pareto.csv and pareto.png")
    return points


def requiring(problem: MaxMinSinrProblem, sir_min_db: float) -> MaxMinSinrProblem:
    """The same drops with another required SIR (dB) for every target."""
    return replace(problem, sir_min=torch.full_like(problem.sir_min, db_to_linear(sir_min_db)))


def write_points(path: Path, points: Sequence[DataclassInstance]) -> None:
    """Write the points as CSV, whole or not at all."""
    with written_whole(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([field.name for field in fields(points[0])])
        writer.writerows(astuple(point) for point in points)


class _Drawn(Protocol):
    """What a trade-off shows of a point."""

    @property
    def allocator(self) -> str: ...
    @property
    def num_drops(self) -> int: ...
    @property
    def valid_share(self) -> float: ...
    @property
    def min_rate_mbps_valid_mean(self) -> float: ...


_PointT = TypeVar("_PointT", bound=_Drawn)


def trade_off(points: Sequence[_PointT], required: Callable[[_PointT], float], words: str) -> Figure:
    """Rate (drops with a violation count 0) and share of drops without violation, against the requirement.

    Args:
        points: in the order of the requirement.
        required: what is required at a point.
        words: label of the horizontal axis.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=figures.SIZE, dpi=150, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    names = list(dict.fromkeys(point.allocator for point in points))
    for name, style in zip(names, figures.styles(len(names)), strict=True):
        own = [point for point in points if point.allocator == name]
        across = [required(point) for point in own]
        upper.plot(across, [p.min_rate_mbps_valid_mean for p in own], label=name, marker=".", linewidth=1.5, **style)
        lower.plot(across, [p.valid_share for p in own], marker=".", linewidth=1.5, **style)
    upper.set_title(f"Rate against sensing, {points[0].num_drops} drops", fontsize=10)
    upper.set_ylabel("mean smallest rate (Mbit/s),\n0 where sensing is missed", fontsize=8)
    lower.set_ylabel("share of drops\nwithout violation", fontsize=8)
    lower.set_ylim(-0.05, 1.05)
    lower.set_xlabel(words, fontsize=9)
    upper.set_ylim(bottom=0.0)
    figure.legend(fontsize=7, ncols=2, loc="outside lower center")
    for axes in (upper, lower):
        axes.grid(alpha=0.3, linewidth=0.5)
    return figure


def _point(name: str, required: float, problem: MaxMinSinrProblem, allocation: Allocation, scenario: TrackingScenario) -> Point:
    valid = allocation.violation <= FEASIBILITY_TOLERANCE
    least = rate(allocation.value, scenario) / 1e6
    return Point(
        allocator=name,
        sir_min_db=required,
        num_drops=problem.num_drops,
        infeasible_share=float((allocation.status == Status.INFEASIBLE).double().mean()),
        valid_share=float(valid.double().mean()),
        min_rate_mbps_valid_mean=float(torch.where(valid, least, torch.zeros_like(least)).mean()),
        min_rate_mbps_when_valid=float(least[valid].mean()),
        worst_sir_db_median=float(to_db(problem.sir(allocation.power).amin(-1)).median()),
        gap_max=float(allocation.gap[valid].max()) if bool(valid.any()) else 1.0,
    )
