"""Coefficients of near pairs: what points receive of all that sources send, and the transposed product, at a linear cost."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.sparse import csr_array

from isac_torch.deployment.library import NEAR, address, native_library
from isac_torch.large.cells import Pairs


@dataclass(frozen=True)
class NearLags:
    """Lags of each near pair of a point and a source, in the order of `Pairs`.

    Both products take one pass over the lags by the compiled library, where there is one; SciPy is the reference.

    Attributes:
        pairs: point and source of each pair.
        lags: of each pair, in any unit.
        num_sources: sources, those without a near point too.

    Example:
        >>> pairs = Pairs(np.array([0, 1, 3]), np.array([1, 0]), np.array([1, 0, 0]), np.array([1, 0, 1]))
        >>> near = NearLags(pairs, np.array([[2.0], [3.0], [4.0]]), 2)
        >>> near.received(np.array([[10.0], [100.0]])).tolist(), near.returned(np.array([2.0, 1.0])).ravel().tolist()
        ([430.0, 200.0], [6.0, 10.0])
    """

    pairs: Pairs
    lags: Float[ndarray, "pair width"]
    num_sources: int

    @property
    def num_points(self) -> int:
        """Points."""
        return len(self.pairs.order)

    def received(self, sent: Float[ndarray, "*part source width"]) -> Float[ndarray, "*part point"]:
        """At each point, the sum over its pairs of lags times what the source sends."""
        flat = np.ascontiguousarray(sent, np.float64).reshape(-1, self.num_sources * self.lags.shape[1])
        row, library = np.empty((len(flat), self.num_points)), native_library()
        if library is None:
            row[:] = (self._matrix @ flat.T).T
        else:
            library.isac_received(library.isac_level(), self._record, len(flat), address(flat), address(row))
        out = np.empty_like(row)
        out[:, self.pairs.order] = row
        return out.reshape(*sent.shape[:-2], self.num_points)

    def returned(self, weight: Float[ndarray, "*part point"]) -> Float[ndarray, "*part source width"]:
        """At each source, the sum over its pairs of the point's weight times the lags."""
        row = np.ascontiguousarray(weight[..., self.pairs.order], np.float64).reshape(-1, self.num_points)
        out, library = np.zeros((len(row), self.num_sources * self.lags.shape[1])), native_library()
        if library is None:
            out[:] = (self._matrix.T @ row.T).T
        else:
            library.isac_returned(library.isac_level(), self._record, len(row), address(row), address(out))
        return out.reshape(*weight.shape[:-1], self.num_sources, self.lags.shape[1])

    @cached_property
    def _arrays(self) -> tuple[ndarray, ndarray, ndarray]:
        """First pair of each row, sources and lags as the library reads them."""
        return (
            np.ascontiguousarray(self.pairs.first, np.int64),
            np.ascontiguousarray(self.pairs.source, np.int32),
            np.ascontiguousarray(self.lags, np.float64),
        )

    @cached_property
    def _record(self) -> bytes:
        """`Near` of native/core.h."""
        return NEAR.pack(self.num_points, self.num_sources, self.lags.shape[1], *map(address, self._arrays))

    @cached_property
    def _matrix(self) -> csr_array:
        """A row for each point in the order of the pairs, `width` columns a source."""
        first, source, lags = self._arrays
        width = lags.shape[1]
        column = source[:, None] * width + np.arange(width, dtype=np.int32)
        shape = (self.num_points, self.num_sources * width)
        return csr_array((lags.ravel(), column.ravel(), (first * width).astype(np.int32)), shape=shape)
