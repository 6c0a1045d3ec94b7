"""Arrays of torch or numpy, by the array API standard, and operations shared by every frozen batch of them.

The physics is written once for both libraries: torch where gradients or a GPU are wanted, numpy where nothing else is
installed. Nothing here imports torch.
"""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from array_api_compat import array_namespace, device, is_array_api_obj, is_torch_array

from isac_torch.caches import kept

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from numpy.typing import NDArray
    from typing_extensions import TypeVar as TypeVarWithDefault

    # Functions annotated with it are checked for both libraries; classes without a parameter, `TrackingDrop`, hold tensors.
    Array = TypeVarWithDefault("Array", torch.Tensor, NDArray[Any], default=torch.Tensor)
else:
    Array = TypeVar("Array")

BatchT = TypeVar("BatchT", bound=Any)


_NAMESPACES: dict[type, Any] = {np.ndarray: np}  # array_api_compat.numpy is the same and loads half of numpy's tools


def namespace(array: Array) -> Any:
    """The array API functions of the array's library. Looked up by type, because physics asks fifty times per batch."""
    found = _NAMESPACES.get(type(array))
    if found is None:
        found = _NAMESPACES[type(array)] = array_namespace(array)
    return found


def tensor_fields(batch: Any) -> dict[str, Any]:
    """Name and value of each array of a dataclass; those of its members as `member.name`."""
    found = _own_tensors(batch)
    for name, member in member_batches(batch).items():
        found |= {f"{name}.{inner}": value for inner, value in tensor_fields(member).items()}
    return found


def _own_tensors(batch: Any) -> dict[str, Any]:
    return {f.name: value for f in fields(batch) if is_array_api_obj(value := getattr(batch, f.name))}


def member_batches(batch: Any) -> dict[str, Any]:
    """Name and value of each field that is itself a dataclass of arrays with the same drops."""
    return {f.name: value for f in fields(batch) if is_dataclass(value := getattr(batch, f.name))}


def map_tensors(batch: BatchT, change: Callable[[Any], Any]) -> BatchT:
    """The same dataclass with `change` applied to each of its arrays, those of its members too; other fields stay."""
    changed = {name: change(value) for name, value in _own_tensors(batch).items()}
    members = {name: map_tensors(member, change) for name, member in member_batches(batch).items()}
    return replace(batch, **changed, **members)


def cat_tensors(batches: Sequence[BatchT]) -> BatchT:
    """One batch of the drops of several batches of the same size class, joined along the leading axis."""
    names = _own_tensors(batches[0])
    parts = {name: [getattr(batch, name) for batch in batches] for name in names}
    joined = {name: namespace(part[0]).concat(part, axis=0) for name, part in parts.items()}
    members = {name: cat_tensors([getattr(batch, name) for batch in batches]) for name in member_batches(batches[0])}
    return replace(batches[0], **joined, **members)


def cast_floats(batch: BatchT, dtype: torch.dtype) -> BatchT:
    """The same dataclass with its real arrays in `dtype`; integer arrays stay."""
    return map_tensors(batch, lambda a: namespace(a).astype(a, dtype, copy=False) if is_real(a) else a)


def is_real(array: Array) -> bool:
    """Whether the array holds floating-point numbers."""
    return bool(namespace(array).isdtype(array.dtype, "real floating"))


def tiniest(array: Array) -> float:
    """Smallest positive normal number of the array's type."""
    return float(namespace(array).finfo(array.dtype).smallest_normal)


def to_db(value: Array) -> Array:
    """Elementwise power ratio in dB; zeros become -inf."""
    with np.errstate(divide="ignore"):
        return 10.0 * namespace(value).log10(value)


def from_db(value_db: Array) -> Array:
    """Elementwise linear power ratio of values in dB."""
    return 10.0 ** (value_db / 10.0)


def amplitude(power: Array) -> Array:
    """Square root of powers whose gradient is 0, not infinite, where a power is exactly 0 (or negative by rounding)."""
    xp = namespace(power)
    sent = power > 0
    return xp.where(sent, xp.sqrt(xp.where(sent, power, 1.0)), 0.0)


def at_least(value: Any, least: Any) -> Any:
    """Elementwise maximum with a number or another array."""
    return value.clamp_min(least) if is_torch_array(value) else np.maximum(value, least)


def at_most(value: Any, most: float) -> Any:
    """Elementwise minimum with a number."""
    return value.clamp_max(most) if is_torch_array(value) else np.minimum(value, most)


def within(value: Any, least: float, most: float) -> Any:
    """Elementwise between two numbers."""
    return value.clamp(least, most) if is_torch_array(value) else np.clip(value, least, most)


def constant(values: Any, like: Any) -> Any:
    """Numbers as an array of the library, type and device of `like`."""
    if isinstance(like, np.ndarray):
        return np.asarray(values, dtype=like.dtype)
    return namespace(like).asarray(values, dtype=like.dtype, device=device(like))


def counting(count: int, like: Any) -> Any:
    """0, 1, ..., count - 1 as integers on the device of `like`."""
    if isinstance(like, np.ndarray):
        return np.arange(count)
    xp = namespace(like)
    return xp.arange(count, dtype=xp.int64, device=device(like))


def all_but_own(count: int, like: Array) -> Array:
    """Square table of the type of `like`, to be read only: 0 where an item meets itself, 1 where it meets another."""
    return constant(_all_but_own(count), like)


@kept()
def _all_but_own(count: int) -> np.ndarray:
    return 1.0 - np.eye(count)


def stacked(*arrays: Array) -> Array:
    """Arrays of one shape along a new first axis."""
    return namespace(arrays[0]).concat([array[None] for array in arrays])


def at_rows(table: Array, index: Array) -> Array:
    """Rows of each drop's table: `table` [drop, row, ...] at `index` [drop, ...] of rows, as [drop, *index, *rest]."""
    if len(table) == 1:  # half the time of the general case
        return table[0][index[0]][None]
    drop = counting(len(table), table).reshape(len(table), *(1,) * (index.ndim - 1))
    return table[drop, index]


def at_columns(table: Array, index: Array) -> Array:
    """Entries of each row: `table` [drop, row, column] at `index` [drop, row, chosen] of columns."""
    drops, rows, columns = table.shape
    flat = at_rows(table.reshape(drops * rows, columns), index.reshape(drops * rows, index.shape[2]))
    return flat.reshape(index.shape)


def _is_tensor(value: Any) -> bool:
    return is_torch_array(value)


def sum_at(value: Any, index: Any, size: int) -> Any:
    """Sums [drop, size] of the entries of `value` [drop, link] that have the same `index` [drop, link]."""
    drops = value.shape[0]
    if _is_tensor(value):
        return value.new_zeros(drops, size).scatter_add(1, index, value)
    place = index + np.arange(0, drops * size, max(size, 1))[:, None]
    total = np.bincount(place.ravel(), value.ravel(), drops * size)
    return total.astype(value.dtype, copy=False).reshape(drops, size)


def max_at(value: Any, index: Any, size: int) -> Any:
    """Largest of the entries of `value` [drop, link] that have the same `index`, as [drop, size]; -inf where there is none."""
    if _is_tensor(value):
        return value.new_full((value.shape[0], size), -math.inf).scatter_reduce(1, index, value, "amax")
    largest = np.full((value.shape[0], size), -math.inf, dtype=value.dtype)
    np.maximum.at(largest, (np.arange(value.shape[0])[:, None], index), value)
    return largest


def smallest(value: Any, count: int) -> Any:
    """Indices of the `count` smallest entries of each row, smallest first."""
    if _is_tensor(value):
        return value.topk(count, dim=-1, largest=False).indices
    if not 0 < count < value.shape[-1]:
        return np.argsort(value, axis=-1, kind="stable")[..., :count]
    found = np.argpartition(value, count - 1, axis=-1)[..., :count]
    order = np.argsort(np.take_along_axis(value, found, -1), axis=-1, kind="stable")
    return np.take_along_axis(found, order, -1)


def solved(system: Any, right: Any) -> Any:
    """Solutions of systems of linear equations; not finite where there is none."""
    if _is_tensor(system):
        return namespace(system).linalg.solve_ex(system, right)[0]
    try:
        return np.linalg.solve(system, right)
    except np.linalg.LinAlgError:  # one of a batch spoils it all
        return np.full(right.shape, np.nan)
