"""Whether Ctrl-C was pressed, and the one line that says so."""

from __future__ import annotations

import sys
from dataclasses import dataclass

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
