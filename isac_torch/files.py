"""Results on disk: outputs that are checked before any work, files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from isac_torch.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import TextIOWrapper

_TEMPORARY = ".tmp"


def writable_folder(path: str | Path) -> Path:
    """Create the folder `path` (`~` is the home folder) if need be and prove that files can be written there.

    Raises:
        OutputError: one line, if it cannot.
    """
    folder = Path(path).expanduser()
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
    file = Path(path).expanduser()
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
    _remove_of_dead(target)
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


@contextmanager
def exclusive_log(path: Path) -> Iterator[TextIOWrapper]:
    """The log of a run, opened for appending and locked: the kernel frees the lock when the run ends, however it ends.

    Raises:
        OutputError: another run holds it.
    """
    with path.open("a", encoding="utf-8") as log:
        try:
            import fcntl

            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(f"another run is writing to {str(path.parent)!r}; wait for it or choose another output") from None
        except (ImportError, OSError):  # no such locks here: atomic writes still keep every file whole
            pass
        yield log


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files that killed runs left in `folder`. Only where no other run can be writing."""
    for path in folder.glob(f".*{_TEMPORARY}[0-9]*"):
        path.unlink(missing_ok=True)


@contextmanager
def replaced_folder(path: Path, is_ours: Callable[[Path], bool], what: str) -> Iterator[Path]:
    """A new folder beside `path` to fill; it takes the name `path` only if the block ends well.

    The folder that it replaces is renamed, not deleted, until the new one stands, so that a kill at any moment leaves one of
    the two whole: under its name or beside it, from where the next call brings it back. What killed calls left is removed.

    Args:
        path: the folder to make or to replace. A link is followed.
        is_ours: whether a folder holds what this program wrote and nothing else; only such a folder is replaced or removed.
        what: the folder's content, in words.

    Raises:
        OutputError: one line, where `path` holds something else, the disk is full or the folder cannot be written.
    """
    target = path.resolve() if path.is_symlink() else path
    staged, aside = (target.with_name(f".{target.name}.{word}{_TEMPORARY}{os.getpid()}") for word in ("new", "old"))
    _recover(target, is_ours)
    _check_replaceable(target, path, is_ours, what)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staged.mkdir()
        yield staged
        for file in (*staged.iterdir(), staged):
            _sync(file)
        _check_replaceable(target, path, is_ours, what)  # again: making the content takes a while
        if target.exists():
            target.rename(aside)
        try:
            staged.rename(target)
        except OSError:
            if aside.exists():
                aside.rename(target)
            raise
        with contextlib.suppress(OSError):
            _sync(target.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{path}: cannot be written ({reason}); free some space or choose another output") from error
    finally:
        if staged.exists():
            _remove_flat(staged)
        if aside.exists() and target.exists() and is_ours(aside):
            _discard(aside, target)


def _check_replaceable(target: Path, path: Path, is_ours: Callable[[Path], bool], what: str) -> None:
    if target.exists() and not (target.is_dir() and (not any(target.iterdir()) or is_ours(target))):
        raise OutputError(f"{path}: holds something other than {what}; choose another output")


def _recover(target: Path, is_ours: Callable[[Path], bool]) -> None:
    """Bring back the folder that a killed call had put aside, and remove what such calls left beside `target`."""
    name = re.compile(re.escape(f".{target.name}.") + "(new|old|gone)" + re.escape(_TEMPORARY) + r"(\d+)")
    beside = sorted(target.parent.iterdir()) if target.parent.is_dir() else []
    for folder in beside:
        match = name.fullmatch(folder.name)
        if match is None or folder.is_symlink() or not folder.is_dir() or _runs(int(match[2])):
            continue
        if match[1] == "old" and not target.exists() and is_ours(folder):
            folder.rename(target)
        elif match[1] != "old":
            _remove_flat(folder)
        elif is_ours(folder):
            _discard(folder, target)


def _runs(process: int) -> bool:
    """Whether a process of this number exists."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return process != os.getpid()


def _remove_of_dead(target: Path) -> None:
    """Delete what killed processes left beside `target` while they were writing it."""
    name = re.compile(re.escape(f".{target.stem}{_TEMPORARY}") + r"(\d+)" + re.escape(target.suffix))
    with contextlib.suppress(OSError):
        for path in target.parent.iterdir():
            match = name.fullmatch(path.name)
            if match and path.is_file() and not path.is_symlink() and not _runs(int(match[1])) and int(match[1]) != os.getpid():
                path.unlink(missing_ok=True)


def _discard(folder: Path, target: Path) -> None:
    """Remove an older folder of ours under another name first: what a kill leaves of it is no longer told by its content."""
    gone = target.with_name(f".{target.name}.gone{_TEMPORARY}{os.getpid()}")
    with contextlib.suppress(OSError):
        _remove_flat(folder.rename(gone))


def _remove_flat(folder: Path) -> None:
    """Delete a folder of files; one with folders in it is left alone."""
    with contextlib.suppress(OSError):
        if not any(item.is_dir() and not item.is_symlink() for item in folder.iterdir()):
            for item in folder.iterdir():
                item.unlink()
            folder.rmdir()


def _is_stream(path: Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()


def _sync(path: Path) -> None:
    """Wait until the content of a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
