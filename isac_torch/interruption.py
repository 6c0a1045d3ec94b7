"""Whether Ctrl-C was pressed, and the one line that says so."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import TypeVar

ResultT = TypeVar("ResultT")

CODE = 130
"""Exit code after Ctrl-C, as shells have it."""


@dataclass
class Interruption:
    """Of this process.

    Attributes:
        happened: Ctrl-C was pressed; from now on errors follow from it.
        said: the line was written.
    """

    happened: bool = False
    said: bool = False

    def announce(self, kept: str = "") -> int:
        """Write the line, once, with what is kept of the work; the exit code."""
        if not self.said:
            self.said = True
            print("; ".join(filter(None, ("isac-torch: interrupted", kept))), file=sys.stderr)  # noqa: T201 - for the person
        return CODE


INTERRUPTION = Interruption()
_MOMENT = 0.1
"""Seconds between two looks at a thread, in which Ctrl-C can come through."""


def without_interrupts(make: Callable[[], ResultT]) -> ResultT:
    """The result of `make`, called where Ctrl-C is blocked, as it then is in all threads and processes that are started there.

    A terminal sends Ctrl-C to every process. Workers have nothing to say to it: their parent hears of it and ends them. The
    calling thread waits and can be interrupted at any time.
    """
    results: list[ResultT] = []
    errors: list[BaseException] = []

    def blocked() -> None:
        if hasattr(signal, "pthread_sigmask"):
            resource_tracker.ensure_running()  # which would let Ctrl-C through again when it starts
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            results.append(make())
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            errors.append(error)

    thread = threading.Thread(target=blocked, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_MOMENT)
    if errors:
        raise errors[0]
    return results[0]
