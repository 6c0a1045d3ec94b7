"""Operations shared by every frozen batch of tensors (drops, statistics, problems)."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BatchT = TypeVar("BatchT", bound=Any)


def tensor_fields(batch: Any) -> dict[str, Tensor]:
    """Name and value of each tensor field of a dataclass."""
    return {f.name: value for f in fields(batch) if isinstance(value := getattr(batch, f.name), Tensor)}


def map_tensors(batch: BatchT, change: Callable[[Tensor], Tensor]) -> BatchT:
    """The same dataclass with `change` applied to each of its tensors; other fields stay."""
    return replace(batch, **{name: change(value) for name, value in tensor_fields(batch).items()})


def cat_tensors(batches: Sequence[BatchT]) -> BatchT:
    """One batch of the drops of several batches of the same size class, joined along the leading axis."""
    names = tensor_fields(batches[0])
    return replace(batches[0], **{n: torch.cat([getattr(b, n) for b in batches]) for n in names})


def cast_floats(batch: BatchT, dtype: torch.dtype) -> BatchT:
    """The same dataclass with its real tensors in `dtype`; integer tensors stay."""
    return map_tensors(batch, lambda t: t.to(dtype) if t.is_floating_point() else t)


def to_db(value: Tensor) -> Tensor:
    """Elementwise power ratio in dB; zeros become -inf."""
    return 10.0 * torch.log10(value)


def from_db(value_db: Tensor) -> Tensor:
    """Elementwise linear power ratio of values in dB."""
    return torch.pow(10.0, value_db / 10.0)


def amplitude(power: Tensor) -> Tensor:
    """Square root of powers whose gradient is 0, not infinite, where a power is exactly 0 (or negative by rounding)."""
    sent = power > 0
    return torch.where(sent, torch.where(sent, power, 1.0).sqrt(), 0.0)
