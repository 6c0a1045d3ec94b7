"""Large-scale gains of pairs in networks that are too large for a table of all pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

FAR_DEVIATIONS = 6.0
"""Standard deviations above the mean at which a random far field is bounded."""


@runtime_checkable
class PairGains(Protocol):
    """Gains of UE-AP pairs about the path loss."""

    @property
    def deviation_db(self) -> float:
        """Standard deviation (dB) about the path loss of pairs that are bounded, not listed: log-normal shadowing."""
        ...

    def __call__(self, ue: Int[ndarray, " pair"], ap: Int[ndarray, " pair"], path: Float[ndarray, " pair"]) -> ndarray:
        """Linear gains of pairs whose path loss says `path`."""
        ...


@dataclass(frozen=True)
class Shadowing:
    """Simulated log-normal shadowing, independent between pairs, drawn anew whenever a pair is asked about.

    A pair's value depends on the seed and on the two numbers only, so nothing is stored.

    Attributes:
        deviation_db: standard deviation, dB; 0 leaves the path loss.
        seed: of the draws.
    """

    deviation_db: float = 0.0
    seed: int = 0

    def __call__(self, ue: Int[ndarray, " pair"], ap: Int[ndarray, " pair"], path: Float[ndarray, " pair"]) -> ndarray:
        """Path gain times the shadowing of each pair."""
        if self.deviation_db == 0.0:
            return path
        key = (np.uint64(self.seed) << np.uint64(52)) ^ (ue.astype(np.uint64) << np.uint64(26)) ^ ap.astype(np.uint64)
        first = _scrambled(key)
        radius = np.sqrt(-2.0 * np.log(_unit(first)))
        normal = radius * np.cos(2.0 * math.pi * _unit(_scrambled(first)))
        return path * np.exp(normal * (self.deviation_db * math.log(10.0) / 10.0))


@dataclass(frozen=True)
class MeasuredGains:
    """Gains from a table; pairs that it leaves out (zeros of a sparse one) have the gain of the path loss.

    Attributes:
        table: linear, [ue, ap], a dense array or a scipy.sparse CSR array of the pairs that were measured.
        deviation_db: see `PairGains`.
    """

    table: Any
    deviation_db: float = 0.0

    def __call__(self, ue: Int[ndarray, " pair"], ap: Int[ndarray, " pair"], path: Float[ndarray, " pair"]) -> ndarray:
        """The table's gains where it has any."""
        known = self.table[ue, ap]
        known = np.asarray(known.todense() if hasattr(known, "todense") else known, np.float64).ravel()
        return np.where(known > 0.0, known, path)


def far_bound(mean: ndarray, square: ndarray, deviation_db: float, power: int = 1) -> ndarray:
    """Bound on sum_i w_i F_i^power over shadowing factors F_i, from `mean` = sum w_i and `square` = sum w_i^2.

    Mean plus FAR_DEVIATIONS standard deviations of the sum; exact (the sum itself) without shadowing.
    """
    variance = (power * deviation_db * math.log(10.0) / 10.0) ** 2
    middle = math.exp(0.5 * variance)
    return middle * (mean + FAR_DEVIATIONS * np.sqrt(math.expm1(variance) * square))


def _scrambled(key: ndarray) -> ndarray:
    """The finaliser of SplitMix64: neighbouring keys give unrelated numbers."""
    key = key + np.uint64(0x9E3779B97F4A7C15)
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return key ^ (key >> np.uint64(31))


def _unit(number: ndarray) -> ndarray:
    """Uniform numbers in (0, 1) from 64 random bits."""
    return ((number >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
