"""From positions in a CSV or GeoJSON file to networks that a deployed allocator takes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from jaxtyping import Float

from isac_torch.deployment.cells import parse_number, read_cells
from isac_torch.deployment.files import encode_json
from isac_torch.deployment.geometry import read_geometry, read_text
from isac_torch.deployment.open_roles import OpenRoles, receive_mask
from isac_torch.deployment.snapshot import Snapshot
from isac_torch.errors import DropError, GeometryError
from isac_torch.files import writable_file, write_whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from isac_torch.deployment.downlink_pilots.snapshot import RoadSnapshot
    from isac_torch.deployment.geometry import Geometry

SnapshotT = TypeVar("SnapshotT", "Snapshot", "RoadSnapshot")


def import_geometry(
    path: Path, output: Path, gains_db: Path | None = None, roles: OpenRoles | None = None, **physics: float | int
) -> None:
    """Read positions, write drops as JSON (`-`: to standard output) and say on stderr what was found.

    Args:
        path: CSV or GeoJSON file, format in `isac_torch.deployment.geometry`.
        output: JSON file.
        gains_db: CSV file of large-scale gains in dB (negative), a row a UE, a column an AP, in the order of `path`.
        roles: which APs listen where the file leaves that open; default `OpenRoles()`.
        physics: scalar fields of `Snapshot` by name; `ap_power` and `pilot_power` (W) are every AP's and every UE's.

    Raises:
        GeometryError: where the file describes no network.
        DropError: where a value is out of range.
        OutputError: where the output cannot be written.
    """

    def made(network: Geometry, gain: Float[np.ndarray, "ue allap"] | None) -> Snapshot:
        return snapshot_of(network, gain, roles, **physics)

    write_imported(path, output, gains_db, "network", made, _found)


def write_imported(
    path: Path,
    output: Path,
    gains_db: Path | None,
    word: str,
    made: Callable[[Geometry, Float[np.ndarray, "ue allap"] | None], SnapshotT],
    found: Callable[[Geometry, SnapshotT], str],
) -> None:
    """Read positions, write what is made of them as JSON (`-`: to standard output) and say on stderr what was found.

    Args:
        path: CSV or GeoJSON file, format in `isac_torch.deployment.geometry`.
        output: JSON file.
        gains_db: CSV file of large-scale gains as in `read_gains`.
        word: what a snapshot is called.
        made: a snapshot from positions and gains.
        found: a line on what was read.
    """
    if str(output) != "-":
        writable_file(output)
    networks = read_geometry(path)
    if gains_db is not None and len(networks) > 1:
        raise GeometryError(f"gains_db={str(gains_db)!r} fits one {word}, but {path} has {len(networks)}; split the file")
    snapshots = []
    for network in networks:
        snapshot = made(network, None if gains_db is None else read_gains(gains_db, network))
        try:
            snapshot.check()
        except DropError as error:
            raise DropError(f"{path}: {network.name + ': ' if network.name else ''}{error}") from None
        snapshots.append(snapshot)
        sys.stderr.write(found(network, snapshot) + "\n")
    data = encode_json(snapshots)
    if str(output) == "-":
        sys.stdout.buffer.write(data)
    else:
        write_whole(output, data)


def snapshot_of(
    network: Geometry,
    gain: Float[np.ndarray, "ue allap"] | None = None,
    roles: OpenRoles | None = None,
    **physics: float | int,
) -> Snapshot:
    """One network to allocate powers for.

    Args:
        network: its positions.
        gain: large-scale gains, linear, of every UE and AP in the order of the file; default the path-loss model.
        roles: which APs listen where the network leaves that open; default `OpenRoles()`.
        physics: scalar fields of `Snapshot` by name; `ap_power` and `pilot_power` (W) are every AP's and every UE's.
    """
    listens = receive_mask(network, OpenRoles() if roles is None else roles, gain, **_asked(physics))
    sends = ~listens
    power, pilot_power = physics.pop("ap_power", None), physics.pop("pilot_power", None)
    return Snapshot(
        tx_position=network.ap_position[sends],
        tx_orientation=network.ap_orientation[sends],
        rx_position=network.ap_position[listens],
        rx_orientation=network.ap_orientation[listens],
        ue_position=network.ue_position,
        target_position=network.target_position,
        ue_gain=None if gain is None else gain[:, sends],
        ap_power=None if power is None else np.full(int(sends.sum()), power),
        pilot_power=None if pilot_power is None else np.full(len(network.ue_position), pilot_power),
        **physics,  # type: ignore[arg-type]
    )


def read_gains(path: Path, network: Geometry) -> Float[np.ndarray, "ue allap"]:
    """Large-scale gains, linear, from a CSV file of gains in dB: a row a UE, a column an AP, no header."""
    shape = (len(network.ue_position), len(network.ap_position))
    rows, decimal_comma = read_cells(read_text(path), str(path))
    gain_db = np.empty(shape)
    if [len(cells) for _, cells in rows] != [shape[1]] * shape[0]:
        found = f"{len(rows)} rows x {' or '.join(sorted({str(len(cells)) for _, cells in rows})) or 0} columns"
        raise GeometryError(f"{path}: {found}, but {shape[0]} UEs x {shape[1]} APs; give a row a UE and a column an AP")
    for row, (line, cells) in zip(gain_db, rows, strict=True):
        for ap, cell in enumerate(cells):
            value = -np.inf if cell.lower() in ("-inf", "-infinity") else parse_number(cell, decimal_comma=decimal_comma)
            if value is None:
                raise GeometryError(f"{path} line {line}: {cell[:40]!r} is no number; give gains in dB, -inf for no connection")
            if value > 0.0:
                raise GeometryError(
                    f"{path} line {line}: holds {value:g}, but gains in dB are negative numbers; -inf is no connection"
                )
            row[ap] = value
    return np.asarray(10.0 ** (gain_db / 10.0))


def _asked(physics: dict[str, float | int]) -> dict[str, Any]:
    """What the rules for roles need to know of the physics, where it was given."""
    return {name: physics[name] for name in ("carrier_frequency", "serving_aps") if name in physics}


def _found(network: Geometry, snapshot: Snapshot) -> str:
    """One line on what was read, for a person to notice a slip."""
    name = f"{network.name}: " if network.name else ""
    every = np.concatenate([network.ap_position, network.ue_position, network.target_position])
    extent = " x ".join(f"{length:.0f}" for length in np.ptp(every[:, :2], axis=0))
    origin = f", origin at {network.origin[0]:.6f}, {network.origin[1]:.6f} degrees" if network.origin else ""
    turned = "" if network.ap_orientation.any() else "; no orientations: every array's broadside points along x"
    return (
        f"{name}{snapshot.num_aps} transmit APs, {len(snapshot.rx_position)} receive APs{_chosen(network, snapshot)}, "
        f"{snapshot.num_ues} UEs, "
        f"{snapshot.num_targets} targets on {extent} m{origin}{turned}"
    )


def _chosen(network: Geometry, snapshot: Snapshot) -> str:
    """Which APs listen, where a rule has chosen them."""
    if "ap" not in network.ap_kind:
        return ""
    listens = (network.ap_position[:, None] == snapshot.rx_position).all(-1).any(-1)
    return f" (of the APs, counted from 0: {', '.join(map(str, np.flatnonzero(listens)))})"
