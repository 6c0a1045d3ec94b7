"""A computed upper bound on the largest minimum SINR, which trusts no solver.

Write the problem with v_k(p) = N_k^T p + 1, C_l = S_l - SIR0_l I_l and m_l = SIR0_l n_l. Take any dual variables of the UEs
lambda_k >= 0, any dual variables of the sensing constraints nu_l >= 0, and for each UE any positive shares theta_e that sum to
one over its serving links. By Cauchy-Schwarz

    (sum_e a_e sqrt p_e)^2 <= sum_e a_e^2 p_e / theta_e .

If powers p reach the value g and meet every constraint, then summing "signal - g * interference >= 0" with the dual
variables gives

    g sum_k lambda_k + sum_l nu_l m_l <= sum_e c_e(g) p_e <= sum_m P_m max(0, max_{e at AP m} c_e(g)),
    c_e(g) = lambda_{k(e)} a_e^2 / theta_e - g sum_k lambda_k N_ke + sum_l nu_l C_le .

A g that breaks this inequality is therefore out of reach, and so is every larger one. The left side minus the right one is
concave in g and not positive at g = 0 (or the dual variables prove that no powers meet the constraints), so bisection finds
the point where it turns positive: that is the bound. It holds for any dual variables and shares; good ones only make it tight.
At the optimum the best shares are theta_e ~ a_e sqrt p_e; given dual variables of the budgets pi_m too, theta_e ~ a_e^2 /
(pi_m + g sum_k lambda_k N_ke - sum_l nu_l C_le), less sensitive to powers near 0.

With shared pilots the interference has the further term sum_j (sum_s c_kjs sqrt p_js)^2. Each product with a positive sign is
dropped, each with a negative sign is bounded by 2 sqrt(p_s p_t) <= w p_s + p_t / w (any w > 0; tight at w = sqrt(p_t/p_s)),
which leaves a linear lower bound: c^2 joins N, less the negative products. The bound stays rigorous, though no longer tight.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.solvers.tracking.position_rows import scaled_information, shape
from isac_torch.tracking.problem import MaxMinSinrProblem

_SHARE_FLOOR = 1e-7
"""Smallest share of a link relative to its UE's largest: keeps the Cauchy bound finite at silent links."""
_BISECTIONS = 64
_DUAL_ROUNDS = 3
_SHARE_ROUNDS = 2
"""Shares from dual variables of the budgets depend on g: the bound that they prove is a better guess than the value at hand."""
_ROUND_OFF = 1e-12
"""Relative room for the rounding of float64 sums."""


@dataclass(frozen=True)
class Duals:
    """Multipliers of the max-min problem; only their mutual ratios matter.

    Attributes:
        ue: lambda_k of signal_k - g * interference_k, both over the noise; dimensionless, not negative.
        sensing: nu_l of the sensing constraint (S_l - SIR0_l I_l) p >= 0 as scaled in the problem; not negative.
    """

    ue: Float[Tensor, "drop ue"]
    sensing: Float[Tensor, "drop constraint"]


@dataclass(frozen=True)
class _Linear:
    """The linear programme behind the bound, in powers relative to each link's AP budget.

    gain: a_e^2 P / theta_e of the serving links. leakage: N_ke P, with the linear part of shared pilots. margin: C_le P.
    needed: m_l.
    """

    gain: Tensor
    leakage: Tensor
    margin: Tensor
    needed: Tensor
    link_ap: Tensor
    num_aps: int


def upper_bound(
    problem: MaxMinSinrProblem,
    power: Float[Tensor, "drop link"],
    ue_dual: Float[Tensor, "drop ue"] | None = None,
    sensing_dual: Float[Tensor, "drop constraint"] | None = None,
    budget_dual: Float[Tensor, "drop ap"] | None = None,
) -> Float[Tensor, " drop"]:
    """Rigorous bound on the objective that any feasible powers reach. See the module's docstring for the mathematics.

    Args:
        problem: max-min SINR problems. Constraints that cannot be met make every bound true; give such problems a reachable
            SIR0.
        power: W; only sets the shares theta_e ~ a_e sqrt p_e, so it need not be feasible. Non-finite entries count as 0.
        ue_dual: lambda_k >= 0; with sensing_dual None, the dual variables of the sensing constraints count as 0. None: both
            are found by a linear programme.
        sensing_dual: nu_l >= 0 of the constraints as scaled in the problem.
        budget_dual: pi_m of the budgets, 1/W, on the scale of the other dual variables; with it, a second set of shares is
            tried.

    Returns:
        Linear SINR that no feasible powers exceed; inf where the dual variables of a drop are all zero or not finite.
    """
    linear = _linearise(problem, power)
    if ue_dual is None:
        duals = _best_duals(linear, problem, power)
    else:
        duals = Duals(ue_dual, torch.zeros_like(problem.sir_min) if sensing_dual is None else sensing_dual)
    bound = _bound(linear, duals)
    if budget_dual is not None and ue_dual is not None:
        sinr = problem.objective(power.nan_to_num(0.0).clamp_min(0.0)).to(torch.float64)
        for _ in range(_SHARE_ROUNDS):
            shared = _shares_of_duals(linear, duals, problem, budget_dual, sinr)
            sinr = _bound(shared, duals)
            bound = torch.minimum(bound, sinr)
    return bound


def with_tangents(problem: MaxMinSinrProblem, power: Float[Tensor, "drop link"]) -> MaxMinSinrProblem:
    """The problem with the tangents of every h at positive `power` (W) as sensing constraints, the last ones, in its place.

    h is concave, so that the tangents allow all that it allows: a bound for these constraints holds for the problem.
    """
    if problem.position is None:
        return problem
    limit = problem.link_budget
    seen = shape(scaled_information(problem.position, limit), power / limit)
    slope = seen.slope / limit.unsqueeze(1)
    one = torch.ones_like(seen.value)
    needed = one - seen.value + torch.einsum("dte,de->dt", slope, power)
    return replace(
        problem,
        echo=torch.cat([problem.echo, slope], 1),
        cross_echo=torch.cat([problem.cross_echo, torch.zeros_like(slope)], 1),
        sir_min=torch.cat([problem.sir_min, one], 1),
        echo_noise=torch.cat([problem.constraint_noise, needed.clamp_min(0.0)], 1),
        position=None,
    )


def relaxed_leakage(problem: MaxMinSinrProblem, power: Float[Tensor, "drop link"]) -> Float[Tensor, "drop ue link"]:
    """Leakage in 1/W whose linear interference never exceeds the true one, shared pilots included. `power` in W sets w."""
    if not problem.has_pilot_reuse:
        return problem.leakage
    amplitude = problem.serving_power(power).clamp_min(0.0).sqrt()
    amplitude = amplitude.clamp_min(1e-9 * problem.budget.amax().sqrt())
    coherent = problem.coherent
    products = coherent.unsqueeze(-1) * coherent.unsqueeze(-2)
    ratio = amplitude.unsqueeze(-2) / amplitude.unsqueeze(-1)
    negative = (products.clamp_max(0.0) * ratio.unsqueeze(1)).sum(-1)
    extra = (coherent.square() + negative).flatten(2)
    leakage = problem.leakage.clone()
    leakage[:, :, : problem.num_comm_links] += extra
    return leakage


def _linearise(problem: MaxMinSinrProblem, power: Tensor) -> _Linear:
    problem = problem.cast(torch.float64)
    power = power.detach().to(torch.float64).nan_to_num(0.0, 0.0, 0.0).clamp_min(0.0)
    limit = problem.link_budget
    strength = problem.signal * problem.serving_power(power).sqrt()
    equal = problem.signal * problem.serving_power(limit).sqrt()
    strength = torch.where(strength.amax(-1, keepdim=True) > 0, strength, equal)
    strength = strength.clamp_min(_SHARE_FLOOR * strength.amax(-1, keepdim=True)).clamp_min(1e-300)
    share = strength / strength.sum(-1, keepdim=True)
    return _Linear(
        gain=problem.signal.square() * problem.serving_power(limit) / share,
        leakage=relaxed_leakage(problem, power) * limit.unsqueeze(1),
        margin=(problem.echo - problem.sir_min.unsqueeze(-1) * problem.cross_echo) * limit.unsqueeze(1),
        needed=problem.sir_min * problem.constraint_noise,
        link_ap=problem.link_ap,
        num_aps=problem.num_aps,
    )


def _shares_of_duals(linear: _Linear, duals: Duals, problem: MaxMinSinrProblem, budget_dual: Tensor, value: Tensor) -> _Linear:
    """The same programme with shares theta_e ~ a_e^2 over the link's cost at SINR `value`, instead of a_e sqrt p_e."""
    limit = problem.link_budget.to(torch.float64)
    ue, sensing = duals.ue.to(torch.float64), duals.sensing.to(torch.float64)
    cost = budget_dual.to(torch.float64).gather(1, problem.link_ap) * limit
    cost = cost + value.unsqueeze(-1) * torch.einsum("dk,dke->de", ue, linear.leakage)
    cost = problem.serving_power(cost - torch.einsum("dl,dle->de", sensing, linear.margin))
    square = problem.signal.to(torch.float64).square() * problem.serving_power(limit)
    share = square / torch.maximum(cost, 1e-12 * cost.abs().amax(-1, keepdim=True)).clamp_min(1e-300)
    share = share.clamp_min(_SHARE_FLOOR * share.amax(-1, keepdim=True)).clamp_min(1e-300)
    return replace(linear, gain=square * share.sum(-1, keepdim=True) / share)


def _bound(linear: _Linear, duals: Duals) -> Tensor:
    """Root in g of sum_m max(0, max_e c_e(g)) = g sum_k lambda_k + sum_l nu_l m_l, from above."""
    ue = duals.ue.detach().to(torch.float64).clamp_min(0.0)
    sensing = duals.sensing.detach().to(torch.float64).clamp_min(0.0)
    scale = ue.amax(-1, keepdim=True).clamp_min(1e-300)
    ue, sensing = ue / scale, sensing / scale
    fixed = torch.einsum("dl,dle->de", sensing, linear.margin)
    fixed[:, : ue.shape[1] * linear.gain.shape[2]] += (ue.unsqueeze(-1) * linear.gain).flatten(1)
    slope = torch.einsum("dk,dke->de", ue, linear.leakage)
    total, owed = ue.sum(-1), (sensing * linear.needed).sum(-1)

    def excess(value: Tensor) -> Tensor:
        coefficient = fixed - value.unsqueeze(-1) * slope
        top = coefficient.new_zeros(len(value), linear.num_aps)
        return top.scatter_reduce(1, linear.link_ap, coefficient, "amax", include_self=True).sum(-1) - value * total - owed

    low = torch.zeros_like(total)
    high = (excess(low) / total).clamp_min(1e-300)
    for _ in range(20):
        # negative linear coefficients (shared pilots) can make the first guess too small
        high = torch.where(excess(high) > 0, 2.0 * high, high)
    sound = excess(high) <= 0
    for _ in range(_BISECTIONS):
        middle = torch.where(low > 0.5 * high, 0.5 * (low + high), (low * high).sqrt().clamp_min(1e-3 * high))
        above = excess(middle) < 0
        high, low = torch.where(above, middle, high), torch.where(above, low, middle)
    bound = high * (1.0 + _ROUND_OFF)
    return torch.where(sound & bound.isfinite() & (total > 0), bound, torch.full_like(bound, torch.inf))


def _best_duals(linear: _Linear, problem: MaxMinSinrProblem, power: Tensor) -> Duals:
    """A few rounds per drop: dual variables that are best at g, then g = their bound, until the bound stops falling."""
    problem = problem.cast(torch.float64)
    power = power.detach().to(torch.float64).nan_to_num(0.0, 0.0, 0.0).clamp_min(0.0)
    interference = problem.interference(power)
    start = Duals(1.0 / interference, torch.zeros_like(problem.sir_min))
    bound = _bound(linear, start)
    target = torch.minimum(problem.sinr(power).amin(-1).clamp_min(1e-6 * bound), bound)
    duals = start
    for _ in range(_DUAL_ROUNDS):
        found = [_solve_duals(linear, interference, d, float(target[d])) for d in range(len(bound))]
        trial = Duals(torch.stack([f[0] for f in found]), torch.stack([f[1] for f in found]))
        new = _bound(linear, trial)
        better = new < bound
        duals = Duals(
            torch.where(better.unsqueeze(-1), trial.ue, duals.ue),
            torch.where(better.unsqueeze(-1), trial.sensing, duals.sensing),
        )
        falling = new < bound * (1.0 - 1e-6)
        bound = torch.minimum(new, bound)
        target = bound
        if not bool(falling.any()):
            break
    return duals


def _solve_duals(linear: _Linear, interference: Tensor, drop: int, value: float) -> tuple[Tensor, Tensor]:
    """Dual variables that minimise sum_m pi_m - value * sum_k lambda_k - sum_l nu_l m_l, pi_m >= c_e(value); NaN if none.

    Dual variables are scaled so that each UE's interference, each constraint's largest coefficient and the objective are of
    order one.
    """
    import numpy as np
    from scipy.optimize import linprog

    noise = interference[drop].numpy()
    gain, leakage, margin = linear.gain[drop].numpy(), linear.leakage[drop].numpy(), linear.margin[drop].numpy()
    num_ues, serving = gain.shape
    num_constraints, num_links = margin.shape
    size = np.abs(margin).max(axis=1) if num_constraints else np.ones(0)
    size = np.where(size > 0, size, 1.0)
    columns = -leakage.T / noise
    for k in range(num_ues):
        columns[k * serving : (k + 1) * serving, k] += gain[k] / (value * noise[k])
    budgets = np.zeros((num_links, linear.num_aps))
    budgets[np.arange(num_links), linear.link_ap[drop].numpy()] = -1.0
    matrix = np.hstack([columns, (margin / size[:, None]).T, budgets])
    cost = np.concatenate([-1.0 / noise, -linear.needed[drop].numpy() / size, np.ones(linear.num_aps)])
    norm = np.concatenate([np.ones(num_ues), np.zeros(num_constraints + linear.num_aps)])[None]
    answer = linprog(cost, A_ub=matrix, b_ub=np.zeros(num_links), A_eq=norm, b_eq=[1.0], bounds=(0, None), method="highs")
    if answer.x is None:
        return torch.full((num_ues,), torch.nan, dtype=torch.float64), torch.zeros(num_constraints, dtype=torch.float64)
    ue = torch.from_numpy(answer.x[:num_ues] / noise)
    sensing = torch.from_numpy(answer.x[num_ues : num_ues + num_constraints] * value / size)
    return ue, sensing
