"""How far powers are from a stationary point of the downlink-pilot system's problem, whoever proposed them."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.downlink_pilots.problem import MinMaxNmseProblem

_ACTIVE = 1e-3
"""Constraints within this share of their limit may carry a multiplier."""


def kkt_residual(problem: MinMaxNmseProblem, power: Float[Tensor, "1 link"]) -> float:
    """Smallest stationarity error of one drop at `power` (W) over all multipliers; 0 at a point that satisfies KKT.

    With lambda_k >= 0 summing to 1 on the UEs of largest weighted NMSE, nu_m >= 0 on full APs and mu_k >= 0 on tight
    localisation bounds, the largest entry of p * grad(sum lambda log NMSE + sum nu load / P + sum mu log CRB). Logarithms and
    the factor p make it free of units: 0.01 means that the best tenfold change of a link's power would gain a few percent.
    For the sum of NMSE the lambda are the shares of the sum.
    """
    from scipy.optimize import nnls

    # The square root has no slope at zero; a billionth of the budget is as good.
    floor = 1e-9 * problem.budget.gather(1, problem.link_ap)
    variable = torch.maximum(power.detach().double(), floor).requires_grad_()

    def slopes(values: Tensor, chosen: Tensor) -> list[Tensor]:
        return [
            variable.detach() * torch.autograd.grad(values[k], variable, retain_graph=True)[0]
            for k in chosen.nonzero()[:, 0].tolist()
        ]

    loss = (problem.weight * problem.nmse(variable))[0]
    load = (problem.ap_load(variable) / problem.budget)[0]
    bound = (problem.crb(variable) / problem.crb_max)[0]
    columns = slopes(loss.log(), loss >= (1.0 - _ACTIVE) * loss.amax())
    if problem.merit == "sum":
        shares = (loss / loss.sum()).detach()
        columns = [torch.stack(slopes(loss.log(), torch.ones_like(loss, dtype=torch.bool))).mul(shares[:, None, None]).sum(0)]
    count = len(columns)
    columns += slopes(load, load >= 1.0 - _ACTIVE) + slopes(bound.log(), bound >= 1.0 - _ACTIVE)
    matrix = torch.cat(columns).detach().numpy().T
    scale = max(float(np.abs(matrix).max()), 1e-30)
    # Least squares with lambda summing to 1 as one heavy row.
    heavy = 1e3 * scale
    weights = np.concatenate([np.full(count, heavy), np.zeros(matrix.shape[1] - count)])
    multipliers, _ = nnls(np.vstack([matrix, weights]), np.append(np.zeros(matrix.shape[0]), heavy))
    return float(np.abs(matrix @ multipliers).max())
