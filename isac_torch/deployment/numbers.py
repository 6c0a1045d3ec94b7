"""Foreign numbers to numpy arrays and back to the user in one line where they are none."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np
from numpy import ndarray

from isac_torch.errors import DropError


def as_floats(name: str, value: Any, shape: tuple[str | int, ...]) -> ndarray:
    """`value` as a float64 array with axes as `shape` says. Raises DropError for anything but real numbers."""
    array = _as_array(name, value, shape)
    with np.errstate(over="ignore"):  # a long double may become inf, which the range check refuses
        return np.ascontiguousarray(array, dtype=np.float64)


def as_indices(name: str, value: Any, shape: tuple[str | int, ...]) -> ndarray:
    """`value` as an int64 array with axes as `shape` says. Raises DropError for anything but whole numbers."""
    array = _as_array(name, value, shape)
    if array.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            whole = (np.abs(array) < 2**53) & (array == np.rint(array))
        if not whole.all():
            raise DropError(f"{name} holds {array[~whole][0]:g}, but indices are whole numbers that start at 0")
    return np.ascontiguousarray(array, dtype=np.int64)


def as_number(name: str, value: Any, *, whole: bool) -> float | int:
    """`value` as a float, or an int where `whole`. Raises DropError for anything but a real, finite number."""
    if isinstance(value, (np.generic, ndarray)) and value.ndim == 0:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, Real):
        raise DropError(f"{name}={str(value)[:40]!r} must be a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise DropError(f"{name}={str(value)[:40]} must be a finite number")
    if not whole:
        return number
    if number != round(number):
        raise DropError(f"{name}={number:g} must be a whole number")
    return round(number)


def within(name: str, value: Any, least: float | int, most: float | int, unit: str) -> None:
    """Raise DropError unless all of `value` (an array or a number) lies in least..most. NaN does not."""
    if isinstance(value, ndarray):
        if not value.size:
            return
        low, high = value.item(value.argmin()), value.item(value.argmax())  # either finds NaN first
    else:
        low = high = value
    if low >= least and high <= most:
        return
    if low != low:
        raise DropError(f"{name} holds NaN; give numbers in {least:g}..{most:g} ({unit})")
    worst = low if low < least else high
    raise DropError(f"{name} holds {worst:g}, but must lie in {least:g}..{most:g} ({unit})")


def _as_array(name: str, value: Any, shape: tuple[str | int, ...]) -> ndarray:
    """An array of real numbers with as many axes as `shape`; no entries at all count as any shape."""
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        reason = str(error).splitlines()[0][:80]
        raise DropError(f"{name} is no array of numbers ({reason}); give it as {_axes(shape)}") from None
    if array.size == 0 and array.ndim <= len(shape) and (array.shape[0] == 0 or isinstance(shape[-1], str)):
        sizes = [array.shape[i] if i < array.ndim and isinstance(axis, str) else _width(axis) for i, axis in enumerate(shape)]
        return np.zeros(sizes)
    if array.dtype.kind not in "iuf":
        raise DropError(f"{name} holds {array.dtype} where real numbers belong; give it as {_axes(shape)}")
    wrong = array.ndim != len(shape)
    if wrong or any(isinstance(axis, int) and axis != n for axis, n in zip(shape, array.shape, strict=True)):
        raise DropError(f"{name} has the shape {array.shape}; give it as {_axes(shape)}")
    return array


def _width(axis: str | int) -> int:
    return axis if isinstance(axis, int) else 0


def _axes(shape: tuple[str | int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def to_numpy(value: Any) -> ndarray:
    """The array of any library as one of numpy, on the CPU; tensors offer `detach` and `cpu`."""
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value
