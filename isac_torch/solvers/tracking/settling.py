"""The last digits of a sensing constraint: powers next to given ones that meet it exactly.

Where SIR0 is the largest SIR that any powers reach, the powers that meet it have no interior, and solvers are asked for a
little less (`feasibility.best_effort`). Their answers miss SIR0 by that little. A correction of the same size closes it: with
r_l = S_l - SIR0_l I_l, n_l the noise and the relative changes d_e of the powers as unknowns,

    minimise ||d||   subject to   sum_e r_le p_e (1 + d_e) = SIR0_l n_l   for every constraint l that p reaches only just.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from isac_torch.allocation import FEASIBILITY_TOLERANCE
from isac_torch.tracking.problem import MaxMinSinrProblem

_ROUNDS = 2
"""The second one takes what the scaling to the budgets left."""
_DEPENDENT = 1e-9
"""Relative size below which constraints count as dependent: at the largest SIR they are each other's opposites."""

Array = NDArray[np.float64]


def settled(problem: MaxMinSinrProblem, power: Float[Tensor, "drop link"]) -> Float[Tensor, "drop link"]:
    """`power` (W), changed where it misses a sensing constraint by next to nothing, so that it misses it by rounding only.

    Args:
        problem: the drops, float64.
        power: W, finite.

    Returns:
        W. Drops that meet their constraints, miss one by more than `FEASIBILITY_TOLERANCE`, or would miss more afterwards, keep
        their powers.
    """
    if problem.num_constraints == 0:
        return power
    for _ in range(_ROUNDS):
        missed = problem.violations(power).worst
        changed = power.clone()
        for index in ((missed > 0.0) & (missed <= FEASIBILITY_TOLERANCE)).nonzero():
            changed[index] = _closer(problem.select(index), power[index])
        closer = problem.violations(changed).worst < missed
        power = torch.where(closer.unsqueeze(-1), changed, power)
    return power


def _closer(problem: MaxMinSinrProblem, power: Tensor) -> Tensor:
    """The smallest relative change of one drop's powers (W) that puts every constraint reached only just at its bound."""
    own, other = _array(problem.echo[0] * power), _array(problem.sir_min[0, :, None] * problem.cross_echo[0] * power)
    needed = other.sum(1) + _array(problem.sir_min[0] * problem.constraint_noise[0])
    excess = own.sum(1) - needed
    tight = (np.abs(excess) <= FEASIBILITY_TOLERANCE * needed) & (needed > 0.0)
    if not tight.any():
        return power
    scale = needed[tight]
    change = np.linalg.lstsq((own - other)[tight] / scale[:, None], -excess[tight] / scale, rcond=_DEPENDENT)[0]
    moved = power * torch.as_tensor(np.maximum(1.0 + change, 0.0), dtype=power.dtype, device=power.device)
    return moved / (problem.ap_load(moved) / problem.budget).amax(-1, keepdim=True).clamp_min(1.0)


def _array(value: Tensor) -> Array:
    return value.detach().double().cpu().numpy()
