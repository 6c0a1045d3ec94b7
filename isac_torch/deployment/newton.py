"""Newton's equations of max-min SINR in numpy, in the logarithms of the powers.

With powers x relative to their AP's budget, u_k(x) = (sum_e a_e sqrt x_e)^2 and v_k(x) = N_k^T x + 1,

    maximise t   subject to   log u_k(x) - log v_k(x) >= t,   C_l x >= n_l,   h_l(x) >= 1,   A x <= 1,   x >= 0 ,

C_l x >= n_l the linear sensing constraints (n_l = 0 for a SIR), h_l the position information over what is required.

Everything is relative to the point: with y and s the dual variables and slacks of the constraints, z those of x >= 0 and J the
slope of the constraints in log x, unknown are eta = dx/x and y + dy in

    W = diag(x z + y_k theta / 2),   theta_e = a_e sqrt x_e / sqrt u_k,
    (J W^-1 J^T + diag(s/y)) (y + dy) - dt = s (1 + omega) - value - J W^-1 (omega x z),   the UEs' dual variables sum to 1,
    eta = W^-1 (J^T (y + dy) + omega x z),

where omega asks each product of a dual variable and its slack to become omega times what it is. The curvature of log u_k is W's
and a term theta theta^T, which that of log v_k outweighs along the powers that keep t: W leaves both out. That costs the last
digits, which take some steps more, and saves the wandering that the exact curvature, not convex, brings far from the end. Of
the curvature of h_l, which is concave, W holds a rough diagonal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from isac_torch.deployment.linear import solved
from isac_torch.interior_point import Iterate

if TYPE_CHECKING:
    from isac_torch.deployment.statistics import Coefficients
    from isac_torch.tracking.position import PositionInformation

TINY = 1e-300
_ONE_THREAD = 60_000
"""Multiplications up to which libraries for matrices keep to one thread. More threads pay off for none of these sizes, and
where others use the processor they wait for each other ten times as long as they work; so products are taken in parts."""
_POSITION_CURVATURE = 1.0
"""Of h_l in the logarithms of the powers, over its slope, on W's diagonal: 1 is that of a geometric mean. Without it the steps
are too long and stall at 0.95 of the largest smallest rate on average; with 0.5 to 1 they end within 0.2 %."""


@dataclass(frozen=True)
class Program:
    """The module's problem. Its constraints: those of the K UEs, then the linear sensing constraints, the positions, the APs.

    Attributes:
        amplitude: a of each serving link, in units in which the start reaches t = 0.
        slope: -N of the UEs, C of the linear constraints, zeros for the positions, -A of the APs.
        need: n of the linear constraints.
        position: information by relative powers, over what is required; None where nothing is.
        coherent: amplitude of each UE's links at UEs of its pilot; None where no pilot is shared.
        own: 1 where a serving link is a UE's own.
        aps: number of APs.
    """

    amplitude: Float[ndarray, "drop ue serving"]
    slope: Float[ndarray, "drop constraint link"]
    need: Float[ndarray, "drop linear"]
    position: PositionInformation[ndarray] | None
    coherent: Float[ndarray, "drop ue ue serving"] | None
    own: Float[ndarray, "ue comm_link"]
    aps: int

    def select(self, index: Int[ndarray, " chosen"]) -> Program:
        """The drops at `index`."""
        return replace(
            self,
            amplitude=self.amplitude[index],
            slope=self.slope[index],
            need=self.need[index],
            position=None if self.position is None else self.position.select(index),
            coherent=None if self.coherent is None else self.coherent[index],
        )

    def newton(self, point: Iterate[ndarray]) -> System:
        """Newton's equations at a point."""
        return _system(self, point)


@dataclass(frozen=True)
class System:
    """Newton's equations at a point; names as in the module's docstring.

    Attributes:
        product: lead times partner.
        value: of every constraint.
        slope: J.
        inverse: of W's diagonal.
        matrix: of y + dy of UEs and targets, and dt, after those of the APs are eliminated.
        shared: J W^-1 J^T between those and the APs; stiffness: the APs' own, diagonal because no link has two APs.
        slack: s of every constraint; dual: its dual variable y.
        residual: sum of what the constraints lack of their slacks, times their dual variables, or of what these lack at the
            links, if larger.
    """

    product: Float[ndarray, "drop variable"]
    value: Float[ndarray, "drop constraint"]
    slope: Float[ndarray, "drop constraint link"]
    inverse: Float[ndarray, "drop link"]
    matrix: Float[ndarray, "drop unknown unknown"]
    shared: Float[ndarray, "drop ratio ap"]
    stiffness: Float[ndarray, "drop ap"]
    slack: Float[ndarray, "drop constraint"]
    dual: Float[ndarray, "drop constraint"]
    residual: Float[ndarray, " drop"]

    def select(self, index: ndarray) -> System:
        """The drops at `index`."""
        return System(*(value[index] for value in vars(self).values()))

    def direction(self, wanted: ndarray | None) -> tuple[ndarray, ndarray]:
        """Relative changes of dual variables and powers that ask the products for `wanted` times what they are; change of t.

        None asks them for zero.
        """
        rows, ratios = self.value.shape[1], self.shared.shape[1]
        right = self.slack - self.value
        if wanted is not None:
            asked = wanted[:, rows:] * self.product[:, rows:]
            right += self.slack * wanted[:, :rows] - _along(self.slope, self.inverse * asked)
        load = right[:, ratios:] / self.stiffness
        reduced = np.ones((len(right), ratios + 1))
        reduced[:, :ratios] = right[:, :ratios] - _along(self.shared, load)
        found = solved(self.matrix, reduced[..., None])[..., 0]
        dual = np.concatenate([found[:, :ratios], load - _earned(found[:, :ratios], self.shared) / self.stiffness], 1)
        pull = _earned(dual, self.slope)
        power = self.inverse * (pull if wanted is None else pull + asked)
        return np.concatenate([dual / self.dual - 1.0, power], 1), found[:, ratios]


def program_of(problem: Coefficients, limit: ndarray, start: ndarray) -> Program:
    """The problem in powers relative to `limit` (W); at the relative powers `start` it reaches t = 0."""
    drops, ues, serving, aps = len(limit), problem.num_ues, problem.serving, problem.num_aps
    position = _relative(problem.position, limit)
    links, linear = problem.num_links, problem.num_ues + problem.num_constraints
    ratios = linear + (0 if position is None else position.required.shape[1])
    slope = np.zeros((drops, ratios + aps, links))
    slope[:, :ues] = -problem.leakage * limit[:, None]
    need = problem.sir_min * problem.constraint_noise
    if problem.num_constraints:
        row = (problem.echo - problem.sir_min[..., None] * problem.cross_echo) * limit[:, None]
        size = np.maximum(np.maximum(np.abs(row).max(-1), need), TINY)
        slope[:, ues:linear], need = row / size[..., None], need / size
    slope[np.arange(drops)[:, None], ratios + problem.link_ap, np.arange(links)] = -1.0
    reached = problem.sinr(start * limit).min(-1)
    reach = np.sqrt(problem.serving_power(limit))
    return Program(
        amplitude=problem.signal * reach / np.sqrt(reached)[:, None, None],
        slope=slope,
        need=need,
        position=position,
        coherent=problem.coherent * reach[:, None] if problem.has_pilot_reuse else None,
        own=np.eye(ues).repeat(serving, 1),
        aps=aps,
    )


def _relative(position: PositionInformation[ndarray] | None, limit: ndarray) -> PositionInformation[ndarray] | None:
    """The same information by powers over `limit` (W), in units of what is required."""
    if position is None or not position.required.shape[1]:
        return None
    unit = 1.0 / np.maximum(position.required, TINY)
    rate = limit[:, None, None] * unit[..., None, None]
    return replace(
        position,
        energy=position.energy * rate,
        cross=position.cross * rate,
        spread=position.spread * rate,
        prior=position.prior * unit[..., None],
        required=np.ones_like(unit),
    )


def constraints(program: Program, power: ndarray, epigraph: ndarray) -> tuple[ndarray, ndarray, ndarray]:
    """Slopes J of all constraints in the logarithms of the powers, their values, and theta."""
    drops, ues, serving = program.amplitude.shape
    comm = ues * serving
    slope = program.slope * power[:, None]
    root = np.sqrt(power[:, :comm]).reshape(drops, ues, serving)
    if program.coherent is not None:
        heard = program.coherent * root[:, None]
        slope[:, :ues, :comm] -= (heard * heard.sum(-1, keepdims=True)).reshape(drops, ues, comm)
    value = slope.sum(-1)  # every part of every constraint grows in proportion to all powers, but for the UEs' noise
    unwanted = 1.0 - value[:, :ues]
    part = program.amplitude * root
    total = part.sum(-1)
    theta = part / total[..., None]
    slope[:, :ues] /= unwanted[..., None]
    slope[:, :ues, :comm] += program.own * theta.reshape(drops, 1, comm)
    value[:, :ues] = np.log(total * total / unwanted) - epigraph[:, None]
    value[:, -program.aps :] += 1.0
    linear = ues + program.need.shape[1]
    value[:, ues:linear] -= program.need
    if program.position is not None:
        found, information = program.position.slopes(power)
        slope[:, linear : -program.aps] = found * power[:, None]
        value[:, linear : -program.aps] = information - 1.0
    return slope, value, theta


def _system(program: Program, point: Iterate[ndarray]) -> System:
    drops, ues, serving = program.amplitude.shape
    comm, rows = ues * serving, program.slope.shape[1]
    dual = point.lead[:, :rows]
    slope, value, theta = constraints(program, point.lead[:, rows:], point.epigraph)
    product = point.lead * point.partner
    curvature = product[:, rows:].copy()
    curvature[:, :comm] += (0.5 * dual[:, :ues, None] * theta).reshape(drops, comm)
    linear = ues + program.need.shape[1]
    curvature += _POSITION_CURVATURE * _earned(dual[:, linear : -program.aps], slope[:, linear : -program.aps])
    inverse = 1.0 / curvature
    looseness = point.partner[:, :rows] / dual
    ratio, load = slope[:, : -program.aps], slope[:, -program.aps :]
    weighted, ratios = ratio * inverse[:, None], ratio.shape[1]
    shared = _product(weighted, load)
    stiffness = looseness[:, ratios:] + _along(load * load, inverse)
    matrix = np.zeros((drops, ratios + 1, ratios + 1))
    matrix[:, :ratios, :ratios] = _product(weighted, ratio) - _product(shared / stiffness[:, None], shared)
    row = np.arange(ratios)
    matrix[:, row, row] += looseness[:, :ratios]
    matrix[:, :ues, ratios] = -1.0
    matrix[:, ratios, :ues] = 1.0
    short = (dual * np.abs(value - point.partner[:, :rows])).sum(-1)
    dear = np.abs(_earned(dual, slope) + product[:, rows:]).sum(-1)
    return System(
        product, value, slope, inverse, matrix, shared, stiffness, point.partner[:, :rows], dual, np.maximum(short, dear)
    )


def _earned(dual: ndarray, slope: ndarray) -> ndarray:
    """Sums over the constraints, weighted with their dual variables."""
    return np.einsum("dr,drl->dl", dual, slope)


def _along(matrix: ndarray, vector: ndarray) -> ndarray:
    """Sums of each row over the columns, weighted with the vector."""
    return np.einsum("drl,dl->dr", matrix, vector)


def _product(left: ndarray, right: ndarray) -> ndarray:
    """Of each row of one with each row of the other."""
    part = max(2, _ONE_THREAD // right[0].size) if right[0].size else left.shape[1]
    parts = [left[:, first : first + part] @ right.transpose(0, 2, 1) for first in range(0, left.shape[1], part)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, 1)
