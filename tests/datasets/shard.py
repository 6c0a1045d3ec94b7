"""Shards to read and to damage, shared by the tests of data sets."""

from pathlib import Path

import pytest
import torch

from isac_torch.allocation import allocate
from isac_torch.allocators.tracking.heuristics import Fractional
from isac_torch.datasets.schema import LABELS
from isac_torch.datasets.shards import Header, Shard, read_shard
from isac_torch.errors import DatasetError
from isac_torch.tensors import tensor_fields
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.scenario import TrackingScenario


def make_shard(size: str = "6x4x2", num_drops: int = 5, **parameters: object) -> Shard:
    scenario = TrackingScenario.of_size(size, pilot_length=3, **parameters)
    drop = scenario.sample(num_drops, generator=torch.Generator().manual_seed(3))
    problem = power_problem(drop, scenario)
    labels = allocate(problem, Fractional())
    label = {name: getattr(labels, name) for name in LABELS}
    return Shard(Header("f" * 64, '{"seed": 3}', 7, 10, size), tensor_fields(drop), problem, label)


def refused(path: Path, *words: str) -> None:
    """Reading fails with one line that names the file and holds each word."""
    with pytest.raises(DatasetError) as caught:
        read_shard(path)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in (path.name, *words)), message
