"""What the card of a bundle must hold for an allocator to rely on it: names, kinds and ranges of every value that is used."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

_SHA256 = re.compile(r"[0-9a-f]{64}")


def card_fault(
    card: Mapping[str, Any],
    *,
    names: Iterable[str],
    inputs: Iterable[str],
    outputs: Iterable[str],
    files: Iterable[str],
    constants: Iterable[str],
    ranges: Iterable[str],
) -> str:
    """What is wrong with a card, in words; empty where nothing is.

    Args:
        card: the parsed card.
        names: that the card may have.
        inputs, outputs: names that the graph must have.
        files: whose checksums must be there.
        constants: of the balancing layer, each a finite number.
        ranges: quantities that must have a range of finite numbers, the least first, and a unit; no others may.

    Example:
        >>> card_fault({"sha256": {"a": 1}}, names=["sha256"], inputs=(), outputs=(), files=["a"], constants=(), ranges=())
        'the checksum of a is no SHA-256'
    """
    unknown = sorted(map(str, set(card) - set(names)))
    if unknown:
        return f"{unknown[0][:40]!r} is not a name of a card"
    parts = {name: card.get(name, {}) for name in ("sha256", "inputs", "outputs", "balance", "ranges")}
    for name, part in parts.items():
        if not isinstance(part, dict):
            return f"{name} is a {type(part).__name__} where names and values should be"
    for name in files:
        if not (isinstance(text := parts["sha256"].get(name), str) and _SHA256.fullmatch(text)):
            return f"the checksum of {name} is no SHA-256" if text is not None else f"the checksum of {name} is missing"
    for kind, wanted in (("inputs", inputs), ("outputs", outputs)):
        if set(parts[kind]) != set(wanted):
            return f"{kind} are {', '.join(map(str, parts[kind]))[:80] or 'missing'}, not {', '.join(wanted)}"
    return _numbers_fault(parts["balance"], constants) or _ranges_fault(parts["ranges"], ranges)


def _numbers_fault(balance: Mapping[str, Any], constants: Iterable[str]) -> str:
    wanted = set(constants)
    if set(balance) != wanted:
        return f"constants are missing or unknown: {', '.join(sorted(map(str, wanted ^ set(balance))))[:80]}"
    wrong = [name for name, value in balance.items() if not _is_number(value)]
    return f"{wrong[0]}={str(balance[wrong[0]])[:20]!r} is no finite number" if wrong else ""


def _ranges_fault(found: Mapping[str, Any], ranges: Iterable[str]) -> str:
    wanted = list(ranges)
    if unknown := sorted(map(str, set(found) - set(wanted))):
        return f"the range of {unknown[0][:40]!r} is of no known quantity"
    for name in wanted:
        item = found.get(name)
        if item is None:
            return f"the range of {name} is missing"
        known = isinstance(item, dict) and {"least", "most", "unit"} <= set(item) and isinstance(item["unit"], str)
        if not (known and _is_number(item["least"]) and _is_number(item["most"]) and item["least"] <= item["most"]):
            return f"the range of {name} is not two finite numbers, the least first, and a unit"
    return ""


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300 and math.isfinite(value)
