"""A small conic programme assembled from dense rows and solved by Clarabel, called directly: a few milliseconds each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SOLVED = ("Solved", "AlmostSolved")
_INFEASIBLE = ("PrimalInfeasible", "AlmostPrimalInfeasible")


@dataclass(frozen=True)
class Solution:
    """What Clarabel answered.

    Attributes:
        point: the variables; meaningful where `solved`.
        dual: multiplier of each row, in order; for an infeasible programme a ray that proves it.
        solved: whether a solution was found, at least to reduced accuracy.
        infeasible: whether the solver believes that there is none. Believe it only with a proof.
    """

    point: Array
    dual: Array
    solved: bool
    infeasible: bool


class Programme:
    """maximise c^T x over x with rows G x + h in a cone, added block by block.

    Rows stay in the order in which they were added; `rows` and `offset` of a block can be replaced between solves.
    """

    def __init__(self, num_variables: int) -> None:
        self.num_variables = num_variables
        self._blocks: list[tuple[Array, Array, str]] = []

    def nonnegative(self, rows: Array, offset: Array) -> int:
        """Every row at least zero; returns the block's number."""
        return self._add(rows, offset, "nonnegative")

    def second_order(self, rows: Array, offset: Array) -> int:
        """First row at least the norm of the others; returns the block's number."""
        return self._add(rows, offset, "second_order")

    def square_reciprocal(self, rows: Array, offset: Array) -> int:
        """Three rows (a, b, c) with a, b >= 0 and a^2 b >= |c|^3; returns the block's number."""
        return self._add(rows, offset, "square_reciprocal")

    def replace(self, block: int, rows: Array, offset: Array) -> None:
        """New rows for a block, as many as before."""
        self._blocks[block] = (rows, offset, self._blocks[block][2])

    def span(self, block: int) -> slice:
        """Where a block's rows lie among all rows."""
        start = sum(len(offset) for _, offset, _ in self._blocks[:block])
        return slice(start, start + len(self._blocks[block][1]))

    def maximise(self, weight: Array) -> Solution:
        """Largest weight^T x."""
        import clarabel
        from scipy import sparse

        rows = np.concatenate([block[0] for block in self._blocks])
        offset = np.concatenate([block[1] for block in self._blocks])
        kinds = {
            "nonnegative": clarabel.NonnegativeConeT,
            "second_order": clarabel.SecondOrderConeT,
            "square_reciprocal": lambda _: clarabel.PowerConeT(2.0 / 3.0),
        }
        cones = [kinds[kind](len(values)) for _, values, kind in self._blocks if len(values)]
        settings: Any = clarabel.DefaultSettings()
        settings.verbose = False
        settings.max_threads = 1
        empty = sparse.csc_matrix((self.num_variables, self.num_variables))
        solver = clarabel.DefaultSolver(empty, -weight, sparse.csc_matrix(-rows), offset, cones, settings)
        answer = solver.solve()
        status = str(answer.status)
        point, dual = np.asarray(answer.x), np.asarray(answer.z)
        finite = bool(np.isfinite(point).all())
        return Solution(point, dual, finite and status in _SOLVED, status in _INFEASIBLE)

    def _add(self, rows: Array, offset: Array, kind: str) -> int:
        self._blocks.append((rows, offset, kind))
        return len(self._blocks) - 1
