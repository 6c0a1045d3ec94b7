"""The reference set in the repository: today's physics and engine must give what it holds."""

import json

import pytest
import torch

from isac_torch.allocation import Status, allocate
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.datasets.inspect import check_dataset
from isac_torch.datasets.shards import read_shard
from isac_torch.tensors import tensor_fields
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.drop import TrackingDrop
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.scenario import TrackingScenario
from tests.paths import DATA

FOLDER = DATA / "reference"
SHARDS = sorted(FOLDER.glob("*.h5"))


def scenario_of(shard) -> TrackingScenario:
    return TrackingScenario(**json.loads(shard.header.config)["scenario"])


def test_reference_set_is_small_and_whole():
    assert "72 drops in 6 shards" in check_dataset(FOLDER)
    assert sum(path.stat().st_size for path in SHARDS) < 2e6


@pytest.mark.parametrize("path", SHARDS, ids=lambda path: path.stem)
def test_physics_gives_the_stored_problems(path):
    shard = read_shard(path)
    scenario = scenario_of(shard)
    drawn = scenario.sample(shard.num_drops, generator=torch.Generator().manual_seed(shard.header.drop_seed))
    for name, stored in shard.drop.items():  # the set is older than rx_gain
        torch.testing.assert_close(getattr(drawn, name), stored, rtol=1e-9, atol=0.0, msg=name)
    # 1e-9: room for other processors' sines and sums, none for another formula; cross terms near zero need the scale.
    for name, value in tensor_fields(power_problem(TrackingDrop(**shard.drop), scenario)).items():
        stored = getattr(shard.problem, name)
        torch.testing.assert_close(value, stored, rtol=1e-9, atol=1e-9 * float(stored.double().abs().median()), msg=name)


def test_engine_gives_the_stored_optima():
    shard = read_shard(SHARDS[-1])
    assert isinstance(shard.problem, MaxMinSinrProblem)
    again = allocate(shard.problem, BatchedOptimal())
    assert torch.equal(again.status, shard.label["status"])
    solved = again.status == Status.OPTIMAL
    # Both are certified to 1e-3, so two optima differ by no more than that, and neither exceeds the other's bound.
    torch.testing.assert_close(again.value[solved], shard.label["value"][solved], rtol=1e-3, atol=0.0)
    assert bool((again.value[solved] <= shard.label["upper_bound"][solved] * (1 + 1e-6)).all())
