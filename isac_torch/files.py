"""Results on disk: outputs that are checked before any work, files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from isac_torch.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

_TEMPORARY = ".tmp"


def writable_folder(path: str | Path) -> Path:
    """Create the folder `path` if need be and prove that files can be written there.

    Raises:
        OutputError: one line, if it cannot.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"output={str(path)!r} cannot be written ({reason}); choose a folder that you may write to") from None
    return folder


def writable_file(path: str | Path) -> Path:
    """Prove, before any work, that `written_whole` can write the file `path`; its folder is made if need be.

    Raises:
        OutputError: one line, if it cannot.
    """
    file = Path(path)
    if file.is_dir():
        raise OutputError(f"output={str(path)!r} is a folder; give the name of a file")
    if not _is_stream(file):
        writable_folder(file.resolve().parent)
    return file


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary neighbour of `path` to write to; it takes the name `path` only if the block ends well.

    Whatever happens in between (an error, a full disk, a kill, a loss of power), `path` holds all of the new content or
    what it held before. A link is followed, the permissions of an older file are kept, and a device or pipe (`/dev/stdout`)
    is written to directly.

    Raises:
        OutputError: one line, where the disk is full or the file cannot be written.
    """
    target = path.resolve() if path.is_symlink() else path
    if _is_stream(target):
        yield target
        return
    partial = target.with_name(f".{target.stem}{_TEMPORARY}{os.getpid()}{target.suffix}")
    try:
        yield partial
        _sync(partial)
        if target.exists():
            shutil.copymode(target, partial)
        partial.replace(target)
    except OSError as error:
        reason = error.strerror or str(error)
        kept = "the file is as it was before" if target.is_file() else "nothing was written"
        raise OutputError(f"{path}: cannot be written ({reason}), {kept}; free some space or choose another output") from error
    finally:
        with contextlib.suppress(OSError):  # the first error says more
            partial.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # some network file systems refuse to sync a folder; the file itself is whole
        _sync(target.parent)


def write_whole(path: Path, content: bytes | str) -> None:
    """Write `content` (text as UTF-8) to `path` by `written_whole`."""
    with written_whole(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files that killed runs left in `folder`. Only where no other run can be writing."""
    for path in folder.glob(f"*{_TEMPORARY}[0-9]*"):  # pathlib's star matches a leading dot too
        path.unlink(missing_ok=True)


def _is_stream(path: Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()


def _sync(path: Path) -> None:
    """Wait until the content of a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
