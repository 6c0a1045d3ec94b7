"""JSON from outside: how deep, how many names and how many values are counted before it is parsed, in linear time.

The parser of Python's library makes an object of every value, and a table of every name, before anybody can look at the
result. The counts below need the brackets, commas and colons outside of texts only.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from isac_torch.errors import DropError

_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
"""A text with its quotation marks. It matches from every opening mark, so that a text without an end costs one pass too."""
_STEP = np.zeros(256, np.int8)
_STEP[[ord("["), ord("{")]] = 1
_STEP[[ord("]"), ord("}")]] = -1
"""By how much each byte changes the depth."""
_PART = 2**20


@dataclass(frozen=True)
class JsonLimits:
    """What a JSON text may hold.

    Attributes:
        depth: of lists and objects within each other.
        names: of all objects together.
        values: numbers, texts, lists and objects together.
    """

    depth: int = 8
    names: int = 1_000_000
    values: int = 50_000_000


DEFAULT_LIMITS = JsonLimits()


def parse_json(data: bytes, limits: JsonLimits = DEFAULT_LIMITS) -> Any:
    """The value of a JSON text in UTF-8, UTF-16 or UTF-32, whose objects name nothing twice.

    Raises:
        DropError: in one line: no JSON, NaN or infinity, a name given twice, or more than `limits` allow.

    Example:
        >>> parse_json(b'{"ap_power": [2, 2]}')
        {'ap_power': [2, 2]}
    """
    try:
        text = data.decode(json.detect_encoding(data), "surrogatepass")
        _check_counts(data if data.isascii() else text.encode("utf-8", "surrogatepass"), limits)
        return json.loads(text.removeprefix("\ufeff"), parse_constant=_no_constant, object_pairs_hook=_distinct)
    except DropError:
        raise
    except RecursionError:
        raise DropError(_too_deep(limits)) from None
    except (json.JSONDecodeError, UnicodeError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0].strip("'\"")[:100]
        raise DropError(f"not JSON ({said}); see the format in docs/deployment.md") from None
    except ValueError:  # what is left: Python converts whole numbers up to so many digits only
        digits = sys.get_int_max_str_digits()
        raise DropError(f"holds a whole number of more than {digits} digits; write it as 1e3 or in fewer digits") from None


def _check_counts(data: bytes, limits: JsonLimits) -> None:
    bare = _TEXT.sub(b'""', data)
    names = bare.count(b":")
    if names > limits.names:
        remedy = "send fewer networks at once" if bare.count(b"{") > 1 else "give each network only the fields that it has"
        raise DropError(f"holds {names} names of fields, at most {limits.names} are read; {remedy}")
    values = bare.count(b",") + bare.count(b"[") + bare.count(b"{") + 1
    if values > limits.values:
        raise DropError(
            f"holds about {values} values, at most {limits.values} are read; send fewer networks at once, or as npz"
        )
    depth = 0
    for start in range(0, len(bare), _PART):
        level = np.cumsum(_STEP[np.frombuffer(bare, np.uint8, min(_PART, len(bare) - start), start)], dtype=np.int64)
        if depth + int(level.max()) > limits.depth:
            raise DropError(_too_deep(limits))
        depth += int(level[-1])


def _too_deep(limits: JsonLimits) -> str:
    return f"lists within lists too deep to be a drop (at most {limits.depth}); see the format in docs/deployment.md"


def _no_constant(text: str) -> float:
    raise DropError(f"holds {text}, which is no number; leave optional fields out instead")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise DropError(f"{name[:40]!r} is given twice; give each field once")
            seen.add(name)
    return table
