"""Checksums, and one writer per folder."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from isac_torch.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import TextIOWrapper


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


@contextlib.contextmanager
def exclusive_log(path: Path) -> Iterator[TextIOWrapper]:
    """The log of a run, opened for appending and locked: the kernel frees the lock when the run ends, however it ends."""
    with path.open("a", encoding="utf-8") as log:
        try:
            import fcntl

            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DatasetError(
                f"another run is writing to {str(path.parent)!r}; wait for it or choose another output"
            ) from None
        except (ImportError, OSError):  # no such locks here: identical bytes and atomic writes still keep the folder whole
            pass
        yield log
