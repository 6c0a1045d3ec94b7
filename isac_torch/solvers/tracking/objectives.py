"""Objectives beside the smallest SINR: least or most total power at given SINRs, and lexicographic max-min.

Both keep the budgets and the sensing constraints, come in batches, and carry a bound that is computed from dual variables
alone. With shared pilots both are local: the bound of least power then holds for the leakage linearised at its solution, so
none is given.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isac_torch.allocation import FEASIBILITY_TOLERANCE, equal_split
from isac_torch.solvers.tracking import interior
from isac_torch.solvers.tracking.epigraph_bound import cost_bound, epigraph_bound
from isac_torch.solvers.tracking.epigraph_program import EpigraphProgram, max_min_program
from isac_torch.tracking.problem import MaxMinSinrProblem

_POWER_TOLERANCE = 1e-7
"""Power is flat around its minimum, so its powers need more digits than its value does."""
_REUSE_TOLERANCE = 1e-6
"""With shared pilots the method converges only linearly; its last digits cost more than they are worth."""
_SINR_TOLERANCE = 1e-4
_ITERATIONS = 80
_TIGHT = 1e-3
"""Share of the dual variables above which a UE is at the common SINR of its round."""
_MAX_ROUNDS = 12


@dataclass(frozen=True)
class LeastPower:
    """Least total power at which every UE reaches its SINR and every sensing constraint its SIR0.

    Attributes:
        power: W; meets every constraint where `solved`.
        lower_bound: W; no powers that do the same sum to less. 0 where nothing is proven.
        solved: whether the solver converged and the powers pass the exact constraints.
    """

    power: Float[Tensor, "drop link"]
    lower_bound: Float[Tensor, " drop"]
    solved: Bool[Tensor, " drop"]


@dataclass(frozen=True)
class Lexicographic:
    """Lexicographic max-min: the smallest SINR as large as possible, then the next one given that, and so on.

    Attributes:
        power: W, of least sum among those that reach `sinr` within the slack.
        sinr: linear SINR at which each UE was fixed.
        upper_bound: no powers exceed it as the common SINR of the round that fixed the UE, given those of the earlier rounds.
        solved: whether every round converged.
    """

    power: Float[Tensor, "drop link"]
    sinr: Float[Tensor, "drop ue"]
    upper_bound: Float[Tensor, "drop ue"]
    solved: Bool[Tensor, " drop"]


def least_power(
    problem: MaxMinSinrProblem, sinr_min: Float[Tensor, "drop ue"], start: Float[Tensor, "drop link"] | None = None
) -> LeastPower:
    """minimise sum_e p_e subject to SINR_k >= sinr_min_k, every SIR0 and every budget: convex with orthogonal pilots.

    Args:
        problem: drops, float64.
        sinr_min: linear SINR of each UE. Whether it can be reached is the caller's question (`BatchedOptimal` answers it).
        start: W; positive powers near the answer, such as a point that meets everything. Default: an equal split.

    Returns:
        Powers and bound; unsolved drops keep `start`.
    """
    found, reached = _extreme_power(problem, power_program(problem, sinr_min), sinr_min, start)
    bound = cost_bound(reached.program, reached.point) * problem.budget.mean(-1)
    if problem.has_pilot_reuse:
        bound = torch.zeros_like(bound)
    return LeastPower(found, bound, reached.solved)


def most_power(
    problem: MaxMinSinrProblem, sinr_min: Float[Tensor, "drop ue"], start: Float[Tensor, "drop link"] | None = None
) -> Float[Tensor, "drop link"]:
    """maximise sum_e p_e subject to SINR_k >= sinr_min_k, every SIR0 and every budget: convex with orthogonal pilots.

    Power that the UEs leave unused illuminates the targets: the SIR does not see it, the SICNR does. Arguments as
    in `least_power`.

    Returns:
        Powers, W; unsolved drops keep `start`.
    """
    program = power_program(problem, sinr_min)
    return _extreme_power(problem, replace(program, cost=-program.cost), sinr_min, start)[0]


@dataclass(frozen=True)
class _Reached:
    """The program, where the solver stopped, and which drops pass the exact constraints."""

    program: EpigraphProgram
    point: interior.InteriorPoint
    solved: Bool[Tensor, " drop"]


def _extreme_power(
    problem: MaxMinSinrProblem, program: EpigraphProgram, sinr_min: Tensor, start: Tensor | None
) -> tuple[Tensor, _Reached]:
    """Powers (W) of a program with costs and fixed SINRs; drops that are not solved keep `start`."""
    limit = problem.link_budget
    first = equal_split(problem) if start is None else start
    inner = 0.95 * first / limit + 0.02 * equal_split(problem) / limit
    tolerance = _REUSE_TOLERANCE if problem.has_pilot_reuse else _POWER_TOLERANCE
    found = interior.solve_carefully(program, inner, torch.zeros_like(limit[:, 0]), tolerance, _ITERATIONS)
    power = found.power.clamp_min(0.0) * limit
    power = power / (problem.ap_load(power) / problem.budget).amax(-1, keepdim=True).clamp_min(1.0)
    reached = (problem.sinr(power) >= sinr_min * (1.0 - 1e-6)).all(-1)
    solved = found.converged & reached & (problem.violations(power).worst <= FEASIBILITY_TOLERANCE)
    return torch.where(solved.unsqueeze(-1), power, first), _Reached(program, found, solved)


def power_program(problem: MaxMinSinrProblem, sinr_min: Float[Tensor, "drop ue"]) -> EpigraphProgram:
    """The least-power problem in relative powers; its cost is in units of the drop's mean budget."""
    limit = problem.link_budget
    unit = sinr_min.amax(-1).clamp_min(1e-300)
    program = max_min_program(problem, unit)
    return replace(
        program,
        weight=torch.zeros_like(program.weight),
        floor=torch.cat([sinr_min / unit.unsqueeze(-1), program.floor[:, problem.num_ues :]], 1),
        cost=limit / problem.budget.mean(-1, keepdim=True),
    )


def lexicographic(problem: MaxMinSinrProblem, slack: float = 5e-4) -> Lexicographic:
    """Rounds of max-min over the UEs that are still free, each fixing those that carry its dual variable, then least power.

    Args:
        problem: drops, float64, whose sensing constraints can be met (`BatchedOptimal` finds out).
        slack: share of each fixed SINR that later rounds may give back; without it they would have no interior.

    Returns:
        Powers, SINRs and bounds. A UE that no round fixes (there are at most 12) keeps the last round's common SINR.
    """
    drops, ues = problem.signal.shape[:2]
    power, sinr = equal_split(problem), torch.zeros_like(problem.signal[..., 0])
    bound, solved = torch.full_like(sinr, torch.inf), torch.ones(drops, dtype=torch.bool, device=sinr.device)
    free = torch.ones(drops, ues, dtype=torch.bool, device=sinr.device)
    for _ in range(_MAX_ROUNDS):
        index = free.any(-1).nonzero()[:, 0]
        if len(index) == 0:
            break
        part, open_ues = problem.select(index), free[index]
        found, common, proven = _round(part, open_ues, (1.0 - slack) * sinr[index], power[index])
        reached = found.power * part.link_budget
        share = found.ue_dual * part.interference(reached)
        share = torch.where(open_ues, share, 0.0)
        tight = open_ues & (share > _TIGHT * share.amax(-1, keepdim=True)) & found.converged.unsqueeze(-1)
        sinr[index] = torch.where(open_ues, common.unsqueeze(-1), sinr[index])
        bound[index] = torch.where(open_ues, proven.unsqueeze(-1), bound[index])
        solved[index] &= found.converged
        # a failed round ends its drop: its free UEs keep the SINR reached so far
        free[index] = open_ues & ~tight & found.converged.unsqueeze(-1)
        power[index] = torch.where(found.converged.unsqueeze(-1), found.power * part.link_budget, power[index])
    cheapest = least_power(problem, (1.0 - slack) * sinr, power)
    return Lexicographic(cheapest.power, sinr, bound, solved & cheapest.solved)


def _round(
    problem: MaxMinSinrProblem, free: Tensor, floor: Tensor, power: Tensor
) -> tuple[interior.InteriorPoint, Tensor, Tensor]:
    """Largest common SINR of the `free` UEs with the others at `floor`: solver's answer, that SINR and its bound (linear)."""
    limit = problem.link_budget
    start = 0.5 * equal_split(problem) / limit
    started = bool((~free).any())
    if started:
        start = 0.9 * power / limit + 0.04 * start
    scale = problem.sinr(start * limit).masked_fill(~free, torch.inf).amin(-1).clamp_min(1e-300)
    program = max_min_program(problem, scale)
    fixed = torch.where(free, 0.0, floor / scale.unsqueeze(-1))
    weight = torch.cat([free.to(limit.dtype), program.weight[:, problem.num_ues :]], 1)
    program = replace(program, weight=weight, floor=torch.cat([fixed, program.floor[:, problem.num_ues :]], 1))
    found = interior.solve_carefully(program, start, torch.full_like(scale, 0.5), _SINR_TOLERANCE, _ITERATIONS)
    return found, found.epigraph * scale, epigraph_bound(program, found) * scale
