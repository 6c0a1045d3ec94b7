"""How much sensing a drop can deliver at best: decides feasibility and gives the best effort where there is none."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from isac_torch.tracking.problem import MaxMinSinrProblem

_MAX_ROUNDS = 40
_TOLERANCE = 1e-9

_CEILING = 5e-7
"""Where SIR0 is the largest that any powers reach, the powers that meet it have no interior, and solvers need one: they get
this share of SIR0, half of what may be missed."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SensingLimit:
    """The best that any powers can do for the sensing constraints of each drop; budgets bind only where constraints have noise.

    Attributes:
        margin: largest reachable min_l SIR_l / SIR0_l, linear; inf in a drop without constraints.
        margin_bound: no powers reach a larger margin; computed from dual variables alone, so that no solver has to be trusted.
        power: powers that reach `margin`, W, scaled until one AP sends its whole budget; 0 in a drop without constraints.
        sir_floor: smallest SIR0 of each drop, linear; NaN in a drop without constraints.
    """

    margin: Float[Tensor, " drop"]
    margin_bound: Float[Tensor, " drop"]
    power: Float[Tensor, "drop link"]
    sir_floor: Float[Tensor, " drop"]

    @property
    def infeasible(self) -> Bool[Tensor, " drop"]:
        """Drops that are proven to have no powers that meet every constraint."""
        return self.margin_bound < 1.0

    @property
    def best_sir(self) -> Float[Tensor, " drop"]:
        """Largest reachable SIR of the worst target, linear, when the SIR0 of all targets keep their proportions."""
        return self.margin * self.sir_floor

    def select(self, index: Tensor) -> SensingLimit:
        """The limits of the drops at `index`."""
        return SensingLimit(self.margin[index], self.margin_bound[index], self.power[index], self.sir_floor[index])


def largest_sir(problem: MaxMinSinrProblem) -> SensingLimit:
    """Largest common factor by which every drop can exceed its SIR requirements.

        maximise min_l S_l^T p / (SIR0_l (I_l^T p + n_l)) over p >= 0, p != 0

    is quasi-linear: Dinkelbach's method solves it by about five small LPs (HiGHS). Dual variables nu >= 0 of the constraints
    prove the answer. Without noise no p exceeds max_e (sum_l nu_l S_le) / (sum_l nu_l SIR0_l I_le), the bound of von Neumann's
    growth model, and budgets do not matter. With noise they do: no p within the budgets P_m exceeds the z at which
    sum_m P_m max(0, max_{e at m} sum_l nu_l (S_le - z SIR0_l I_le)) = z sum_l nu_l SIR0_l n_l.

    Args:
        problem: drops with sensing constraints, coefficients in 1/W.

    Returns:
        The limit of each drop, in the problem's floating type and on its device. Never raises.
    """
    if problem.num_constraints == 0:
        unknown = torch.full_like(problem.budget[:, 0], torch.nan)
        unlimited = torch.full_like(unknown, torch.inf)
        return SensingLimit(unlimited, unlimited, torch.zeros_like(problem.link_gain), unknown)
    echo = problem.echo.double().cpu().numpy()
    required = (problem.cross_echo * problem.sir_min[..., None]).double().cpu().numpy()
    noise = (problem.constraint_noise * problem.sir_min).double().cpu().numpy()
    budget, ap = problem.budget.double().cpu().numpy(), problem.link_ap.cpu().numpy()
    solved = [_limit(echo[i], required[i], noise[i], budget[i], ap[i]) for i in range(problem.num_drops)]
    like = problem.budget
    power = torch.as_tensor(np.stack([s[2] for s in solved]), dtype=like.dtype, device=like.device)
    load = (problem.ap_load(power) / like).amax(-1, keepdim=True)
    asked = torch.where(problem.sir_min > 0.0, problem.sir_min, torch.inf).amin(-1)
    return SensingLimit(
        margin=torch.tensor([s[0] for s in solved], dtype=like.dtype, device=like.device),
        margin_bound=torch.tensor([s[1] for s in solved], dtype=like.dtype, device=like.device),
        power=torch.where(load > 0.0, power / load, torch.zeros_like(power)),
        sir_floor=torch.where(asked.isfinite(), asked, torch.nan),
    )


def _limit(echo: Array, required: Array, noise: Array, budget: Array, ap: NDArray[np.int64]) -> tuple[float, float, Array]:
    """The limit of one drop: (margin, bound, powers). Constraints that ask for nothing do not count."""
    asks = (required.max(1) > 0.0) | (noise > 0.0)
    if not asks.any():
        return float("inf"), float("inf"), budget[ap] / np.bincount(ap, minlength=len(budget))[ap]
    echo, required, noise = echo[asks], required[asks], noise[asks]
    if not (echo.max(1) > 0.0).all():
        return 0.0, 0.0, np.zeros(echo.shape[1])
    if noise.any():
        return _largest_noisy_margin(echo, required, noise, budget, ap)
    return _largest_margin(echo, required)


def _largest_margin(echo: Array, required: Array) -> tuple[float, float, Array]:
    """Dinkelbach's method on max_p min_l echo_l.p / required_l.p for one drop: (margin, bound, unscaled powers).

    The ratio does not change when a link or a constraint is rescaled, so both are balanced first: raw echoes span many decades.
    """
    scale = 1.0 / np.maximum(echo.max(1, keepdims=True), np.finfo(float).tiny)
    echo, required = echo * scale, required * scale
    size = (echo + required).max(0)
    used = size > 0.0
    width = np.where(used, size, 1.0)
    own, other = (echo / width)[:, used], (required / width)[:, used]
    share = np.full(own.shape[1], 1.0 / own.shape[1])
    margin, bound, best = _ratio(own, other, share), np.inf, share
    for _ in range(_MAX_ROUNDS):
        solution = _margin_step(own, other, margin, other @ share)
        if solution is None:
            break
        share, dual = solution
        if not (other @ share).max() > 0.0:  # no target disturbs another at these powers
            margin, best = float("inf"), share
            break
        bound = min(bound, _dual_bound(own, other, dual))
        reached = _ratio(own, other, share)
        improved = reached > margin * (1.0 + _TOLERANCE)
        if reached > margin:
            margin, best = reached, share
        if not improved or bound <= margin * (1.0 + _TOLERANCE):
            break
    power = np.zeros(used.shape)
    power[used] = best / width[used]
    return margin, max(bound, margin), power


def _largest_noisy_margin(
    echo: Array, required: Array, noise: Array, budget: Array, ap: NDArray[np.int64]
) -> tuple[float, float, Array]:
    """The same with noise in the constraints: max_p min_l echo_l.p / (required_l.p + noise_l) within the budgets.

    One LP a step: maximise d subject to echo_l.x - z (required_l.x + noise_l) >= d weight_l, loads at most 1, x >= 0, with x
    relative to the budgets.
    """
    from scipy.optimize import linprog

    limit = budget[ap]
    scale = 1.0 / np.maximum((echo * limit).max(1, keepdims=True), np.finfo(float).tiny)
    own, other, least = echo * limit * scale, required * limit * scale, noise * scale[:, 0]
    rows, links = own.shape
    load = (np.arange(len(budget))[:, None] == ap[None]).astype(float)
    used = load.any(1)
    share = 1.0 / load.sum(1)[ap]
    margin, bound = float(((own @ share) / (other @ share + least)).min()), np.inf
    best = share
    for _ in range(_MAX_ROUNDS):
        weight = other @ share + least
        weight = np.maximum(weight, 1e-12 * weight.max())
        gain = np.hstack([(own - margin * other) / weight[:, None], -np.ones((rows, 1))])
        loads = np.hstack([load[used], np.zeros((int(used.sum()), 1))])
        found = linprog(
            np.append(np.zeros(links), -1.0),
            A_ub=np.vstack([-gain, loads]),
            b_ub=np.concatenate([-margin * least / weight, np.ones(len(loads))]),
            bounds=[(0.0, None)] * links + [(None, None)],
            method="highs",
            options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
        )
        if found.status != 0 or found.x is None:
            break
        share = np.maximum(found.x[:-1], 0.0)
        share = share / max(1.0, float((load @ share).max()))
        dual = np.maximum(-found.ineqlin.marginals[:rows], 0.0) / weight
        bound = min(bound, _noisy_dual_bound(dual @ own, dual @ other, float(dual @ least), load[used] > 0.0))
        reached = float(((own @ share) / np.maximum(other @ share + least, np.finfo(float).tiny)).min())
        improved = reached > margin * (1.0 + _TOLERANCE)
        if reached > margin:
            margin, best = reached, share
        if not improved or bound <= margin * (1.0 + _TOLERANCE):
            break
    return margin, max(bound, margin), best * limit


def _noisy_dual_bound(own: Array, other: Array, noise: float, member: NDArray[np.bool_]) -> float:
    """Largest z with sum_m max(0, max_{e at m} own_e - z other_e) >= z noise: no powers within the budgets reach more."""
    if not noise > 0.0:
        return float("inf")

    def excess(sir: float) -> float:
        worth = np.maximum(own - sir * other, 0.0)
        return float(np.where(member, worth, 0.0).max(1).sum()) - sir * noise

    low, high = 0.0, excess(0.0) / noise
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if excess(middle) >= 0.0 else (low, middle)
    return high * (1.0 + 1e-12)


def _margin_step(own: Array, other: Array, margin: float, weight: Array) -> tuple[Array, Array] | None:
    """The LP of one Dinkelbach step: shares and dual variables of the sensing constraints; None when HiGHS reports trouble.

    maximise d subject to own_l.y - margin other_l.y >= d weight_l, sum y = 1, y >= 0.
    """
    from scipy.optimize import linprog

    rows, links = own.shape
    weight = np.maximum(weight, 1e-12 * weight.max())
    cost = np.append(np.zeros(links), -1.0)
    gain = np.hstack([(own - margin * other) / weight[:, None], -np.ones((rows, 1))])
    total = np.append(np.ones(links), 0.0)[None]
    limits: list[tuple[float | None, float | None]] = [(0.0, None)] * links + [(None, None)]
    result = linprog(
        cost,
        A_ub=-gain,
        b_ub=np.zeros(rows),
        A_eq=total,
        b_eq=[1.0],
        bounds=limits,
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if result.status != 0 or result.x is None:
        return None
    share = np.maximum(result.x[:-1], 0.0)
    return share, np.maximum(-result.ineqlin.marginals, 0.0) / weight


def _ratio(own: Array, other: Array, share: Array) -> float:
    """min_l own_l.share / other_l.share."""
    return float(((own @ share) / np.maximum(other @ share, np.finfo(float).tiny)).min())


def _dual_bound(own: Array, other: Array, dual: Array) -> float:
    """max_e (dual.own_e) / (dual.other_e): bounds `_ratio` over all shares, whatever the dual variables >= 0 are."""
    numerator, denominator = dual @ own, dual @ other
    if not denominator.max() > 0.0 or bool(((denominator == 0.0) & (numerator > 0.0)).any()):
        return float("inf")
    return float((numerator / np.where(denominator > 0.0, denominator, 1.0)).max())


def best_effort(
    problem: MaxMinSinrProblem, limit: SensingLimit, *, slack: float = 0.05, everywhere: bool = False
) -> MaxMinSinrProblem:
    """Requirements that can be met: where no powers reach SIR0, it becomes (1 - slack) times the largest reachable one.

    Args:
        problem: the drops.
        limit: their `largest_sir`.
        slack: share of the reachable SIR that is left to communication. The rate collapses as it goes to 0.
        everywhere: in every drop where that is more than SIR0 (sensing has priority); no drop is asked for less than SIR0.

    Returns:
        The same drops with requirements that some powers meet with a little room.
    """
    if problem.num_constraints == 0 and problem.position is None:
        return problem
    lost = limit.infeasible | (limit.margin < 1.0 - _CEILING)
    kept, best = ((1.0 - _CEILING) * limit.margin).clamp_max(1.0), (1.0 - slack) * limit.margin
    factor = torch.where(lost, best, torch.maximum(kept, best) if everywhere else kept)[:, None]
    position = problem.position
    if position is not None:
        position = replace(position, required=position.required * factor)
    return replace(problem, sir_min=problem.sir_min * factor, position=position)


def repair(
    problem: MaxMinSinrProblem, power: Float[Tensor, "drop link"], inside: Float[Tensor, "drop link"]
) -> Float[Tensor, "drop link"]:
    """Powers that meet every constraint exactly, as near to `power` as the way to `inside` allows.

    Negative powers go to 0, overloaded drops are scaled down (a ratio without noise stays), and constraints that are short are
    met by moving towards `inside`; all three are exact because the constraints are linear.

    Args:
        problem: the drops.
        power: W; nearly feasible, as an interior-point solver leaves it.
        inside: W; meets every constraint, e.g. `SensingLimit.power`.

    Returns:
        W. Drops whose `inside` is not feasible come out at `inside`.
    """
    power = power.clamp_min(0.0)
    power = power / (problem.ap_load(power) / problem.budget).amax(-1, keepdim=True).clamp_min(1.0)
    if problem.num_constraints == 0:
        return power
    net = problem.echo - problem.sir_min[..., None] * problem.cross_echo
    have = torch.einsum("dle,de->dl", net, power) - problem.sir_min * problem.constraint_noise
    gain = torch.einsum("dle,de->dl", net, inside - power)
    step = torch.where(have < 0.0, -have / gain.clamp_min(torch.finfo(have.dtype).tiny), torch.zeros_like(have))
    # A hair further than the root, so that rounding does not leave the constraint short.
    step = (step.amax(-1, keepdim=True) * (1.0 + 1e-9)).clamp(0.0, 1.0)
    return power + step * (inside - power)
