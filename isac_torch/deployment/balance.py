"""The balancing layer of `isac_torch.nn.balance` in numpy: from directions to powers, without gradients.

Tests hold the two against each other; docs/learning.md has the equations.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

if TYPE_CHECKING:
    from isac_torch.deployment.statistics import Coefficients

_TINY = 1e-30
_FEW, _MANY, _NEWTON = 6, 60, 4
"""Steps of the fixed point for all drops, and for those that are not settled then; Newton steps after either, at most."""
_STILL = 1e-8
"""Relative change by a step of the fixed point that a settled drop makes at most."""
_SETTLED = 1e-5
"""Relative change by a Newton step below which it was the last: the next one would change the square of it."""

_RIDGE = 1e-9
"""Added to the diagonal of a Newton step's scaled equations: two targets heard by one receive AP at SIR0 = 0 dB have
one row, twice, and without it the step along what that leaves free would be rounding. It moves no solution."""


@dataclass(frozen=True)
class Constants:
    """Constants of `isac_torch.nn.balance` under which a network was trained; its bundle carries them.

    Attributes:
        sensing_cap: SENSING_CAP.
        least_net_gain: LEAST_NET_GAIN.
        excess_at_zero: EXCESS_AT_ZERO.
        excess_cap: EXCESS_CAP.
    """

    sensing_cap: float
    least_net_gain: float
    excess_at_zero: float
    excess_cap: float


@dataclass(frozen=True)
class _Terms:
    """The problem at fixed shares: matrices over the owners (UEs, then targets)."""

    share: Float[ndarray, "drop link"]
    disturbance: Float[ndarray, "drop ue owner"]
    noise: Float[ndarray, "drop ue"]
    floor: Float[ndarray, "drop target"]
    row: Float[ndarray, "drop row owner"]
    load: Float[ndarray, "drop ap owner"]
    useful: Bool[ndarray, "drop target"]
    cap: float


def balanced_power(
    problem: Coefficients, logits: Float[ndarray, "drop logit"], constants: Constants
) -> Float[ndarray, "drop link"]:
    """Powers (W) that give every UE the same SINR (times its own excess) and every target its SIR; one AP sends its budget.

    Args:
        problem: float64 coefficients.
        logits: directions as `isac_torch.nn.balance.balance` takes them: links, excesses, floors.
        constants: those of the network's training.
    """
    terms = _terms(problem, logits, constants)
    scale, settled = _scales(terms, _FEW, _NEWTON)
    if not settled.all():
        # Tightly coupled rows: near the fixed point Newton's active set is right, farther off it may be another one.
        index = np.flatnonzero(~settled)
        hard: dict[str, Any] = {name: value[index] for name, value in vars(terms).items() if isinstance(value, ndarray)}
        scale[index], _ = _scales(replace(terms, **hard), _MANY, _NEWTON)
    ues, serving, sensing = problem.num_ues, problem.serving, _links_per_target(problem)
    power = terms.share * np.concatenate([scale[:, :ues].repeat(serving, 1), scale[:, ues:].repeat(sensing, 1)], 1)
    overload = (problem.ap_load(power) / problem.budget).max(-1, keepdims=True)
    return power / overload


def _scales(terms: _Terms, iterations: int, newton: int) -> tuple[Float[ndarray, "drop owner"], Bool[ndarray, " drop"]]:
    """Scales (W) from equal ones, and whether another step would leave a drop's as they are.

    At most `newton` Newton steps follow `iterations` of the fixed point; all but the last are followed by one more of those.
    Each drop stops on its own, so that its scales are the same in any batch.
    """
    scale = np.ones((len(terms.noise), terms.load.shape[2]))
    scale /= _apply(terms.load, scale).max(-1, keepdims=True)
    level = np.ones(len(scale))
    for _ in range(iterations):
        scale, level = _step(terms, scale)
    moving, old, after = np.ones(len(scale), bool), scale, scale
    for _ in range(newton):
        new, level, change = _newton(terms, scale, level)
        scale, level = _step(terms, new)
        old, after = np.where(moving[:, None], new, old), np.where(moving[:, None], scale, after)
        moving = moving & ~(change < _SETTLED)
        if not moving.any():
            break
    apart = np.abs(after - old).max(-1) / np.maximum(old.max(-1), _TINY)
    return old, apart < _STILL


def _links_per_target(problem: Coefficients) -> int:
    return (problem.num_links - problem.num_comm_links) // max(problem.num_targets, 1)


def _blocks(problem: Coefficients, value: ndarray) -> tuple[ndarray, ndarray]:
    """A table over links as one block over (UE, its links) and one over (target, its links)."""
    lead, comm = value.shape[:-1], problem.num_comm_links
    ue = value[..., :comm].reshape(*lead, problem.num_ues, problem.serving)
    return ue, value[..., comm:].reshape(*lead, problem.num_targets, _links_per_target(problem))


def _terms(problem: Coefficients, logits: ndarray, constants: Constants) -> _Terms:
    links, ues, targets = problem.num_links, problem.num_ues, problem.num_targets
    comm, sensing = (_softmax(block) for block in _blocks(problem, logits[:, :links]))
    share = np.concatenate([comm.reshape(len(comm), -1), sensing.reshape(len(comm), -1)], 1)
    amplitude = np.sqrt(comm)
    gain = np.maximum((problem.signal * amplitude).sum(-1) ** 2, _TINY)
    disturbance = _by_owner(problem, problem.leakage, comm, sensing)
    if problem.has_pilot_reuse:
        disturbance[..., :ues] += (problem.coherent * amplitude[:, None]).sum(-1) ** 2
    excess, floor = np.split(np.logaddexp(0.0, logits[:, links:] + constants.excess_at_zero), [ues], 1)
    asked = np.exp(np.minimum(excess, constants.excess_cap)) / gain
    floor = floor * (0.01 if problem.num_rows else 0.0)
    owner = np.concatenate(
        [np.arange(ues).repeat(problem.serving), ues + np.arange(targets).repeat(_links_per_target(problem))]
    )
    load = np.zeros((len(comm), problem.num_aps, ues + targets))
    load[np.arange(len(comm))[:, None], problem.link_ap, owner] = share  # an AP has one link at most to each owner
    row, useful = _rows(problem, comm, sensing, constants.least_net_gain)
    load /= problem.budget[..., None]
    return _Terms(share, disturbance * asked[..., None], asked, floor, row, load, useful, constants.sensing_cap)


def _softmax(block: ndarray) -> ndarray:
    if not block.size:
        return block
    weight = np.exp(block - block.max(-1, keepdims=True))
    return np.maximum(weight / weight.sum(-1, keepdims=True), 1e-12)


def _by_owner(problem: Coefficients, weight: ndarray, comm: ndarray, sensing: ndarray) -> ndarray:
    """Rows over links, weighted with the shares and summed over each owner's links."""
    ue, target = _blocks(problem, weight)
    return np.concatenate([(ue * comm[:, None]).sum(-1), (target * sensing[:, None]).sum(-1)], -1)


def _rows(problem: Coefficients, comm: ndarray, sensing: ndarray, least_net_gain: float) -> tuple[ndarray, ndarray]:
    """Sensing rows over owners, each divided by the net gain of its own beam, and whether that gain is worth sending."""
    ues, targets = problem.num_ues, problem.num_targets
    if not problem.num_rows:
        return np.zeros((len(comm), 0, ues + targets)), np.zeros((len(comm), targets), bool)
    size = np.maximum(problem.echo.max(-1, keepdims=True), _TINY)
    echo = problem.echo / size
    row = _by_owner(problem, echo - problem.sir_min[..., None] * problem.cross_echo / size, comm, sensing)
    target = np.arange(targets)
    own_beams = _blocks(problem, echo)[1][:, target, target]  # drop target sensing
    least = np.maximum(least_net_gain * (own_beams * sensing).sum(-1), 1e-9)
    gain = row[:, target, ues + target]
    useful = gain > least
    row = row / np.maximum(gain, least)[..., None]
    row[:, target, ues + target] = 1.0
    return row, useful


def _apply(matrix: ndarray, vector: ndarray) -> ndarray:
    return (matrix @ vector[..., None])[..., 0]


def _need(terms: _Terms, ue: ndarray, target: ndarray, floor: ndarray) -> ndarray:
    """Scale that each row asks of its own beams, all else held."""
    if not terms.row.shape[1]:
        return floor
    return np.where(terms.useful, target - _apply(terms.row, np.concatenate([ue, target], -1)), floor)


def _step(terms: _Terms, scale: ndarray) -> tuple[ndarray, ndarray]:
    """One step of the fixed point: demanded scales of the UEs, two averaged sweeps over the rows, then the budgets."""
    ues = terms.noise.shape[1]
    ue = _apply(terms.disturbance, scale) + terms.noise
    target = scale[:, ues:] * (ue.sum(-1, keepdims=True) / scale[:, :ues].sum(-1, keepdims=True))
    if target.shape[1]:
        total = ue.sum(-1, keepdims=True)
        floor, cap = terms.floor * total, terms.cap * total
        first = np.minimum(np.maximum(_need(terms, ue, target, floor), floor), cap)
        second = np.minimum(np.maximum(_need(terms, ue, first, floor), floor), cap)
        target = 0.5 * (first + second)
    new = np.concatenate([ue, target], -1)
    level = 1.0 / _apply(terms.load, new).max(-1)
    return new * level[:, None], level


def _newton(terms: _Terms, scale: ndarray, level: ndarray) -> tuple[ndarray, ndarray, ndarray]:
    """One Newton step on the active equations, shortened where it would more than halve a scale; each drop's largest change."""
    ues, owners = terms.noise.shape[1], scale.shape[1]
    ue, target = scale[:, :ues], scale[:, ues:]
    total = ue.sum(-1, keepdims=True)
    floor, cap = terms.floor * total, terms.cap * total
    need = _need(terms, ue, target, floor)
    active = (need > floor) & (need < cap)
    capped = (target >= cap * (1 - 1e-6)) & ~active
    heard = _apply(terms.disturbance, scale) + terms.noise
    tightest = _apply(terms.load, scale).argmax(-1)
    line = terms.load[np.arange(len(scale)), tightest]
    held = np.where(capped, terms.cap, terms.floor)  # scale over the UEs' sum where no row decides

    matrix = np.zeros((len(scale), owners + 1, owners + 1))
    matrix[:, :ues, :owners] = -level[:, None, None] * terms.disturbance
    matrix[:, :ues, owners] = -heard
    matrix[:, ues:owners, :ues] = -held[..., None]
    diagonal = np.arange(owners)
    matrix[:, diagonal, diagonal] += 1.0
    of_target = target - held * total
    if terms.row.shape[1]:
        matrix[:, ues:owners, :owners] = np.where(active[..., None], terms.row, matrix[:, ues:owners, :owners])
        of_target = np.where(active, _apply(terms.row, scale), of_target)
    matrix[:, owners, :owners] = line
    residual = np.concatenate([ue - level[:, None] * heard, of_target, (line * scale).sum(-1, keepdims=True) - 1.0], -1)

    size = np.concatenate([ue, np.maximum(target, 1e-3 * ue.mean(-1, keepdims=True))], -1)
    matrix[:, :, :owners] *= size[:, None, :]
    matrix[:, :, owners] *= level[:, None]
    lines = np.concatenate([size, np.ones_like(level)[:, None]], -1)
    matrix /= lines[:, :, None]
    matrix[:, diagonal, diagonal] += _RIDGE
    change = _solve(matrix, residual / lines)
    longest = np.abs(change).max(-1, keepdims=True)
    change = np.where(np.isfinite(longest), change * (0.5 / np.maximum(longest, 0.5)), 0.0)
    moved = np.maximum(scale - change[:, :owners] * size, 0.0)
    return moved, level * (1.0 - change[:, owners]), np.where(np.isfinite(longest), longest, 0.0)[:, 0]


def _solve(matrix: ndarray, right: ndarray) -> ndarray:
    """Solutions drop by drop; NaN where a matrix is singular."""
    try:
        return np.linalg.solve(matrix, right[..., None])[..., 0]
    except np.linalg.LinAlgError:
        answer = np.full_like(right, np.nan)
        if len(right) > 1:
            for index in range(len(right)):
                answer[index] = _solve(matrix[index : index + 1], right[index : index + 1])[0]
        return answer
