"""Damaged, missing and foreign files given to the command line: one clear line and exit code 2 each."""

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from isac_torch import cli
from isac_torch.allocators.tracking.heuristics import Fractional
from isac_torch.datasets.generate import generate_dataset
from isac_torch.nn.checkpoint import save_network
from isac_torch.nn.tracking.network import AllocationNetwork
from isac_torch.tracking.scenario import TrackingScenario
from tests.paths import ROOT

SCENARIO = TrackingScenario(num_aps=4, num_ues=3, num_targets=2, serving_aps=2, sensing_aps=2)
EVALUATE = ["evaluate", "--allocators=[gnn]", "--num_drops=2", "--seed=1"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of two small shards; its labels are a heuristic's, so that no solver runs here."""
    folder = tmp_path_factory.mktemp("finished")
    generate_dataset(SCENARIO, 6, folder, seed=3, shard_size=3, workers=1, allocator=Fractional(0.0, 0.0), progress=False)
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(finished, tmp_path / "drops"))


def refusal(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> str:
    capsys.readouterr()
    assert cli.main([str(word) for word in argv]) == 2
    said = capsys.readouterr().err
    assert said.startswith("isac-torch: error: ")
    assert said.count("\n") == 1, said
    return said


def test_whole_data_set_is_told_and_verified(finished, capsys):
    assert cli.main(["dataset", "info", str(finished)]) == 0
    assert "6 drops in 2 of 2 shards" in capsys.readouterr().out
    assert cli.main(["dataset", "verify", str(finished)]) == 0
    assert "whole" in capsys.readouterr().out


def test_no_data_set(capsys, tmp_path):
    assert "no such folder" in refusal(capsys, "dataset", "info", tmp_path / "none")
    assert "no data set" in refusal(capsys, "dataset", "verify", tmp_path)


def test_missing_shard(folder, capsys):
    first = sorted(folder.glob("*.h5"))[0]
    first.unlink()
    assert first.name in refusal(capsys, "dataset", "verify", folder)


@pytest.mark.parametrize("keep", [0, 100, 0.5, -1])
def test_truncated_shard(folder, capsys, keep):
    last = sorted(folder.glob("*.h5"))[-1]
    data = last.read_bytes()
    last.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    assert last.name in refusal(capsys, "dataset", "verify", folder)
    assert last.name in refusal(capsys, "dataset", "verify", last)


def test_nan_in_a_users_shard(folder, capsys):
    shard = sorted(folder.glob("*.h5"))[0]
    with h5py.File(shard, "r+") as file:
        file["problem/signal"][0, 0, 0] = np.nan
    assert "signal" in refusal(capsys, "dataset", "verify", shard)
    assert shard.name in refusal(capsys, "dataset", "verify", folder)


def test_not_a_shard(capsys, tmp_path):
    text = tmp_path / "text.h5"
    text.write_text("not HDF5")
    assert "text.h5" in refusal(capsys, "dataset", "info", text)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.zeros(3)
    assert "other.h5" in refusal(capsys, "dataset", "info", tmp_path / "other.h5")


def test_generate_into_another_data_set(folder, capsys):
    options = ["--scenario.num_aps=4", "--num_drops=6", "--seed=99", "--workers=1"]
    assert "another" in refusal(capsys, "generate", *options, "--output", folder)


def poisoned(content: dict[str, Any]) -> None:
    next(iter(content["weights"].values())).view(-1)[0] = torch.nan


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda content: content.update(system="downlink_pilots"), "weights of a downlink-pilot network"),
        (lambda content: content.update(feature_version=0), "feature_version is 0"),
        (lambda content: content.update(format="something"), "not a network"),
        (lambda content: content["weights"].popitem(), "do not fit"),
        (poisoned, "not finite"),
    ],
)
def test_checkpoint_of_something_else(capsys, tmp_path, damage, says):
    path = tmp_path / "model.pt"
    save_network(path, AllocationNetwork(), {})
    content = torch.load(path, weights_only=True)
    damage(content)
    torch.save(content, path)
    assert says in refusal(capsys, *EVALUATE, "--output", tmp_path / "results", "--checkpoint", path)


def test_checkpoint_that_is_none(capsys, tmp_path):
    path = tmp_path / "model.pt"
    assert "no such" in refusal(capsys, *EVALUATE, "--output", tmp_path / "results", "--checkpoint", path)
    path.write_text("truncated")
    assert "model.pt" in refusal(capsys, *EVALUATE, "--output", tmp_path / "results", "--checkpoint", path)
    torch.save({"code": print}, path)  # a pickle that would run code is refused unread
    assert "model.pt" in refusal(capsys, *EVALUATE, "--output", tmp_path / "results", "--checkpoint", path)


def test_training_on_a_damaged_data_set(folder, capsys, tmp_path):
    shard = sorted(folder.glob("*.h5"))[0]
    shard.write_bytes(shard.read_bytes()[:-10])
    demo = ROOT / "configs" / "demo" / "train.yaml"
    capsys.readouterr()
    argv = ["train", "--config", str(demo), "--data.init_args.path", str(folder), "--output", str(tmp_path / "training")]
    assert cli.main(argv) == 2
    assert shard.name in capsys.readouterr().err.splitlines()[-1]
