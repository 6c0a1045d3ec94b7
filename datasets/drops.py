"""A labelled data set as a plain `torch.utils.data.Dataset`: one drop an item, for training loops without Lightning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from isac_torch.datasets.loader import Batch, ShardBatches, shard_files
from isac_torch.errors import DatasetError
from isac_torch.tensors import cat_tensors


class DropDataset(Dataset[Batch]):
    """Drops of one scenario of a data set, held in memory. An item is (problem, labels) of one drop, [1, ...].

    `DataLoader(dataset, batch_size=64, shuffle=True, collate_fn=dataset.collate)` gives batches of many drops. The loader of
    `isac_torch train`, `ShardBatches`, also takes data sets that do not fit in memory or hold several scenarios.
    """

    def __init__(
        self, path: Path | str, *, scenario: int = 0, dtype: torch.dtype = torch.float32, feasible_only: bool = True
    ) -> None:
        """Read the shards.

        Args:
            path: folder of the data set.
            scenario: index of the scenario, in the order of the variants that the data set was generated with.
            dtype: of the tensors.
            feasible_only: leave out drops whose label breaks a constraint.

        Raises:
            DatasetError: the data set is unfinished or damaged, or has no such scenario.
        """
        files = [file for file in shard_files(Path(path)) if file.scenario == scenario]
        if not files:
            raise DatasetError(f"{path}: scenario={scenario} is not in the data set; count its variants from 0")
        count = sum(file.num_drops for file in files)
        whole = ShardBatches(files, count, dtype=dtype, shuffle=False, feasible_only=feasible_only, pool_drops=count)
        if not len(whole):
            raise DatasetError(f"{path}: none of its drops meets its constraints; set feasible_only=False")
        self.problem, self.label = next(iter(whole))

    def __len__(self) -> int:
        return int(self.problem.num_drops)

    def __getitem__(self, index: int) -> Batch:
        one = torch.tensor([range(len(self))[index]])
        return self.problem.select(one), {name: value[one] for name, value in self.label.items()}

    @staticmethod
    def collate(items: Sequence[Batch]) -> Batch:
        """One batch from several."""
        problems, labels = zip(*items, strict=True)
        merged: dict[str, Tensor] = {name: torch.cat([label[name] for label in labels]) for name in labels[0]}
        return cat_tensors(list(problems)), merged
