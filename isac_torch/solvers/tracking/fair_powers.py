"""Fairness beside the smallest SINR: the largest sum of the UEs' utilities, as a local optimum; proportional by default.

    maximise sum_k U_alpha(R_k(x))   subject to the budgets, the sensing constraints, and SINR_k >= floor_k

by the interior-point method of `interior`, with a concave minorant of the objective in each step (`fairness`): the end is a
local optimum. The smallest SINR kept at (1 - eps) times the largest one as a floor gives "proportional fair above the floor":
the mean rate recovers most of what max-min costs it, and the weakest UE keeps its rate.

Bound on the mean log rate (alpha = 1, whatever the floor), the smaller of two: what each UE would have with the network to
itself; and f below its tangent in tau_k, log u_k below its tangent in u_k, u_k below its Cauchy-Schwarz form, -log v_k below
its chord between 1 and the largest interference that the budgets allow, all linear in x, so that the budgets finish it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isac_torch.allocation import FEASIBILITY_TOLERANCE, equal_split
from isac_torch.errors import ProblemError
from isac_torch.solvers.tracking import interior
from isac_torch.solvers.tracking.epigraph_program import EpigraphProgram, max_min_program
from isac_torch.solvers.tracking.fairness import Fairness, slopes, utility
from isac_torch.tensors import map_tensors
from isac_torch.tracking.problem import MaxMinSinrProblem

_TOLERANCE = 1e-3
_ITERATIONS, _MORE_ITERATIONS = 60, 300
_COARSE = 0.3
"""A max-min point solved this coarsely is good and well inside every constraint."""


@dataclass(frozen=True)
class FairPowers:
    """A local optimum of the UEs' mean utility.

    Attributes:
        power: W; meets every constraint and the floor where `solved`.
        utility: mean over UEs of U_alpha(log2(1 + SINR)), bit/s/Hz inside; for alpha = 1 the mean log rate. Pre-log factors
            would only shift or scale it.
        upper_bound: no powers exceed this mean utility; inf where alpha is not 1.
        solved: whether the method converged and the powers pass the exact constraints.
    """

    power: Float[Tensor, "drop link"]
    utility: Float[Tensor, " drop"]
    upper_bound: Float[Tensor, " drop"]
    solved: Bool[Tensor, " drop"]


def fair_powers(
    problem: MaxMinSinrProblem,
    floor: Float[Tensor, "drop ue"] | None = None,
    start: Float[Tensor, "drop link"] | None = None,
    *,
    alpha: float = 1.0,
) -> FairPowers:
    """Largest mean utility of the UEs under budgets, sensing constraints and smallest SINRs.

    Args:
        problem: drops, float64, whose constraints can be met.
        floor: linear SINR that each UE must keep; default none.
        start: W; powers near those wanted, such as a max-min point. Default: a coarse max-min point. Kept where unsolved.
        alpha: 0 for the sum rate, 1 for proportional fairness, 2 for the least mean delay; towards max-min as it grows.

    Raises:
        ProblemError: `alpha` is negative.
    """
    if not alpha >= 0.0:
        raise ProblemError(f"alpha={alpha} must not be negative; 0 is the sum rate, 1 proportional fairness")
    limit, even = problem.link_budget, equal_split(problem)
    unit = torch.ones_like(limit[:, 0])
    if start is None:
        scale = problem.objective(0.5 * even).clamp_min(1e-300)
        coarse = interior.solve_carefully(max_min_program(problem, scale), 0.5 * even / limit, 0.5 * unit, _COARSE)
        start = coarse.power.clamp_min(0.0) * limit
    if floor is not None:
        unit = floor.amin(-1).clamp_min(1e-300)
    program = max_min_program(problem, unit)
    asked = torch.zeros_like(problem.signal[..., 0]) if floor is None else floor / unit.unsqueeze(-1)
    program = replace(
        program,
        weight=torch.zeros_like(program.weight),
        floor=torch.cat([asked, program.floor[:, problem.num_ues :]], 1),
        fairness=Fairness(alpha, unit),
    )
    inner = (0.93 * start + 0.05 * even) / limit
    relative, converged = _solve(program, inner)
    power = relative.clamp_min(0.0) * limit
    power = power / (problem.ap_load(power) / problem.budget).amax(-1, keepdim=True).clamp_min(1.0)
    solved = converged & (problem.violations(power).worst <= FEASIBILITY_TOLERANCE)
    if floor is not None:
        solved &= (problem.sinr(power) >= floor * (1.0 - FEASIBILITY_TOLERANCE)).all(-1)
    power = torch.where(solved.unsqueeze(-1), power, start)
    bound = torch.full_like(unit, torch.inf)
    if alpha == 1.0 and not problem.has_pilot_reuse:
        bound = _bound(max_min_program(problem, torch.ones_like(unit)), power.clamp_min(1e-12 * limit) / limit)
    return FairPowers(power, utility(problem.sinr(power), alpha), bound, solved)


def _solve(program: EpigraphProgram, start: Tensor) -> tuple[Tensor, Tensor]:
    """Relative powers and whether they converged: with the objective's own curvature, then with its minorant's alone."""
    epigraph = torch.zeros_like(start[:, 0])
    found = interior.solve(program, start, epigraph, _TOLERANCE, _ITERATIONS)
    power, converged = found.power.clone(), found.converged.clone()
    open_drops = (~converged).nonzero()[:, 0]
    if len(open_drops) and isinstance(program.fairness, Fairness):
        slow = replace(program, fairness=replace(program.fairness, exact=False))
        slow = map_tensors(slow, lambda tensor: tensor[open_drops])
        found = interior.solve(slow, start[open_drops], epigraph[open_drops], _TOLERANCE, _MORE_ITERATIONS, 0.8)
        power[open_drops], converged[open_drops] = found.power, found.converged
    return power, converged


def _bound(program: EpigraphProgram, power: Tensor) -> Tensor:
    """The module docstring's bound on F at `power`, with dual variables 0 of the sensing constraints."""
    drops, ues, serving = program.amplitude.shape
    signal, _ = program.signal(power)
    unwanted = torch.einsum("dke,de->dk", program.leakage, power) + 1.0
    first, _ = slopes(signal / unwanted, 1.0)
    part = program.amplitude * power[:, : ues * serving].reshape(program.amplitude.shape).sqrt()
    gain = program.amplitude.square() * part.sum(-1, keepdim=True) / part.clamp_min(1e-300) / signal.unsqueeze(-1)
    worst = power.new_zeros(drops, ues, program.num_aps)
    index = program.link_ap.unsqueeze(1).expand(-1, ues, -1)
    most = 1.0 + worst.scatter_reduce(2, index, program.leakage, "amax").sum(-1)
    chord = most.log() / (most - 1.0).clamp_min(1e-12)
    coefficient = -torch.einsum("dk,dke->de", first * chord, program.leakage)
    coefficient[:, : ues * serving] += (first.unsqueeze(-1) * gain).flatten(1)
    top = power.new_zeros(drops, program.num_aps).scatter_reduce(1, program.link_ap, coefficient, "amax")
    joint = utility(signal / unwanted, 1.0) * ues + (first * (unwanted.log() - 1.0)).sum(-1) + top.sum(-1)
    # alone, (sum a sqrt x)^2 / (N x + 1) is below (sum a)^2 and, by Cauchy-Schwarz, below sum a^2 / N
    leaked = program.leakage[:, :, : ues * serving].view(drops, ues, ues, serving).diagonal(dim1=1, dim2=2).transpose(1, 2)
    alone = (program.amplitude.square() / leaked.clamp_min(1e-300)).sum(-1)
    alone = torch.minimum(alone, program.amplitude.sum(-1).square())
    return torch.minimum(joint / ues, utility(alone, 1.0))
