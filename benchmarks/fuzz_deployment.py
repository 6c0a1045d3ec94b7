"""Random and adversarial inputs through a deployed allocator: no crash, no NaN, no budget violation, one line a refusal.

    python benchmarks/fuzz_deployment.py --model BUNDLE --count 100000 --json fuzz.json        # from the root of the project
    python benchmarks/fuzz_deployment.py --system downlink_pilots --count 10000               # roads, the shipped network

A third are networks at the edges of what is allowed, a third have one fault, a third are bytes (JSON and npz), half of them
damaged. Those that are accepted are allocated in batches of mixed sizes, some of them twice more and alone: those two must
agree to the last bit. How many have another smallest SINR (largest NMSE) in the batch, by more than one per cent, is counted:
the network's rounding depends on the batch, and drops whose balancing does not settle amplify it. Every problem is listed
with the seed that makes its input again. Exit code 1 if there is any.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the inputs are those of the tests

from isac_torch.deployment.allocated import Allocated
from isac_torch.deployment.allocator import DeployedAllocator
from isac_torch.deployment.downlink_pilots.allocator import RoadAllocated, RoadAllocator
from isac_torch.deployment.downlink_pilots.snapshot import RoadSnapshot
from isac_torch.deployment.files import decode_json, decode_npz
from isac_torch.deployment.snapshot import Snapshot
from isac_torch.errors import IsacError
from tests import hostile_drops, hostile_roads

BUDGET_TOLERANCE = 1e-9
"""Largest relative overload of an AP that is not a violation."""
PATHS = ("network", "refined", "repaired", "fallback_fpc", "best_effort")
ROAD_PATHS = ("network", "refined", "engine", "best_effort")
MAX_BYTES = 2**20

Network = Snapshot | RoadSnapshot
Change = Callable[[np.random.Generator, dict[str, Any]], dict[str, Any]]


class Hostile(Protocol):
    """Inputs of a system: a plain one, measured gains, the edges of what is allowed, the ways to get one wrong."""

    EDGES: Mapping[str, Change]
    FAULTS: Mapping[str, Change]
    plain: Callable[[np.random.Generator], dict[str, Any]]
    with_gains: Change


@dataclass(frozen=True)
class System:
    """One of the two systems: its inputs, what they are read as, the paths of its answers, figures that are never negative."""

    hostile: Hostile
    kind: type[Network]
    paths: Sequence[str]
    figures: Sequence[str]


TRACKING = System(hostile_drops, Snapshot, PATHS, ("sinr", "sir"))  # type: ignore[arg-type]  # a module
ROADS = System(hostile_roads, RoadSnapshot, ROAD_PATHS, ("nmse", "crb", "quality"))  # type: ignore[arg-type]  # a module


@dataclass
class Tally:
    """What happened to the inputs.

    Attributes:
        refused: inputs that were refused in one line, by kind.
        paths: networks allocated, by kind and path.
        problems: everything that must not happen, with kind and seed.
        worst_overload: largest relative excess of an AP's load over its budget.
        repeated: networks allocated twice more, alone.
        different: those of them whose smallest SINR was another in the batch.
    """

    refused: Counter[str] = field(default_factory=Counter)
    paths: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    worst_overload: float = 0.0
    repeated: int = 0
    different: int = 0


Case = tuple[str, int, Network]
"""Kind, seed and network of an accepted input."""


def inputs(seed: int, count: int, system: System = TRACKING) -> Iterator[tuple[str, int, Callable[[], list[Network]]]]:
    """Kind, seed and a function that reads the network(s), or refuses, of each input."""
    hostile = system.hostile
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        drop = hostile.plain(rng)
        if rng.random() < 0.2:
            drop = hostile.with_gains(rng, drop)
        edge = str(rng.choice(list(hostile.EDGES)))
        fault = str(rng.choice(list(hostile.FAULTS)))
        if index % 3 == 0:
            fields = hostile.EDGES[edge](rng, drop)
            yield f"edge: {edge}", index, partial(_networks, system, fields)
        elif index % 3 == 1:
            fields = hostile.FAULTS[fault](rng, drop)
            yield f"fault: {fault}", index, partial(_networks, system, fields)
        else:
            yield from _bytes(rng, index, drop, fault, system)


def _networks(system: System, fields: dict[str, Any]) -> list[Network]:
    return [system.kind.from_mapping(fields)]


def _bytes(
    rng: np.random.Generator, index: int, drop: dict[str, Any], fault: str, system: System
) -> Iterator[tuple[str, int, Callable[[], list[Network]]]]:
    as_npz = rng.random() < 0.5
    damaged = rng.random() < 0.5
    fields = drop if damaged else system.hostile.FAULTS[fault](rng, drop)
    data = hostile_drops.as_npz(fields) if as_npz else hostile_drops.as_json(fields)
    data = hostile_drops.damage(rng, data) if damaged else data
    kind = f"{'npz' if as_npz else 'json'}: {'damaged' if damaged else fault}"
    of: Any = system.kind
    yield kind, index, lambda: decode_npz(data, MAX_BYTES, kind=of) if as_npz else decode_json(data, kind=of)


def overload(snapshot: Network, answer: Allocated | RoadAllocated) -> float:
    """Largest relative excess of an AP's load over its budget, by counting; never below 0."""
    load = np.bincount(answer.link_ap, answer.power, snapshot.num_aps)
    default = snapshot.pilot_power if isinstance(snapshot, RoadSnapshot) else 2.0
    budget = np.full(snapshot.num_aps, default) if snapshot.ap_power is None else snapshot.ap_power
    return float(max(0.0, (load / budget - 1.0).max()))


def faults_of(snapshot: Network, answer: Allocated | RoadAllocated, system: System = TRACKING) -> list[str]:
    """What is wrong with an answer."""
    figures = {name: np.asarray(getattr(answer, name)) for name in system.figures}
    links = len(answer.power)
    checks = {
        "power is not finite": np.isfinite(answer.power).all(),
        "power is negative": (answer.power >= 0.0).all(),
        "budget is exceeded": overload(snapshot, answer) <= BUDGET_TOLERANCE,
        "not every UE has its figure": len(figures[system.figures[0]]) == snapshot.num_ues,
        **{f"{name} is NaN or negative": bool((value >= 0.0).all()) for name, value in figures.items()},
        "links do not match": links == len(answer.link_ap) == len(answer.owner_kind) == len(answer.owner_index),
        f"path {answer.path!r} is unknown": answer.path in system.paths,
        "reason has several lines": "\n" not in answer.reason,
    }
    return [name for name, good in checks.items() if not good]


def worst(answer: Allocated | RoadAllocated) -> float:
    """Smallest SINR or largest NMSE."""
    return float(answer.nmse.max() if isinstance(answer, RoadAllocated) else answer.sinr.min())


def judge(tally: Tally, case: Case, answer: Allocated | RoadAllocated, system: System = TRACKING) -> None:
    """Count an answer and note what is wrong with it."""
    kind, seed, snapshot = case
    tally.paths[f"{kind} -> {answer.path}"] += 1
    tally.worst_overload = max(tally.worst_overload, overload(snapshot, answer))
    tally.problems += [f"{kind} (seed {seed}): {fault}" for fault in faults_of(snapshot, answer, system)]


def refuse(tally: Tally, kind: str, seed: int, error: Exception) -> None:
    """Count a refusal, and note one that is no refusal but a crash, or takes more than a line."""
    tally.refused[kind] += 1
    if not isinstance(error, IsacError):
        tally.problems.append(f"{kind} (seed {seed}): {type(error).__name__}: {str(error)[:200]}")
    elif "\n" in str(error) or not str(error) or len(str(error)) > 500:
        tally.problems.append(f"{kind} (seed {seed}): refused in more than a line: {str(error)[:200]!r}")


def allocate(tally: Tally, allocator: Any, batch: list[Case], repeat: int, system: System = TRACKING) -> None:
    """Allocate a batch; where it is refused as a whole, one network after the other. Repeat the first few alone."""
    try:
        answers = allocator.many([snapshot for _, _, snapshot in batch])
    except Exception as error:  # noqa: BLE001 - finding these is the purpose
        if len(batch) == 1:
            refuse(tally, batch[0][0], batch[0][1], error)
        else:
            for case in batch:
                allocate(tally, allocator, [case], 0, system)
        return
    for case, answer in zip(batch, answers, strict=True):
        judge(tally, case, answer, system)
    for case, answer in list(zip(batch, answers, strict=True))[:repeat]:
        tally.repeated += 1
        once, twice = allocator(case[2]), allocator(case[2])
        tally.different += not np.isclose(worst(answer), worst(once), rtol=0.01)
        if once.path != twice.path or not np.array_equal(once.power, twice.power):
            tally.problems.append(f"{case[0]} (seed {case[1]}): another answer the second time")


def fuzz(allocator: Any, count: int, seed: int, batch_size: int = 256, system: System = TRACKING) -> Tally:
    """Send `count` inputs through the allocator."""
    from tqdm import tqdm

    tally, batch = Tally(), list[Case]()
    for kind, index, read in tqdm(inputs(seed, count, system), total=count, disable=None):
        try:
            snapshots = read()
            for snapshot in snapshots:
                snapshot.check()
            batch += [(kind, index, snapshot) for snapshot in snapshots]
        except Exception as error:  # noqa: BLE001 - finding these is the purpose
            refuse(tally, kind, index, error)
        if len(batch) >= batch_size:
            allocate(tally, allocator, batch, 4, system)
            batch = []
    if batch:
        allocate(tally, allocator, batch, 4, system)
    return tally


def main() -> None:
    """Fuzz with the options and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--system", choices=["tracking", "downlink_pilots"], default="tracking")
    parser.add_argument(
        "--model", type=Path, help="bundle that `isac-torch export` wrote; for roads default the shipped network"
    )
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=900_700)
    parser.add_argument("--refine", action="store_true", help="improve every answer, as `isac-torch allocate --refine`")
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    roads = options.system == "downlink_pilots"
    if options.model is None and not roads:
        parser.error("--model is missing; give a bundle that `isac-torch export` wrote")
    system = ROADS if roads else TRACKING
    load: Any = RoadAllocator.load if roads else DeployedAllocator.load
    allocator = load(options.model, refine=options.refine)
    begin, cpu = time.perf_counter(), time.process_time()
    tally = fuzz(allocator, options.count, options.seed, system=system)
    result = {
        "count": options.count,
        "seed": options.seed,
        "allocated": sum(tally.paths.values()),
        "refused": sum(tally.refused.values()),
        "repeated": tally.repeated,
        "different_in_batch": tally.different,
        "problems": tally.problems,
        "worst_overload": tally.worst_overload,
        "cpu_seconds": time.process_time() - cpu,
        "seconds": time.perf_counter() - begin,
        "by_path": {path: sum(n for name, n in tally.paths.items() if name.endswith(f"-> {path}")) for path in system.paths},
        "allocated_by_kind": dict(sorted(tally.paths.items())),
        "refused_by_kind": dict(sorted(tally.refused.items())),
    }
    text = json.dumps(result, indent=2) + "\n"
    if options.json is not None:
        options.json.write_text(text, encoding="utf-8")
    with contextlib.suppress(BrokenPipeError):
        print(text)
    sys.exit(bool(tally.problems))


if __name__ == "__main__":
    main()
