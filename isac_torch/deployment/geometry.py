"""Positions of a real network from a CSV or GeoJSON file: APs, UEs and targets in metres or in latitude and longitude.

Columns (CSV) or properties (GeoJSON points), one AP, UE or target a row:

    kind              ap, tx, rx, ue or target; tx and rx fix an AP's role, ap leaves it to the rule of the scenario
    x, y, z           m, z above the ground; or else
    latitude, longitude, height    degrees (WGS 84) and m above the ground (GeoJSON: from the coordinates)
    orientation_deg   APs: azimuth of the array's broadside, degrees from x (east) towards y (north); or else
    bearing_deg       APs: the same clockwise from north
    snapshot          which network the row belongs to, for files with several

Heights left out are those of the scenario for APs and UEs; targets need one. A heading may say its unit, as in `height (m)`.
Other columns are not read, but those that look like one of the above are refused by the name to use. Columns may be parted by
semicolons; decimals have commas then.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from isac_torch.deployment.cells import parse_number
from isac_torch.deployment.site_rows import KINDS, csv_rows, geojson_rows
from isac_torch.errors import GeometryError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DEFAULT_HEIGHT = {"ap": 10.0, "tx": 10.0, "rx": 10.0, "ue": 1.65}
"""Height above the ground (m) where a row gives none; the heights of `TrackingScenario`."""
MAX_BYTES = 64 * 2**20
"""Larger files are refused before they are read: a network of 10,000 APs and UEs takes about one megabyte."""
MAX_EXTENT = 200e3
"""Largest distance (m) from the middle of a network. Farther points are mistakes, and the plane would no longer fit."""

_EQUATOR_RADIUS = 6_378_137.0
_ECCENTRICITY_SQUARED = 6.69437999014e-3


@dataclass(frozen=True)
class Geometry:
    """Where the nodes of one network stand, in the order of its file.

    Attributes:
        name: of the snapshot; empty where the file names none.
        ap_position: m.
        ap_orientation: azimuth of the arrays' broadside, rad from x towards y.
        ap_kind: `tx`, `rx` or `ap` (role not yet chosen).
        ue_position: m.
        target_position: m.
        origin: latitude and longitude of x = y = 0, degrees; None where the file is in metres.
    """

    name: str
    ap_position: Float[np.ndarray, "allap 3"]
    ap_orientation: Float[np.ndarray, " allap"]
    ap_kind: tuple[str, ...]
    ue_position: Float[np.ndarray, "ue 3"]
    target_position: Float[np.ndarray, "target 3"]
    origin: tuple[float, float] | None


@dataclass(frozen=True)
class _Row:
    """One checked row: where it is in the file, its kind, x and y (m) or longitude and latitude (degrees), height, ..."""

    place: str
    snapshot: str
    kind: str
    horizontal: tuple[float, float]
    height: float
    orientation: float
    geographic: bool


def read_geometry(path: Path) -> list[Geometry]:
    """The networks of a CSV or GeoJSON file, in the order of their first rows. Raises GeometryError in one line."""
    return parse_geometry(read_text(path), name=str(path), geojson=path.suffix.lower() in (".json", ".geojson"))


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 with a byte order mark. Raises GeometryError in one line."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise GeometryError(f"{path}: {size} bytes, at most {MAX_BYTES} are read; split the file")
        data = path.read_bytes()
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except OSError as error:
        raise GeometryError(f"{path}: {error.strerror or error}; check the name and its permissions") from None
    except UnicodeDecodeError:
        raise GeometryError(f"{path}: not a text file in UTF-8; save it as CSV or GeoJSON in UTF-8") from None


def parse_geometry(text: str, *, name: str, geojson: bool) -> list[Geometry]:
    """The networks in the text of a CSV (or GeoJSON) file; `name` is said in errors. Raises GeometryError in one line."""
    rows: dict[str, list[_Row]] = {}
    for place, cells in geojson_rows(text, name) if geojson else csv_rows(text, name):
        row = _checked(place, cells)
        rows.setdefault(row.snapshot, []).append(row)
    if not rows:
        raise GeometryError(f"{name}: no rows; give at least one tx and one rx (or two ap) and one ue")
    return [_network(name, group) for group in rows.values()]


def _checked(place: str, cells: Mapping[str, Any]) -> _Row:
    kind = str(cells.get("kind", "")).lower()
    if kind not in KINDS:
        raise GeometryError(f"{place}: kind={kind!r} must be one of {', '.join(KINDS)}")
    plane = {"x", "y"} <= cells.keys()
    geographic = {"latitude", "longitude"} <= cells.keys()
    if plane == geographic:
        raise GeometryError(f"{place}: give x and y in m, or latitude and longitude in degrees, not both and not half")
    columns = ("longitude", "latitude") if geographic else ("x", "y")
    horizontal = (_number(place, columns[0], cells), _number(place, columns[1], cells))
    if geographic and not (abs(horizontal[1]) <= 90.0 and abs(horizontal[0]) <= 180.0):
        raise GeometryError(
            f"{place}: latitude={horizontal[1]:g} must lie within 90 and longitude={horizontal[0]:g} within 180 degrees"
        )
    column = "z" if "z" in cells else "height"
    if column not in cells and kind not in DEFAULT_HEIGHT:
        raise GeometryError(f"{place}: a target needs its height above the ground in m; give z or height")
    height = _number(place, column, cells) if column in cells else DEFAULT_HEIGHT[kind]
    return _Row(place, str(cells.get("snapshot", "")), kind, horizontal, height, _orientation(place, cells), geographic)


def _orientation(place: str, cells: Mapping[str, Any]) -> float:
    """Broadside azimuth, rad from x towards y; 0 where none is given."""
    if "bearing_deg" in cells:
        if "orientation_deg" in cells:
            raise GeometryError(f"{place}: give orientation_deg (from x) or bearing_deg (from north), not both")
        degrees = 90.0 - _number(place, "bearing_deg", cells)
    else:
        degrees = _number(place, "orientation_deg", cells) if "orientation_deg" in cells else 0.0
    return math.radians(math.remainder(degrees, 360.0))


def _number(place: str, column: str, cells: Mapping[str, Any]) -> float:
    value = parse_number(cells[column])
    if value is None:
        raise GeometryError(f"{place}: {column}={str(cells[column])[:40]!r} must be a finite number, such as -12.5")
    return value


def _network(name: str, rows: list[_Row]) -> Geometry:
    where = f"{name} snapshot {rows[0].snapshot!r}" if rows[0].snapshot else name
    if len({row.geographic for row in rows}) > 1:
        raise GeometryError(f"{where}: rows in metres and rows in degrees; use one of the two throughout")
    horizontal = np.array([row.horizontal for row in rows])
    origin = None
    if rows[0].geographic:
        horizontal, origin = tangent_plane(horizontal[:, 1], horizontal[:, 0])
    far = np.hypot(*(horizontal - horizontal.mean(0)).T)
    if far.max() > MAX_EXTENT:
        raise GeometryError(
            f"{rows[int(far.argmax())].place}: {far.max() / 1e3:.0f} km from the middle of the network, at most "
            f"{MAX_EXTENT / 1e3:.0f} km make sense; check the units and the order of the coordinates"
        )
    position = np.column_stack([horizontal, [row.height for row in rows]])
    kind = np.array([row.kind for row in rows])
    is_ap = np.isin(kind, ("ap", "tx", "rx"))
    return Geometry(
        name=rows[0].snapshot,
        ap_position=position[is_ap],
        ap_orientation=np.array([row.orientation for row in rows])[is_ap],
        ap_kind=tuple(kind[is_ap].tolist()),
        ue_position=position[kind == "ue"],
        target_position=position[kind == "target"],
        origin=origin,
    )


def tangent_plane(
    latitude: Float[np.ndarray, " point"], longitude: Float[np.ndarray, " point"]
) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """East and north (m) of points on the WGS 84 ellipsoid in the plane that touches it at their middle.

    The plane's distances are too short by half the square of (distance from the middle / 6371 km): 1 part in 10^6 at 9 km.

    Args:
        latitude: degrees.
        longitude: degrees.

    Returns:
        x and y of each point, m, and the latitude and longitude of the origin, degrees.
    """
    phi, lam = np.radians(latitude), np.radians(longitude)
    # The mean of the outward normals has no seam at the date line, unlike a mean of longitudes.
    normal = np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)]).mean(1)
    lam0, phi0 = math.atan2(normal[1], normal[0]), math.atan2(normal[2], math.hypot(normal[0], normal[1]))
    offset = _earth_centred(phi, lam) - _earth_centred(np.array([phi0]), np.array([lam0]))
    east = np.array([-math.sin(lam0), math.cos(lam0), 0.0])
    north = np.array([-math.sin(phi0) * math.cos(lam0), -math.sin(phi0) * math.sin(lam0), math.cos(phi0)])
    return np.column_stack([east @ offset, north @ offset]), (math.degrees(phi0), math.degrees(lam0))


def _earth_centred(phi: NDArray[np.float64], lam: NDArray[np.float64]) -> NDArray[np.float64]:
    """Earth-centred Cartesian coordinates (m) [3, point] of points on the ellipsoid at latitude phi, longitude lam (rad)."""
    radius = _EQUATOR_RADIUS / np.sqrt(1.0 - _ECCENTRICITY_SQUARED * np.sin(phi) ** 2)
    return np.stack(
        [
            radius * np.cos(phi) * np.cos(lam),
            radius * np.cos(phi) * np.sin(lam),
            radius * (1.0 - _ECCENTRICITY_SQUARED) * np.sin(phi),
        ]
    )
