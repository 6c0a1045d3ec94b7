"""The largest common factor of all sensing requirements, those on positions included.

Linear constraints alone are the business of `feasibility.largest_sir`. With h_l(p) >= z required_l beside them the problem

    maximise z   subject to   S_l^T p >= z SIR0_l (I_l^T p + n_l),   h_l(p) >= z required_l,   budgets,   p >= 0

is an `EpigraphProgram` whose t only the sensing constraints rise with, and `epigraph_bound` proves its answer.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from isac_torch.allocation import equal_split
from isac_torch.solvers.tracking import interior
from isac_torch.solvers.tracking.epigraph_bound import epigraph_bound
from isac_torch.solvers.tracking.epigraph_program import max_min_program
from isac_torch.solvers.tracking.feasibility import SensingLimit, largest_sir
from isac_torch.tracking.problem import MaxMinSinrProblem

_TOLERANCE = 1e-5


def largest_factor(problem: MaxMinSinrProblem) -> SensingLimit:
    """Largest z by which every sensing requirement of a drop can be multiplied; its bound, and powers (W) that reach it.

    With a requirement on positions `best_sir` is z itself, because qualities of several kinds have no common unit.

    Args:
        problem: drops, float64.
    """
    if problem.position is None:
        return largest_sir(problem)
    limit, ues = problem.link_budget, problem.num_ues
    program = max_min_program(problem, torch.ones_like(limit[:, 0]))
    asked = program.floor[:, ues:]
    none = torch.zeros_like(program.floor[:, :ues])
    program = replace(
        program,
        amplitude=torch.ones_like(program.amplitude),
        leakage=torch.zeros_like(program.leakage),
        coherent=None,
        weight=torch.cat([none, asked], 1),
        floor=torch.zeros_like(program.floor),
    )
    start = 0.5 * equal_split(problem) / limit
    found = interior.solve_carefully(program, start, torch.full_like(limit[:, 0], 0.25), _TOLERANCE)
    power = found.power.nan_to_num(0.0).clamp_min(0.0) * limit
    power = power / (problem.ap_load(power) / problem.budget).amax(-1, keepdim=True).clamp_min(1.0)
    reached = problem.position.h(power) / problem.position.required
    if problem.num_constraints:
        reached = torch.cat([reached, problem.sir(power) / problem.sir_min], 1)
    margin = torch.where(found.converged, reached.amin(-1), torch.zeros_like(reached[:, 0]))
    bound = torch.maximum(epigraph_bound(program, found), margin)
    return SensingLimit(margin, bound, power, torch.ones_like(margin))
