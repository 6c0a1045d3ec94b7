"""Max-min SINR by an interior-point method in numpy: a few large improvements of given powers, many networks at once.

With powers x relative to their AP's budget, u_k(x) = (sum_e a_e sqrt x_e)^2 and v_k(x) = N_k^T x + 1,

    maximise t   subject to   log u_k(x) - log v_k(x) >= t,   C_l x >= n_l,   h_l(x) >= 1,   A x <= 1,   x >= 0 ,

C_l x >= n_l the linear sensing constraints (n_l = 0 for a SIR), h_l the position information over what is required.

`newton` has the equations and their unknowns, `isac_torch.interior_point` the method. `isac_torch.solvers.tracking.interior`
certifies optima with it; this one is for being within a per cent or two after some ten steps on few and small arrays.
Logarithms let t rise by decades in a step.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from isac_torch import interior_point
from isac_torch.deployment.newton import Program, System, constraints, program_of
from isac_torch.deployment.patience import still_wanted
from isac_torch.interior_point import Iterate, Rule

if TYPE_CHECKING:
    from isac_torch.deployment.statistics import Coefficients

_EVEN, _BELOW = 0.05, 0.1
"""Start: share of equal powers mixed into the given ones, and of each budget that is left free."""
_EPIGRAPH = math.log(0.5)
"""t of the start, relative to what its powers reach."""
_SLACK, _FREE = 0.1, 0.05
"""Smallest slack of the start: of the UEs' constraints, and of the targets' relative to their terms; of a budget."""
_PRODUCT = 1.0
"""Products of dual variables and slacks at the start, relative to those of equal dual variables."""
_COST = 3.0
"""Nepers of SINR that a neper of missing quality is thought to cost where it is taken away afterwards."""
_RULE = Rule(most=0.5, cuts=0)


def ascend(
    problem: Coefficients, power: Float[ndarray, "drop link"], gap: float, steps: int, spare: float = 0.0
) -> Float[ndarray, "drop link"]:
    """Powers (W) of a smallest SINR near the largest, from given ones.

    Each drop stops on its own, and keeps the best of its steps: constraints and budgets are met but for what that step left. A
    drop whose numbers overflow keeps the start.

    Args:
        problem: its sensing constraints can be met; with shared pilots the end is a local optimum.
        power: W, not negative, within the budgets, every UE served.
        gap: what dual variables times slacks, and residuals, may leave of the SINR, relative.
        steps: Newton steps at most.
        spare: shortfall of a constraint, relative to its terms, up to which a step may be kept all the same, at a small cost.
    """
    limit = problem.link_budget
    power = _apart(problem, power / limit)
    program = program_of(problem, limit, power)
    rows = program.slope.shape[1]
    point = _start(program, power)
    answer, best = power.copy(), np.full(len(power), -np.inf)

    def leaves(alive: ndarray, _step: int, program: Program, point: Iterate[ndarray], system: System) -> ndarray:
        still_wanted()
        reached = _reached(program, point, system, spare)
        better = reached > best[alive]
        if better.any():
            best[alive[better]], answer[alive[better]] = reached[better], point.lead[better, rows:]
        return _done(system, reached, gap)

    interior_point.solve(program, point, steps, leaves, _RULE)
    return answer * limit


def _apart(problem: Coefficients, relative: ndarray) -> ndarray:
    """Powers over their AP's budget, none of them zero and no budget used up."""
    crowd = np.take_along_axis(problem.ap_load(np.ones_like(relative)), problem.link_ap, 1)
    return (1.0 - _BELOW) * ((1.0 - _EVEN) * relative + _EVEN / crowd)


def _start(program: Program, power: ndarray) -> Iterate[ndarray]:
    """Slacks from the powers, kept off zero, and dual variables that make all products of a drop the same."""
    ues = program.amplitude.shape[1]
    epigraph = np.full(len(power), _EPIGRAPH)
    slope, value, _ = constraints(program, power, epigraph)
    slack = np.maximum(value, _SLACK * np.abs(slope).sum(-1))
    slack[:, :ues] = np.maximum(value[:, :ues], _SLACK)
    slack[:, -program.aps :] = np.maximum(value[:, -program.aps :], _FREE)
    product = _PRODUCT / (1.0 / slack[:, :ues]).sum(-1, keepdims=True)
    return Iterate(np.concatenate([product / slack, power], 1), np.concatenate([slack, product / power], 1), epigraph)


def _reached(program: Program, point: Iterate[ndarray], system: System, spare: float) -> Float[ndarray, " drop"]:
    """Smallest SINR within the budgets, in the program's units, less what a shortfall up to `spare` will cost; where a sensing
    constraint is missed by more, what it lacks, negative.
    """
    ues = program.amplitude.shape[1]
    sinr = np.exp(point.epigraph + system.value[:, :ues].min(-1))
    sinr /= np.maximum(1.0 - system.value[:, -program.aps :].min(-1), 1.0)
    short = system.value[:, ues : -program.aps].min(-1, initial=0.0)
    return np.where(short < -spare, short, sinr * np.maximum(1.0 + _COST * short, 0.0))


def _done(system: System, reached: ndarray, gap: float) -> Bool[ndarray, " drop"]:
    """Whether little is left to gain and the constraints are met; or a number overflowed."""
    left = np.maximum(system.product.sum(-1), system.residual)  # of log SINR: the UEs' dual variables sum to 1
    return ((left <= gap) & (reached > 0.0)) | ~np.isfinite(left + reached)
