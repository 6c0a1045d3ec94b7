"""Correlations of a million pairs from a table, instead of a quadrature for each."""

from __future__ import annotations

import math
from ctypes import CDLL
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from isac_torch.deployment.library import TABLE, address, native_library
from isac_torch.propagation.correlation import local_scattering_lags

TABLE_AZIMUTHS = 8192
TABLE_ELEVATION = 0.084
"""Largest elevation (rad, 100 m away and 8.4 m up) that the table serves; steeper pairs, which are few, are exact."""
TABLE_ERROR = 5e-5
"""Bound on the error of a correlation from the table: 7e-6 with 4 antennas, 4e-5 with 8."""
_CHUNK = 16384
"""Pairs at once: their rows of the table stay in the cache."""


@dataclass(frozen=True)
class ScatteringTable:
    """Lags of Gaussian local scattering, eq. (5), by azimuth, with a parabola in cos(elevation) for each.

    Attributes:
        value: coefficients of 1, t and t^2 with t = (1 - cos(elevation)) / (1 - cos(TABLE_ELEVATION)), along azimuths
            0..2 pi, both ends included.
        num_antennas: of each array.
        spread: standard deviation of the scatterers' azimuth, rad.
    """

    value: Float[ndarray, "azimuth power_and_lag"]
    num_antennas: int
    spread: float

    @classmethod
    def build(cls, num_antennas: int, spread: float) -> ScatteringTable:
        """The table of arrays of `num_antennas` and a spread in rad."""
        azimuth = np.linspace(0.0, 2.0 * math.pi, TABLE_AZIMUTHS + 1)
        lowest = 1.0 - math.cos(TABLE_ELEVATION)
        flat, middle, steep = (
            local_scattering_lags(azimuth, np.full_like(azimuth, math.acos(1.0 - t * lowest)), num_antennas, spread)
            for t in (0.0, 0.5, 1.0)
        )
        parabola = [flat, 4.0 * middle - 3.0 * flat - steep, 2.0 * (flat + steep) - 4.0 * middle]
        return cls(np.concatenate(parabola, axis=1), num_antennas, spread)

    def lags(self, azimuth: Float[ndarray, " pair"], cos_elevation: Float[ndarray, " pair"]) -> Float[ndarray, "pair lag"]:
        """Lags of unit gain, off by at most TABLE_ERROR; azimuth from broadside, rad."""
        out = np.empty((len(azimuth), 2 * self.num_antennas - 1))
        library = native_library()
        if library is not None:
            self._by_library(library, azimuth, cos_elevation, out)
        else:
            for begin in range(0, len(azimuth), _CHUNK):
                chunk = slice(begin, begin + _CHUNK)
                out[chunk] = self._interpolated(azimuth[chunk], cos_elevation[chunk])
        steep = np.flatnonzero(cos_elevation < math.cos(TABLE_ELEVATION))
        if len(steep):
            out[steep] = local_scattering_lags(azimuth[steep], np.arccos(cos_elevation[steep]), self.num_antennas, self.spread)
        return out

    def _by_library(self, library: CDLL, azimuth: ndarray, cos_elevation: ndarray, out: ndarray) -> None:
        value, turn, tilt = (np.ascontiguousarray(array, np.float64) for array in (self.value, azimuth, cos_elevation))
        table = TABLE.pack(TABLE_AZIMUTHS, out.shape[1], 1.0 - math.cos(TABLE_ELEVATION), address(value))
        library.isac_scattered(library.isac_level(), len(out), table, address(turn), address(tilt), address(out))

    def _interpolated(self, azimuth: ndarray, cos_elevation: ndarray) -> ndarray:
        at = (azimuth % (2.0 * math.pi)) * (TABLE_AZIMUTHS / (2.0 * math.pi))
        below = np.minimum(at.astype(np.int64), TABLE_AZIMUTHS - 1)
        row = self.value[below]
        row += (self.value[below + 1] - row) * (at - below)[:, None]
        t = ((1.0 - cos_elevation) / (1.0 - math.cos(TABLE_ELEVATION)))[:, None]
        constant, slope, curve = np.split(row, 3, axis=1)
        return constant + t * (slope + t * curve)
