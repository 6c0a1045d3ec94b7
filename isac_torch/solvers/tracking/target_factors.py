"""How far every target's requirement can be raised while the smallest SINR keeps a floor.

With the lower bound g on every UE's SINR, and every other constraint as it is, the problem

    maximise z   subject to   u_k(p) >= g v_k(p),   S_l^T p >= z SIR0_l (I_l^T p + n_l) for the targets l,   the rest

is an `EpigraphProgram` whose t only the targets rise with. The factors of different targets need not end at the same value: a
target whose constraint binds keeps its factor, and the others go on (lexicographic max-min), up to a cap.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from isac_torch.allocation import equal_split
from isac_torch.solvers.tracking import interior
from isac_torch.solvers.tracking.epigraph_program import EpigraphProgram, max_min_program
from isac_torch.solvers.tracking.scaling import scaled
from isac_torch.tensors import map_tensors
from isac_torch.tracking.problem import MaxMinSinrProblem

_TOLERANCE = 1e-5
_BEGIN = 0.5
"""Common factor at the start."""
_BACK = 3e-4
"""Share by which a factor that binds is lowered, so that later rounds, and the certified solution, have room."""
_BINDS = 0.02
"""Share of the dual variables' sum above which a target's constraint counts as binding."""


def target_factors(
    problem: MaxMinSinrProblem, floor: Float[Tensor, " drop"], most: float, rounds: int = 3
) -> Float[Tensor, "drop target"]:
    """Factors, 1 to `most`, by which the requirement of every target can be raised together; ones where none are found.

    Args:
        problem: drops, with one constraint for every target.
        floor: SINR that every UE keeps, linear. Powers must exist that keep it and meet the constraints as they are.
        most: largest factor.
        rounds: of raising those whose constraints do not bind yet.
    """
    units = scaled(problem)
    exact, targets = units.problem, problem.num_target_constraints
    program = max_min_program(exact, torch.ones_like(exact.budget[:, 0]))
    least, kept = exact.sir_min[:, :targets], (floor / units.unit**2)[:, None]
    start = 0.5 * equal_split(exact) / exact.link_budget
    factor, fixed = torch.ones_like(least), torch.zeros_like(least, dtype=torch.bool)
    for _ in range(rounds):
        rising = (~fixed).any(-1).nonzero()[:, 0]
        if len(rising) == 0:
            break
        asked = _asking(program, kept, least, factor, fixed)
        begin = torch.full_like(kept[rising, 0], _BEGIN)
        found = interior.solve_carefully(_select(asked, rising), start[rising], begin, _TOLERANCE)
        common = torch.where(found.converged, found.epigraph * (1.0 - _BACK), 0.0)[:, None]
        known, free = factor[rising], ~fixed[rising]
        factor[rising] = torch.where(free, torch.maximum(known, common).clamp_max(most), known)
        dual = found.sensing_dual[:, :targets] * least[rising] * free
        binds = (dual > _BINDS * dual.sum(-1, keepdim=True)) | ~found.converged[:, None] | (common >= most)
        fixed[rising] |= binds
    return factor


def _select(program: EpigraphProgram, drops: Int[Tensor, " some"]) -> EpigraphProgram:
    return map_tensors(program, lambda tensor: tensor[drops])


def _asking(
    program: EpigraphProgram,
    floor: Float[Tensor, "drop 1"],
    least: Float[Tensor, "drop target"],
    factor: Float[Tensor, "drop target"],
    fixed: Bool[Tensor, "drop target"],
) -> EpigraphProgram:
    """The program in which every target that is not fixed rises with t, and every UE keeps the floor."""
    ues, targets = program.amplitude.shape[1], least.shape[1]
    weight, asked = torch.zeros_like(program.weight), program.floor.clone()
    asked[:, :ues] = floor
    weight[:, ues : ues + targets] = torch.where(fixed, 0.0, least)
    asked[:, ues : ues + targets] = torch.where(fixed, factor * least, 0.0)
    return replace(program, weight=weight, floor=asked)
