"""One shard from start to end: draw its drops, build their problems, label them, encode the file."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from isac_torch.allocation import Allocator, Status, allocate
from isac_torch.datasets.recipe import Recipe, ShardTask, software_versions
from isac_torch.datasets.schema import LABELS
from isac_torch.datasets.shards import Header, Shard, encode_shard
from isac_torch.errors import DatasetError
from isac_torch.tensors import tensor_fields

if TYPE_CHECKING:
    from typing import Any


@dataclass(frozen=True)
class Made:
    """A shard as a worker returns it. Times are facts of one run: they go to the log, never into the file.

    Attributes:
        data: the HDF5 file.
        counts: drops of each status, by name.
        draw_seconds: wall time of drops and statistics, s.
        label_seconds: wall time of the allocator, s.
        core_seconds: processor time of everything, s.
    """

    data: bytes
    counts: dict[str, int]
    draw_seconds: float
    label_seconds: float
    core_seconds: float


@dataclass(frozen=True)
class Labeller:
    """What workers run: a function of a task and nothing else, so that any worker at any time makes the same bytes.

    Attributes:
        allocator: who labels.
        recipe: of the whole data set.
        software: versions where the run began.
    """

    allocator: Allocator[Any]
    recipe: Recipe
    software: dict[str, object]

    def __call__(self, task: ShardTask) -> Made:
        """Make one shard, on one thread. Raises DatasetError on a worker whose software is not that of the recipe."""
        _check_software(self.software, software_versions(self.recipe.system.name))
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # sums in another order would change the last bits
        try:
            return self._make(task)
        finally:
            torch.set_num_threads(threads)

    def _make(self, task: ShardTask) -> Made:
        start, core_start = time.perf_counter(), time.process_time()
        drop = task.scenario.sample(task.num_drops, generator=torch.Generator().manual_seed(task.drop_seed))
        problem = self.recipe.system.power_problem(drop, task.scenario)
        drawn = time.perf_counter()
        labels = allocate(problem, self.allocator, throw=False)
        header = Header(self.recipe.fingerprint, self.recipe.shard_config(task), task.index, task.drop_seed, task.size)
        label = {name: getattr(labels, name) for name in LABELS}
        data = encode_shard(Shard(header, tensor_fields(drop), problem, label))
        counts = {status.name.lower(): int((labels.status == status).sum()) for status in Status}
        return Made(data, counts, drawn - start, labels.seconds, time.process_time() - core_start)


def _check_software(expected: dict[str, object], here: dict[str, object]) -> None:
    for name in sorted(expected.keys() | here.keys()):
        if expected.get(name) != here.get(name):
            raise DatasetError(
                f"{name} {here.get(name)} on a worker, {expected.get(name)} where the run began; install the same on both"
            )
