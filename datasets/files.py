"""Checksums of files."""

from __future__ import annotations

import hashlib


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()
