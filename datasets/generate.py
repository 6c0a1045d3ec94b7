"""The labelling run: drops -> problems -> certified optima -> shards, on any number of workers, resumable at any moment."""

from __future__ import annotations

import json
import os
import platform
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from isac_torch.datasets.files import sha256
from isac_torch.datasets.labelling import Labeller
from isac_torch.datasets.manifest import MANIFEST, Manifest, read_manifest
from isac_torch.datasets.recipe import Recipe, ShardTask, software_versions
from isac_torch.datasets.workers import make_shards
from isac_torch.errors import DatasetError
from isac_torch.files import exclusive_log, remove_leftovers, writable_folder, write_whole
from isac_torch.systems import system_of

if TYPE_CHECKING:
    from isac_torch.allocation import Allocator
    from isac_torch.datasets.labelling import Made
    from isac_torch.systems import Scenario

LOG = "generate.log.jsonl"


def generate_dataset(
    scenario: Scenario | Sequence[Scenario],
    num_drops: int,
    output: str | Path,
    seed: int = 0,
    shard_size: int = 250,
    workers: int = 0,
    scheduler: str | None = None,
    allocator: Allocator[Any] | None = None,
    progress: bool = True,
) -> Manifest:
    """Write a labelled data set to a folder, or finish one that was interrupted.

    Shard i is a function of the recipe (scenarios, sizes, seed, allocator, software) and i alone: whoever makes it, and
    however often the run is killed, the bytes are the same. Times and facts of the host go to ``generate.log.jsonl``.

    Args:
        scenario: network to draw from, or several of them (size classes) of one system; every shard holds one of them.
        num_drops: drops of each scenario.
        output: folder of the data set; made if need be.
        seed: shard i draws from a generator seeded with seed + i; keep the ranges of several data sets apart.
        shard_size: drops of a shard, the unit of work that a crash can cost.
        workers: local worker processes; 0 takes one per core, 1 works in this process. Each uses one thread. With more than
            one, a script must call this function under ``if __name__ == "__main__"``, as always with processes.
        scheduler: address of a running Dask scheduler to use instead; its workers need this package but no shared disk.
        allocator: who labels; default the certified optimum of the system.
        progress: show a bar on stderr.

    Returns:
        The manifest of the finished data set.

    Raises:
        OutputError: the folder cannot be written, or another run is writing to it.
        DatasetError: the folder belongs to another recipe; a shard keeps failing.

    Example:
        >>> import tempfile
        >>> from isac_torch import Fractional, TrackingScenario, generate_dataset
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = generate_dataset(
        ...         TrackingScenario.of_size("4x3x2"), 4, folder, workers=1, allocator=Fractional(), progress=False
        ...     )
        >>> made.num_shards
        1
    """
    scenarios = tuple(scenario) if isinstance(scenario, Sequence) else (scenario,)
    if not scenarios:
        raise DatasetError("scenario=[] names no size class; give at least one")
    allocator = system_of(scenarios[0]).labeller() if allocator is None else allocator
    recipe = Recipe(scenarios, num_drops, seed, shard_size, repr(allocator))
    folder = writable_folder(output)
    with exclusive_log(folder / LOG) as log:
        remove_leftovers(folder)
        manifest = _resume(folder, recipe)
        manifest.write(folder)
        todo = [task for task in recipe.tasks if task.name not in manifest.shards]
        _log(log, event="start", host=_host(), todo=len(todo), done=len(manifest.shards), scheduler=scheduler, workers=workers)
        if todo:
            results = make_shards(todo, Labeller(allocator, recipe, software_versions(recipe.system.name)), workers, scheduler)
            _write_all(folder, manifest, results, log, total=sum(task.num_drops for task in todo), progress=progress)
        _log(log, event="finish")
    return manifest


def _resume(folder: Path, recipe: Recipe) -> Manifest:
    """The manifest to go on from: every entry's file is there and has its checksum. Refuses what another recipe made."""
    fresh = Manifest(recipe.to_json(), recipe.num_shards)
    manifest = read_manifest(folder) if (folder / MANIFEST).exists() else fresh
    if manifest.fingerprint != fresh.fingerprint:
        difference = _difference(json.loads(manifest.recipe), json.loads(fresh.recipe))
        raise DatasetError(f"{folder} holds a data set of another recipe ({difference}); choose another output or delete it")
    for path in sorted(folder.glob("shard-*.h5")):
        entry = manifest.shards.get(path.name)
        if entry is None and (owner := _owner(path)) not in (None, fresh.fingerprint):
            raise DatasetError(f"{path} belongs to another data set ({owner:.12}); move it away or choose another output")
    whole = {name: entry for name, entry in manifest.shards.items() if _digest(folder / name) == entry["sha256"]}
    return Manifest(fresh.recipe, fresh.num_shards, whole)


def _digest(path: Path) -> str | None:
    try:
        return sha256(path.read_bytes())
    except OSError:
        return None


def _owner(path: Path) -> str | None:
    """Fingerprint in the header of a shard; None where it cannot be read, so that nobody else can miss it."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return bytes(file.attrs["fingerprint"]).decode()
    except (OSError, KeyError, TypeError, ValueError):
        return None


def _difference(there: dict[str, Any], here: dict[str, Any]) -> str:
    """The first entry in which two recipes differ, in words."""
    for name in sorted(there.keys() | here.keys()):
        old, new = there.get(name), here.get(name)
        if old == new:
            continue
        if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
            old, new = next((a, b) for a, b in zip(old, new, strict=True) if a != b)
        if isinstance(old, dict) and isinstance(new, dict):
            return f"{name}: {_difference(old, new)}"
        return f"{name} {old!s:.60} there, {new!s:.60} here"
    return "nothing"


def _write_all(folder: Path, manifest: Manifest, results: Any, log: TextIO, *, total: int, progress: bool) -> None:
    """Write each shard as it comes and note it in the manifest only once it is safe on disk."""
    from tqdm import tqdm

    counts: Counter[str] = Counter()
    with tqdm(total=total, unit="drop", desc="label", disable=not progress, smoothing=0.1) as bar:
        task: ShardTask
        made: Made
        for task, made in results:
            write_whole(folder / task.name, made.data)
            manifest.shards[task.name] = {
                "sha256": sha256(made.data),
                "num_drops": task.num_drops,
                "scenario": task.scenario_index,
                "size": task.size,
                "status": made.counts,
            }
            manifest.write(folder)
            counts.update(made.counts)
            times = {key: round(getattr(made, key), 3) for key in ("draw_seconds", "label_seconds", "core_seconds")}
            _log(log, event="shard", shard=task.name, size=task.size, num_drops=task.num_drops, counts=made.counts, **times)
            bar.update(task.num_drops)
            bar.set_postfix({name: count for name, count in counts.items() if count})


def _log(log: TextIO, **record: Any) -> None:
    log.write(json.dumps({"time": round(time.time(), 3)} | record) + "\n")
    log.flush()


def _host() -> dict[str, Any]:
    return {
        "machine": platform.machine(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }
