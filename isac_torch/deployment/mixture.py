"""Small linear programs over the links of one network, solved exactly in numpy: few rows, many columns.

Rows of the expected SIR are homogeneous: scaling all powers changes none of them. Whether any powers meet all rows, which
powers serve the worst row best, and what has to be added to given powers until all rows are met, are linear programs with a
row a target. The dual simplex method needs about as many pivots as rows, each on a table of links x rows.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from isac_torch.deployment.patience import still_wanted

_MAX_PIVOTS = 2000
_TOLERANCE = 1e-12
_TINY = 1e-300


def cheapest(
    matrix: Float[ndarray, "row link"], need: Float[ndarray, " row"], cost: Float[ndarray, " link"]
) -> Float[ndarray, " link"] | None:
    """x >= 0 of least cost.x with matrix.x >= need; None where there is none. Args: cost, positive."""
    row_size = np.maximum(np.abs(matrix).max(1), _TINY)
    matrix, need = matrix / row_size[:, None], need / row_size
    width = np.abs(matrix).max(0)
    used = width > _TOLERANCE
    size = max(float(np.abs(need).max(initial=0.0)), _TINY)
    per_unit = cost[used] / width[used]
    scaled = _simplex(matrix[:, used] / width[used], need / size, per_unit / per_unit.max(initial=_TINY))
    if scaled is None:
        return None
    answer = np.zeros(len(cost))
    answer[used] = size * scaled / width[used]
    return answer


def best_ratio(
    echo: Float[ndarray, "row link"], required: Float[ndarray, "row link"], rounds: int = 30
) -> tuple[Float[ndarray, " link"], float]:
    """Shares (sum 1) of the links that maximise the worst row's echo.p / required.p, and that ratio.

    Dinkelbach's method: at the ratio z reached so far, the mixture that maximises min_l (echo_l - z required_l).p over
    required_l.p of the last mixture reaches more.
    """
    share = np.full(echo.shape[1], 1.0 / echo.shape[1])
    ratio = _ratio(echo, required, share)
    for _ in range(rounds):
        still_wanted()
        weight = np.maximum(required @ share, _TINY)[:, None]
        better = _best_mixture((echo - ratio * required) / weight, (echo + required).max(0))
        reached = _ratio(echo, required, better)
        if not reached > ratio:
            break
        done = reached <= ratio * (1.0 + 1e-9)
        share, ratio = better, reached
        if done:
            break
    return share, ratio


def _ratio(echo: ndarray, required: ndarray, share: ndarray) -> float:
    return float(((echo @ share) / np.maximum(required @ share, _TINY)).min())


def _best_mixture(payoff: Float[ndarray, "row link"], width: Float[ndarray, " link"]) -> Float[ndarray, " link"]:
    """The mixture that maximises the smallest row: a matrix game, shifted so that all payoffs are positive.

    Args: width, scale of each link; those of width 0 stay out.
    """
    used = width > 0.0
    scaled = payoff[:, used] / width[used]
    scaled = scaled / max(float(np.abs(scaled).max(initial=0.0)), _TINY)
    count = scaled.shape[1]
    found = _simplex(scaled + 2.0, np.ones(len(scaled)), np.ones(count))
    share = np.zeros(len(width))
    share[used] = (np.full(count, 1.0) if found is None else found) / width[used]
    return share / max(float(share.sum()), _TINY)


def _simplex(matrix: ndarray, need: ndarray, cost: ndarray) -> ndarray | None:
    """min cost.x subject to matrix.x >= need, x >= 0; None where there is none.

    By its dual, max need.y subject to matrix^T y <= cost, y >= 0, whose slack basis is feasible from the start because costs
    are positive. The tableau leaves out the columns of the basis. Largest coefficient enters; after many pivots the first one
    does (Bland's rule, which cannot cycle).
    """
    rows, links = matrix.shape
    table = np.zeros((links + 1, rows + 1))
    table[:links, :rows] = matrix.T
    table[:links, rows] = cost
    table[links, :rows] = -need
    basis, outside = np.arange(links), links + np.arange(rows)  # slack of link e is e, row l is links + l
    for pivot in range(_MAX_PIVOTS):
        still_wanted()
        reduced = table[links, :rows]
        entering = int(reduced.argmin())
        if reduced[entering] >= -_TOLERANCE:
            break
        if pivot > _MAX_PIVOTS // 2:
            candidates = np.flatnonzero(reduced < -_TOLERANCE)
            entering = int(candidates[outside[candidates].argmin()])
        column = table[:links, entering]
        eligible = column > _TOLERANCE
        if not eligible.any():
            return None
        ratio = np.where(eligible, np.maximum(table[:links, rows], 0.0) / np.where(eligible, column, 1.0), np.inf)
        tied = np.flatnonzero(ratio <= ratio.min() * (1.0 + _TOLERANCE))
        leaving = int(tied[basis[tied].argmin()])
        _pivot(table, leaving, entering)
        basis[leaving], outside[entering] = outside[entering], basis[leaving]
    answer = np.zeros(links)
    slack = outside < links
    answer[outside[slack]] = np.maximum(table[links, :rows][slack], 0.0)
    return answer


def _pivot(table: ndarray, leaving: int, entering: int) -> None:
    """Exchange a basic variable for one outside."""
    pivot = table[leaving, entering]
    line = table[leaving] / pivot
    column = table[:, entering].copy()
    table -= column[:, None] * line
    table[leaving] = line
    table[:, entering] = -column / pivot
    table[leaving, entering] = 1.0 / pivot
