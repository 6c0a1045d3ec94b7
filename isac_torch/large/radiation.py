"""How strongly each AP radiates into each sector, at most: what distant receivers are told instead of beams."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from isac_torch.large.cells import SECTORS, CellGrid

AZIMUTHS = 256
"""Directions at which an AP's radiation is evaluated; what may lie between two of them is added."""
_CHUNK = 128
"""APs at once: their radiation in all directions stays in the cache."""


def azimuths() -> Float[ndarray, " azimuth"]:
    """The directions, rad from broadside."""
    return np.arange(AZIMUTHS) * (2.0 * math.pi / AZIMUTHS)


def by_sector(
    sent: Float[ndarray, "ap width"],
    orientation: Float[ndarray, " ap"],
    pattern: Float[ndarray, "azimuth width"],
    grid: CellGrid,
    height: float,
    *,
    least: bool = False,
) -> Float[ndarray, "sector ap"]:
    """Upper (or with `least` lower) bound, W, on tr(C X) over unit-gain C of far points in each sector, X all an AP sends.

    Args:
        sent: weights of X of every AP, W, as `weights_of` gives them.
        orientation: azimuth of the arrays' broadside, rad.
        pattern: lags of C at `azimuths()` and elevation 0.
        grid: its far pairs are meant, and its sector margin.
        height: largest difference of height in a pair, m.
        least: bound from below.
    """
    step, sector = 2.0 * math.pi / AZIMUTHS, 2.0 * math.pi / SECTORS
    window = math.ceil((sector + 2.0 * grid.sector_margin) / step) + 2
    start = np.arange(SECTORS)[:, None] * sector - grid.sector_margin - orientation
    index = np.floor(start / step).astype(np.int64) % AZIMUTHS
    around = np.concatenate([pattern, pattern[: window - 1]])
    bound = np.empty((SECTORS, len(sent)))
    for begin in range(0, len(sent), _CHUNK):
        some = slice(begin, begin + _CHUNK)
        peak = _largest_in_window(around @ (-sent[some].T if least else sent[some].T), window)
        bound[:, some] = np.take_along_axis(peak, index[:, some], axis=0)
    antennas = (sent.shape[1] + 1) // 2
    phase = math.pi * np.arange(1, antennas)
    # Between samples: a maximum's second derivative; above or below the horizon: its first, by cos(elevation).
    tilt = 0.5 * (height / grid.radius) ** 2
    error = phase * (phase + 1.0) * step**2 / 8.0 + phase * tilt
    bound += np.hypot(sent[:, 1:antennas], sent[:, antennas:]) @ error
    return np.maximum(-bound, 0.0) if least else bound


def _largest_in_window(value: Float[ndarray, "direction ap"], window: int) -> Float[ndarray, "first ap"]:
    """The largest of `window` consecutive rows from each row on, by windows of twice the width each time."""
    width = 1
    while width < window:
        shift = min(width, window - width)
        value = np.maximum(value[:-shift], value[shift:])
        width += shift
    return value
