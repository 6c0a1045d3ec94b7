"""Rows of a table of sites, from CSV or GeoJSON, as cells by the names of `headings.COLUMNS`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from isac_torch.deployment.bounded_json import JsonLimits, parse_json
from isac_torch.deployment.cells import parse_number, read_cells
from isac_torch.deployment.headings import column_of
from isac_torch.errors import DropError, GeometryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

KINDS = ("ap", "tx", "rx", "ue", "target")
_GEOJSON = JsonLimits(depth=64, names=5_000_000, values=20_000_000)


def csv_rows(text: str, name: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Place and cells with content of each row of a CSV text. GeometryError in one line where it is none."""
    rows, decimal_comma = read_cells(text, name)
    columns = _columns(name, rows[0][1] if rows else [])
    for line, cells in rows[1:]:
        place = f"{name} line {line}"
        if len(cells) != len(columns):
            raise GeometryError(f"{place}: not as many cells as the {len(columns)} columns; mend the row")
        yield place, {column: _cell(cell, decimal_comma) for column, cell in zip(columns, cells, strict=True) if cell}


def _cell(cell: str, decimal_comma: bool) -> Any:
    """The cell, or its number where decimals have commas."""
    number = parse_number(cell, decimal_comma=True) if decimal_comma and "," in cell else None
    return cell if number is None else number


def _columns(name: str, header: Sequence[str]) -> list[str]:
    columns = [column_of(heading, name, header) for heading in header]
    if "kind" not in columns:
        raise GeometryError(f"{name}: no column 'kind'; it says of each row whether it is {', '.join(KINDS)}")
    if len(set(columns)) < len(columns):
        raise GeometryError(f"{name}: a column occurs twice in {', '.join(header)}; keep one")
    return columns


def geojson_rows(text: str, name: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Place and cells of each point of a GeoJSON text; what is null is left out. GeometryError in one line where it is none."""
    try:
        content = parse_json(text.encode("utf-8", "surrogatepass"), _GEOJSON)
        if isinstance(content, dict) and "tx_position" in content:
            raise GeometryError(f"{name}: a drop already; give it to `isac-torch allocate {name}`")
        features = content["features"]
        if not isinstance(features, list):
            raise TypeError
    except DropError as error:
        raise GeometryError(f"{name}: not a GeoJSON FeatureCollection ({error}); save it as one, or as CSV") from None
    except (TypeError, KeyError):
        raise GeometryError(f"{name}: not a GeoJSON FeatureCollection; save it as one, or as CSV") from None
    for index, feature in enumerate(features):
        place = f"{name} feature {index}"
        try:
            point, properties = feature["geometry"], feature["properties"]
            if point["type"] != "Point" or not 2 <= len(point["coordinates"]) <= 3:
                raise TypeError
            given = [(str(key), value) for key, value in properties.items() if value is not None]
            where = zip(("longitude", "latitude", "height"), point["coordinates"], strict=False)
        except (TypeError, KeyError, AttributeError):
            raise GeometryError(f"{place}: not a Point with properties; keep points with longitude, latitude, height") from None
        columns = _columns(place, [key for key, _ in given])
        cells = {column: value for column, (_, value) in zip(columns, given, strict=True)}
        yield place, cells | {key: value for key, value in where if value is not None}
