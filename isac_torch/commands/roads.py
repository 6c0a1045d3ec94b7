"""Commands that deploy the downlink-pilot system: `export`, which needs torch; `allocate`, `serve`, `import-geometry`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from isac_torch.commands.deployment import answer_requests, answered, check_place, one_thread


def export(checkpoint: Path, output: Path) -> None:
    """Write a trained network of the downlink-pilot system as one file that needs no torch.

    Args:
        checkpoint: Weights (model.pt) of `isac-torch downlink-pilots train`.
        output: File to write, .npz; an older one is replaced.
    """
    from isac_torch.nn.export_roads import export_roads

    worst = export_roads(checkpoint, output)
    print(f"{output}: logits within {worst:.1e} of those of the weights")  # noqa: T201 - the result


def allocate(drop: Path, model: Path | None = None, output: Path = Path("-"), refine: bool = False) -> None:
    """Pilot powers for the roads of a file, without torch.

    Args:
        drop: JSON, npz or HDF5 file, also a shard of `downlink-pilots generate`; `-` reads JSON or npz from standard input.
        model: File that `isac-torch downlink-pilots export` wrote; default the network that comes with the package.
        output: File of the powers: .json, .npz, .h5 or .csv; `-` writes JSON to standard output.
        refine: Improve every answer by Newton's steps: within about 0.1 % of the optimum, 0.1 to 10 ms later (compiled core).
    """
    one_thread()
    from isac_torch.deployment.downlink_pilots.allocator import RoadAllocator
    from isac_torch.deployment.downlink_pilots.snapshot import RoadSnapshot
    from isac_torch.deployment.files import read_snapshots

    check_place(output)
    begin = time.perf_counter()
    roads = read_snapshots(drop, kind=RoadSnapshot)
    _, spent = answered(RoadAllocator.load(model, refine), roads, output, begin)
    sys.stderr.write(spent)


def serve(model: Path, refine: bool = False, **options: Any) -> None:
    """Answer POST /allocate for roads over HTTP (JSON or npz); also /health, /card, /metrics, and a description at /docs.

    Args:
        model: File that `isac-torch downlink-pilots export` wrote; `shipped` is what comes with the package.
        refine: Improve every answer by Newton's steps: within about 0.1 % of the optimum, 0.1 to 10 ms later (compiled core).
        options: As of `answer_requests`.
    """
    one_thread()
    from isac_torch.deployment.downlink_pilots.allocator import RoadAllocator
    from isac_torch.deployment.downlink_pilots.snapshot import RoadSnapshot

    weights = None if str(model) == "shipped" else model
    answer_requests(
        **options,
        max_antennas=RoadSnapshot.num_antennas,
        load=lambda: RoadAllocator.load(weights, refine),
        network=RoadSnapshot,
    )


def import_geometry(
    sites: Path,
    output: Path = Path("-"),
    gains_db: Path | None = None,
    serving_aps: int | None = None,
    pilot_power: float | None = None,
    uplink_symbols: int | None = None,
    downlink_symbols: int | None = None,
    carrier_frequency: float | None = None,
    bandwidth: float | None = None,
    rms_bandwidth: float | None = None,
    cross_section: float | None = None,
    crb_max: float | None = None,
) -> None:
    """Turn positions of APs and UEs (CSV or GeoJSON, degrees or metres) into roads for `downlink-pilots allocate`.

    Args:
        sites: CSV or GeoJSON file; columns are described in docs/deployment.md. Rows `ap` send and receive, `tx` only send.
        output: JSON file; `-` writes to standard output.
        gains_db: CSV of measured or simulated large-scale gains, dB: a row a UE, a column an AP, in the order of `sites`.
        serving_aps: APs of the largest gain to a UE, which send to it; default all.
        pilot_power: Of each UE uplink, and budget of each AP, W; default 0.2.
        uplink_symbols: Of an uplink pilot; default 10.
        downlink_symbols: Of a downlink pilot; default 10.
        carrier_frequency: Hz; default 2.4e9.
        bandwidth: Hz; default 20e6.
        rms_bandwidth: Of the pilot's waveform, Hz; default 20e6.
        cross_section: Of every UE, m2; default 0.85.
        crb_max: Largest localisation bound of every UE, m2; default 1.
    """
    from isac_torch.deployment.road_import import import_roads

    physics = {
        "pilot_power": pilot_power,
        "uplink_symbols": uplink_symbols,
        "downlink_symbols": downlink_symbols,
        "carrier_frequency": carrier_frequency,
        "bandwidth": bandwidth,
        "rms_bandwidth": rms_bandwidth,
        "cross_section": cross_section,
        "crb_max": crb_max,
    }
    import_roads(sites, output, gains_db, serving_aps, **{name: value for name, value in physics.items() if value is not None})
