"""Tables that are kept for the next call, bounded by the bytes that they take instead of by their number."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar, runtime_checkable

import numpy as np

Given = ParamSpec("Given")
FoundT = TypeVar("FoundT", covariant=True)
MEBIBYTE = 2**20


@runtime_checkable
class Kept(Protocol[Given, FoundT]):
    """A function whose results are kept."""

    def __call__(self, *arguments: Given.args, **named: Given.kwargs) -> FoundT:
        """The function's result, kept or new."""

    def kept_bytes(self) -> int:
        """What all kept results take together."""


def kept(max_bytes: int = 8 * MEBIBYTE) -> Callable[[Callable[Given, FoundT]], Kept[Given, FoundT]]:
    """A decorator for functions of hashable arguments whose arrays the caller does not change.

    Results are kept, the least recently used ones are dropped where all together exceed `max_bytes`, and a result that takes
    more than half of that is not kept at all. May be called from several threads.

    Args:
        max_bytes: of the results of one function.

    Example:
        >>> @kept(max_bytes=1000)
        ... def ones(count):
        ...     return np.ones(count)
        >>> ones(50) is ones(50), ones(70) is ones(70)     # 400 and 560 bytes
        (True, False)
    """

    def decorate(function: Callable[Given, FoundT]) -> Kept[Given, FoundT]:
        store: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        lock = threading.Lock()
        total = 0
        compute: Callable[..., FoundT] = function

        @wraps(function)
        def call(*arguments: Any) -> Any:
            nonlocal total
            with lock:
                if arguments in store:
                    store.move_to_end(arguments)
                    return store[arguments][0]
            value = compute(*arguments)
            size = size_of(value)
            if 2 * size > max_bytes:
                return value
            with lock:
                if arguments not in store:
                    store[arguments] = (value, size)
                    total += size
                while total > max_bytes:
                    total -= store.popitem(last=False)[1][1]
            return value

        call.kept_bytes = lambda: total  # type: ignore[attr-defined]
        return call  # type: ignore[return-value]

    return decorate


def size_of(value: Any) -> int:
    """Bytes of the arrays, texts and tuples that a value holds, a hundred for everything else."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, (tuple, list)):
        return 8 * len(value) + sum(map(size_of, set(value) if all(isinstance(one, str) for one in value) else value))
    if is_dataclass(value):
        return sum(size_of(getattr(value, field.name)) for field in fields(value))
    return 100
