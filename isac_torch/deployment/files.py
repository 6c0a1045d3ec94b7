"""Networks in files and requests: JSON, npz and HDF5 in, JSON out. Nothing is unpickled, sizes are checked before use.

JSON: an object with the fields of `Snapshot`, a list of such objects, or {"drops": [...]}. npz and HDF5: the same fields as
arrays, of one network, or of many of one size with a leading drop axis (single numbers may be shared); HDF5 also as the
shards that `isac-torch generate` writes.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, fields, is_dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from isac_torch.deployment.bounded_json import DEFAULT_LIMITS, JsonLimits, parse_json
from isac_torch.deployment.downlink_pilots.snapshot import RoadSnapshot
from isac_torch.deployment.field_specs import specs_of
from isac_torch.deployment.hdf5 import is_hdf5, order_of_matlab, read_hdf5
from isac_torch.deployment.snapshot import Snapshot
from isac_torch.errors import DropError, IsacError, NpzError
from isac_torch.npz import npz_arrays

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NetworkT = TypeVar("NetworkT", Snapshot, RoadSnapshot)
"""A network of the tracking system or a road of the downlink-pilot system: the functions below read either."""
MAX_BYTES = 2**30
"""Bytes that a file may hold, packed or unpacked: 10,000 UEs x 10,000 APs of gains are 0.75 GiB."""
MAX_DROPS = 20_000
"""Networks that a file may hold. Arrays without entries take no bytes: the size of a file does not bound their number."""
_MATLAB_OLD = b"MATLAB 5.0 MAT-file"


def read_snapshots(
    path: Path,
    max_bytes: int = MAX_BYTES,
    kind: type[NetworkT] = Snapshot,  # type: ignore[assignment]  # a default for a variable type
) -> list[NetworkT]:
    """The networks of a JSON, npz or HDF5 file; `-` reads standard input. Raises DropError in one line."""
    if str(path) == "-":
        return decode_snapshots(sys.stdin.buffer.read(max_bytes + 1), name="standard input", max_bytes=max_bytes, kind=kind)
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise DropError(f"{path}: {error.strerror or error}; check the name and its permissions") from None
    return decode_snapshots(data, name=str(path), max_bytes=max_bytes, kind=kind)


def decode_snapshots(
    data: bytes,
    *,
    name: str,
    max_bytes: int = MAX_BYTES,
    kind: type[NetworkT] = Snapshot,  # type: ignore[assignment]
) -> list[NetworkT]:
    """The networks in the bytes of a JSON, npz or HDF5 file, told apart by their first bytes; `name` is said in errors."""
    if len(data) > max_bytes:
        raise DropError(f"{name}: more than {max_bytes} bytes; split it")
    if name.lower().endswith((".csv", ".geojson")):
        group = "downlink-pilots " if kind is RoadSnapshot else ""
        raise DropError(
            f"{name}: a table of sites, not a drop; run `isac-torch {group}import-geometry {name} --output drop.json` first"
        )
    try:
        if is_hdf5(data):
            snapshots = _decode_hdf5(data, max_bytes, kind)
        elif data.startswith(_MATLAB_OLD):
            raise DropError("a MATLAB file of a version before 7.3; save it again with save(..., '-v7.3')")
        else:
            snapshots = decode_npz(data, max_bytes, kind=kind) if data.startswith(b"PK") else decode_json(data, kind=kind)
    except IsacError as error:
        raise DropError(f"{name}: {error}") from None
    return snapshots


def decode_json(
    data: bytes,
    max_drops: int = MAX_DROPS,
    limits: JsonLimits = DEFAULT_LIMITS,
    kind: type[NetworkT] = Snapshot,  # type: ignore[assignment]
) -> list[NetworkT]:
    """The networks of a JSON text. Raises DropError in one line, also for more than `max_drops` networks."""
    value = parse_json(data, limits)
    if isinstance(value, dict) and set(value) == {"drops"}:
        value = value["drops"]
    drops = value if isinstance(value, list) else [value]
    if not drops:
        raise DropError("holds no drop; give an object with the fields of a drop, or a list of them")
    _check_count(len(drops), max_drops)
    return [_one(drop, f"drop {index}: " if isinstance(value, list) else "", kind) for index, drop in enumerate(drops)]


def _decode_hdf5(data: bytes, max_bytes: int, kind: type[NetworkT]) -> list[NetworkT]:
    shapes = {name: spec.axes for name, spec in specs_of(kind).items() if spec.axes}
    content = read_hdf5(data, max_bytes, kind.SYSTEM, shapes, kind.LEADING)
    if content.scenario is None:
        try:
            return _from_arrays(content.arrays, MAX_DROPS, kind)
        except DropError as error:
            raise DropError(f"{error}{order_of_matlab(content, shapes)}") from None
    drops: Any = SimpleNamespace(**content.arrays)
    try:
        count = len(getattr(drops, kind.LEADING[0]))
        _check_count(count, MAX_DROPS)
        scenario = kind.scenario_of(content.scenario)
        return [kind.from_drop(drops, index, scenario) for index in range(count)]
    except (AttributeError, IndexError, TypeError) as error:
        raise DropError(f"not a whole shard ({_short(error)}); write it again with `isac-torch {kind.GENERATE}`") from None


def encode_json(snapshots: Sequence[Snapshot] | Sequence[RoadSnapshot]) -> bytes:
    """Networks as JSON: one as an object, several as a list; what is left to its default is left out."""
    drops = [_fields(snapshot) for snapshot in snapshots]
    return (json.dumps(drops[0] if len(drops) == 1 else drops, allow_nan=False) + "\n").encode()


def _fields(snapshot: Snapshot | RoadSnapshot) -> dict[str, Any]:
    values = {field.name: getattr(snapshot, field.name) for field in fields(snapshot)}
    return {name: _json_value(value) for name, value in values.items() if value is not None}


def _json_value(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _one(drop: object, place: str, kind: type[NetworkT]) -> NetworkT:
    if not isinstance(drop, dict):
        raise DropError(f"{place}a {type(drop).__name__} where an object with the fields of a drop should be")
    try:
        return kind.from_mapping(drop)
    except DropError as error:
        raise DropError(f"{place}{error}") from None


def _check_count(count: int, most: int) -> None:
    if count > most:
        raise DropError(f"holds {count} drops, at most {most} are read at once; split them")


def decode_npz(
    data: bytes,
    max_bytes: int = MAX_BYTES,
    max_drops: int = MAX_DROPS,
    kind: type[NetworkT] = Snapshot,  # type: ignore[assignment]
) -> list[NetworkT]:
    """The networks of an npz file. Raises DropError in one line.

    Args:
        data: the file.
        max_bytes: refuses files whose arrays unpack to more.
        max_drops: refuses more networks than this.
        kind: of network.
    """
    try:
        arrays = npz_arrays(data, max_bytes)
    except NpzError as error:
        raise DropError(str(error)) from None
    return _from_arrays(arrays, max_drops, kind)


def _from_arrays(arrays: dict[str, NDArray[Any]], max_drops: int, kind: type[NetworkT]) -> list[NetworkT]:
    """One network, or one for each entry of the leading axis where the positions of the APs have one axis more."""
    leading, axes = kind.LEADING
    position = arrays.get(leading)
    if position is None or position.ndim != axes:
        return [kind.from_mapping({name: _plain(array) for name, array in arrays.items()})]
    count = len(position)
    _check_count(count, max_drops)
    if count and not position.size:
        raise DropError(f"{leading} has the shape {position.shape}, networks without a transmit AP; give [drop, ap, xyz]")
    for name, array in arrays.items():
        if array.ndim and len(array) != count:
            raise DropError(f"{name[:40]!r} has {len(array)} entries along its drop axis, but {leading} has {count}")
    if not count:
        raise DropError(f"holds no drop; give {leading} at least one entry along its drop axis")
    return [
        _one({name: _plain(array[index] if array.ndim else array) for name, array in arrays.items()}, f"drop {index}: ", kind)
        for index in range(count)
    ]


def _plain(array: Any) -> Any:
    """A single number or text as Python's own; arrays as they are."""
    if np.ndim(array):
        return array
    value = array.item() if hasattr(array, "item") else array
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _short(error: Exception) -> str:
    """First line of an error's message, without its quotation marks and at most 100 characters of it."""
    return (str(error).splitlines() or [type(error).__name__])[0].strip("'\"")[:100]
