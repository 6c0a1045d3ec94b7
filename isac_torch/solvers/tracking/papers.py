"""Optimal power control as the tracking paper prints it: bisection, convex approximation, amplitudes (its Algorithm 1).

In amplitudes b = sqrt(p) the SINR of a UE is a second-order cone for a fixed common SINR gamma,

    ||(pi_k1, ..., pi_kK, sqrt(N_ke) b_e for every link e, 1)|| <= sqrt(1 + 1/gamma) sum_e a_e b_e,               (C4)

with pi_kk the wanted amplitude itself and pi_kj the coherent one of a UE on the same pilot, while a sensing constraint is a
difference of convex functions, whose echo is replaced by its tangent at the last amplitudes b',

    SIR0_l (sum_e I_le b_e^2 + n_l) - sum_e S_le (2 b'_e b_e - b'_e^2) <= 0.                                      (C3)

The printed C3 has the opposite sign before the tangent, which no powers but zero could meet. Both are kept in one programme
per drop: gamma and b' are its only Parameters, so that CVXPY translates it once.

Source: S. Liesegang et al., "Scalable cell-free massive MIMO ISAC" (2025), eqs. 49-54 and Algorithm 1.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from isac_torch.allocation import equal_split
from isac_torch.solvers.tracking.feasibility import repair
from isac_torch.tracking.problem import MaxMinSinrProblem

Start = Literal["nearest_uniform", "slack_lp"]

_SOLVED = ("optimal", "optimal_inaccurate")
_MAX_INNER = 20
_MAX_BISECTIONS = 60

Array = NDArray[np.float64]


def algorithm_1(
    problem: MaxMinSinrProblem,
    start: Float[Tensor, "1 link"],
    *,
    tolerance: float = 1e-3,
    iterations: list[int] | None = None,
) -> Float[Tensor, "1 link"]:
    """Bisect the smallest SINR; at each value, repeat the convex approximation until the amplitudes settle.

    Args:
        problem: one drop, float64, whose sensing constraints can be met.
        start: W; meets every constraint. Different starts end in different local optima.
        tolerance: eps1, width of the bracket over its upper end, and eps2, squared change of b over its squared norm.
        iterations: takes the number of the solver's iterations in each cone programme, for what they cost.

    Returns:
        Powers in W of the best SINR that was reached. At most 20 approximations for each SINR; a solver failure counts as
        "SINR not reached", as in the paper, where the solver's word is all there is.
    """
    programme = _SinrProgramme(problem, iterations)
    anchor = programme.amplitude(start)
    low, high = float(problem.objective(start)), float(_single_user_sinr(problem))
    for _ in range(_MAX_BISECTIONS):
        if high - low <= tolerance * high:
            break
        sinr = 0.5 * (low + high)
        found = _settle(programme, sinr, anchor, tolerance)
        if found is None:
            high = sinr
        else:
            low, anchor = sinr, found
    return repair(problem, programme.power(anchor), start)


def cone_matrix(problem: MaxMinSinrProblem, power: Float[Tensor, "1 link"]) -> tuple[Any, list[int]]:
    """The sparse matrix [row, variable] of problem (54) at `power` (W), and how many of its last rows each cone has."""
    import cvxpy as cp

    programme = _SinrProgramme(problem)
    programme.set(float(problem.objective(power)), programme.amplitude(power))
    data = programme.cones.get_problem_data(cp.CLARABEL)[0]
    return data["A"], list(data["dims"].soc)


def start_point(
    problem: MaxMinSinrProblem, inside: Float[Tensor, "1 link"], start: Start = "nearest_uniform"
) -> Float[Tensor, "1 link"]:
    """A feasible point to start from, which the paper leaves open.

    Args:
        problem: one drop, float64, whose sensing constraints can be met.
        inside: W; meets every constraint (`SensingLimit.power`).
        start: "nearest_uniform": the feasible powers closest to an equal split of each budget, each power relative to its
            AP's budget. "slack_lp": the powers whose sensing constraints have the largest common slack.

    Returns:
        Feasible powers, W.
    """
    import cvxpy as cp

    limit, net, needed = _scaled_constraints(problem)
    if len(net) == 0:
        return equal_split(problem)
    share, slack = cp.Variable(problem.num_links, nonneg=True), cp.Variable()
    load = _membership(problem) @ share <= 1.0
    if start == "nearest_uniform":
        uniform = equal_split(problem)[0].numpy() / limit
        search = cp.Problem(cp.Minimize(cp.sum_squares(share - uniform)), [load, net @ share >= needed])
    else:
        search = cp.Problem(cp.Maximize(slack), [load, net @ share >= needed + slack])
    if not _solve(search):
        return inside
    return repair(problem, torch.as_tensor(share.value * limit)[None], inside)


def _settle(programme: _SinrProgramme, sinr: float, anchor: Array, tolerance: float) -> Array | None:
    """The inner loop at one SINR: amplitudes that reach it, or None."""
    current = programme.solve(sinr, anchor)
    for _ in range(_MAX_INNER - 1):
        if current is None or np.sum((current - anchor) ** 2) <= tolerance * np.sum(current**2):
            break
        anchor, following = current, programme.solve(sinr, current)
        # The last amplitudes satisfy their own approximation, so a failure here is the solver's, not the SINR's.
        current = anchor if following is None else following
    return current


class _SinrProgramme:
    """Problem (54) of the paper for one drop, in amplitudes relative to the square root of each link's AP budget."""

    def __init__(self, problem: MaxMinSinrProblem, iterations: list[int] | None = None) -> None:
        import cvxpy as cp

        self._iterations = iterations
        self._limit = problem.link_budget[0].numpy()
        self._amplitude = cp.Variable(problem.num_links, nonneg=True)
        self._anchor, self._anchor_squared = cp.Parameter(problem.num_links, nonneg=True), cp.Parameter(problem.num_links)
        self._widen = cp.Parameter(nonneg=True)
        budgets = [cp.sum_squares(self._amplitude[m > 0.0]) <= 1.0 for m in _membership(problem)]
        rules = [*budgets, *self._sensing(problem), *self._quality(problem)]
        self.cones = cp.Problem(cp.Minimize(0.0), rules)

    def amplitude(self, power: Float[Tensor, "1 link"]) -> Array:
        """Scaled amplitudes of powers in W."""
        return np.sqrt(power[0].numpy() / self._limit)

    def power(self, amplitude: Array) -> Float[Tensor, "1 link"]:
        """Powers in W of scaled amplitudes."""
        return torch.as_tensor(np.square(amplitude) * self._limit)[None]

    def solve(self, sinr: float, anchor: Array) -> Array | None:
        """Amplitudes that reach `sinr` with the echoes' tangents taken at `anchor`; None if the solver finds none."""
        self.set(sinr, anchor)
        solved = _solve(self.cones)
        if self._iterations is not None and self.cones.solver_stats is not None:
            self._iterations.append(self.cones.solver_stats.num_iters)
        return np.maximum(self._amplitude.value, 0.0) if solved else None

    def set(self, sinr: float, anchor: Array) -> None:
        """The programme of this SINR, with the echoes' tangents taken at `anchor`."""
        self._widen.value = np.sqrt(1.0 + 1.0 / sinr)
        self._anchor.value, self._anchor_squared.value = anchor, np.square(anchor)

    def _quality(self, problem: MaxMinSinrProblem) -> list[Any]:
        """C4 of every UE, divided by the UE's largest a."""
        import cvxpy as cp

        root = np.sqrt(self._limit)
        serving = (problem.num_ues, problem.serving)
        own = problem.signal[0].numpy() * root[: problem.num_comm_links].reshape(serving)
        leakage = np.sqrt(problem.leakage[0].numpy()) * root
        coherent = problem.coherent[0].numpy() * root[: problem.num_comm_links].reshape(serving)
        rules = []
        for k in range(problem.num_ues):
            unit = own[k].max()
            amplitudes = np.zeros((problem.num_ues, problem.num_links))
            for j in range(problem.num_ues):
                first = j * problem.serving
                amplitudes[j, first : first + problem.serving] = own[k] if j == k else coherent[k, j]
            wanted = (amplitudes[k] / unit) @ self._amplitude
            shared = amplitudes[np.any(amplitudes != 0.0, axis=1)] / unit
            parts = [shared @ self._amplitude, cp.multiply(leakage[k] / unit, self._amplitude), np.array([1.0 / unit])]
            rules.append(cp.SOC(self._widen * wanted, cp.hstack(parts)))
        return rules

    def _sensing(self, problem: MaxMinSinrProblem) -> list[Any]:
        """C3 of every target, divided by its largest coefficient."""
        import cvxpy as cp

        rules = []
        for target in range(problem.num_constraints):
            echo = problem.echo[0, target].numpy() * self._limit
            required = float(problem.sir_min[0, target]) * problem.cross_echo[0, target].numpy() * self._limit
            noise = float(problem.sir_min[0, target] * problem.constraint_noise[0, target]) / echo.max()
            echo, required = echo / echo.max(), required / echo.max()
            tangent = 2.0 * echo @ cp.multiply(self._anchor, self._amplitude) - echo @ self._anchor_squared
            disturbed = cp.sum_squares(cp.multiply(np.sqrt(required), self._amplitude))
            rules.append(disturbed + noise - tangent <= 0.0)
        return rules


def _single_user_sinr(problem: MaxMinSinrProblem) -> Float[Tensor, "1"]:
    """Upper end of the bracket: the smallest SINR that a UE would have alone, against its own leakage at least.

    (sum a_e sqrt p_e)^2 / (sum N_ke p_e + 1) is below sum a_e^2 / N_ke (Cauchy-Schwarz) and below (sum a_e sqrt P)^2.
    """
    limit = problem.serving_power(problem.link_budget)
    serving = torch.arange(problem.num_comm_links).reshape(problem.num_ues, problem.serving)
    leakage = problem.leakage.gather(2, serving.expand(problem.num_drops, -1, -1))
    alone = problem.signal * limit.sqrt()
    leaked = (problem.signal.square() / leakage.clamp_min(torch.finfo(leakage.dtype).tiny)).sum(-1)
    return torch.minimum(alone.sum(-1).square(), leaked).amin(-1)


def _scaled_constraints(problem: MaxMinSinrProblem) -> tuple[Array, Array, Array]:
    """Budget of each link's AP, W, sensing constraints per share of it, each over its largest entry, and what they need."""
    limit = problem.link_budget
    net = (problem.echo - problem.sir_min[..., None] * problem.cross_echo)[0] * limit[0]
    scale = net.abs().amax(-1, keepdim=True) if problem.num_constraints else torch.ones_like(net)
    needed = (problem.sir_min * problem.constraint_noise)[0] / scale[..., 0] if problem.num_constraints else net[:, 0]
    return limit[0].numpy(), (net / scale).numpy(), needed.numpy()


def _membership(problem: MaxMinSinrProblem) -> Array:
    """1 where a link (column) belongs to an AP (row); APs without links are left out."""
    member = np.arange(problem.num_aps)[:, None] == problem.link_ap[0].numpy()[None]
    return member[member.any(1)].astype(float)


def _solve(programme: Any) -> bool:
    """Solve with Clarabel; whether it found a solution."""
    import cvxpy as cp

    try:
        with warnings.catch_warnings():
            # "May be inaccurate": every answer is judged by the problem itself afterwards.
            warnings.simplefilter("ignore", UserWarning)
            programme.solve(solver=cp.CLARABEL, max_threads=1)
    except cp.SolverError:
        return False
    return programme.status in _SOLVED
