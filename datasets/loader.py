"""Batches of (problem, label) from whole shards, or of freshly drawn drops: iterables that any training loop can take.

A batch is a `MaxMinSinrProblem` (`MinMaxNmseProblem` for the downlink-pilot system) and a dict of label tensors with the keys
of `schema.LABELS`; freshly drawn drops have an empty dict. Shards are loaded whole and batches picked by index, since
drop-by-drop collation costs more than training.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from isac_torch.allocation import Status
from isac_torch.datasets.manifest import Manifest, read_manifest
from isac_torch.datasets.recipe import MAX_SEED
from isac_torch.datasets.shards import read_shard
from isac_torch.datasets.share import ALL, Share
from isac_torch.errors import DatasetError
from isac_torch.systems import Problem, system_called
from isac_torch.tensors import cat_tensors

Batch = tuple[Problem, dict[str, Tensor]]

_KEPT = (Status.OPTIMAL, Status.FEASIBLE)


@dataclass(frozen=True)
class ShardFile:
    """A shard on disk, as its manifest describes it.

    Attributes:
        path: the file.
        sha256: its checksum.
        scenario: index of its scenario in the recipe; shards of one scenario have arrays of one shape.
        num_drops: drops in it.
        feasible: drops whose label meets every constraint.
    """

    path: Path
    sha256: str
    scenario: int
    num_drops: int
    feasible: int


def shard_files(folder: Path, system: str | None = None) -> list[ShardFile]:
    """Shards of a finished data set, of the system of that name if one is given.

    Raises:
        DatasetError: a shard is missing, as after an interrupted run; or the data set is of another system.
    """
    manifest = read_manifest(folder)
    found = system_called(json.loads(manifest.recipe)["system"])
    if system is not None and (found is None or found.name != system):
        name = json.loads(manifest.recipe)["system"]
        raise DatasetError(f"{folder}: drops of the {name} system, where those of {system} are wanted; give another data set")
    manifest.check_finished(folder)
    return [_shard_file(folder, manifest, name) for name in sorted(manifest.shards)]


def _shard_file(folder: Path, manifest: Manifest, name: str) -> ShardFile:
    entry = manifest.shards[name]
    feasible = sum(entry["status"].get(status.name.lower(), 0) for status in _KEPT)
    return ShardFile(folder / name, entry["sha256"], entry["scenario"], entry["num_drops"], feasible)


def split_shards(files: Sequence[ShardFile], val_share: float) -> tuple[list[ShardFile], list[ShardFile]]:
    """Training and validation shards: of every scenario the last shards, at least one, hold out `val_share` of it."""
    if not 0.0 < val_share < 1.0:
        raise DatasetError(f"val_share={val_share} must lie between 0 and 1")
    train: list[ShardFile] = []
    val: list[ShardFile] = []
    for scenario in sorted({file.scenario for file in files}):
        mine = [file for file in files if file.scenario == scenario]
        held = max(1, round(val_share * len(mine)))
        if held >= len(mine):
            raise DatasetError(
                f"{mine[0].path.parent}: {len(mine)} shard(s) of scenario {scenario} are too few to hold out {val_share:g}; "
                "generate it with a smaller shard_size or give val_path"
            )
        train += mine[:-held]
        val += mine[-held:]
    return train, val


class ShardBatches:
    """Batches of stored drops; every pass over a shuffled one has its own order, decided by `seed` and the pass alone.

    `state_dict` says which pass it is and how many of its batches were given; a loader with that state gives the next one.

    Batches of several scenarios come in turns, so that sizes mix within a pass while each batch has one. Several processes go
    through the same batches, `batch_size` times as large as there are processes, and each gets its share of every one.
    """

    def __init__(
        self,
        files: Sequence[ShardFile],
        batch_size: int,
        *,
        dtype: torch.dtype = torch.float32,
        shuffle: bool = True,
        seed: int = 0,
        feasible_only: bool = True,
        pool_drops: int = 4000,
        share: Share = ALL,
    ) -> None:
        """Set up without reading a shard.

        Args:
            files: the shards.
            batch_size: drops in a batch of one process.
            dtype: of the tensors.
            shuffle: whether every pass has an order of its own.
            seed: of the orders, the same in all processes.
            feasible_only: leave out drops whose label breaks a constraint.
            pool_drops: drops of one scenario held in memory and shuffled together, rounded up to whole shards.
            share: which of several processes this is.
        """
        if batch_size < 1:
            raise DatasetError(f"batch_size={batch_size} must be at least 1")
        self.files = list(files)
        self.batch_size, self.dtype, self.shuffle, self.seed = batch_size, dtype, shuffle, seed
        self.feasible_only, self.share = feasible_only, share
        self._epoch, self._given = -1, 0
        self._resumed = False
        self._pools = _pools(self.files, pool_drops)
        self._kept: dict[tuple[ShardFile, ...], Batch] = {}  # the last pool of each scenario

    def __len__(self) -> int:
        return sum(self._batches_of(pool) for pools in self._pools.values() for pool in pools)

    def _batches_of(self, pool: Sequence[ShardFile]) -> int:
        return -(-sum(map(self._drops_of, pool)) // self._step_drops)

    def _drops_of(self, file: ShardFile) -> int:
        return file.feasible if self.feasible_only else file.num_drops

    @property
    def _step_drops(self) -> int:
        """Drops that all processes take in one step."""
        return self.batch_size * self.share.processes

    def __iter__(self) -> Iterator[Batch]:
        if not self._resumed or self._given >= len(self):
            self._epoch, self._given = self._epoch + 1, 0
        self._resumed = False
        for pool, index in islice(self._plan(self._epoch), self._given, None):
            self._given += 1
            problem, label = self._load(pool)
            yield problem.select(index), {name: value[index] for name, value in label.items()}

    def state_dict(self) -> dict[str, int]:
        """The pass, its batches that were given, and the number of processes that share them."""
        return {"epoch": self._epoch, "given": self._given, "processes": self.share.processes}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on behind the last batch that was given; with the next pass, where the number of processes has changed."""
        same = state.get("processes") == self.share.processes
        self._epoch, self._given = state["epoch"], state["given"] if same else len(self)
        self._resumed = True

    def _plan(self, epoch: int) -> Iterator[tuple[tuple[ShardFile, ...], Int[Tensor, " drop"]]]:
        """The shards and the drops among them of each batch of a pass. Reads no shard."""
        generator = torch.Generator().manual_seed((self.seed + epoch) % MAX_SEED)
        left = {scenario: sum(map(self._batches_of, pools)) for scenario, pools in self._pools.items()}
        streams = {scenario: self._stream(pools, generator) for scenario, pools in self._pools.items()}
        while left := {scenario: count for scenario, count in left.items() if count}:
            names = list(left)
            turn = 0
            if self.shuffle and len(names) > 1:
                turn = int(torch.multinomial(torch.tensor([float(left[name]) for name in names]), 1, generator=generator))
            left[names[turn]] -= 1
            yield next(streams[names[turn]])

    def _stream(
        self, pools: list[tuple[ShardFile, ...]], generator: torch.Generator
    ) -> Iterator[tuple[tuple[ShardFile, ...], Int[Tensor, " drop"]]]:
        order = torch.randperm(len(pools), generator=generator) if self.shuffle else torch.arange(len(pools))
        for place in order.tolist():
            count = sum(map(self._drops_of, pools[place]))
            picks = torch.randperm(count, generator=generator) if self.shuffle else torch.arange(count)
            # Even parts: a last batch of a few drops would give a noisy step.
            for step in picks.tensor_split(-(-count // self._step_drops)) if count else ():
                yield pools[place], self.share.deal(step)

    def _load(self, pool: tuple[ShardFile, ...]) -> Batch:
        if pool in self._kept:
            return self._kept[pool]
        for other in self._pools[pool[0].scenario]:  # frees the memory of the pool before
            self._kept.pop(other, None)
        shards = [read_shard(file.path, digest=file.sha256) for file in pool]
        problem = cat_tensors([shard.problem for shard in shards])
        label = {name: torch.cat([shard.label[name] for shard in shards]) for name in shards[0].label}
        if self.feasible_only:
            index = torch.isin(label["status"], torch.tensor(_KEPT)).nonzero().squeeze(1)
            problem, label = problem.select(index), {name: value[index] for name, value in label.items()}
        cast = {name: value.to(self.dtype) if value.is_floating_point() else value for name, value in label.items()}
        if problem.num_drops != sum(map(self._drops_of, pool)):
            raise DatasetError(f"{pool[0].path.parent}: its shards hold other drops than its manifest says; generate it anew")
        self._kept[pool] = (problem.cast(self.dtype), cast)
        return self._kept[pool]


def _pools(files: Sequence[ShardFile], pool_drops: int) -> dict[int, list[tuple[ShardFile, ...]]]:
    """Shards of each scenario in groups that are held in memory together."""
    pools: dict[int, list[list[ShardFile]]] = {}
    for file in files:
        groups = pools.setdefault(file.scenario, [])
        if not groups or sum(member.num_drops for member in groups[-1]) >= pool_drops:
            groups.append([])
        groups[-1].append(file)
    return {scenario: [tuple(group) for group in groups] for scenario, groups in pools.items()}
