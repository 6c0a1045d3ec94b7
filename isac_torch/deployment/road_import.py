"""From positions in a CSV or GeoJSON file to roads that the deployed allocator takes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from isac_torch.deployment.downlink_pilots.snapshot import RoadSnapshot
from isac_torch.deployment.downlink_pilots.statistics import drop_of
from isac_torch.deployment.importing import write_imported
from isac_torch.downlink_pilots.drop import strongest
from isac_torch.errors import DropError, GeometryError, ScenarioError

if TYPE_CHECKING:
    from pathlib import Path

    from isac_torch.deployment.geometry import Geometry


def import_roads(
    path: Path, output: Path, gains_db: Path | None = None, serving_aps: int | None = None, **physics: float | int
) -> None:
    """Read positions, write roads as JSON (`-`: to standard output) and say on stderr what was found.

    Args:
        path: CSV or GeoJSON file, format in `isac_torch.deployment.geometry`. Rows of the kind `ap` send and receive, those of
            the kind `tx` only send; UEs are the targets. Heights and orientations are not used.
        output: JSON file.
        gains_db: CSV file of large-scale gains in dB (negative), a row a UE, a column an AP, in the order of `path`.
        serving_aps: APs of the largest gain to a UE, which send to it; default all.
        physics: single numbers of `RoadSnapshot` by name; `crb_max` (m2) is every UE's.

    Raises:
        GeometryError: where the file describes no road.
        DropError: where a value is out of range.
        OutputError: where the output cannot be written.
    """

    def made(network: Geometry, gain: Float[np.ndarray, "ue allap"] | None) -> RoadSnapshot:
        try:
            road = road_of(network, gain, **physics)
            return road if serving_aps is None else served_by(road, serving_aps)
        except (DropError, GeometryError, ScenarioError) as error:
            raise type(error)(f"{path}: {network.name + ': ' if network.name else ''}{error}") from None

    write_imported(path, output, gains_db, "road", made, _found)


def road_of(network: Geometry, gain: Float[np.ndarray, "ue allap"] | None = None, **physics: float | int) -> RoadSnapshot:
    """One road to allocate powers for. GeometryError where the rows are not those of this system.

    Args:
        network: its positions.
        gain: large-scale gains, linear, of every UE and AP in the order of the file; default the path-loss model.
        physics: single numbers of `RoadSnapshot` by name; `crb_max` (m2) is every UE's.
    """
    if "rx" in network.ap_kind:
        raise GeometryError("a row of the kind rx, but every AP of the downlink-pilot system sends; call it ap")
    if len(network.target_position):
        raise GeometryError("a row of the kind target, but the UEs are the targets of the downlink-pilot system; leave it out")
    hears = np.flatnonzero(np.array(network.ap_kind) == "ap")
    limit = physics.pop("crb_max", None)
    return RoadSnapshot(
        ap_position=network.ap_position[:, :2],
        ue_position=network.ue_position[:, :2],
        gain=gain,
        receive_ap=None if len(hears) == len(network.ap_kind) else hears,
        crb_max=None if limit is None else np.full(len(network.ue_position), limit),
        **physics,  # type: ignore[arg-type]
    )


def served_by(road: RoadSnapshot, serving_aps: int) -> RoadSnapshot:
    """The same road, each UE served by the `serving_aps` APs of the largest gain. ScenarioError where it has not so many."""
    scenario = replace(road.scenario, serving_aps=serving_aps)
    serves = strongest(drop_of(road, scenario).gain, scenario)
    return replace(road, serves=None if serves is None else serves[0])


def _found(network: Geometry, road: RoadSnapshot) -> str:
    """One line on what was read, for a person to notice a slip."""
    every = np.concatenate([road.ap_position, road.ue_position])
    extent = " x ".join(f"{length:.0f}" for length in np.ptp(every, axis=0))
    name = f"{network.name}: " if network.name else ""
    origin = f", origin at {network.origin[0]:.6f}, {network.origin[1]:.6f} degrees" if network.origin else ""
    hears = road.num_aps if road.receive_ap is None else len(road.receive_ap)
    return f"{name}{road.num_aps} APs, of which {hears} receive, {road.num_ues} UEs on {extent} m{origin}"
