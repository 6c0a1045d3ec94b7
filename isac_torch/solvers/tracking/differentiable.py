"""Gradients through the optimum: of its value by the envelope theorem, of its powers by implicit differentiation.

The value g* of max-min SINR changes with the problem's coefficients as the Lagrangian does at fixed powers and dual variables,

    d g* = [ sum_k lambda_k d(u_k - g* v_k) + sum_l nu_l d(C_l p - m_l) + sum_m pi_m dP_m ] / sum_k lambda_k v_k ,
    C_l = S_l - SIR0_l I_l,   m_l = SIR0_l n_l,

so one solve and one cheap expression give the gradient in signal, leakage, coherent, echo, cross_echo, sir_min and budget.
The powers of max-min SINR need not be unique, hence have no gradient. Those of the least-power stage are, and the barrier of
the interior-point method makes that stage strictly convex: one Newton correction at its solution, which is zero but has a
gradient, adds the derivative that the optimality conditions imply. Where the active set does not change, it is the exact one.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.allocation import equal_split
from isac_torch.errors import ProblemError
from isac_torch.solvers.tracking import interior
from isac_torch.solvers.tracking.epigraph_program import max_min_program
from isac_torch.solvers.tracking.objectives import power_program
from isac_torch.tensors import map_tensors
from isac_torch.tracking.problem import MaxMinSinrProblem


def optimal_sinr(problem: MaxMinSinrProblem, tolerance: float = 1e-6) -> Float[Tensor, " drop"]:
    """Largest smallest SINR (linear) of every drop, differentiable in the problem's coefficients.

    Args:
        problem: drops, float64, whose constraints can be met. With shared pilots the value is a local optimum's.
        tolerance: of the solver, relative.

    Raises:
        ProblemError: a drop whose constraints cannot be met or that the solver does not settle.
    """
    with torch.no_grad():
        fixed = map_tensors(problem, lambda tensor: tensor.detach())
        limit = fixed.link_budget
        start = 0.5 * equal_split(fixed) / limit
        scale = fixed.objective(start * limit)
        found = interior.solve_carefully(
            max_min_program(fixed, scale), start, torch.full_like(scale, 0.5), tolerance, max_iterations=120
        )
        _require(found)
        power, value = found.power * limit, found.epigraph * scale
        total = (found.ue_dual * fixed.interference(power)).sum(-1, keepdim=True)
        # the solver's t is in units of `scale`, and so is what constraints and budgets are worth
        weight, unit = found.ue_dual / total, scale.unsqueeze(-1) / total
        sensing, ap = unit * found.sensing_dual, unit * found.budget_dual / fixed.budget
    wanted = (problem.signal * problem.serving_power(power).sqrt()).sum(-1).square()
    lagrangian = (weight * (wanted - value.unsqueeze(-1) * problem.interference(power))).sum(-1)
    own = torch.einsum("dle,de->dl", problem.echo, power)
    other = torch.einsum("dle,de->dl", problem.cross_echo, power) + problem.constraint_noise
    lagrangian = lagrangian + (sensing * (own - problem.sir_min * other)).sum(-1) + (ap * problem.budget).sum(-1)
    return value + (lagrangian - lagrangian.detach())


def least_power_layer(
    problem: MaxMinSinrProblem, sinr_min: Float[Tensor, "drop ue"], smoothing: float = 1e-7
) -> Float[Tensor, "drop link"]:
    """Powers (W) of least sum that give every UE `sinr_min`, differentiable in it and in the problem's coefficients.

    Args:
        problem: drops, float64, orthogonal pilots, whose constraints and SINRs can be met.
        sinr_min: linear SINR of each UE.
        smoothing: relative tolerance of the solver; a larger one stops earlier on the central path, where more constraints
            have a say in the gradient.

    Raises:
        ProblemError: shared pilots, or a drop that the solver does not settle.
    """
    if problem.has_pilot_reuse:
        raise ProblemError(
            "least_power_layer needs orthogonal pilots: with shared ones the solution is local; raise pilot_length"
        )
    with torch.no_grad():
        fixed = map_tensors(problem, lambda tensor: tensor.detach())
        limit = fixed.link_budget
        start = 0.5 * equal_split(fixed) / limit
        program = power_program(fixed, sinr_min.detach())
        found = interior.solve_carefully(program, start, torch.zeros_like(limit[:, 0]), smoothing, max_iterations=120)
        _require(found)
    # The unit of t is a constant: as an input its gradient would cancel, at the cost of digits.
    unit = sinr_min.detach().amax(-1)
    live = replace(
        max_min_program(problem, unit),
        weight=program.weight,
        floor=torch.cat([sinr_min / unit.unsqueeze(-1), problem.sir_min], 1),
        cost=problem.link_budget / fixed.budget.mean(-1, keepdim=True),
    )
    share = found.power + interior.correction(live, found)
    return share * problem.link_budget


def _require(found: interior.InteriorPoint) -> None:
    if not bool(found.converged.all()):
        drop = int((~found.converged).nonzero()[0].item())
        raise ProblemError(
            f"drop {drop} has no settled optimum to differentiate; leave infeasible drops out (allocate tells them)"
        )
