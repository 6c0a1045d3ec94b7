"""Newton's steps for the min-max NMSE of one road in numpy: what answers where the network misses a bound, (P30).

    minimise t   subject to   r_k(p) <= t,   a_k(p) >= 0,   sum_k p_km <= P_m,   p >= 0,
    r_k = log w_k NMSE_k,   a_k = log(Gamma_k / CRB_k),

by a logarithmic barrier of weight mu that falls from step to step. -log of the strength of (P8) is convex and a_k is concave;
log of the error of (P7) is replaced by its tangent in the powers at fixed weights of the receiver, which lies above it and
touches it where the step starts (P19), so that the barrier never rises. Without r_k and with a_k >= -t in place of a_k >= 0
the same steps find the best localisation, `located`.

The unknowns are the powers and t. With B the curvature of the UEs' own links, one block per UE, and U the slopes of the
couplings (r_k of all UEs, loads of the APs) with weights W, a step solves

    (B + U W U^T) dp = -g   through   (W^-1 + U^T B^-1 U) y = -U^T B^-1 g   (bordered by t),   dp = -B^-1 (g + U y).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from isac_torch.deployment.patience import still_wanted

if TYPE_CHECKING:
    from isac_torch.deployment.downlink_pilots.problem import RoadProblem, Value

_FIRST, _LAST, _FALL = 0.03, 3e-5, 0.2
"""Weight of the barrier in the first and last steps, nepers of NMSE, and its fall after a step that was taken whole."""
_NEAR = 1.0
"""Fall that a step promises, over the barrier's weight, below which the weight falls."""
_STEPS = 60
"""At most."""
_SLACK = 1e-3
"""Of log(Gamma / CRB), at which the search for a place inside the bounds ends."""
_INSIDE = 0.02
"""Share of even powers that is mixed into a start, so that no power and no slack is zero."""


class State(NamedTuple):
    """Powers (W, [ue, ap]) and the epigraph variable t that bounds the logarithms."""

    power: Float[ndarray, "ue ap"]
    epigraph: float


def located(problem: RoadProblem, power: Float[ndarray, "ue ap"]) -> Float[ndarray, "ue ap"]:
    """Powers (W) near `power` that keep every localisation bound, or those of the best localisation where there are none."""
    return _descended(problem, power, locate=True)


def improved(problem: RoadProblem, power: Float[ndarray, "ue ap"]) -> Float[ndarray, "ue ap"]:
    """Powers (W) of a smaller largest NMSE; `power` keeps the localisation bounds strictly, and so does what is returned."""
    return _descended(problem, power, locate=False)


def _descended(problem: RoadProblem, power: Float[ndarray, "ue ap"], locate: bool) -> Float[ndarray, "ue ap"]:
    even = np.broadcast_to(problem.budget / len(power), power.shape)
    share = _INSIDE
    start = power
    for _ in range(12):  # a mixture of powers inside the bounds with even ones may leave them: less of these
        start = (1.0 - share) * power + share * (1.0 - _INSIDE) * even
        if locate or problem.quality(start).value.min() > 0.0:
            break
        share *= 0.25
    state = State(start, _worst(problem, start, locate) + _FIRST)
    weight = _FIRST
    for _ in range(_STEPS):
        still_wanted()
        if locate and -_worst(problem, state.power, locate) > _SLACK:
            break
        state, whole = _step(problem, state, weight, locate)
        if whole:
            if weight <= _LAST:
                break
            weight = max(_FALL * weight, _LAST)
        elif whole is None:
            break
    return state.power


def _worst(problem: RoadProblem, power: Float[ndarray, "ue ap"], locate: bool) -> float:
    """The largest r_k, or -a_k."""
    return float(_bounded(problem, power, locate).max())


def _bounded(problem: RoadProblem, power: Float[ndarray, "ue ap"], locate: bool) -> Float[ndarray, " ue"]:
    return -problem.quality(power).value if locate else np.log(problem.weight * problem.nmse(power))


def _barrier(problem: RoadProblem, state: State, weight: float, locate: bool) -> float:
    """t less `weight` times the logarithms of all slacks; infinite outside."""
    power, epigraph = state
    left = problem.budget - power.sum(0)
    if power.min() <= 0.0 or left.min() <= 0.0:
        return np.inf
    slacks = [(epigraph - _bounded(problem, power, locate)), left / problem.budget, (power / problem.budget).ravel()]
    if not locate:
        slacks.append(problem.quality(power).value)
    every = np.concatenate(slacks)
    return np.inf if not every.min() > 0.0 else float(epigraph - weight * np.log(every).sum())


def _step(problem: RoadProblem, state: State, weight: float, locate: bool) -> tuple[State, bool | None]:
    """One Newton step, shortened until the barrier falls; whether it was taken whole, None where no length lowers it."""
    power, epigraph = state
    ues, aps = power.shape
    quality, bend = _accuracy(problem, power)
    block = np.zeros((ues, aps, aps))
    own = np.arange(aps)
    block[:, own, own] = weight / power**2
    gradient = -weight / power
    if locate:
        pull = weight / (epigraph + quality.value)
        slopes = np.zeros((ues, ues, aps))
        slopes[np.arange(ues), np.arange(ues)] = -quality.slope
        block += pull[:, None, None] * bend
    else:
        error, strength = problem.error(power), problem.strength(power)
        pull = weight / (epigraph - np.log(problem.weight * error.value / strength.value))
        slopes = error.every / error.value[:, None, None]
        slopes[np.arange(ues), np.arange(ues)] -= strength.slope / strength.value[:, None]
        held = weight / quality.value
        gradient = gradient - held[:, None] * quality.slope
        block += held[:, None, None] * bend + pull[:, None, None] * _convexity(problem, power, strength)
        block += (held**2 / weight)[:, None, None] * quality.slope[:, :, None] * quality.slope[:, None, :]
    left = problem.budget - power.sum(0)
    gradient = gradient + np.tensordot(pull, slopes, 1) + weight / left
    change, rise = _solved(block, slopes, gradient, pull**2 / weight, weight / left**2, 1.0 - pull.sum())
    decrement = -float((gradient * change).sum() + (1.0 - pull.sum()) * rise)
    here = _barrier(problem, state, weight, locate)
    length = min(1.0, 0.95 / max(float((-change / power).max()), 1e-9))
    for _ in range(25):
        new = State(power + length * change, epigraph + length * rise)
        if _barrier(problem, new, weight, locate) < here:
            return new, decrement < _NEAR * weight
        length *= 0.5
    return state, None


def _solved(
    block: Float[ndarray, "ue ap ap"],
    slopes: Float[ndarray, "ue ue ap"],
    gradient: Float[ndarray, "ue ap"],
    of_bounded: Float[ndarray, " ue"],
    of_loads: Float[ndarray, " ap"],
    by_epigraph: float,
) -> tuple[Float[ndarray, "ue ap"], float]:
    """Newton's change of the powers and of t; `by_epigraph` is the barrier's derivative by t, `of_*` are the weights W."""
    ues, aps = gradient.shape
    inverse = np.linalg.inv(block)
    couplings = np.concatenate([slopes.transpose(1, 2, 0), np.broadcast_to(np.eye(aps), (ues, aps, aps))], -1)
    spread = inverse @ couplings
    moved = (inverse @ gradient[..., None])[..., 0]
    count = ues + aps
    matrix = np.zeros((count + 1, count + 1))
    matrix[:count, :count] = np.tensordot(couplings, spread, ([0, 1], [0, 1]))
    matrix[np.arange(count), np.arange(count)] += 1.0 / np.concatenate([of_bounded, of_loads])
    matrix[:ues, count] = matrix[count, :ues] = 1.0
    right = np.append(-np.tensordot(couplings, moved, ([0, 1], [0, 1])), by_epigraph)
    answer = np.linalg.solve(matrix, right)
    return -moved - spread @ answer[:count], float(answer[count])


def _accuracy(problem: RoadProblem, power: Float[ndarray, "ue ap"]) -> tuple[Value, Float[ndarray, "ue ap ap"]]:
    """a_k with its slopes, and minus its curvature in the UE's own powers, [ue, ap, ap]."""
    quality = problem.quality(power)
    xx, yy, xy = (problem.fisher * power).sum(-1)[..., None, None]
    determinant = xx * yy - xy * xy
    x, y, c = problem.fisher
    trace = x + y
    cross = x[:, :, None] * y[:, None, :]
    bend = quality.slope + trace / (xx + yy)[..., 0]  # slope of log det J
    second = (cross + cross.swapaxes(1, 2) - 2.0 * c[:, :, None] * c[:, None, :]) / determinant
    by_trace = trace / (xx + yy)[..., 0]
    curved = bend[:, :, None] * bend[:, None, :] - second - by_trace[:, :, None] * by_trace[:, None, :]
    return quality, curved


def _convexity(problem: RoadProblem, power: Float[ndarray, "ue ap"], strength: Value) -> Float[ndarray, "ue ap ap"]:
    """Curvature of -log of the strength in the UE's own powers."""
    ratio = np.sqrt(problem.estimate / power)
    total = (ratio * power).sum(-1)
    slope = strength.slope / strength.value[:, None]
    curved = slope[:, :, None] * slope[:, None, :]
    curved -= 0.5 * ratio[:, :, None] * ratio[:, None, :] / strength.value[:, None, None]
    own = np.arange(power.shape[1])
    curved[:, own, own] += 0.5 * total[:, None] * ratio / power / strength.value[:, None]
    return curved
