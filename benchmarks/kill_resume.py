"""Kill a labelling run again and again, and show that nothing is lost, nothing corrupt and every byte the same.

    python benchmarks/kill_resume.py --output /tmp/kills                 # full scale: 20 kills of runs, 20 of workers
    python benchmarks/kill_resume.py --output /tmp/kills --size 4x3x2 --drops 60 --shard-size 10 --workers 1 --allocator upc

One data set is made without interruption. Others are made by runs that get SIGKILL at random moments until enough kills
have hit, then a run that is left alone finishes the last one. With two workers or more, further ones are made while their
worker processes are killed at random. Shards and manifests of all must be equal byte for byte; exit code 1 if not.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isac_torch.allocators.tracking.heuristics import Fractional
from isac_torch.datasets.generate import generate_dataset
from isac_torch.datasets.inspect import check_dataset
from isac_torch.systems import TRACKING
from isac_torch.tracking.scenario import TrackingScenario

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess


def _generate(folder: Path, options: argparse.Namespace) -> None:
    scenario = TrackingScenario.of_size(options.size, pilot_length=options.pilots)
    allocator = Fractional() if options.allocator == "upc" else TRACKING.labeller()
    generate_dataset(
        scenario,
        options.drops,
        folder,
        seed=2_000_000_000,
        shard_size=options.shard_size,
        workers=options.workers,
        allocator=allocator,
        progress=False,
    )


def _start(folder: Path, options: argparse.Namespace) -> BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=_generate, args=(folder, options))
    process.start()
    return process


def _finish(process: BaseProcess) -> None:
    process.join()
    if process.exitcode:
        raise SystemExit(f"a run that nobody killed ended with code {process.exitcode}")


def kill_runs(folder: Path, options: argparse.Namespace, span: float, dice: random.Random) -> int:
    """Kill runs at random moments of their first `span` seconds until `options.kills` have hit, then let the last one end."""
    hits, finished = 0, 0
    while hits < options.kills:
        process = _start(_trial(folder, finished), options)
        process.join(timeout=dice.uniform(0.0, span))
        if process.is_alive():
            os.kill(process.pid or 0, signal.SIGKILL)
            process.join()
            hits += 1
        else:
            _finish(process)
            finished += 1
    _finish(_start(_trial(folder, finished), options))
    return hits


def _trial(folder: Path, finished: int) -> Path:
    """A folder of its own for each data set that gets done."""
    return folder.with_name(f"{folder.name}_{finished}")


def kill_workers(folder: Path, options: argparse.Namespace, span: float, dice: random.Random) -> int:
    """Kill worker processes of runs, not the runs, until `options.kills` have hit."""
    import psutil

    hits, finished = 0, 0
    while hits < options.kills:
        process = _start(_trial(folder, finished), options)
        while process.is_alive() and hits < options.kills:
            process.join(timeout=dice.uniform(0.0, 1.5 * span))  # longer than a start, or nothing but starts is hit
            try:
                family = psutil.Process(process.pid).children(recursive=True)
                workers = [child for child in family if "spawn_main" in " ".join(child.cmdline())]
                if workers:
                    dice.choice(workers).kill()
                    hits += 1
            except psutil.NoSuchProcess:
                continue
        _finish(process)
        finished += 1
    return hits


def same_bytes(one: Path, other: Path) -> list[str]:
    """Names of the shards and manifests that are not the same in two folders."""
    names = sorted({path.name for folder in (one, other) for path in folder.iterdir() if path.suffix != ".jsonl"})
    return [name for name in names if not _equal(one / name, other / name)]


def _equal(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and one.read_bytes() == other.read_bytes()


def main() -> int:
    """Run the experiment that the arguments describe and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="a folder that does not exist yet")
    parser.add_argument("--size", default="16x16x4")
    parser.add_argument("--pilots", type=int, default=None)
    parser.add_argument("--drops", type=int, default=2000)
    parser.add_argument("--shard-size", type=int, default=50)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--allocator", choices=["batched", "upc"], default="batched")
    options = parser.parse_args()
    options.output.mkdir(parents=True)
    dice = random.Random(options.seed)

    start = time.perf_counter()
    reference = options.output / "uninterrupted"
    _finish(_start(reference, options))
    span = time.perf_counter() - start
    result: dict[str, Any] = {"seconds_uninterrupted": round(span, 2), "drops": options.drops, "workers": options.workers}
    different: list[str] = []
    trials = {"runs": kill_runs, "workers": kill_workers} if options.workers != 1 else {"runs": kill_runs}
    for name, trial in trials.items():
        folder = options.output / f"killed_{name}"
        result[f"killed_{name}"] = trial(folder, options, span, dice)
        for made in sorted(options.output.glob(f"killed_{name}*")):
            check_dataset(made)
            different += [f"{made.name}/{item}" for item in same_bytes(reference, made)]
    print(json.dumps(result | {"different": different}))
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
