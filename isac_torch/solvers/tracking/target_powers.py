"""Powers for the targets' sake: the largest mean SICNR in dB while every UE keeps a floor.

    maximise sum_l log SICNR_l(p)   subject to   SINR_k >= g,   the sensing constraints as they are,   the budgets

by the interior-point method of `interior`, with the concave minorant of `target_merit` in each step: the end is a local
optimum.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isac_torch.allocation import FEASIBILITY_TOLERANCE, equal_split
from isac_torch.solvers.tracking import interior
from isac_torch.solvers.tracking.epigraph_program import max_min_program
from isac_torch.solvers.tracking.scaling import scaled
from isac_torch.solvers.tracking.target_merit import TargetMerit
from isac_torch.tracking.problem import MaxMinSinrProblem

_TO_BOUNDARY = 0.9


@dataclass(frozen=True)
class TargetPowers:
    """What was found.

    Attributes:
        power: W.
        quality: SICNR of every target over what is required of it, linear.
        solved: whether the powers meet all constraints and the floor.
    """

    power: Float[Tensor, "drop link"]
    quality: Float[Tensor, "drop target"]
    solved: Bool[Tensor, " drop"]

    @property
    def merit(self) -> Float[Tensor, " drop"]:
        """Mean over the targets of log(quality), nepers; -inf where nothing was found."""
        return torch.where(self.solved, self.quality.log().mean(-1), -torch.inf)


def target_powers(
    problem: MaxMinSinrProblem, floor: Float[Tensor, " drop"], tolerance: float = 1e-3, max_iterations: int = 100
) -> TargetPowers:
    """The largest sum of the logarithms of the targets' SICNRs.

    Args:
        problem: drops, with one constraint for every target.
        floor: SINR that every UE keeps, linear.
        tolerance: how exactly to solve: of the sum, relative to the number of targets.
        max_iterations: cap on Newton steps; drops that need more count as not solved.
    """
    units = scaled(problem)
    exact, targets = units.problem, problem.num_target_constraints
    program = max_min_program(exact, torch.ones_like(floor))
    asked = program.floor.clone()
    asked[:, : exact.num_ues] = (floor / units.unit**2)[:, None]
    none = torch.zeros_like(program.weight)
    program = replace(program, weight=none, floor=asked, fairness=TargetMerit(targets))
    start = 0.5 * equal_split(exact) / exact.link_budget
    found = interior.solve(program, start, torch.zeros_like(floor), tolerance, max_iterations, _TO_BOUNDARY)
    power = found.power.nan_to_num(0.0).clamp_min(0.0) * exact.link_budget
    power = power / (exact.ap_load(power) / exact.budget).amax(-1, keepdim=True).clamp_min(1.0)
    met = problem.violations(power).worst <= FEASIBILITY_TOLERANCE
    kept = problem.objective(power) >= floor * (1.0 - FEASIBILITY_TOLERANCE)
    quality = (problem.sir(power) / problem.sir_min)[:, :targets]
    return TargetPowers(power, quality, found.converged & met & kept)
