"""A small data set and a finished training, shared by all tests of the trainers."""

from pathlib import Path

import pytest
import torch

from isac_torch.allocators.tracking.heuristics import Fractional
from isac_torch.datasets.generate import generate_dataset
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.trainers.cli import train
from tests.trainers.tiny import options

SCENARIO = TrackingScenario.of_size("8x4x2")


@pytest.fixture(scope="session")
def problem():
    generator = torch.Generator().manual_seed(1_800_000_000)
    return power_problem(SCENARIO.sample(12, generator=generator), SCENARIO).cast(torch.float32)


@pytest.fixture(scope="session")
def drops(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("drops") / "set"
    generate_dataset([SCENARIO], num_drops=24, output=folder, seed=1_800_000_000, shard_size=8, workers=1, progress=False)
    return folder


@pytest.fixture(scope="session")
def infeasible(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("drops") / "infeasible"
    hopeless = TrackingScenario.of_size("4x3x2", sir_min_db=60.0)
    generate_dataset(hopeless, 6, folder, seed=5, shard_size=3, workers=1, allocator=Fractional(), progress=False)
    return folder


@pytest.fixture(scope="session")
def trained(drops, tmp_path_factory) -> Path:
    """Output folder of a training of four steps, two passes. Not to be changed."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(options(drops, folder, "--trainer.val_check_interval=2", "--trainer.check_val_every_n_epoch=null"))
    return folder
