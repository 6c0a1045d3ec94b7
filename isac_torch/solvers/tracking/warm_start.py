"""Where the interior-point method starts when good powers are known, such as a network's.

Powers alone save little: the method needs dual variables too, and slacks that are not far smaller than the errors of either.
So the powers are pushed inside their bounds, and the dual variables y of the constraints are those that make the optimality
conditions of the powers hold best,

    minimise |x * (cost - J^T y)|^2 + |slack * y|^2   subject to   sum_k w_k v_k y_k = 1 ,

a system of the size of one Newton step (x * rescales the conditions by the powers, slack * keeps dual variables off slack
constraints).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.solvers.tracking.elimination import Point
from isac_torch.solvers.tracking.epigraph_program import EpigraphProgram
from isac_torch.solvers.tracking.newton import row_slopes

_MIX = 0.02
"""Share of the even start mixed into the given powers: no link starts at zero."""
_SLACK = 0.02
"""Smallest slack, relative to both sides of its constraint; no AP starts nearer to its budget."""
_PRODUCT = 0.1
"""Smallest complementarity product, as a share of t over the number of products."""
WARM_EPIGRAPH = 0.95
"""t to start from, relative to what the powers reach."""


def push_inside(power: Float[Tensor, "drop link"], even: Float[Tensor, "drop link"]) -> Float[Tensor, "drop link"]:
    """Relative powers that are positive and, if `power` keeps the budgets, leave every AP some of it.

    Args:
        power: relative to each AP's budget; a drop with an entry that is not finite starts at `even`.
        even: positive, within every budget.
    """
    mixed = (1.0 - _SLACK) * ((1.0 - _MIX) * power.clamp_min(0.0) + _MIX * even)
    return torch.where(power.isfinite().all(-1, keepdim=True), mixed, even)


def warm_point(program: EpigraphProgram, power: Float[Tensor, "drop link"], epigraph: Float[Tensor, " drop"]) -> Point:
    """Slacks and dual variables that suit good powers. See the module's docstring.

    Args:
        program: problems with constraints that rise with t.
        power: x of `push_inside`.
        epigraph: t, WARM_EPIGRAPH of what the powers reach.
    """
    ratios, program = program.num_ratios, program.at(power)
    wanted, unwanted = program.wanted(power), program.unwanted(power)
    goal = program.goal(epigraph) * unwanted
    slack = torch.maximum(wanted - goal, _SLACK * torch.maximum(wanted, goal))
    load = power.new_zeros(len(power), program.num_aps).scatter_add(1, program.link_ap, power)
    slack = torch.cat([slack, (1.0 - load).clamp_min(_SLACK)], 1)
    rows = row_slopes(program, program.signal(power)[1], program.tangent_leakage(power), program.goal(epigraph))
    rises = torch.zeros_like(slack)
    rises[:, :ratios] = program.weight * unwanted
    scaled = rows * power.unsqueeze(1)
    matrix = torch.bmm(scaled, scaled.transpose(1, 2))
    matrix.diagonal(dim1=1, dim2=2).add_(slack.square())
    dual = torch.cholesky_solve(rises.unsqueeze(-1), torch.linalg.cholesky_ex(matrix)[0])[..., 0]
    dual = dual / (rises * dual).sum(-1, keepdim=True)
    product = _PRODUCT * epigraph.unsqueeze(-1) / (slack.shape[1] + power.shape[1])
    dual = torch.maximum(dual.nan_to_num(0.0, 0.0, 0.0), product / slack)
    dual = dual / (rises * dual).sum(-1, keepdim=True)
    bound_dual = torch.maximum(-torch.bmm(dual.unsqueeze(1), rows)[:, 0], product / power)
    return Point(power, epigraph, slack, dual, bound_dual)
