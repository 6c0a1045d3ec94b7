"""Arrays in npz files of others: nothing is unpickled, sizes are checked before anything is unpacked."""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isac_torch.errors import NpzError

if TYPE_CHECKING:
    from pathlib import Path

_MAX_DIRECTORY = 2**16
_BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, LookupError, OSError, RuntimeError, ValueError)
"""All that zipfile raises over damaged bytes; NotImplementedError (odd features) is a RuntimeError."""
_HEADER = re.compile(
    rb"\{'descr': '(?P<dtype>[<>|=]?(?:[fiu][1248]|b1|[SU]\d{1,3}))', 'fortran_order': (?P<fortran>True|False), "
    rb"'shape': \((?P<shape>[\d, ]{0,60})\), ?\}\s*"
)


def read_npz(path: Path, max_bytes: int) -> dict[str, NDArray[Any]]:
    """The arrays of the npz file at `path`, to be read only; see `npz_arrays`. FileNotFoundError where there is none."""
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise NpzError(f"cannot be read ({error.strerror or error})") from None
    if len(data) > max_bytes:
        raise NpzError(f"more than {max_bytes} bytes; split the file")
    return npz_arrays(data, max_bytes)


def npz_arrays(data: bytes, max_bytes: int) -> dict[str, NDArray[Any]]:
    """The arrays in the bytes of an npz file, to be read only, by name.

    Args:
        data: the file.
        max_bytes: refuses files whose arrays unpack to more, before anything is unpacked.

    Raises:
        NpzError: in one line: not whole, too large, or something other than real numbers and short texts.

    Example:
        >>> import io, numpy as np
        >>> file = io.BytesIO()
        >>> np.savez(file, power=np.array([1.0, 2.0]))
        >>> npz_arrays(file.getvalue(), 1000)
        {'power': array([1., 2.])}
    """
    try:
        return _unpacked(data, max_bytes)
    except NpzError:
        raise
    except _BROKEN_ZIP as error:
        said = (str(error).splitlines() or [type(error).__name__])[0].strip("'\"")[:100]
        raise NpzError(f"not a whole npz file ({said}); write it with numpy.savez or send it again") from None


def _unpacked(data: bytes, max_bytes: int) -> dict[str, NDArray[Any]]:
    _check_directory(data)
    arrays = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        total = sum(entry.file_size for entry in entries)
        if total > max_bytes:
            raise NpzError(f"its arrays unpack to {total} bytes, at most {max_bytes} are allowed; split the file")
        for entry in entries:
            name = entry.filename.removesuffix(".npy")
            if name in arrays or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise NpzError(f"{name[:40]!r} is there twice or packed in an unusual way; write it with numpy.savez")
            with archive.open(entry) as file:
                arrays[name] = _npy_array(name, file.read(entry.file_size))
    return arrays


def _check_directory(data: bytes) -> None:
    """Refuse a zip directory of millions of entries before Python's reader makes an object of each."""
    end = data.rfind(b"PK\x05\x06")
    if end < 0 or len(data) < end + 22:
        raise NpzError("not a whole npz file (its directory is missing); write it with numpy.savez or send it again")
    (size,) = struct.unpack_from("<L", data, end + 12)
    if size > _MAX_DIRECTORY or data[max(end - 20, 0) : end].startswith(b"PK\x06\x07"):
        raise NpzError(f"a zip directory of {size} bytes is too large; write it with numpy.savez")


def _npy_array(name: str, data: bytes) -> NDArray[Any]:
    """The array of one npy file, of real numbers or short text only."""
    version = data[6:8]
    width = {b"\x01\x00": 2, b"\x02\x00": 4, b"\x03\x00": 4}.get(version)
    if data[:6] != b"\x93NUMPY" or width is None or len(data) < 8 + width:
        raise NpzError(f"{name[:40]!r} is not an array of numpy; write the file with numpy.savez")
    start = 8 + width
    body = start + int.from_bytes(data[8:start], "little")
    header = _HEADER.fullmatch(data[start:body])
    if header is None:
        raise NpzError(f"{name[:40]!r} is not an array of plain numbers; convert it with numpy.asarray(..., dtype=float)")
    dtype = np.dtype(header["dtype"].decode())
    shape = tuple(int(length) for length in header["shape"].replace(b" ", b"").split(b",") if length)
    if len(shape) > 4 or math.prod(shape) * dtype.itemsize != len(data) - body:
        raise NpzError(f"{name[:40]!r} of shape {shape} does not fill its {len(data) - body} bytes; write the file again")
    flat = np.frombuffer(data, dtype, offset=body) if len(data) > body else np.empty(0, dtype)
    return flat.reshape(shape, order="F" if header["fortran"] == b"True" else "C")
