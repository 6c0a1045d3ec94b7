"""The balancing layer of `isac_torch.nn.balance` in numpy: from directions to powers, without gradients.

Tests hold the two against each other; docs/learning.md has the equations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

if TYPE_CHECKING:
    from isac_torch.deployment.statistics import Coefficients

SENSING_CAP, LEAST_NET_GAIN, EXCESS_AT_ZERO, EXCESS_CAP = 5.0, 0.02, -4.0, 9.0
"""As in `isac_torch.nn.balance`."""
_TINY = 1e-30


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


def balanced_power(
    problem: Coefficients, logits: Float[ndarray, "drop logit"], iterations: int = 8, newton: int = 4
) -> Float[ndarray, "drop link"]:
    """Powers (W) that give every UE the same SINR (times its own excess) and every target its SIR; one AP sends its budget.

    Args:
        problem: float64 coefficients.
        logits: directions as `isac_torch.nn.balance.balance` takes them: links, excesses, floors.
        iterations: steps of the fixed point before the Newton steps.
        newton: each is followed by another step of the fixed point, but for the last.
    """
    terms = _terms(problem, logits)
    ues = problem.num_ues
    scale = np.ones((problem.num_drops, terms.load.shape[2]))
    scale /= _apply(terms.load, scale).max(-1, keepdims=True)
    level = np.ones(problem.num_drops)
    for _ in range(iterations):
        scale, level = _step(terms, scale)
    for index in range(newton):
        scale, level = _newton(terms, scale, level)
        if index + 1 < newton:
            scale, level = _step(terms, scale)
    serving, sensing = problem.serving, _links_per_target(problem)
    power = terms.share * np.concatenate([scale[:, :ues].repeat(serving, 1), scale[:, ues:].repeat(sensing, 1)], 1)
    overload = (problem.ap_load(power) / problem.budget).max(-1, keepdims=True)
    return power / overload


def _links_per_target(problem: Coefficients) -> int:
    return (problem.num_links - problem.num_comm_links) // max(problem.num_targets, 1)


def _blocks(problem: Coefficients, value: ndarray) -> tuple[ndarray, ndarray]:
    """A table over links as one block over (UE, its links) and one over (target, its links)."""
    lead, comm = value.shape[:-1], problem.num_comm_links
    ue = value[..., :comm].reshape(*lead, problem.num_ues, problem.serving)
    return ue, value[..., comm:].reshape(*lead, problem.num_targets, _links_per_target(problem))


def _terms(problem: Coefficients, logits: ndarray) -> _Terms:
    links, ues, targets = problem.num_links, problem.num_ues, problem.num_targets
    comm, sensing = (_softmax(block) for block in _blocks(problem, logits[:, :links]))
    share = np.concatenate([comm.reshape(len(comm), -1), sensing.reshape(len(comm), -1)], 1)
    amplitude = np.sqrt(comm)
    gain = np.maximum((problem.signal * amplitude).sum(-1) ** 2, _TINY)
    disturbance = _by_owner(problem, problem.leakage, comm, sensing)
    if problem.has_pilot_reuse:
        disturbance[..., :ues] += (problem.coherent * amplitude[:, None]).sum(-1) ** 2
    excess = np.minimum(np.logaddexp(0.0, logits[:, links : links + ues] + EXCESS_AT_ZERO), EXCESS_CAP)
    asked = np.exp(excess) / gain
    floor = np.logaddexp(0.0, logits[:, links + ues :] + EXCESS_AT_ZERO) * (0.01 if problem.num_rows else 0.0)
    owner = np.concatenate(
        [np.arange(ues).repeat(problem.serving), ues + np.arange(targets).repeat(_links_per_target(problem))]
    )
    load = np.zeros((len(comm), problem.num_aps, ues + targets))
    load[np.arange(len(comm))[:, None], problem.link_ap, owner] = share  # an AP has one link at most to each owner
    row, useful = _rows(problem, comm, sensing)
    return _Terms(share, disturbance * asked[..., None], asked, floor, row, load / problem.budget[..., None], useful)


def _softmax(block: ndarray) -> ndarray:
    if not block.size:
        return block
    weight = np.exp(block - block.max(-1, keepdims=True))
    return np.maximum(weight / weight.sum(-1, keepdims=True), 1e-12)


def _by_owner(problem: Coefficients, weight: ndarray, comm: ndarray, sensing: ndarray) -> ndarray:
    """Rows over links, weighted with the shares and summed over each owner's links."""
    ue, target = _blocks(problem, weight)
    return np.concatenate([(ue * comm[:, None]).sum(-1), (target * sensing[:, None]).sum(-1)], -1)


def _rows(problem: Coefficients, comm: ndarray, sensing: ndarray) -> tuple[ndarray, ndarray]:
    """Sensing rows over owners, each divided by the net gain of its own beam, and whether that gain is worth sending."""
    ues, targets = problem.num_ues, problem.num_targets
    if not problem.num_rows:
        return np.zeros((len(comm), 0, ues + targets)), np.zeros((len(comm), targets), bool)
    size = np.maximum(problem.echo.max(-1, keepdims=True), _TINY)
    echo = problem.echo / size
    row = _by_owner(problem, echo - problem.sir_min[..., None] * problem.cross_echo / size, comm, sensing)
    target = np.arange(targets)
    own_beams = _blocks(problem, echo)[1][:, target, target]  # drop target sensing
    least = np.maximum(LEAST_NET_GAIN * (own_beams * sensing).sum(-1), 1e-9)
    gain = row[:, target, ues + target]
    useful = gain > least
    row = row / np.maximum(gain, least)[..., None]
    row[:, target, ues + target] = 1.0
    return row, useful


def _apply(matrix: ndarray, vector: ndarray) -> ndarray:
    return (matrix @ vector[..., None])[..., 0]


def _least_sensing(terms: _Terms, ue: ndarray, target: ndarray) -> tuple[ndarray, ndarray]:
    """Scale that each row asks of its own beams, all else held, and whether the row (not floor or cap) decides it."""
    total = ue.sum(-1, keepdims=True)
    floor, cap = terms.floor * total, SENSING_CAP * total
    if not terms.row.shape[1]:
        return floor, np.zeros(floor.shape, bool)
    need = np.where(terms.useful, target - _apply(terms.row, np.concatenate([ue, target], -1)), floor)
    return np.minimum(np.maximum(need, floor), cap), (need > floor) & (need < cap)


def _step(terms: _Terms, scale: ndarray) -> tuple[ndarray, ndarray]:
    """One step of the fixed point: demanded scales of the UEs, two averaged sweeps over the rows, then the budgets."""
    ues = terms.noise.shape[1]
    ue = _apply(terms.disturbance, scale) + terms.noise
    target = scale[:, ues:] * (ue.sum(-1, keepdims=True) / scale[:, :ues].sum(-1, keepdims=True))
    if target.shape[1]:
        first, _ = _least_sensing(terms, ue, target)
        second, _ = _least_sensing(terms, ue, first)
        target = 0.5 * (first + second)
    new = np.concatenate([ue, target], -1)
    level = 1.0 / _apply(terms.load, new).max(-1)
    return new * level[:, None], level


def _newton(terms: _Terms, scale: ndarray, level: ndarray) -> tuple[ndarray, ndarray]:
    """One Newton step on the active equations, shortened where it would more than halve a scale."""
    ues, owners = terms.noise.shape[1], scale.shape[1]
    ue, target = scale[:, :ues], scale[:, ues:]
    total = ue.sum(-1, keepdims=True)
    _, active = _least_sensing(terms, ue, target)
    capped = (target >= SENSING_CAP * total * (1 - 1e-6)) & ~active
    heard = _apply(terms.disturbance, scale) + terms.noise
    tightest = _apply(terms.load, scale).argmax(-1)
    line = terms.load[np.arange(len(scale)), tightest]
    held = np.where(capped, SENSING_CAP, terms.floor)  # scale over the UEs' sum where no row decides

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
    change = _solve(matrix / lines[:, :, None], residual / lines)
    longest = np.abs(change).max(-1, keepdims=True)
    change = np.where(np.isfinite(longest), change * (0.5 / np.maximum(longest, 0.5)), 0.0)
    return np.maximum(scale - change[:, :owners] * size, 0.0), level * (1.0 - change[:, owners])


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
