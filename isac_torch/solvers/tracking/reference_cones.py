"""The constraints of one drop as cones of CVXPY, for `reference`."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from isac_torch.solvers.tracking.certificate import upper_bound
from isac_torch.solvers.tracking.position_cone import position_cones
from isac_torch.tracking.problem import MaxMinSinrProblem

_SOLVED = ("optimal", "optimal_inaccurate")
_SETTINGS = {"tol_gap_abs": 1e-9, "tol_gap_rel": 1e-9, "tol_feas": 1e-9, "max_threads": 1}
_HEADROOM = 3e-7
"""Relative tightening of the sensing constraints that covers the solver's tolerance: `repair` costs more where SIR0 is hard."""

Array = NDArray[np.float64]


class DropCones:
    """The constraints of one drop in CVXPY, in the units that keep an interior-point solver accurate.

    Powers are shares of their AP's budget, each UE's SINR constraint is divided by the square of its largest a, each sensing
    constraint by its largest entry. Built once per drop: between rounds only g and the weights change (as Parameters).
    """

    def __init__(self, problem: MaxMinSinrProblem, leakage: Float[Tensor, "1 ue link"]) -> None:
        import cvxpy as cp

        limit = problem.link_budget
        signal = _array(problem.signal[0] * problem.serving_power(limit)[0].sqrt())
        self._limit, self._like = _array(limit[0]), problem.budget
        self._unit = 1.0 / signal.max(1) ** 2
        self._leakage = _array(leakage[0]) * self._limit * self._unit[:, None]
        self._signal = signal * np.sqrt(self._unit)[:, None]
        self._share = cp.Variable(problem.num_links, nonneg=True)
        self._fixed = [self._budgets(problem) @ self._share <= 1.0, *self._sensing(problem)]
        if problem.position is not None:
            self._fixed += position_cones(problem.position, self._share, self._limit, 1.0 + _HEADROOM)
        self._gain, self._weight, self._level = cp.Variable(), cp.Parameter(problem.num_ues), cp.Parameter(nonneg=True)
        self._programme: Any = None

    def step(self, value: Tensor, interference: Float[Tensor, "1 ue"]) -> Tensor | None:
        """Powers (W) that maximise the weighted margin over SINR `value`; None when the solver fails."""
        import cvxpy as cp

        self._level.value = float(value)
        self._weight.value = float(value) * _array(interference[0]) * self._unit
        if self._programme is None:
            needed = self._level * (self._leakage @ self._share + self._unit) + self._gain * self._weight
            self._programme = cp.Problem(cp.Maximize(self._gain), [*self._fixed, *self._served(needed)])
        return self._solved(self._programme)

    def least_power(self, value: Tensor) -> Tensor | None:
        """Powers (W) of least sum with every SINR at least `value`; None when the solver fails."""
        import cvxpy as cp

        needed = float(value) * (self._leakage @ self._share + self._unit)
        total = self._share @ (self._limit / self._limit.max())
        return self._solved(cp.Problem(cp.Minimize(total), [*self._fixed, *self._served(needed)]))

    def upper_bound(self, problem: MaxMinSinrProblem) -> Float[Tensor, "1"]:
        """Certificate from the last step's multipliers: see `certificate.upper_bound`, which checks them.

        The dual variables of the cones give each link's power a cost c_e. Its best Cauchy share is in proportion to
        a_e^2 / c_e, and the largest dual variable of UE k that these costs bear is 1 / sum_e (a_e^2 / c_e). Shares from the
        powers themselves would have lost half of their digits wherever a power is tiny.
        """
        multiplier, vector = self._cone.dual_value
        cost = np.maximum(np.reshape(multiplier, -1) + vector[1], np.finfo(float).tiny).reshape(self._signal.shape)
        worth = np.square(self._signal) / cost
        shares = torch.zeros_like(problem.link_gain)
        # a_e sqrt(p_e) = worth_e in the problem's own units
        signal = np.maximum(_array(problem.signal[0]), np.finfo(float).tiny)
        own = np.square(worth / worth.sum(1, keepdims=True) / signal).reshape(-1)
        shares[0, : cost.size] = torch.from_numpy(own)
        rows = self._rows.dual_value / self._row_scale if problem.num_constraints else np.zeros(0)
        return upper_bound(problem, shares, torch.from_numpy(self._unit / worth.sum(1))[None], torch.from_numpy(rows)[None])

    def _served(self, needed: Any) -> list[Any]:
        """(sum_e a_e sqrt p_e)^2 >= needed_k, by one rotated cone per link."""
        import cvxpy as cp

        ues, links = self._signal.shape
        node = np.repeat(np.arange(ues), links)
        root = cp.Variable(ues * links)
        share, need = self._share[: ues * links], needed[node]
        gathered = np.zeros((ues, ues * links))
        gathered[node, np.arange(ues * links)] = self._signal.reshape(-1)
        self._cone = cp.SOC(share + need, cp.vstack([2.0 * root, share - need]), axis=0)
        return [self._cone, gathered @ root >= needed]

    @staticmethod
    def _budgets(problem: MaxMinSinrProblem) -> Array:
        """1 where a link (column) belongs to an AP (row) that has links at all."""
        member = np.arange(problem.num_aps)[:, None] == problem.link_ap[0].cpu().numpy()[None]
        return member[member.any(1)].astype(float)

    def _sensing(self, problem: MaxMinSinrProblem) -> list[Any]:
        """(S_l - SIR0_l I_l) p >= SIR0_l n_l, each constraint over its largest entry."""
        if problem.num_constraints == 0:
            return []
        quality = (1.0 + _HEADROOM) * problem.sir_min[0]
        row = _array(problem.echo[0] - quality[:, None] * problem.cross_echo[0]) * self._limit
        self._row_scale = np.abs(row).max(1)
        self._rows = (
            row / self._row_scale[:, None] @ self._share >= _array(quality * problem.constraint_noise[0]) / self._row_scale
        )
        return [self._rows]

    def _solved(self, programme: Any) -> Tensor | None:
        """Solve with Clarabel; the powers in W, or None."""
        import cvxpy as cp

        try:
            with warnings.catch_warnings():
                # "May be inaccurate": every answer is judged by the problem itself afterwards.
                warnings.simplefilter("ignore", UserWarning)
                programme.solve(solver=cp.CLARABEL, **_SETTINGS)
        except cp.SolverError:
            return None
        if programme.status not in _SOLVED or self._share.value is None:
            return None
        power = np.maximum(self._share.value, 0.0) * self._limit
        return torch.as_tensor(power, dtype=self._like.dtype, device=self._like.device)[None]


def _array(tensor: Tensor) -> Array:
    """The tensor's values as float64 NumPy."""
    return tensor.detach().double().cpu().numpy()
