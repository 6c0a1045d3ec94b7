"""Large-scale gains of pairs in networks that are too large for a table of all pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from isac_torch.deployment.numbers import as_floats, within
from isac_torch.deployment.snapshot import NO_PATH_GAIN
from isac_torch.errors import DropError

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
    """Gains from a table. A zero of a dense table is a pair without a path; pairs that a sparse one leaves out have the gain of
    the path loss.

    Attributes:
        table: linear power gains, 0..1, [ue, ap]: a dense array, or a scipy.sparse CSR array of the pairs that were measured.
        deviation_db: see `PairGains`.

    Raises:
        DropError: the table holds NaN, infinity, or what is no linear gain, such as dB.

    Example:
        >>> MeasuredGains(np.array([[1e-9, 0.0]]))(np.array([0, 0]), np.array([0, 1]), np.array([1e-8, 1e-8])).tolist()
        [1e-09, 1e-20]
    """

    table: Any
    deviation_db: float = 0.0

    def __post_init__(self) -> None:
        """Hold the table to the rules of `Snapshot.ue_gain`."""
        table = self.table
        if hasattr(table, "tocsr"):
            sparse = table.tocsr()
            values = as_floats("ue_gain", sparse.data, ("pair",))
            object.__setattr__(self, "table", sparse)
            if values.size and values.min() == 0.0:
                raise DropError(
                    f"ue_gain lists a gain of 0; leave the pair out, or give {NO_PATH_GAIN:g} where there is no path"
                )
        else:
            values = as_floats("ue_gain", table, ("ue", "ap"))
            object.__setattr__(self, "table", np.maximum(values, NO_PATH_GAIN) if np.isfinite(values).all() else values)
        within("ue_gain", values, 0.0, 1.0, "a linear power gain, not dB")

    def check(self, num_ues: int, num_aps: int) -> None:
        """Raise DropError unless the table has a row for each UE and a column for each transmit AP."""
        if self.table.shape != (num_ues, num_aps):
            turned = ", transposed" if self.table.shape == (num_aps, num_ues) else ""
            raise DropError(
                f"ue_gain has the shape {self.table.shape}{turned}, the network has {num_ues} UEs and {num_aps} transmit APs; "
                "give it as [ue, ap]"
            )

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
