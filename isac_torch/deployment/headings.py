"""Headings of columns as people write them, with or without a unit: understood, left alone, or refused by the right name.

A heading that says a known quantity in a way that is not understood must not be passed over: the default would be taken for
what the file states.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from isac_torch.errors import GeometryError

if TYPE_CHECKING:
    from collections.abc import Iterable

COLUMNS = ("kind", "x", "y", "z", "latitude", "longitude", "height", "orientation_deg", "bearing_deg", "snapshot")
_METRES = ("m", "metre", "metres", "meter", "meters")
_DEGREES = ("deg", "degree", "degrees", "°")
_UNITS: dict[str, tuple[str, tuple[str, ...]]] = {
    **{name: (name, _METRES) for name in ("x", "y", "z", "height")},
    **{name: (name, _DEGREES) for name in ("latitude", "longitude")},
    **{name: (f"{name}_deg", _DEGREES) for name in ("orientation", "bearing")},
}
"""Quantities, the column that each is, and the names of its unit."""
_FOREIGN = (
    "km",
    "cm",
    "mm",
    "ft",
    "feet",
    "inch",
    "yd",
    "mi",
    "nm",
    "rad",
    "radian",
    "radians",
    "gon",
    "grad",
    "mil",
    "arcmin",
)
_WORDS = {
    **dict.fromkeys(("height", "altitude", "alt", "elevation", "elev", "agl", "amsl", "msl"), "height"),
    **dict.fromkeys(("bearing", "azimuth", "heading", "boresight"), "bearing_deg"),
    **dict.fromkeys(("orientation", "broadside"), "orientation_deg"),
    **dict.fromkeys(("latitude", "lat"), "latitude"),
    **dict.fromkeys(("longitude", "lon", "lng"), "longitude"),
}
"""Words that say a quantity, and the column for it."""
_MEANING = {
    "height": "m above the ground",
    "bearing_deg": "degrees clockwise from north",
    "orientation_deg": "degrees from x towards y",
    "latitude": "degrees",
    "longitude": "degrees",
}
_PARTED = re.compile(r"(.+?)\s*(?:\(([^()]*)\)|\[([^\[\]]*)\]|[_ /]([^\W\d_]+|°))")


def column_of(heading: str, place: str, others: Iterable[str]) -> str:
    """The column that a heading means; the heading itself where it means none.

    Args:
        heading: as written, such as `height (m)`, `Bearing_deg` or `name`.
        place: of the table, said in errors.
        others: every heading of the table: a remedy never names one that is there already.

    Raises:
        GeometryError: it looks like a known column, or like one in another unit.

    Example:
        >>> column_of("Height (m)", "sites.csv", ())
        'height'
        >>> column_of("operator", "sites.csv", ())
        'operator'
    """
    word = heading.strip().lower()
    if word in COLUMNS:
        return word
    parted = _PARTED.fullmatch(word)
    if parted:
        quantity, unit = parted[1].strip(), next(part for part in parted.groups()[1:] if part is not None).strip().rstrip(".")
        if quantity in _UNITS:
            column, known = _UNITS[quantity]
            if unit in known:
                return column
            if unit in _FOREIGN or parted[4] is None:
                raise _refusal(heading, column, place, others, f"is in {unit!r}; convert it to {known[1]} and ")
    near = next(iter(difflib.get_close_matches(word, COLUMNS, n=1, cutoff=0.8)), None)
    said = next((_WORDS[part] for part in re.split(r"[\W\d_]+", word) if part in _WORDS), None)
    if said or near:
        raise _refusal(heading, said or near or "", place, others, "is not known; ")
    return heading


def _refusal(heading: str, column: str, place: str, others: Iterable[str], what: str) -> GeometryError:
    taken = {other.strip().lower() for other in others}
    if column in taken:
        return GeometryError(f"{place}: column {heading!r} {what}remove it: there is a column {column!r} already")
    meaning = f" ({_MEANING[column]})" if column in _MEANING else ""
    return GeometryError(f"{place}: column {heading!r} {what}call it {column!r}{meaning} or remove it")
