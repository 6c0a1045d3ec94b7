"""Fair powers of a large network: weights of UEs grow as their SINR falls, those of sensing constraints with their violation.

    maximise   sum_k U(SINR_k)   subject to the budgets and SIR_l >= SIR0,   U(x) = x^(1 - alpha) / (1 - alpha)

alpha = 1 is proportional fairness, alpha = 2 the harmonic mean of the SINRs, alpha to infinity max-min. A UE in a bad place
raises the marginal cost of power only at the APs around it, so that fairness is local. A UE in outage
(`LargeProblem.outage`) has no weight: no powers help it, and it would take the powers of all UEs around it.

Each step is multiplicative. With the amplitude s_k, interference D_k, weight u_k = SINR_k^(1 - alpha), own echo o_l, other
echoes x_l and weight w_l of each sensing constraint, the stationary point fulfils, for every link e,

    n_e / (d_e + lambda_m(e)) = 1,
    n_e = u_k a_e / (s_k sqrt p_e) + sum_l w_l S_le / o_l,   d_e = sum_k u_k N_ke / D_k + sum_l w_l I_le / x_l

and p_e <- p_e (n_e / (d_e + lambda_m))^step with the least lambda_m >= 0 that keeps AP m within its budget. With
missing_l = 1.03 SIR0 x_l / o_l, the weights of the sensing constraints are eq. (113) of docs/distributed.md,

    v_l <- v_l missing_l^integral,    w_l = v_l missing_l^proportional.

All sums are over neighbours: the cost of a step is linear in the number of APs. Four steps or fewer have a `Pace` of their own
where the fairness is at most 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from isac_torch.large.problem import FarEchoes, LargeProblem

SENSING_MARGIN = 1.03
"""Factor by which SIR0 is exceeded on purpose, since few steps do not reach a constraint exactly."""
_LEAST_POWER = 1e-12
"""W; a link with less power could not recover, since the steps are multiplicative."""
_FIRST_WEIGHT, _LEAST_WEIGHT, _MOST_WEIGHT = 1.0, 1e-8, 1e3
"""Values of v_l, relative to a mean of 1 of u_k; the upper limit keeps an infeasible constraint from taking all power."""
_REFRESH = 15
"""Steps between two evaluations of the far fields, which change little."""
_LEAST_SINR = 1e-30
"""Smallest SINR (linear) that a weight is made from."""
_NEWTON = 5
"""Newton steps for the dual variables of the budgets; a remaining overload is removed by scaling."""


@dataclass(frozen=True)
class Pace:
    """How fast powers and weights move. What is given for each step holds for all further ones as well.

    Attributes:
        ue_share: of each budget that its UEs have at the start, in equal parts.
        target_share: of each budget that each target has at the start; budgets hold: where this is too much, all is scaled.
        length: of each step, times 2 / (1 + fairness).
        integral: exponent with which v_l of a sensing constraint grows in every step.
        proportional: exponent of what is missing now, of each step.
        most: largest factor, and the inverse of the smallest, of both.
    """

    ue_share: float
    target_share: float
    length: tuple[float, ...]
    integral: float
    proportional: tuple[float, ...]
    most: float

    def at(self, step: int) -> tuple[float, float]:
        """Length and proportional exponent of a step."""
        return self.length[min(step, len(self.length) - 1)], self.proportional[min(step, len(self.proportional) - 1)]


_MANY = Pace(ue_share=0.9, target_share=0.02, length=(1.0,), integral=2.0, proportional=(0.0,), most=4.0)
_FEW = Pace(
    ue_share=0.7,
    target_share=0.3,
    length=(0.8, 1.4, 1.4, 1.4),
    integral=0.5,
    proportional=(2.0, 2.0, 3.0, 4.0),
    most=10.0,
)
"""Of as many steps or fewer, up to fairness 3; chosen on three networks of 10,000 APs. More fairness takes shorter steps."""


def fair_powers(
    problem: LargeProblem,
    fairness: float = 3.0,
    steps: int = 30,
    progress: Callable[[int, Float[ndarray, " link"]], None] | None = None,
) -> Float[ndarray, " link"]:
    """Powers (W) within every budget after `steps` steps from equal powers.

    Args:
        problem: any size.
        fairness: alpha, at least 1; larger favours the worst UEs of each neighbourhood.
        steps: each costs a pass over all near pairs; 30 come within one per cent of the result of 120. Four have the 5th
            percentile of the rate of 120, but leave twice as many targets uncertain as 30.
        progress: called with the number of each step and the powers before it.
    """
    pace = _FEW if steps <= len(_FEW.length) and fairness <= 3.0 else _MANY
    power = _equal_start(problem, pace)
    if problem.outage.all():
        return power
    weight = np.full(problem.num_constraints, _FIRST_WEIGHT)
    far, far_echoes = problem.far_interference(power), problem.far_echoes(power)
    for step in range(steps):
        if progress is not None:
            progress(step, power)
        if step and step % _REFRESH == 0:
            far, far_echoes = problem.far_interference(power), problem.far_echoes(power)
        length, proportional = pace.at(step)
        length *= 2.0 / (1.0 + fairness)
        pull, cost = _users(problem, power, far, fairness)
        if problem.num_constraints:
            weight = _sensing(problem, power, far_echoes, weight, (pace.integral, proportional, pace.most), pull, cost)
        power = _within_budgets(problem, power * pull**length, cost, length)
    return power


def _equal_start(problem: LargeProblem, pace: Pace) -> Float[ndarray, " link"]:
    """A share of each budget to its UEs in equal parts, and one to each target, within the budgets."""
    comm, ap = problem.num_comm_links, problem.link_ap
    served = np.bincount(ap[:comm], minlength=problem.num_aps)
    power = pace.target_share * problem.budget[ap]
    power[:comm] = (pace.ue_share * problem.budget / np.maximum(served, 1))[ap[:comm]]
    return power / np.maximum(problem.ap_load(power) / problem.budget, 1.0)[ap]


def _users(
    problem: LargeProblem, power: ndarray, far: tuple[ndarray, ndarray], fairness: float
) -> tuple[Float[ndarray, " link"], Float[ndarray, " link"]]:
    """What the UEs' SINRs add to n and d of every link."""
    users, comm = problem.users, problem.num_comm_links
    amplitude = np.sqrt(power[:comm])
    interference = problem.interference(power, far)
    wanted = problem.wanted(power)
    covered = ~problem.outage
    weight = np.where(covered, np.maximum(wanted**2 / interference, _LEAST_SINR) ** (1.0 - fairness), 0.0)
    weight /= weight.sum() / max(int(covered.sum()), 1)
    pull = np.zeros(len(power))
    pull[:comm] = (users.signal * (weight / wanted)[:, None]).ravel() / amplitude
    per_watt = weight / interference
    cost = problem.beam.received(users.hearing.returned(per_watt))
    shared = per_watt[users.coherent_ue] * problem.pilot_amplitude(power)
    cost[:comm] += (users.coherent.T @ shared) / amplitude
    return pull, cost


def _sensing(
    problem: LargeProblem,
    power: ndarray,
    far: FarEchoes,
    weight: ndarray,
    gains: tuple[float, float, float],
    pull: ndarray,
    cost: ndarray,
) -> Float[ndarray, " target"]:
    """Add the part of the sensing constraints to n and d of every link, in place; the new v_l.

    `gains` are the exponents `integral` and `proportional`, and the largest factor `most` of each, as in `Pace`.
    """
    targets = problem.targets
    if targets is None:
        return weight
    own, other = problem.echoes(power, far)
    missing = SENSING_MARGIN * problem.network.sir_min * other / own
    integral, proportional, most = gains
    weight = (weight * (missing**integral).clip(1.0 / most, most)).clip(_LEAST_WEIGHT, _MOST_WEIGHT)
    now = weight * (missing**proportional).clip(1.0 / most, most)
    asked = np.stack([now * targets.own / own, targets.cross.T @ (now / other)])
    more_pull, more_cost = problem.beam.received(targets.lighting.returned(asked))
    pull += more_pull
    cost += more_cost
    return weight


def _within_budgets(problem: LargeProblem, asked: ndarray, cost: ndarray, length: float) -> Float[ndarray, " link"]:
    """asked / (cost + lambda)^length with the least lambda >= 0 of each AP that keeps its budget."""
    ap, limit, count = problem.link_ap, problem.budget, problem.num_aps
    extra = np.zeros(count)
    for _ in range(_NEWTON):
        total = cost + extra[ap]
        sent = asked * total**-length
        load, slope = np.bincount(ap, sent, count), np.bincount(ap, sent / total, count)
        # load^(-1/length) is nearly linear in lambda, exactly so for an AP with one link.
        busy = load > 0.0
        load, slope = np.where(busy, load, 1.0), np.where(busy, slope, 1.0)
        change = ((limit / load) ** (-1.0 / length) - 1.0) * load / slope
        extra = np.maximum(extra + np.where(busy, change, 0.0), 0.0)
    power = np.maximum(asked * (cost + extra[ap]) ** -length, _LEAST_POWER)
    overload = np.bincount(ap, power, count) / limit
    return power / np.maximum(overload, 1.0)[ap]
