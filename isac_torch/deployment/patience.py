"""Ending a computation that nobody waits for any more.

Loops whose length depends on what was asked call `still_wanted()`; whoever runs them may say, by `while_wanted`, when an answer
has lost its use. Without that, nothing is asked and nothing ends early.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_ASK: ContextVar[Callable[[], bool] | None] = ContextVar("isac_torch_still_wanted", default=None)


class Abandoned(Exception):  # noqa: N818 - not a mistake: the answer is no longer wanted
    """Nobody waits for the answer."""


@contextmanager
def while_wanted(wanted: Callable[[], bool]) -> Iterator[None]:
    """Within the block, in this thread, `still_wanted` raises Abandoned once `wanted()` is false.

    Example:
        >>> with while_wanted(lambda: True):
        ...     still_wanted()
    """
    token = _ASK.set(wanted)
    try:
        yield
    finally:
        _ASK.reset(token)


def question() -> Callable[[], bool] | None:
    """What `while_wanted` was given in this thread; None where nobody asks."""
    return _ASK.get()


def still_wanted() -> None:
    """Raise Abandoned where the answer is no longer wanted."""
    ask = question()
    if ask is not None and not ask():
        raise Abandoned
