"""Requirements on position information for convex solvers: exact cones, and a way back inside.

h_l(p) >= b needs, of the horizontal part S of the information once the height is unknown (J - S >= 0 as matrices),

    1 / tr(S^-1) >= b    <=>    (S_xx - b) (S_yy - b) >= S_xy^2 + b^2,    S_xx + S_yy >= 2 b

a rotated cone, and of every Schur complement f = d - v^2 / E of (65) a lower estimate: v^2 <= (d - f) E. Both are exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from isac_torch.tracking.position import PositionInformation
from isac_torch.tracking.problem import MaxMinSinrProblem

_HALVINGS = 50
_PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))

Array = NDArray[np.float64]


def position_cones(position: PositionInformation, share: Any, limit: Array, required: Any) -> list[Any]:
    """h_l(p) >= required_l of every target of one drop, as cones of CVXPY.

    Args:
        position: of one drop.
        share: variable, the powers over `limit`, as they are in the problem.
        limit: W, one per link.
        required: least h of every target over `position.required`; number or expression.
    """
    import cvxpy as cp

    cones: list[Any] = []
    member = np.arange(position.departure.shape[2])[:, None] == _array(position.link_ap[0])[None]  # ap link
    for target in range(position.required.shape[1]):
        least = float(position.required[0, target])
        parts = {name: _array(getattr(position, name)[0, target]) * limit for name in ("energy", "cross", "spread")}
        arrival, departure = _array(position.arrival[0, target]), _array(position.departure[0, target])
        # Axes along which the reference information is diagonal keep the entries of the cone apart in size.
        turn, strong = _axes(position, target, limit)
        arrival, departure = arrival @ turn, departure @ turn
        prior = turn.T @ np.diag(_array(position.prior[0, target])) @ turn / least
        entries = {pair: prior[pair] for pair in _PAIRS}
        for r in range(len(arrival)):
            energy = (member * parts["energy"][r]) @ share  # ap
            cross, spread = (member * parts["cross"][r]) @ share, (member * parts["spread"][r]) @ share
            size = np.maximum((member * parts["spread"][r]).max(1), 1e-12 * parts["spread"].max()) + 1e-300
            width = np.maximum((member * parts["energy"][r]).max(1), 1e-12 * parts["energy"].max()) + 1e-300
            free = cp.Variable(len(size))  # f over `size`
            left = cp.multiply(spread, 1.0 / size) - free
            heard = cp.multiply(energy, 1.0 / width)
            cones.append(
                cp.SOC(left + heard, cp.vstack([cp.multiply(2.0 * cross, 1.0 / np.sqrt(size * width)), left - heard]), axis=0)
            )
            for pair in _PAIRS:
                here = arrival[r, pair[0]] * arrival[r, pair[1]] / least
                away = departure[:, pair[0]] * departure[:, pair[1]] * size / least
                entries[pair] = entries[pair] + here * cp.sum(energy) + away @ free
        cones += _horizontal(entries, strong, required)
    return cones


def _axes(position: PositionInformation, target: int, limit: Array) -> tuple[Array, float]:
    """Turn about the vertical axis that makes the information at half of the budgets diagonal, and the root of the ratio."""
    whole = _array(position.information(0.5 * torch.as_tensor(limit)[None])[0, target])
    left = whole[:2, :2] - np.outer(whole[:2, 2], whole[:2, 2]) / whole[2, 2]
    value, vector = np.linalg.eigh(left)
    turn = np.eye(3)
    turn[:2, :2] = vector
    return turn, float(np.sqrt(max(value[1], 1e-300) / max(value[0], 1e-300)))


def _horizontal(entries: dict[tuple[int, int], Any], strong: float, required: Any) -> list[Any]:
    """The cones of one target: entries of J over the required h, the second axis `strong` squared times stronger."""
    import cvxpy as cp

    xx, yy, xy = cp.Variable(), cp.Variable(), cp.Variable()  # S over the required h; yy over strong^2, xy over strong
    rest = cp.bmat(
        [
            [entries[0, 0] - xx, entries[0, 1] / strong - xy, entries[0, 2]],
            [entries[0, 1] / strong - xy, entries[1, 1] / strong**2 - yy, entries[1, 2] / strong],
            [entries[0, 2], entries[1, 2] / strong, entries[2, 2]],
        ]
    )
    free = cp.Variable((3, 3), PSD=True)
    weak, well = xx - required, yy - required / strong**2
    return [free == rest, cp.SOC(weak + well, cp.hstack([2.0 * xy, 2.0 * required / strong, weak - well]))]


def towards(
    problem: MaxMinSinrProblem, power: Float[Tensor, "drop link"], inside: Float[Tensor, "drop link"]
) -> Float[Tensor, "drop link"]:
    """The first powers (W) on the way from `power` to `inside` that meet the requirement on positions; h is concave on it."""
    if problem.position is None:
        return power
    low, high = torch.zeros_like(power[:, :1]), torch.ones_like(power[:, :1])
    met = (problem.position.h(power) >= problem.position.required).all(-1, keepdim=True)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        enough = (problem.position.h(power + middle * (inside - power)) >= problem.position.required).all(-1, keepdim=True)
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    return torch.where(met, power, power + high * (inside - power))


def _array(value: Tensor) -> Array:
    return value.detach().cpu().double().numpy()
