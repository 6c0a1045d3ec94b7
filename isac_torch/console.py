"""The console script as a process: one Ctrl-C ends it within seconds and in one line, closed streams do no harm.

Only what concerns a process of its own is here; `cli.main` is the command line as a function.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any, NoReturn

from isac_torch.interruption import CODE, INTERRUPTION

_PATIENCE = 4.0
"""Seconds after Ctrl-C in which a command may end in its own way."""


class _Closed:
    """A standard stream that is closed: whoever uses it gets one line, and exit code 2 follows."""

    def __init__(self, name: str, remedy: str) -> None:
        self._said = f"{name} is closed; {remedy}"

    def flush(self) -> None:
        """There is nothing to write."""

    def isatty(self) -> bool:
        """A closed stream is no terminal."""
        return False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise ValueError(self._said)


def _open_streams() -> None:
    """Give closed streams a stand-in, and their numbers to the null device: the next file must not get them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
    streams: Any = sys  # None where a stream was closed from the beginning
    if streams.stdin is None:
        streams.stdin = _Closed("standard input", "give a file instead of -")
    if streams.stdout is None:
        streams.stdout = _Closed("standard output", "open it, or name a file with --output")
    if streams.stderr is None:
        streams.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")


def _listen() -> None:
    """Ctrl-C is a KeyboardInterrupt in the main thread, and the end of the process where that does not end it in time.

    The signal's number also goes to a pipe, which a thread reads: it learns of the signal while the main thread is inside a
    library's own code. What prints tracebacks of its own accord (threads, destructors) is silenced from the signal on.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, _interrupted)
    threading.Thread(target=_watch, args=(reader,), daemon=True, name="interrupt").start()
    for owner, name in ((threading, "excepthook"), (sys, "unraisablehook"), (sys, "excepthook")):
        setattr(owner, name, _quiet(getattr(owner, name)))


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    if not INTERRUPTION.happened:  # one is enough: a second would interrupt the clearing up
        INTERRUPTION.happened = True
        raise KeyboardInterrupt


def _watch(reader: int) -> None:
    while signal.SIGINT not in os.read(reader, 64):
        pass
    threading.Event().wait(_PATIENCE)
    _end()


def _quiet(hook: Any) -> Any:
    def quiet(*arguments: Any) -> None:
        if not INTERRUPTION.happened:
            hook(*arguments)

    return quiet


def _end() -> NoReturn:
    """Say that the command was interrupted, if nobody has, and leave now, with the processes that were started."""
    INTERRUPTION.happened = True
    with contextlib.suppress(Exception):
        INTERRUPTION.announce()
        sys.stderr.flush()
        sys.stdout.flush()
    if "multiprocessing" in sys.modules:
        import multiprocessing.util

        for child in multiprocessing.active_children():
            child.kill()
        with contextlib.suppress(Exception):
            multiprocessing.util._run_finalizers()  # type: ignore[attr-defined]  # or the library's tracker complains afterwards
    os._exit(CODE)


def run() -> int:
    """Run the command line of this process; the exit code."""
    _open_streams()
    _listen()
    try:
        from isac_torch.cli import main

        code = main()
    except BaseException:  # an import that is interrupted may raise anything
        if not INTERRUPTION.happened:
            raise
        code = CODE
    if INTERRUPTION.happened:
        _end()  # without the interpreter's own end, which libraries fill with what they have to say
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return code


if __name__ == "__main__":
    sys.exit(run())
