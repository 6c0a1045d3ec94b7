"""What the arrays of a file must look like, checked from names, types and shapes alone, before any of them is read.

A file from elsewhere may state any shape: one of 300 kB unpacks to gigabytes. Readers therefore ask here first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isac_torch.allocation import Status
from isac_torch.fields import Field

_FIXED = {"xyz": 3, "xy": 2}
_MOST_UNPACKED = 200
"""Bytes of arrays a byte of file, at most. Random gains do not compress, so a shard of `generate` has about 3."""
_SMALL_FILE = 2**20
_REALS = (np.dtype(np.float64), np.dtype(np.float32))
_INDEX = "index of "


@dataclass(frozen=True)
class Layout:
    """Type and shape of one stored array."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the array in memory."""
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize


def check_layouts(found: Mapping[str, Layout], wanted: Mapping[str, Field], file_bytes: int) -> dict[str, int]:
    """Length of every axis, if the arrays are exactly those of `wanted`: names, types, one length an axis, a bounded total.

    Args:
        found: the arrays of the file.
        wanted: unit and axes of each array that may be there.
        file_bytes: size of the file, which bounds that of its arrays.

    Raises:
        ValueError: one line that names the array and the rule.
    """
    for name, field in wanted.items():
        if name not in found and not field.optional:
            raise ValueError(f"{name} is missing")
    for name, layout in found.items():
        if name not in wanted:
            raise ValueError(f"{name} is no array of this system")
        if layout.dtype not in ((np.dtype(np.int64),) if _is_integer(name, wanted[name]) else _REALS):
            raise ValueError(f"{name} has type {layout.dtype}, not {'int64' if _is_integer(name, wanted[name]) else 'float64'}")
    total = sum(layout.nbytes for layout in found.values())
    if total > _MOST_UNPACKED * file_bytes + _SMALL_FILE:
        raise ValueError(f"its arrays would take {total / 2**20:.0f} MiB, far more than the file can hold")
    return _axis_lengths(found, wanted)


def _axis_lengths(found: Mapping[str, Layout], wanted: Mapping[str, Field]) -> dict[str, int]:
    sizes = dict(_FIXED)
    for name, layout in found.items():
        axes = wanted[name].axes
        expected = [sizes.setdefault(axis, size) for axis, size in zip(axes, layout.shape, strict=False)]
        if len(axes) != len(layout.shape) or expected != list(layout.shape):
            raise ValueError(f"{name} has shape {layout.shape}, which does not fit its axes {axes} and the other arrays")
    return sizes


def check_values(
    name: str, values: NDArray[Any], field: Field, sizes: Mapping[str, int], *, may_be_infinite: bool = False
) -> None:
    """Numbers that the array may hold: indices of the axis that they count, known statuses, finite reals.

    Raises:
        ValueError: one line that names the array.
    """
    if field.unit.startswith(_INDEX):
        size = sizes.get(field.unit.removeprefix(_INDEX), 2**31)
        if values.size and (int(values.min()) < 0 or int(values.max()) >= size):
            worst = int(values.min()) if values.min() < 0 else int(values.max())
            raise ValueError(f"{name} holds {worst}, but must lie in 0..{size - 1}")
    elif _is_integer(name, field):
        unknown = values[~np.isin(values, list(Status))]
        if unknown.size:
            raise ValueError(f"{name} holds {int(unknown[0])}, which is no status")
    elif not may_be_infinite and not np.isfinite(values).all():
        raise ValueError(f"{name} holds NaN or inf")


def _is_integer(name: str, field: Field) -> bool:
    return field.unit.startswith(_INDEX) or name == "label/status"
