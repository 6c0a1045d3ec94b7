"""The tracking loop of several contenders in many worlds: in parallel processes, a file per world, resumed where it stopped."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from isac_torch.allocators.registry import TRACKING, named_allocator
from isac_torch.evaluation.studies.code import code_digest
from isac_torch.evaluation.studies.gospa import Gospa
from isac_torch.evaluation.studies.tracking_loop import Followed, follow
from isac_torch.evaluation.studies.worlds import make_world
from isac_torch.evaluation.tables import write_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from isac_torch.evaluation.studies.worlds import Contender, Loop
    from isac_torch.tracking.scenario import TrackingScenario


def run_worlds(
    scenario: TrackingScenario,
    loop: Loop,
    contenders: Mapping[str, Contender],
    folder: Path,
    workers: int = 1,
    checkpoint: Path | None = None,
) -> dict[str, list[Followed]]:
    """What the loop gave of every contender in every world; a world that `folder` holds already is read from there.

    Each process runs on one thread, and each world has seeds of its own, so that results do not depend on the number of
    processes or worlds.

    Args:
        scenario: the network.
        loop: what to simulate; world i is the same for every contender.
        contenders: by the name of their line.
        folder: keeps a file for every contender and world; deleting it is always safe.
        workers: processes.
        checkpoint: weights of learned allocators; default those shipped with the package.
    """
    from tqdm import tqdm

    folder.mkdir(parents=True, exist_ok=True)
    tasks = [(name, index) for index in range(loop.num_worlds) for name in contenders]
    paths = {
        (name, index): folder / f"{_key(scenario, loop, contenders[name], index, checkpoint)}.json" for name, index in tasks
    }
    known = {task: found for task in tasks if (found := _read(paths[task])) is not None}
    missing = [task for task in tasks if task not in known]
    arguments = [(scenario, loop, contenders[name], index, paths[name, index], checkpoint) for name, index in missing]
    with tqdm(total=len(tasks), initial=len(known), desc="worlds", unit="world", disable=None) as bar:
        for place, found in _answers(arguments, min(workers, len(missing))):
            known[missing[place]] = found
            bar.update()
    return {name: [known[name, index] for index in range(loop.num_worlds)] for name in contenders}


_Task: TypeAlias = "tuple[TrackingScenario, Loop, Contender, int, Path, Path | None]"


def _answers(tasks: list[_Task], workers: int) -> Iterator[tuple[int, Followed]]:
    """Place and result of every task as it is done, from this process or from several."""
    if workers <= 1:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            for place, task in enumerate(tasks):
                yield place, _one(*task)
        finally:
            torch.set_num_threads(threads)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        asked = {pool.submit(_one, *task): place for place, task in enumerate(tasks)}
        try:
            for future in as_completed(asked):
                yield asked[future], future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _one(
    scenario: TrackingScenario, loop: Loop, contender: Contender, index: int, path: Path, checkpoint: Path | None
) -> Followed:
    """One contender in one world, written to its file."""
    world = make_world(scenario, loop, index)
    found = follow(scenario, loop, contender, world, named_allocator(contender.allocator, checkpoint))
    write_json(path, asdict(found))
    return found


def _key(scenario: TrackingScenario, loop: Loop, contender: Contender, index: int, checkpoint: Path | None) -> str:
    """Name of a world's file: a checksum of all that decides it. The number of worlds does not."""
    file = TRACKING.weights_file(contender.allocator, checkpoint)
    weights = "" if file is None else hashlib.sha256(file.read_bytes()).hexdigest()
    decides = (code_digest(), scenario, {**asdict(loop), "num_worlds": 0}, contender, weights, index)
    return hashlib.sha256(repr(decides).encode()).hexdigest()[:32]


def _read(path: Path) -> Followed | None:
    """A stored world; None where there is none, or a damaged one."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Followed(**{**content, "gospa": [Gospa(**score) for score in content["gospa"]]})
    except (OSError, ValueError, KeyError, TypeError):
        return None
