"""The readable truth: largest minimum SINR of one drop, by convex cones in the power domain through CVXPY and Clarabel.

With orthogonal pilots, SINR_k >= g reads g v_k(p) <= (sum_e a_e sqrt p_e)^2 with v_k(p) = N_k^T p + 1: linear below concave,
so the set of good powers is convex and the best g is the global optimum. In cones, one of three dimensions a serving link:

    s_k = g v_k(p),   z_e^2 <= p_e s_k,   sum_e a_e z_e >= s_k            (because sum_e a_e sqrt(p_e s_k) >= s_k).

Bisection on g is replaced by Dinkelbach's method with weights: at g = smallest SINR of the last powers p', maximise d with
s_k = g (v_k(p) + d v_k(p')). The largest d is positive until g is optimal, and the steps shrink superlinearly.

Shared pilots add sum_j (c_kj^T sqrt p_j)^2 to v_k, which is concave in p and has to lie on the small side. Each product of
positive sign there is replaced by its tangent at p', sqrt(p_e p_f) <= (p_e sqrt(p'_f / p'_e) + p_f sqrt(p'_e / p'_f)) / 2, and
each of negative sign is dropped: a true majoriser, so every step stays feasible and none gets worse, but the end is a local
optimum. Its distance to the global one is bounded by the linear relaxation inside `certificate.upper_bound`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from isac_torch.solvers.tracking.certificate import relaxed_leakage, upper_bound
from isac_torch.solvers.tracking.feasibility import repair
from isac_torch.tracking.problem import MaxMinSinrProblem

Tie = Literal["least_power", "none"]

_SOLVED = ("optimal", "optimal_inaccurate")
_SETTINGS = {"tol_gap_abs": 1e-9, "tol_gap_rel": 1e-9, "tol_feas": 1e-9, "max_threads": 1}
_HEADROOM = 3e-7
"""Relative tightening of the sensing rows that covers the solver's tolerance: `repair` costs far more where SIR0 is hard."""
_MAX_ROUNDS = 30
_STALLED = 1e-6
"""Relative gain below which further rounds are not worth their time."""
_POWER_FLOOR = 1e-9
"""Smallest share of the budget at which a tangent is taken; at zero it would be vertical."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Optimum:
    """What the reference found for one drop.

    Attributes:
        power: W, of each link; meets every constraint.
        upper_bound: no feasible powers reach a larger smallest SINR, linear.
    """

    power: Float[Tensor, "1 link"]
    upper_bound: Float[Tensor, "1"]


def solve_drop(
    problem: MaxMinSinrProblem,
    start: Float[Tensor, "1 link"],
    inside: Float[Tensor, "1 link"],
    *,
    gap: float = 1e-3,
    tie: Tie = "least_power",
) -> Optimum:
    """Largest smallest SINR of a single feasible drop, then the least total power that keeps it up to gap / 2.

    The optimum is not unique wherever a UE sits above the minimum; the second stage makes it so. The first stage runs until
    the certificate leaves at most half of `gap`, and the second gives away no more than the rest.

    Args:
        problem: one drop, float64, whose sensing rows can be met.
        start: W; any positive powers. The closer to the optimum, the fewer rounds.
        inside: W; meets every constraint (`SensingLimit.power`).
        gap: certified relative distance to the optimum to aim at. Shared pilots may leave more.
        tie: what the second stage minimises; "none" returns the first stage's powers.

    Returns:
        The optimum. Where Clarabel fails, the best powers so far: a failed solve is never read as an infeasible one. Where
        some UE has no signal at all the optimum is 0, and `inside` attains it.
    """
    if not bool((problem.signal.amax(-1) > 0.0).all()):
        return Optimum(inside, torch.zeros_like(inside[:, 0]))
    if problem.has_pilot_reuse:
        start, bound = _relax(problem, start, inside, gap / 2.0)
        power = _climb(problem, start, inside)
    else:
        power, bound = _ascend(problem, start, inside, gap / 2.0)
    if tie == "least_power":
        spent = float(((bound - problem.objective(power)) / bound).clamp(0.0, 1.0))
        slack = gap / 2.0 if problem.has_pilot_reuse else min(gap / 2.0, 0.95 * (gap - spent))
        power = _least_power(problem, power, inside, slack)
    return Optimum(power, bound)


def _ascend(problem: MaxMinSinrProblem, start: Tensor, inside: Tensor, gap: float) -> tuple[Tensor, Float[Tensor, "1"]]:
    """Orthogonal pilots: rounds until the certificate is within `gap`. Feasible powers (W) and their bound.

    The first g and weights are those of `start` (W), which may break the sensing rows: they only have to be plausible. Once
    the value has nearly settled, g is set a little above it: there either d < 0, whose prices prove that g is out of reach,
    or the step is at least that good.
    """
    cones = _Cones(problem, problem.leakage)
    power = repair(problem, start, inside)
    value, bound = problem.objective(power), torch.full_like(start[:, 0], torch.inf)
    level, around = problem.objective(start), start
    for _ in range(_MAX_ROUNDS):
        step = cones.step(level, problem.interference(around))
        if step is None and bool(level > value):
            # Far above what is reachable the cones would need a negative s_k.
            level = torch.maximum(level / 2.0, value)
            continue
        if step is None:
            break
        step = repair(problem, step, inside)
        gain = float(problem.objective(step) / value - 1.0)
        if gain > 0.0:
            power, value = step, problem.objective(step)
        if gain < gap:
            bound = torch.minimum(bound, cones.upper_bound(problem))
            if bool(bound - value <= gap * bound):
                return power, bound
        around = power
        if gain >= gap:
            level = value
        elif bool(bound > 2.0 * value):
            level = (bound * value).sqrt()  # stuck in a corner where the cones are badly scaled: bisect
        else:
            level = value * (1.0 + 0.9 * gap)
    return power, torch.minimum(bound, upper_bound(problem, power))


def _climb(problem: MaxMinSinrProblem, power: Tensor, inside: Tensor) -> Tensor:
    """Shared pilots: rounds on the majorised problem until nothing is gained. Feasible powers (W)."""
    power = repair(problem, power, inside)
    for _ in range(_MAX_ROUNDS):
        value = problem.objective(power)
        step = _Cones(problem, majorised_leakage(problem, power)).step(value, problem.interference(power))
        if step is None:
            break
        step = repair(problem, step, inside)
        gain = float(problem.objective(step) / value - 1.0)
        if gain > 0.0:
            power = step
        if gain < _STALLED:
            break
    return power


def _relax(problem: MaxMinSinrProblem, start: Tensor, inside: Tensor, gap: float) -> tuple[Tensor, Float[Tensor, "1"]]:
    """Optimum (W) of the drop with coherent interference replaced by a linear lower bound, and the bound that it proves.

    Returns `start` instead of that optimum where the true interference makes it the worse point.
    """
    leakage = relaxed_leakage(problem, start)
    relaxed = replace(problem, leakage=leakage.clamp_min(0.0), coherent=torch.zeros_like(problem.coherent))
    guess, bound = _ascend(relaxed, start, inside, gap)
    if bool((leakage < 0.0).any()):
        # Cones take no negative leakage, and with a larger one the relaxation proves nothing.
        bound = upper_bound(problem, guess)
    better = problem.objective(guess) > problem.objective(repair(problem, start, inside))
    return guess if bool(better) else start, bound


def majorised_leakage(problem: MaxMinSinrProblem, power: Float[Tensor, "drop link"]) -> Float[Tensor, "drop ue link"]:
    """Leakage (1/W) whose interference is never below the true one, pilots included, and touches it at `power` (W).

    Where two links of a UE reach another UE with opposite signs, their product is negative and dropped: it only helps.
    """
    if not problem.has_pilot_reuse:
        return problem.leakage
    floor = _POWER_FLOOR * problem.serving_power(problem.link_budget)
    amplitude = problem.serving_power(power).clamp_min(floor).sqrt()
    products = (problem.coherent.unsqueeze(-1) * problem.coherent.unsqueeze(-2)).clamp_min(0.0)
    tangent = torch.einsum("dkjst,djt->dkjs", products, amplitude) / amplitude.unsqueeze(1)
    leakage = problem.leakage.clone()
    leakage[:, :, : problem.num_comm_links] += tangent.flatten(2)
    return leakage


def _least_power(problem: MaxMinSinrProblem, power: Tensor, inside: Tensor, slack: float) -> Tensor:
    """Powers (W) of least sum whose smallest SINR is (1 - slack) times that of `power`; `power` itself if the solve fails."""
    value = problem.objective(power)
    saved = _Cones(problem, majorised_leakage(problem, power)).least_power((1.0 - slack) * value)
    if saved is None:
        return power
    saved = repair(problem, saved, inside)
    # What the solver's tolerance took from the SINR comes back on the way to `power`.
    for share in (0.0, 0.01, 0.1, 0.5):
        mixed = saved + share * (power - saved)
        if bool(problem.objective(mixed) >= (1.0 - 1.02 * slack) * value):
            return mixed
    return power


class _Cones:
    """The constraints of one drop in CVXPY, in the units that keep an interior-point solver accurate.

    Powers are shares of their AP's budget, each UE's row is divided by the square of its largest a, each sensing row by its
    largest entry. Built once per drop: between rounds only g and the weights change (as Parameters).
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

        The cones price each link's power at c_e. Its best Cauchy share is in proportion to a_e^2 / c_e, and the largest price
        of UE k that these costs bear is 1 / sum_e (a_e^2 / c_e). Shares from the powers themselves would have lost half of
        their digits wherever a power is tiny.
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
        """(sum_e a_e sqrt p_e)^2 >= needed_k, by one rotated cone a link."""
        import cvxpy as cp

        ues, links = self._signal.shape
        owner = np.repeat(np.arange(ues), links)
        root = cp.Variable(ues * links)
        share, need = self._share[: ues * links], needed[owner]
        gathered = np.zeros((ues, ues * links))
        gathered[owner, np.arange(ues * links)] = self._signal.reshape(-1)
        self._cone = cp.SOC(share + need, cp.vstack([2.0 * root, share - need]), axis=0)
        return [self._cone, gathered @ root >= needed]

    @staticmethod
    def _budgets(problem: MaxMinSinrProblem) -> Array:
        """1 where a link (column) belongs to an AP (row) that has links at all."""
        member = np.arange(problem.num_aps)[:, None] == problem.link_ap[0].cpu().numpy()[None]
        return member[member.any(1)].astype(float)

    def _sensing(self, problem: MaxMinSinrProblem) -> list[Any]:
        """(S_l - SIR0_l I_l) p >= SIR0_l n_l, each row over its largest entry."""
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
