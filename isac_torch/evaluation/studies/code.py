"""Checksum of the source files that decide stored results: those of another version of them are not read."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

_CODE = (
    "tensors.py",
    "units.py",
    "allocation.py",
    "propagation",
    "links.py",
    "tracking",
    "sensing",
    "solvers",
    "nn",
    "allocators",
    "evaluation/studies",
)
"""Files and folders of this package that decide a result."""


@cache
def code_digest() -> str:
    """Hexadecimal digest of the files in `_CODE`."""
    root = Path(__file__).parents[2]
    found = [path for name in _CODE for path in ([root / name] if name.endswith(".py") else (root / name).rglob("*.py"))]
    digest = hashlib.sha256()
    for path in sorted(found):
        digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()
