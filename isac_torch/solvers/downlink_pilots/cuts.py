"""Tangents of the expected localisation bound: linear constraints that all powers within the bound satisfy.

A block's 1 / tr J^-1 is concave and homogeneous of degree one in the powers, and the inverse of the mean of tr J^-1 over the
blocks is the harmonic mean of such functions: concave and homogeneous of degree one too. Its tangent at powers p' is therefore
g(p) <= grad g(p') . p without a constant, and g_k >= 1 / Gamma_k implies Gamma_k grad g_k(p') . p >= 1, eq. (P18a). The
expected bound is at least that of the mean power (Jensen), so that the cone (P18) stays a valid constraint beside the tangents.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from isac_torch.downlink_pilots.problem import MinMaxNmseProblem

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Cuts:
    """Constraints rows @ shares >= 1 of one drop. Attributes: rows [cut, ue, ap], zero for all UEs but one."""

    rows: Array

    def joined(self, other: Cuts) -> Cuts:
        """Both."""
        return Cuts(np.concatenate([self.rows, other.rows]))

    def __len__(self) -> int:
        """How many."""
        return len(self.rows)


def no_cuts(problem: MinMaxNmseProblem) -> Cuts:
    """Those of a problem at the start."""
    return Cuts(np.zeros((0, problem.num_ues, problem.num_aps)))


def tangents(problem: MinMaxNmseProblem, power: Float[Tensor, "1 link"], above: float = -np.inf) -> Cuts:
    """Tangents of one drop at `power` (W), for the UEs whose CRB exceeds `above` times Gamma; none for the mean power's CRB."""
    if problem.fading != "expected":
        return no_cuts(problem)
    with torch.enable_grad():
        variable = power.detach().double().requires_grad_()
        met = problem.crb_max / problem.crb(variable)
        reached = met[0].tolist()
        chosen = [ue for ue, value in enumerate(reached) if value > 0 and 1.0 / value > above]
        rows = np.zeros((len(chosen), problem.num_ues, problem.num_aps))
        for number, ue in enumerate(chosen):
            (slope,) = torch.autograd.grad(met[0, ue], variable, retain_graph=True)
            rows[number, ue] = (problem.per_ue(slope)[0, ue] * problem.budget[0]).cpu().numpy()
    return Cuts(rows[np.isfinite(rows).all((1, 2))])
