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

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.solvers.tracking.certificate import relaxed_leakage, upper_bound, with_tangents
from isac_torch.solvers.tracking.feasibility import repair
from isac_torch.solvers.tracking.position_cone import towards
from isac_torch.solvers.tracking.reference_cones import DropCones
from isac_torch.tracking.problem import MaxMinSinrProblem

Tie = Literal["least_power", "none"]

_MAX_ROUNDS = 30
_STALLED = 1e-6
"""Relative gain below which further rounds are not worth their time."""
_POWER_FLOOR = 1e-9
"""Smallest share of the budget at which a tangent is taken; at zero it would be vertical."""


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
        problem: one drop, float64, whose sensing constraints can be met.
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

    The first g and weights are those of `start` (W), which may break the sensing constraints: they only have to be plausible.
    Once the value has nearly settled, g is set a little above it: there either d < 0, whose dual variables prove that g is out
    of reach, or the step is at least that good.
    """
    cones = DropCones(problem, problem.leakage)
    power = _settle(problem, start, inside)
    value, bound = problem.objective(power), torch.full_like(start[:, 0], torch.inf)
    goal, around = problem.objective(start), start
    for _ in range(_MAX_ROUNDS):
        step = cones.step(goal, problem.interference(around))
        if step is None and bool(goal > value):
            # Far above what is reachable the cones would need a negative s_k.
            goal = torch.maximum(goal / 2.0, value)
            continue
        if step is None:
            break
        step = _settle(problem, step, inside)
        gain = float(problem.objective(step) / value - 1.0)
        if gain > 0.0:
            power, value = step, problem.objective(step)
        if gain < gap:
            proof = cones.upper_bound(problem) if problem.position is None else _tangent_bound(problem, power, gap)
            bound = torch.minimum(bound, proof)
            if bool(bound - value <= gap * bound):
                return power, bound
        around = power
        if gain >= gap:
            goal = value
        elif bool(bound > 2.0 * value):
            goal = (bound * value).sqrt()  # stuck in a corner where the cones are badly scaled: bisect
        else:
            goal = value * (1.0 + 0.9 * gap)
    return power, torch.minimum(bound, upper_bound(_relaxed(problem, power), power))


def _tangent_bound(problem: MaxMinSinrProblem, power: Tensor, gap: float) -> Float[Tensor, "1"]:
    """Certificate with tangents at `power` (W) in place of the requirement on positions: one step a little above the value."""
    relaxed = _relaxed(problem, power)
    cones = DropCones(relaxed, relaxed.leakage)
    found = cones.step(problem.objective(power) * (1.0 + 0.9 * gap), relaxed.interference(power))
    return upper_bound(relaxed, power) if found is None else cones.upper_bound(relaxed)


def _relaxed(problem: MaxMinSinrProblem, power: Tensor) -> MaxMinSinrProblem:
    """The problem with tangents at `power` (W) in place of the requirement on positions."""
    return with_tangents(problem, torch.maximum(power, _POWER_FLOOR * problem.link_budget))


def _settle(problem: MaxMinSinrProblem, power: Tensor, inside: Tensor) -> Tensor:
    """Powers (W) that meet every constraint, on the way from `power` to `inside`."""
    return towards(problem, repair(problem, power, inside), inside)


def _climb(problem: MaxMinSinrProblem, power: Tensor, inside: Tensor) -> Tensor:
    """Shared pilots: rounds on the majorised problem until nothing is gained. Feasible powers (W)."""
    power = _settle(problem, power, inside)
    for _ in range(_MAX_ROUNDS):
        value = problem.objective(power)
        step = DropCones(problem, majorised_leakage(problem, power)).step(value, problem.interference(power))
        if step is None:
            break
        step = _settle(problem, step, inside)
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
    saved = DropCones(problem, majorised_leakage(problem, power)).least_power((1.0 - slack) * value)
    if saved is None:
        return power
    saved = _settle(problem, saved, inside)
    # What the solver's tolerance took from the SINR comes back on the way to `power`.
    for share in (0.0, 0.01, 0.1, 0.5):
        mixed = saved + share * (power - saved)
        if bool(problem.objective(mixed) >= (1.0 - 1.02 * slack) * value):
            return mixed
    return power
