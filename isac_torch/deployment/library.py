"""The compiled library of `native/`: where it is, whether it is this version's, and how its functions are called."""

from __future__ import annotations

import ctypes
import logging
import os
import struct
from functools import cache
from pathlib import Path

from numpy import ndarray

LEVELS = ("baseline", "AVX2", "AVX-512")
"""Instruction sets that the library holds code for; the processor's best is taken."""
FILE = Path(__file__).with_name("_native.so")
DROP = struct.Struct("=14q17Q3d5Q")
"""`Drop` of native/core.h: sizes, arrays, numbers, and where the answers go."""
MODEL = struct.Struct("=qQ7d")
NEAR = struct.Struct("=3q3Q")
TABLE = struct.Struct("=2qdQ")
ROAD = struct.Struct("=4q10Q")
ROAD_MODEL = struct.Struct("=5qQ")
INTERFACE = 4
"""Version of the functions' arguments, as in native/core.h."""
WANTED = ctypes.CFUNCTYPE(ctypes.c_int)
"""Whether an answer is still wanted, `Wanted` of native/core.h; `WANTED()` where nobody asks."""
_WHOLE, _LONG, _PLACE, _BYTES = ctypes.c_int, ctypes.c_int64, ctypes.c_void_p, ctypes.c_char_p
_ARGUMENTS = {
    "isac_allocate": [_WHOLE, _LONG, _PLACE, _BYTES, WANTED, _PLACE],
    "isac_road": [_WHOLE, _BYTES, _BYTES, WANTED],
    "isac_road_steps": [_WHOLE, _BYTES, _WHOLE, WANTED],
    "isac_received": [_WHOLE, _BYTES, _LONG, _PLACE, _PLACE],
    "isac_returned": [_WHOLE, _BYTES, _LONG, _PLACE, _PLACE],
    "isac_scattered": [_WHOLE, _LONG, _BYTES, _PLACE, _PLACE, _PLACE],
    "isac_deal_pilots": [_LONG, _LONG, _LONG, _PLACE, _PLACE, _PLACE, _PLACE],
}
_LOG = logging.getLogger(__name__)


def compute_path() -> str:
    """By what a deployed allocator computes on this machine, in words.

    Example:
        >>> compute_path() in ("numpy", "compiled (baseline)", "compiled (AVX2)", "compiled (AVX-512)")
        True
    """
    library = native_library()
    return "numpy" if library is None else f"compiled ({LEVELS[library.isac_level()]})"


@cache
def native_library() -> ctypes.CDLL | None:
    """The library; None, with one line in the log, where there is none or another version's."""
    asked = os.environ.get("ISAC_TORCH_NATIVE", "")
    file = FILE if asked in ("", "1") else Path(asked).absolute()
    reason = "" if file.is_file() else "the compiled core is not built (`make native` builds it)"
    if asked == "0":
        reason = "ISAC_TORCH_NATIVE=0"
    try:
        library = None if reason else opened(file)
    except OSError as error:
        reason = f"the compiled core cannot be loaded ({' '.join(str(error).split())[:120]})"
    else:
        if library is not None:
            return library
        reason = reason or "the compiled core is of another version; `make native` builds it again"
    _LOG.info("allocating by numpy: %s", reason)
    return None


def opened(file: Path) -> ctypes.CDLL | None:
    """The library in a file; None where it is another version's. OSError where it cannot be loaded."""
    library = ctypes.CDLL(str(file))
    library.isac_sizes.restype = ctypes.c_int64
    if library.isac_sizes() != _sizes():
        return None
    for name, arguments in _ARGUMENTS.items():
        getattr(library, name).argtypes = arguments
    return library


def address(array: ndarray) -> int:
    """Of the first entry, in memory."""
    place: int = array.__array_interface__["data"][0]
    return place


def _sizes() -> int:
    """Bytes of all structures and the version of the functions in one number, as `isac_sizes` of native/entry.c gives it."""
    total = 0
    for structure in (DROP, MODEL, NEAR, TABLE, ROAD, ROAD_MODEL):
        total = 1000 * total + structure.size
    return 10 * total + INTERFACE
