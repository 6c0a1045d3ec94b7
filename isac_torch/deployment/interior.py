"""Max-min SINR by an interior-point method in numpy: a few exact improvements of given powers, many networks at once.

With powers x relative to their AP's budget, u_k(x) = (sum_e a_e sqrt x_e)^2 (concave) and v_k(x) = N_k^T x + 1,

    maximise t   subject to   u_k(x) >= t v_k(x),   C_l x >= 0,   A x <= 1,   x >= 0 .

The method is that of `isac_torch.solvers.interior` (Newton's on the perturbed optimality conditions, Mehrotra's predictor and
corrector, Dinkelbach's step folded into each), written for few and small arrays: a deployed allocator runs it for one network
now and then. Everything is relative to the point: with y and s the prices and slacks of the rows, z those of x >= 0, unknown
are eta = dx/x and y + dy. In these,

    W = diag(x z + h theta) - h theta theta^T  (one block a UE, theta_e = a_e sqrt x_e / sqrt u_k, h_k = y_k u_k / 2),
    (J W^-1 J^T + diag(s/y)) (y + dy) - v dt = s (1 + omega) - value - J W^-1 (omega x z),     v^T (y + dy) = 1,
    eta = W^-1 (J^T (y + dy) + omega x z),

where J is the slope of the rows in the logarithms of x, and omega asks each product of a price and its slack to become omega
times what it is. u_k is homogeneous: so J 1 gives the rows' values as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

if TYPE_CHECKING:
    from isac_torch.deployment.statistics import Coefficients

_TINY = 1e-300
_EVEN, _BELOW = 0.05, 0.1
"""Start: share of equal powers mixed into the given ones, and of each budget that is left free."""
_LEVEL = 0.5
"""Level of the start, relative to what its powers reach."""
_SLACK, _FREE = 0.1, 0.05
"""Smallest slack of the start: of a row relative to its two sides, of a budget."""
_PRODUCT = 3.0
"""Products of prices and slacks at the start, relative to those of even prices."""


@dataclass(frozen=True)
class _Program:
    """The module's problem. K rows of UEs, then those of targets, then those of APs.

    Attributes:
        amplitude: a of each serving link, in units in which the start reaches level 1.
        slope: -N of the UEs' rows, C of the targets', -A of the APs'.
        coherent: amplitude of each UE's links at UEs of its pilot; None where no pilot is shared.
        constant: of the value of each row but for the UEs' share -t: 0, of APs 1.
        own: 1 where a serving link is a UE's own.
    """

    amplitude: Float[ndarray, "drop ue serving"]
    slope: Float[ndarray, "drop constraint link"]
    coherent: Float[ndarray, "drop ue ue serving"] | None
    constant: Float[ndarray, " constraint"]
    own: Float[ndarray, "ue comm_link"]

    def select(self, index: Int[ndarray, " chosen"]) -> _Program:
        """The drops at `index`."""
        coherent = None if self.coherent is None else self.coherent[index]
        return replace(self, amplitude=self.amplitude[index], slope=self.slope[index], coherent=coherent)


@dataclass(frozen=True)
class _Point:
    """Prices y and powers x, their partners slacks s and prices z, level t."""

    lead: Float[ndarray, "drop variable"]
    partner: Float[ndarray, "drop variable"]
    level: Float[ndarray, " drop"]

    def select(self, index: ndarray) -> _Point:
        """The drops at `index`."""
        return _Point(self.lead[index], self.partner[index], self.level[index])


@dataclass(frozen=True)
class _System:
    """Newton's equations at a point; names as in the module's docstring.

    Attributes:
        product: lead times partner.
        value: of every row.
        slope: J.
        inverse, block, weight: W^-1 = diag(inverse) + weight block block^T, one block a UE.
        inverted: inverse of the matrix of y + dy and dt.
        unwanted: v of the UEs.
        total: sum of the products.
        residual: sum of what the rows lack of their slacks, priced.
    """

    product: Float[ndarray, "drop variable"]
    value: Float[ndarray, "drop constraint"]
    slope: Float[ndarray, "drop constraint link"]
    inverse: Float[ndarray, "drop link"]
    block: Float[ndarray, "drop ue serving"]
    weight: Float[ndarray, "drop ue"]
    inverted: Float[ndarray, "drop unknown unknown"]
    unwanted: Float[ndarray, "drop ue"]
    total: Float[ndarray, " drop"]
    residual: Float[ndarray, " drop"]


def ascend(
    problem: Coefficients, power: Float[ndarray, "drop link"], gap: float, steps: int, to_boundary: float = 0.95
) -> tuple[Float[ndarray, "drop link"], Bool[ndarray, " drop"]]:
    """Powers (W) of a smallest SINR near the largest, from given ones, and whether the gap was reached.

    Each drop stops on its own, and keeps the best of its steps: rows and budgets are met but for what that step left.

    Args:
        problem: rows without noise; with shared pilots the end is a local optimum.
        power: W, not negative, within the budgets, every UE served.
        gap: bound on what prices and slacks leave of the level, relative.
        steps: Newton steps at most.
        to_boundary: share of the way to the nearest bound that a step may go; smaller is slower and steadier.
    """
    limit = np.take_along_axis(problem.budget, problem.link_ap, 1)
    program, power = _program(problem, limit, power / limit)
    rows = program.slope.shape[1]
    point = _start(program, power)
    answer, best, index = power.copy(), np.full(len(power), -np.inf), np.arange(len(power))
    closed = np.zeros(len(power), bool)
    for step in range(steps + 1):
        system = _system(program, point)
        reached = _reached(program, point, system)
        better = reached > best[index]
        if better.any():
            best[index[better]], answer[index[better]] = reached[better], point.lead[better, rows:]
        done = _done(program, point, system, gap) & ~(reached <= 0.0)
        closed[index[done]] = True
        stay = np.flatnonzero(~done)
        if not len(stay) or step == steps:
            break
        if len(stay) < len(index):
            index, program, point, system = index[stay], program.select(stay), point.select(stay), _select(system, stay)
        point = _advance(point, system, to_boundary)
    return answer * limit, closed


def _reached(program: _Program, point: _Point, system: _System) -> Float[ndarray, " drop"]:
    """Smallest SINR within the budgets, in units of the level; where a target's row is missed, what it lacks, negative."""
    rows, ues, aps = program.slope.shape[1], program.amplitude.shape[1], int(program.constant.sum())
    level = point.level + (system.value[:, :ues] / system.unwanted).min(-1)
    level /= np.maximum(1.0 - system.value[:, rows - aps :].min(-1), 1.0)
    short = system.value[:, ues : rows - aps].min(-1, initial=0.0)
    return np.where(short < 0.0, short, level)


def _program(problem: Coefficients, limit: ndarray, relative: ndarray) -> tuple[_Program, ndarray]:
    """The problem in relative powers, and the powers it starts from."""
    drops, ues, serving, aps = len(limit), problem.num_ues, problem.serving, problem.num_aps
    links, ratios = problem.num_links, problem.num_ues + problem.num_rows
    slope = np.zeros((drops, ratios + aps, links))
    slope[:, :ues] = -problem.leakage * limit[:, None]
    if problem.num_rows:
        row = (problem.echo - problem.sir_min[..., None] * problem.cross_echo) * limit[:, None]
        slope[:, ues:ratios] = row / np.maximum(np.abs(row).max(-1, keepdims=True), _TINY)
    slope[np.arange(drops)[:, None], ratios + problem.link_ap, np.arange(links)] = -1.0
    crowd = np.take_along_axis(-slope[:, ratios:].sum(-1), problem.link_ap, 1)
    start = (1.0 - _BELOW) * ((1.0 - _EVEN) * relative + _EVEN / crowd)
    reached = problem.sinr(start * limit).min(-1)
    reach = np.sqrt(problem.serving_power(limit))
    program = _Program(
        amplitude=problem.signal * reach / np.sqrt(reached)[:, None, None],
        slope=slope,
        coherent=problem.coherent * reach[:, None] if problem.has_pilot_reuse else None,
        constant=np.repeat([0.0, 1.0], [ratios, aps]),
        own=np.eye(ues).repeat(serving, 1),
    )
    return program, start


def _start(program: _Program, power: ndarray) -> _Point:
    """Slacks from the powers, kept off zero, and prices that make all products of a drop the same."""
    ues, aps = program.amplitude.shape[1], int(program.constant.sum())
    level = np.full(len(power), _LEVEL)
    slope, unwanted, _, signal = _rows(program, power, level)
    slack = np.maximum(slope.sum(-1) + program.constant, _SLACK * np.abs(slope).sum(-1))
    slack[:, :ues] = np.maximum(signal - level[:, None] * unwanted, _SLACK * signal)
    slack[:, -aps:] = np.maximum(slope[:, -aps:].sum(-1) + 1.0, _FREE)
    product = _PRODUCT / (unwanted / slack[:, :ues]).sum(-1, keepdims=True)
    return _Point(np.concatenate([product / slack, power], 1), np.concatenate([slack, product / power], 1), level)


def _rows(program: _Program, power: ndarray, level: ndarray) -> tuple[ndarray, ndarray, ndarray, ndarray]:
    """Slopes J of all rows in the logarithms of the powers, the UEs' v, theta and u."""
    drops, ues, serving = program.amplitude.shape
    comm = ues * serving
    slope = program.slope * power[:, None]
    root = np.sqrt(power[:, :comm]).reshape(drops, ues, serving)
    if program.coherent is not None:  # the tangent of v at the powers stands for its concave part
        heard = program.coherent * root[:, None]
        slope[:, :ues, :comm] -= (heard * heard.sum(-1, keepdims=True)).reshape(drops, ues, comm)
    unwanted = 1.0 - slope[:, :ues].sum(-1)
    slope[:, :ues] *= level[:, None, None]
    part = program.amplitude * root
    total = part.sum(-1, keepdims=True)
    signal, theta = total * total, part / total
    slope[:, :ues, :comm] += program.own * (signal * theta).reshape(drops, 1, comm)
    return slope, unwanted, theta, signal[..., 0]


def _system(program: _Program, point: _Point) -> _System:
    drops, ues, serving = program.amplitude.shape
    comm, rows = ues * serving, program.slope.shape[1]
    slope, unwanted, theta, signal = _rows(program, point.lead[:, rows:], point.level)
    value = slope.sum(-1) + program.constant
    value[:, :ues] -= point.level[:, None]
    product = point.lead * point.partner
    diagonal = product[:, rows:].copy()
    bound = diagonal[:, :comm].reshape(drops, ues, serving).copy()
    half = 0.5 * point.lead[:, :ues] * signal
    diagonal[:, :comm] += (half[..., None] * theta).reshape(drops, comm)
    inverse = 1.0 / diagonal
    block = theta * inverse[:, :comm].reshape(drops, ues, serving)
    weight = half / (block * bound).sum(-1)  # its denominator, 1 - half theta block, in a form that cannot cancel
    shared = (slope[..., :comm] * block.reshape(drops, 1, comm)).reshape(drops, rows, ues, serving).sum(-1)
    matrix = np.zeros((drops, rows + 1, rows + 1))
    matrix[:, :rows, :rows] = (slope * inverse[:, None]) @ slope.transpose(0, 2, 1)
    matrix[:, :rows, :rows] += (shared * weight[:, None]) @ shared.transpose(0, 2, 1)
    row = np.arange(rows)
    matrix[:, row, row] += point.partner[:, :rows] / point.lead[:, :rows]
    matrix[:, :ues, rows] = -unwanted
    matrix[:, rows, :ues] = unwanted
    residual = (point.lead[:, :rows] * np.abs(value - point.partner[:, :rows])).sum(-1)
    total = product.sum(-1)
    return _System(product, value, slope, inverse, block, weight, _inverted(matrix), unwanted, total, residual)


def _select(system: _System, index: ndarray) -> _System:
    return _System(*(value[index] for value in vars(system).values()))


def _done(program: _Program, point: _Point, system: _System, gap: float) -> Bool[ndarray, " drop"]:
    """Whether what prices and slacks leave of the level, and the rows' priced residuals, are small; or a number overflowed."""
    rows, aps = program.slope.shape[1], int(program.constant.sum())
    limit = gap * point.lead[:, rows - aps : rows].sum(-1)  # the prices of the budgets add up to the level
    left = np.maximum(system.total, system.residual)
    return (left <= limit) | ~np.isfinite(left)


def _advance(point: _Point, system: _System, to_boundary: float) -> _Point:
    """One predictor-corrector step; powers, slacks and prices stay positive."""
    lead, partner, _ = _direction(point, system, None)
    length = np.minimum(_longest(lead, partner), 1.0)[:, None]
    ahead = (system.product * (1.0 + length * lead) * (1.0 + length * partner)).sum(-1) / system.total
    # complementarity must not run ahead of the curved rows' residuals, or the iterates stick to the boundary
    share = np.maximum(np.minimum(ahead, 1.0) ** 3, np.minimum(system.residual / system.total, 0.1))
    target = share * system.total / system.product.shape[1]
    wanted = target[:, None] / system.product - lead * partner
    lead, partner, level = _direction(point, system, wanted)
    length = np.minimum(to_boundary * _longest(lead, partner), 1.0)
    along = length[:, None]
    return _Point(point.lead * (1.0 + along * lead), point.partner * (1.0 + along * partner), point.level + length * level)


def _longest(lead: ndarray, partner: ndarray) -> Float[ndarray, " drop"]:
    """Longest step along which everything positive stays so."""
    return -1.0 / np.minimum(np.minimum(lead, partner).min(-1), -1e-12)


def _direction(point: _Point, system: _System, wanted: ndarray | None) -> tuple[ndarray, ndarray, ndarray]:
    """Relative changes of `lead` and `partner` that ask the products for `wanted` times what they are; change of the level.

    None asks them for zero.
    """
    rows = system.value.shape[1]
    right = np.ones((len(system.value), rows + 1))
    right[:, :rows] = point.partner[:, :rows] - system.value
    if wanted is not None:
        asked = wanted[:, rows:] * system.product[:, rows:]
        right[:, :rows] += point.partner[:, :rows] * wanted[:, :rows] - _apply(system.slope, _unbent(system, asked))
    found = _apply(system.inverted, right)
    pull = (found[:, None, :rows] @ system.slope)[:, 0]
    power = _unbent(system, pull if wanted is None else pull + asked)
    lead = np.concatenate([found[:, :rows] / point.lead[:, :rows] - 1.0, power], 1)
    return lead, (-1.0 if wanted is None else wanted - 1.0) - lead, found[:, rows]


def _unbent(system: _System, vector: ndarray) -> ndarray:
    """W^-1 times a vector over the links."""
    drops, ues, serving = system.block.shape
    comm = ues * serving
    answer = system.inverse * vector
    shared = (system.block * vector[:, :comm].reshape(drops, ues, serving)).sum(-1) * system.weight
    answer[:, :comm] += (shared[..., None] * system.block).reshape(drops, comm)
    return answer


def _apply(matrix: ndarray, vector: ndarray) -> ndarray:
    return (matrix @ vector[..., None])[..., 0]


def _inverted(matrix: ndarray) -> ndarray:
    """Inverses drop by drop; NaN where a matrix is singular."""
    try:
        return np.linalg.inv(matrix)
    except np.linalg.LinAlgError:
        if len(matrix) == 1:
            return np.full_like(matrix, np.nan)
        return np.concatenate([_inverted(matrix[index : index + 1]) for index in range(len(matrix))])
