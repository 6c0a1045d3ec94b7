"""Commands of deployment: `export`, which needs torch; `allocate`, `serve`, `import-geometry`, which do not."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from isac_torch.deployment.allocator import DeployedAllocator
    from isac_torch.deployment.downlink_pilots.allocator import RoadAllocator
    from isac_torch.deployment.downlink_pilots.snapshot import RoadSnapshot
    from isac_torch.deployment.snapshot import Snapshot

Policy = Literal["central", "distributed"]


def export(checkpoint: Path, output: Path) -> None:
    """Write a trained one-shot network as a bundle for `allocate` and `serve`: ONNX, torch.export archive, card.json.

    Args:
        checkpoint: Weights (model.pt) of `isac-torch train --config configs/train/one_shot.yaml`, or of
            configs/train/dominate.yaml, whose bundle answers every kind of requirement.
        output: Folder of the bundle; an older bundle there is replaced.
    """
    from isac_torch.nn.export import export_bundle

    card = export_bundle(checkpoint, output)
    worst = max(row["onnx"] for row in card["parity"])
    print(f"{output}: logits within {worst:.1e} of the network at {len(card['parity'])} sizes")  # noqa: T201 - the result


def export_policy(checkpoint: Path, output: Path) -> None:
    """Write a trained distributed policy as one file for `allocate` and `serve --policy distributed`, which need no torch.

    Args:
        checkpoint: Weights (model.pt) of `isac-torch distributed train`.
        output: File to write, .npz; an older one is replaced.
    """
    from isac_torch.nn.export_policy import export_policy

    worst = export_policy(checkpoint, output)
    print(f"{output}: powers within {worst:.1e} of those of the weights")  # noqa: T201 - the result


def _allocator(
    policy: Policy, model: Path | None, rounds: int | None, refine: bool, exchanges: int | None
) -> DeployedAllocator:
    """What answers: a network with its guard, or a policy of the APs. IsacError where options do not go together."""
    from isac_torch.errors import AllocationError

    if policy == "central":
        for name, value in (("rounds", rounds), ("exchanges", exchanges)):
            if value is not None:
                raise AllocationError(
                    f"{name}={value}: a central network has none; give policy=distributed, or leave {name} out"
                )
        from isac_torch.deployment.allocator import DeployedAllocator

        return DeployedAllocator.load(model, refine=refine)
    if refine:
        raise AllocationError("refine=True: no centre improves a distributed policy; give more rounds, or policy=central")
    from isac_torch.deployment.local_policy import DeployedPolicy

    return DeployedPolicy.load(model, 4 if rounds is None else rounds, exchanges or 0)


def allocate_file(
    drop: Path,
    model: Path | None = None,
    output: Path = Path("-"),
    refine: bool = False,
    site_map: Path | None = None,
    policy: Policy = "central",
    rounds: int | None = None,
    exchanges: int | None = None,
    requirement: str | None = None,
) -> None:
    """Powers for the networks of a file from a deployed allocator, without torch.

    Args:
        drop: JSON, npz or HDF5 file, also a shard of `generate`; `-` reads JSON or npz from standard input.
        model: Bundle that `isac-torch export` wrote, or file of `isac-torch distributed export`; default what comes with the
            package.
        output: File of the powers: .json, .npz, .h5 or .csv; `-` writes JSON to standard output.
        refine: Improve every answer by Newton steps: nearer to the optimum, milliseconds later.
        site_map: HTML file of a map: positions, where arrays look, who sends and who listens, powers.
        policy: A network that knows everything, with a guard; or what the APs find by messages among themselves.
        rounds: Of messages, where the policy is distributed; default 4.
        exchanges: Of promises between APs and targets after the rounds, which repair sensing constraints; default none.
        requirement: What is asked of the radar, in place of what the file asks: none, sir, sicnr, detection, position or
            dominate, or a JSON object with numbers, {"kind":"sicnr","sicnr_min_db":3}.
    """
    one_thread()
    from isac_torch.deployment.files import read_snapshots
    from isac_torch.deployment.radar_fields import NESTED
    from isac_torch.files import writable_file, write_whole

    check_place(output)
    if site_map is not None:
        writable_file(site_map)
    begin = time.perf_counter()
    snapshots = read_snapshots(drop)
    if requirement is not None:
        asked = NESTED["requirement"].of("requirement", requirement)
        snapshots = [replace(snapshot, requirement=asked) for snapshot in snapshots]
    allocator = _allocator(policy, model, rounds, refine, exchanges)  # after what is quick to refuse
    answers, spent = answered(allocator, snapshots, output, begin)
    if site_map is not None:
        from isac_torch.deployment.site_map import map_page

        write_whole(site_map, map_page(snapshots, answers))
    sys.stderr.write(spent)


def check_place(output: Path) -> None:
    """Raise, before any work, where answers could not be written to `output`, a file or `-`."""
    from isac_torch.deployment.answers import check_output

    if str(output) != "-":
        check_output(output)


def answered(allocator: Any, snapshots: Sequence[Any], output: Path, begin: float) -> tuple[list[Any], str]:
    """Answers for all networks, written to `output` (`-`: standard output), and a line on what happened and how long it took.

    `begin`: time at which the command began to load, s.
    """
    from isac_torch.deployment.answers import answers_json, write_answers

    loaded = time.perf_counter()
    answers = allocator.many(snapshots)
    done = time.perf_counter()
    if str(output) != "-":
        write_answers(answers, output)
    else:
        sys.stdout.buffer.write(answers_json(answers))
    return answers, f"{_summary(answers)}; {1e3 * (done - loaded):.1f} ms after {loaded - begin:.2f} s of loading\n"


def one_thread() -> None:
    """Keep the algebra of small matrices to one thread: two that wait for each other are slower, on a busy machine by far."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # read when numpy is imported, which has not happened yet


def _summary(answers: Sequence[Any]) -> str:
    """One line on what happened, for a person."""
    paths = ", ".join(f"{count} {path}" for path, count in Counter(answer.path for answer in answers).most_common())
    strange = sum(bool(answer.out_of_distribution) for answer in answers)
    said = f"{len(answers)} drop{'s' * (len(answers) != 1)}: {paths}"
    return f"{said}; {strange} unlike those seen in training" if strange else said


def serve(
    bundle: Path,
    refine: bool = False,
    policy: Policy = "central",
    rounds: int | None = None,
    exchanges: int | None = None,
    **options: Any,
) -> None:
    """Answer POST /allocate over HTTP (JSON or npz); also /health, /card, /metrics, and a description at /docs.

    Args:
        bundle: Folder that `isac-torch export` wrote, or file of `isac-torch distributed export`; `shipped` is what comes with
            the package.
        refine: Improve every answer by Newton steps: nearer to the optimum, milliseconds later.
        policy: A network that knows everything, with a guard; or what the APs find by messages among themselves.
        rounds: Of messages, where the policy is distributed; default 4.
        exchanges: Of promises between APs and targets after the rounds, which repair sensing constraints; default none.
        options: As of `answer_requests`.
    """
    one_thread()
    from isac_torch.deployment.snapshot import Snapshot

    model = None if str(bundle) == "shipped" else bundle
    answer_requests(**options, load=lambda: _allocator(policy, model, rounds, refine, exchanges), network=Snapshot)


def answer_requests(
    host: str = "127.0.0.1",
    port: int = 8000,
    max_bytes: int = 8 * 2**20,
    max_drops: int = 256,
    max_antennas: int = 32,
    max_memory_mib: float = 512.0,
    seconds: float = 10.0,
    max_waiting: int = 1024,
    window_ms: float = 1.0,
    max_batch: int = 64,
    *,
    load: Callable[[], DeployedAllocator | RoadAllocator],
    network: type[Snapshot] | type[RoadSnapshot],
) -> None:
    """Run the service; its options are those of every `serve`.

    Args:
        host: Address to listen on; 0.0.0.0 opens it to other machines.
        port: 0..65535; 0 takes a free one.
        max_bytes: Of a request's body, and of the arrays an npz body unpacks to.
        max_drops: Drops in a request.
        max_antennas: Of each AP.
        max_memory_mib: That a request's drops may take while they are allocated, MiB.
        seconds: For a body to arrive, and again to read and to answer it; what takes longer is ended.
        max_waiting: Drops that may wait for their turn; further requests get 503.
        window_ms: That the first request of a batch waits for company, ms.
        max_batch: Drops in a batch.
        load: The allocator, made after everything that is quick to refuse.
        network: Class of the drops that it takes.
    """
    from isac_torch.deployment.limits import Limits
    from isac_torch.deployment.server import check_port, run_server

    check_port(port)
    limits = Limits(
        max_bytes=max_bytes,
        max_drops=max_drops,
        max_antennas=max_antennas,
        max_memory=max_memory_mib * 2**20,
        seconds=seconds,
        max_waiting=max_waiting,
        window=window_ms / 1e3,
        max_batch=max_batch,
    )
    run_server(load(), host, port, limits, network)


def import_geometry(
    sites: Path,
    output: Path = Path("-"),
    gains_db: Path | None = None,
    num_antennas: int | None = None,
    ap_power: float | None = None,
    carrier_frequency: float | None = None,
    noise_power: float | None = None,
    pilot_symbols: int | None = None,
    azimuth_spread_deg: float | None = None,
    angle_error: float | None = None,
    sir_min_db: float | None = None,
    pilot_power: float | None = None,
    serving_aps: int | None = None,
    sensing_aps: int | None = None,
    listening_aps: int | None = None,
    receive_selection: str = "farthest_point",
    num_receive_aps: int | None = None,
    receive_reach: float | None = 1.0,
) -> None:
    """Turn positions of APs, UEs and targets (CSV or GeoJSON, degrees or metres) into drops for `allocate`.

    Args:
        sites: CSV or GeoJSON file; columns are described in docs/deployment.md.
        output: JSON file; `-` writes to standard output.
        gains_db: CSV of measured or simulated large-scale gains, dB: a row a UE, a column an AP, in the order of `sites`.
        num_antennas: Of each AP; default 4.
        ap_power: Budget of each AP, W; default 2.
        carrier_frequency: Hz; default 2e9.
        noise_power: In the whole band, W; default -174 dBm/Hz over 20 MHz.
        pilot_symbols: Uplink pilots; default one per UE.
        azimuth_spread_deg: Of the scatterers, degrees; default 15.
        angle_error: Of the tracked angles, rad; default 0.01.
        sir_min_db: Sensing SIR that every target must reach, dB; default -5.
        pilot_power: Uplink pilot power of each UE, W; default 1e-4.
        serving_aps: Transmit APs that serve each UE; default 4.
        sensing_aps: Transmit APs with a beam at each target; default 4.
        listening_aps: Receive APs that listen for each target; default 1.
        receive_selection: Rule for the APs that listen, where the file says `ap` of all: farthest_point, nearest_to_target,
            least_used or weakest_ue.
        num_receive_aps: APs that listen, where the file says `ap` of all; default a quarter.
        receive_reach: weakest_ue lets no target be farther from its nearest receive AP than this times the distance under
            farthest_point; null: any distance.
    """
    from isac_torch.deployment.importing import import_geometry as run
    from isac_torch.deployment.open_roles import OpenRoles

    physics = {
        "num_antennas": num_antennas,
        "ap_power": ap_power,
        "carrier_frequency": carrier_frequency,
        "noise_power": noise_power,
        "pilot_symbols": pilot_symbols,
        "azimuth_spread_deg": azimuth_spread_deg,
        "angle_error": angle_error,
        "sir_min_db": sir_min_db,
        "pilot_power": pilot_power,
        "serving_aps": serving_aps,
        "sensing_aps": sensing_aps,
        "listening_aps": listening_aps,
    }
    roles = OpenRoles(receive_selection, num_receive_aps, receive_reach)
    run(sites, output, gains_db, roles, **{name: value for name, value in physics.items() if value is not None})
