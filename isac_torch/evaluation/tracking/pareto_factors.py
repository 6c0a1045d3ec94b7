"""Trade-off between rate and sensing under `dominate`: the smallest rate as all its factors grow together.

At factor f every scan cell, every target's SICNR and every target's position information must be at least f times what uniform
power with the scenario's receive APs gives, R1 to R3 of eq. (70) in docs/sensing.md. Uniform power meets factors of at most 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING

import torch

from isac_torch.allocation import FEASIBILITY_TOLERANCE, Status, allocate
from isac_torch.allocators.registry import TRACKING, named_allocator
from isac_torch.allocators.tracking.heuristics import Fractional
from isac_torch.errors import ScenarioError
from isac_torch.evaluation import figures
from isac_torch.evaluation.suite import check_run
from isac_torch.evaluation.tracking.pareto import trade_off, write_points
from isac_torch.evaluation.tracking.policies import dominating
from isac_torch.evaluation.tracking.view import fresh_problem
from isac_torch.files import writable_folder
from isac_torch.roles.held import Held, default_standard
from isac_torch.roles.search import search_roles
from isac_torch.tensors import cat_tensors
from isac_torch.tracking.communication import rate
from isac_torch.tracking.drop import all_aps
from isac_torch.tracking.requirement import RANGES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jaxtyping import Int
    from torch import Tensor

    from isac_torch.allocation import Allocation
    from isac_torch.roles.search import Search
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.scenario import TrackingScenario

_FINDS_ROLES = "opc_batched"
_TOGETHER = 10


@dataclass(frozen=True)
class FactorPoint:
    """One allocator at one factor, over all drops.

    Attributes:
        allocator: its name, followed by ", roles chosen" where the receive APs were chosen for this factor.
        factor: of R1, R2 and R3 alike.
        num_drops: drops in the set, infeasible ones included.
        infeasible_share: share of drops that this allocator proves infeasible with these receive APs.
        valid_share: share of drops answered without violation.
        min_rate_mbps_valid_mean: mean over all drops of the smallest rate, Mbit/s, where a drop with a violation counts 0.
        rate_over_upc: the same over the mean smallest rate of uniform power with the scenario's receive APs.
        changed_share: share of drops with other receive APs than the scenario's.
        gap_max: largest certified gap over the valid drops, in SINR, with these receive APs; 1 without a certificate.
    """

    allocator: str
    factor: float
    num_drops: int
    infeasible_share: float
    valid_share: float
    min_rate_mbps_valid_mean: float
    rate_over_upc: float
    changed_share: float
    gap_max: float


def pareto_factors(
    scenario: TrackingScenario,
    *,
    allocators: Sequence[str],
    num_drops: int,
    seed: int,
    output: str | Path,
    factors: Sequence[float],
    search: Search | None = None,
    checkpoint: str | Path | None = None,
) -> list[FactorPoint]:
    """Trace the trade-off and write pareto.csv and pareto.png.

    Args:
        scenario: the network. Of a requirement `dominate` everything but the factors is kept; any other kind is replaced.
        allocators: names; opc_batched gives powers with a certificate.
        num_drops: drops, the same for every point.
        seed: of the drops.
        output: folder of the results.
        factors: of R1, R2 and R3 alike.
        search: adds a line for every allocator with receive APs that this search finds at each factor; None: none.
        checkpoint: weights of learned allocators.

    Returns:
        A point per allocator, choice of roles and factor.

    Raises:
        IsacError: one line, before any work, on bad input.
    """
    from tqdm import tqdm

    check_run(allocators, num_drops, seed)
    largest = RANGES["scan"][1]
    if not factors or not all(math.isfinite(value) and 0.0 < value <= largest for value in factors):
        raise ScenarioError(f"factors={list(factors)} must list at least one number above 0, at most {largest:g}")
    named = {name: named_allocator(name, checkpoint) for name in allocators}
    folder = writable_folder(output)
    drop, plain = fresh_problem(scenario, num_drops, seed)
    uniform = float(rate(allocate(plain, Fractional(0.0, 0.0)).value, scenario).mean())
    default = all_aps(drop).receive
    kept = default
    points = []
    # From the largest factor down: roles that meet it meet every smaller one, so that no line falls where less is asked for.
    for factor in tqdm(sorted(set(factors), reverse=True), unit="factor", leave=False):
        held = _held(drop, asking(scenario, factor))
        choices = {"": default}
        if search is not None:
            kept = _chosen(held, kept, search)
            choices[", roles chosen"] = kept
        for words, receive in choices.items():
            problem = cat_tensors([one.problem(torch.arange(len(piece)), receive[piece])[1] for piece, one in held])
            changed = (receive.sort(-1).values != default.sort(-1).values).any(-1)
            for name, allocator in named.items():
                points.append(_point(name + words, factor, allocate(problem, allocator), changed, scenario, uniform))
    points.sort(key=attrgetter("factor"))
    write_points(folder / "pareto.csv", points)
    figures.save(
        trade_off(points, attrgetter("factor"), "required sensing, as a multiple of what uniform power gives"),
        folder / "pareto.png",
    )
    tqdm.write(f"look at {folder}/pareto.csv and pareto.png")
    return points


def asking(scenario: TrackingScenario, factor: float) -> TrackingScenario:
    """The scenario under `dominate` with this factor for scan cells, SICNR and position information."""
    asked = dominating(scenario)
    return replace(asked, requirement=replace(asked.requirement, scan=factor, sicnr=factor, position=factor))


def _held(drop: TrackingDrop, scenario: TrackingScenario) -> list[tuple[Tensor, Held]]:
    """The drops in parts, with the places of each, held to uniform power with the default roles."""
    pieces = torch.arange(drop.num_drops).split(_TOGETHER)
    parts = [(piece, drop.select(piece)) for piece in pieces]
    return [(piece, Held(some, scenario, default_standard(some, scenario))) for piece, some in parts]


def _chosen(held: list[tuple[Tensor, Held]], known: Int[Tensor, "drop rx"], search: Search) -> Int[Tensor, "drop rx"]:
    """The best receive APs for every drop: those that a search finds, those known already, or the default ones."""
    judge = TRACKING.named(_FINDS_ROLES)
    parts = []
    for piece, one in held:
        found = search_roles(one.drop, one.scenario, judge, search, standard=one.standard)
        default = all_aps(one.drop).receive
        parts.append(one.best(torch.stack([default, found.receive, known[piece]], dim=1), judge).receive)
    return torch.cat(parts)


def _point(
    name: str, factor: float, allocation: Allocation, changed: Tensor, scenario: TrackingScenario, uniform: float
) -> FactorPoint:
    valid = allocation.violation <= FEASIBILITY_TOLERANCE
    least = rate(allocation.value, scenario) / 1e6
    mean = float(torch.where(valid, least, torch.zeros_like(least)).mean())
    return FactorPoint(
        allocator=name,
        factor=factor,
        num_drops=len(valid),
        infeasible_share=float((allocation.status == Status.INFEASIBLE).double().mean()),
        valid_share=float(valid.double().mean()),
        min_rate_mbps_valid_mean=mean,
        rate_over_upc=mean * 1e6 / uniform,
        changed_share=float(changed.double().mean()),
        gap_max=float(allocation.gap[valid].max()) if bool(valid.any()) else 1.0,
    )
