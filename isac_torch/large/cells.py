"""Square cells that make neighbourhoods cheap: near pairs are listed, everything farther is summed on the grid.

A pair of points is near where the centres of their cells are at most `reach` cells apart. Near and far pairs together are
all pairs, each once, so that what is listed exactly and what is bounded on the grid never overlap and leave no gap. Both
cost a constant per point (the grid's Fourier transform a logarithm more).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.fft import irfft2, next_fast_len, rfft2

from isac_torch.errors import DropError

Kernel = Callable[[ndarray], ndarray]

SECTORS = 16
"""Directions from an AP that the far field tells apart."""
MOST_PAIRS = 10_000_000
"""More near pairs are refused: ten times those of 10,000 APs at the paper's density, a gigabyte of coefficients."""
MOST_CELLS = 400_000
"""Larger grids are refused: at the default radius they cover 70 km x 70 km."""


@dataclass(frozen=True)
class Pairs:
    """Near pairs, point by point and cell by cell: what is computed for one point finds its sources in the cache for the next.

    Attributes:
        first: pairs of point order[i] are first[i]..first[i+1]-1.
        order: the points in the order in which their pairs are listed.
        point: the point of each pair.
        source: the source of each pair.
    """

    first: Int[ndarray, " points_and_end"]
    order: Int[ndarray, " point"]
    point: Int[ndarray, " pair"]
    source: Int[ndarray, " pair"]


@dataclass(frozen=True)
class CellGrid:
    """Cells over the area of a network.

    Attributes:
        corner: smallest x and y of all points, m.
        cell: side of a cell, m.
        shape: cells along x and y.
        reach: largest offset, in cells, between the cells of a near pair.
    """

    corner: Float[ndarray, " 2"]
    cell: float
    shape: tuple[int, int]
    reach: int

    @classmethod
    def over(cls, points: Float[ndarray, "point 2"], radius: float, reach: int) -> CellGrid:
        """Cells so small that all pairs within `radius` (m, horizontally) are at most `reach` cells apart."""
        # Two points d apart lie in cells whose offset is less than d / cell + sqrt(2).
        cell = radius / (reach - math.sqrt(2.0))
        corner = points.min(0)
        across, up = np.floor((points.max(0) - corner) / cell).astype(int) + 1
        if across * up > MOST_CELLS:
            raise DropError(
                f"the network covers {across * up} cells of {cell:.0f} m, at most {MOST_CELLS} are kept; "
                "check the positions (m), split the network or enlarge the radius"
            )
        return cls(corner, cell, (int(across), int(up)), reach)

    @property
    def radius(self) -> float:
        """Every pair within this horizontal distance (m) is near, every far pair is at least that far apart."""
        return self.cell * (self.reach - math.sqrt(2.0))

    def place(self, points: Float[ndarray, "point 2"]) -> Int[ndarray, "2 point"]:
        """Column and row of each point's cell."""
        return np.floor((points - self.corner) / self.cell).astype(np.int64).T

    def _cell(self, points: Float[ndarray, "point 2"]) -> Int[ndarray, " point"]:
        """Number of each point's cell, column by column."""
        column, row = self.place(points)
        return column * self.shape[1] + row

    def _by_cell(self, points: Float[ndarray, "point 2"]) -> Int[ndarray, " point"]:
        """The points by the number of their cell."""
        return np.argsort(self._cell(points), kind="stable")

    def near_pairs(self, points: Float[ndarray, "point 2"], sources: Float[ndarray, "source 2"]) -> Pairs:
        """All near pairs of a point and a source."""
        across, up = self.shape
        order = self._by_cell(points)
        column, row = self.place(points[order])
        source_order = self._by_cell(sources)
        start = np.searchsorted(self._cell(sources)[source_order], np.arange(across * up + 1))
        offset = np.arange(-self.reach, self.reach + 1)
        half = np.sqrt(self.reach**2 - offset**2).astype(int)
        # Cells of one column are consecutive: each point has one run of sources a column.
        near_column = column[:, None] + offset
        inside = (near_column >= 0) & (near_column < across)
        base = near_column.clip(0, across - 1) * up
        begin = start[base + (row[:, None] - half).clip(0)]
        end = start[base + (row[:, None] + half).clip(None, up - 1) + 1]
        count = np.where(inside, end - begin, 0)
        if count.sum() > MOST_PAIRS:
            raise DropError(
                f"{count.sum()} pairs lie within {self.radius:.0f} m, at most {MOST_PAIRS} are kept; make the radius smaller"
            )
        first = np.concatenate([[0], np.cumsum(count.sum(1))])
        run = count.ravel()
        shift = np.repeat(begin.ravel() - (np.cumsum(run) - run), run)
        source = source_order[shift + np.arange(len(shift))]
        return Pairs(first, order, np.repeat(order, np.diff(first)), source)

    def far_sum(
        self,
        points: Float[ndarray, "point 2"],
        sources: Float[ndarray, "source 2"],
        strength: Float[ndarray, "part source"],
        kernel: Kernel,
    ) -> Float[ndarray, "part point"]:
        """At each point, the sum over all far sources of strength times at least kernel(horizontal distance), for each part.

        `kernel` must not grow with the distance (m); it is taken at the smallest distance between the two cells.
        """
        size = self._padded()
        law, _ = self._offsets(kernel, size, least=False)
        spectrum = rfft2(law)
        column, row = self.place(points)
        sums = [irfft2(rfft2(mass, size) * spectrum, size)[column, row] for mass in self._masses(sources, strength)]
        return _bounded(np.stack(sums), least=False)

    def far_sum_by_direction(
        self,
        points: Float[ndarray, "point 2"],
        sources: Float[ndarray, "source 2"],
        strength: Float[ndarray, "sector source"],
        kernel: Kernel,
        *,
        least: bool = False,
    ) -> Float[ndarray, " point"]:
        """`far_sum` of sources whose strength depends on the SECTORS of equal angle, from x counter-clockwise.

        Strength s counts for points that the source sees within sector s widened by `sector_margin`. With `least` the kernel
        is taken at the largest distance between the two cells, which bounds the sum from below.
        """
        size = self._padded()
        law, sector = self._offsets(kernel, size, least=least)
        masses = self._masses(sources, strength)
        spectrum = np.add.reduce([rfft2(mass, size) * rfft2(law * (sector == part)) for part, mass in enumerate(masses)])
        column, row = self.place(points)
        return _bounded(irfft2(spectrum, size)[column, row], least=least)

    @property
    def sector_margin(self) -> float:
        """Angle (rad) by which the direction between two far points can differ from that between their cells."""
        return math.asin(math.sqrt(2.0) / self.reach)

    def _padded(self) -> tuple[int, int]:
        """Cells of a transform that does not wrap around."""
        across, up = (next_fast_len(2 * n - 1, real=True) for n in self.shape)
        return across, up

    def _masses(self, sources: ndarray, strength: ndarray) -> Iterator[Float[ndarray, "x y"]]:
        """Each part's strength, added up in every cell."""
        cell, count = self._cell(sources), self.shape[0] * self.shape[1]
        return (np.bincount(cell, weight, count).reshape(self.shape) for weight in strength)

    def _offsets(
        self, kernel: Kernel, size: tuple[int, int], *, least: bool
    ) -> tuple[Float[ndarray, "x y"], Int[ndarray, "x y"]]:
        """The kernel over cyclic offsets (point's cell less source's), zero for near ones, and the sector of each offset."""
        column, row = (((np.arange(n) + n // 2) % n - n // 2).astype(float) for n in size)
        far = column[:, None] ** 2 + row[None, :] ** 2 > self.reach**2
        edge = 1 if least else -1
        distance = self.cell * np.hypot((np.abs(column) + edge).clip(0)[:, None], (np.abs(row) + edge).clip(0)[None, :])
        value = np.where(far, kernel(np.maximum(distance, self.radius)), 0.0)
        angle = np.arctan2(row[None, :], column[:, None]) % (2.0 * math.pi)
        return value, np.minimum((angle * (SECTORS / (2.0 * math.pi))).astype(np.int64), SECTORS - 1)


def _bounded(total: Float[ndarray, "*sum"], *, least: bool) -> Float[ndarray, "*sum"]:
    """Sums with the rounding of the transform, which is relative to the largest of them, on the safe side."""
    rounding = 1e-13 * np.abs(total).max(initial=0.0)
    return np.maximum(total + (-rounding if least else rounding), 0.0)
