"""Results on disk: an output folder that is checked before any work, files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from isac_torch.errors import IsacError

if TYPE_CHECKING:
    from collections.abc import Iterator


def writable_folder(path: str | Path) -> Path:
    """Create the folder `path` if need be and prove that files can be written there.

    Raises:
        IsacError: one line, if it cannot.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise IsacError(f"output={str(path)!r} cannot be written ({reason}); choose a folder that you may write to") from None
    return folder


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary neighbour of `path` to write to; it takes the name `path` only if the block ends well."""
    partial = path.with_name(f".{path.stem}.tmp{os.getpid()}{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
