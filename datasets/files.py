"""Files that are either whole or not there: atomic writes, checksums, one writer per folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from isac_torch.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import TextIOWrapper

_TEMPORARY = ".tmp"


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` so that `path` holds all of it or keeps what it held, even if the process or the machine dies here."""
    temporary = path.with_name(f"{path.name}{_TEMPORARY}{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)  # noqa: PTH105 - the call whose atomicity POSIX promises, under its own name
    with contextlib.suppress(OSError):  # some network file systems refuse to sync a folder; the rename itself is done
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files of a run that was killed while it wrote. Only for the holder of `exclusive_log`."""
    for path in folder.glob(f"*{_TEMPORARY}[0-9]*"):
        path.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Create `folder` and make sure it can be written to; DatasetError, before any work, where it cannot."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f"probe{_TEMPORARY}{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        reason = error.strerror or str(error)
        raise DatasetError(f"cannot write to output={str(folder)!r} ({reason}); choose a folder you may write to") from None


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
