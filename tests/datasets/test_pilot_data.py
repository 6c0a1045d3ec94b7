"""Data sets and training of the downlink-pilot system: the same rooms and habits as those of the tracking system."""

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
import yaml

from isac_torch import cli
from isac_torch.allocation import allocate
from isac_torch.allocators.downlink_pilots.classical import FullPower
from isac_torch.allocators.downlink_pilots.learned import DownlinkPilotLearned
from isac_torch.datasets.fresh import CrbMix, FreshBatches
from isac_torch.datasets.generate import generate_dataset
from isac_torch.datasets.inspect import check_dataset, describe
from isac_torch.datasets.loader import ShardBatches, shard_files
from isac_torch.datasets.module import DownlinkPilotDataModule
from isac_torch.datasets.recipe import Recipe
from isac_torch.datasets.shards import encode_shard, read_shard
from isac_torch.downlink_pilots.build import power_problem
from isac_torch.downlink_pilots.drop import DownlinkPilotDrop
from isac_torch.downlink_pilots.fields import FIELDS as DOWNLINK_PILOT_FIELDS
from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
from isac_torch.errors import DatasetError
from isac_torch.nn.checkpoint import load_network
from isac_torch.nn.downlink_pilots.network import DownlinkPilotNetwork
from isac_torch.tracking.scenario import TrackingScenario
from tests.paths import ROOT

ROADS = [DownlinkPilotScenario(), DownlinkPilotScenario(num_ues=3, crb_max=0.4)]
OPTIONS = {"seed": 5, "shard_size": 4, "workers": 1, "progress": False}


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "set"
    generate_dataset(ROADS, 8, folder, **OPTIONS)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith(".jsonl")}


def test_shards_give_back_what_was_drawn_and_labelled(labelled):
    shard = read_shard(labelled / "shard-00002.h5")
    drop = ROADS[1].sample(4, generator=torch.Generator().manual_seed(7))
    problem = power_problem(drop, ROADS[1])
    assert torch.equal(shard.drop["ue_position"], drop.ue_position)
    assert isinstance(shard.problem, MinMaxNmseProblem)
    assert torch.equal(shard.problem.fisher_xy, problem.fisher_xy)
    assert shard.problem.merit == "worst"
    assert shard.header.size == "8x3"
    feasible = shard.label["status"] <= 1
    torch.testing.assert_close(problem.objective(shard.label["power"]), shard.label["value"], rtol=1e-12, atol=0)
    assert bool((shard.label["upper_bound"] >= shard.label["value"])[feasible].all())
    assert bool((shard.label["upper_bound"] * (1 - 1e-3) <= shard.label["value"] * (1 + 1e-9))[feasible].all())


def test_every_tensor_has_a_unit_and_axes():
    for group, kind in (("drop", DownlinkPilotDrop), ("problem", MinMaxNmseProblem)):
        names = {item.name for item in fields(kind)} - {
            "merit",
            "fading",
            "outage_percent",
            "receiver",
        }  # settings, in the header
        assert {f"{group}/{name}" for name in names} == {name for name in DOWNLINK_PILOT_FIELDS if name.startswith(f"{group}/")}


def test_merit_travels_with_the_shard(labelled, tmp_path):
    shard = read_shard(labelled / "shard-00000.h5")
    path = tmp_path / "x.h5"
    path.write_bytes(encode_shard(replace(shard, problem=replace(shard.problem, merit="sum"))))
    read = read_shard(path).problem
    assert isinstance(read, MinMaxNmseProblem)
    assert read.merit == "sum"


def test_killed_and_damaged_sets_are_finished_with_the_same_bytes(labelled, tmp_path):
    folder, before = tmp_path / "copy", content(labelled)
    folder.mkdir()
    for name, data in before.items():
        (folder / name).write_bytes(data)
    (folder / "shard-00000.h5").unlink()
    (folder / "shard-00003.h5").write_bytes(before["shard-00003.h5"][:2000])
    generate_dataset(ROADS, 8, folder, **OPTIONS)
    assert content(folder) == before


@pytest.mark.slow
def test_dask_workers_write_what_one_process_writes(labelled, tmp_path):
    folder = tmp_path / "dask"
    generate_dataset(ROADS, 8, folder, **(OPTIONS | {"workers": 2}))
    assert content(folder) == content(labelled)


def test_described_and_verified_by_the_same_commands(labelled, capsys):
    assert cli.main(["dataset", "info", str(labelled)]) == 0
    told = capsys.readouterr().out
    assert "8x2_dl10_ul10_crb1" in told
    assert "max NMSE dB" in told
    assert cli.main(["dataset", "verify", str(labelled)]) == 0
    assert "16 drops in 4 shards whole" in check_dataset(labelled)
    assert "8x3" in describe(labelled / "shard-00002.h5")


def test_systems_do_not_mix(labelled, tmp_path):
    with pytest.raises(DatasetError, match="mixes"):
        Recipe((DownlinkPilotScenario(), TrackingScenario()), 4, 0, 2, "x")
    with pytest.raises(DatasetError, match="another recipe"):
        generate_dataset(TrackingScenario.of_size("4x3x2"), 8, labelled, **(OPTIONS | {"allocator": FullPower()}))


def test_command_writes_a_data_set(tmp_path, capsys):
    options = ["--num_drops=2", "--workers=1", "--scenario.num_ues=1", f"--output={tmp_path / 'set'}"]
    assert cli.main(["downlink-pilots", "generate", *options]) == 0
    assert cli.main(["dataset", "verify", str(tmp_path / "set")]) == 0
    capsys.readouterr()
    assert cli.main(["downlink-pilots", "generate", "--scenario.num_antennas=4", *options]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_batches_follow_gamma_and_seed(labelled):
    for problem, label in ShardBatches(shard_files(labelled), 3, dtype=torch.float64):
        torch.testing.assert_close(problem.objective(label["power"]), label["value"], rtol=1e-12, atol=0.0)
    problem, label = next(iter(FreshBatches([ROADS[1]], 64, 1, seed=1, dtype=torch.float64, mix=CrbMix(0.5, 2.0))))
    assert isinstance(problem, MinMaxNmseProblem)
    factor = problem.crb_max / 0.4
    assert label == {}
    assert 0.5 <= float(factor.min()) < 0.7
    assert 1.8 < float(factor.max()) <= 2.0
    assert 0.35 < float((factor[:, 0] < 1.0).double().mean()) < 0.65  # as many below as above on a logarithmic axis
    assert torch.equal(factor[:, 0], factor[:, 1])


def test_large_roads_come_in_smaller_batches():
    large = DownlinkPilotScenario(num_aps=32, num_ues=10)
    assert [problem.num_drops for problem, _ in FreshBatches([ROADS[1], large], 40, 2, seed=1)] == [40, 20]


def test_data_module_draws_roads(labelled):
    module = DownlinkPilotDataModule(val_path=labelled, batch_size=3, fresh_batches=2, fresh_scenarios=ROADS, seed=9)
    sizes = [problem.num_ues for problem, _ in module.train_dataloader()]
    assert sizes == [2, 3]
    assert len(module.val_dataloader()) == 2


def train(labelled: Path, output: Path, steps: int, *options: str) -> int:
    """The command on the shipped network's configuration, cut down to seconds."""
    config = yaml.safe_load((ROOT / "configs/downlink_pilots/train.yaml").read_text())
    config["model"] |= {"hidden": 16, "layers": 1, "refinements": 1, "steps": 2}
    config["data"]["init_args"] |= {"val_path": str(labelled), "batch_size": 6, "fresh_batches": steps}
    config["data"]["init_args"]["fresh_scenarios"] = [{"num_ues": 3}]
    config["trainer"] |= {"max_steps": steps, "val_check_interval": 4, "accelerator": "cpu", "enable_progress_bar": False}
    path = output.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(config | {"output": str(output)}))
    return cli.main(["downlink-pilots", "train", "--config", str(path), *options])


def test_training_improves_and_resumes(labelled, tmp_path, capsys):
    output = tmp_path / "training"
    assert train(labelled, output, 12) == 0
    assert "val/nmse_ratio" in capsys.readouterr().out
    network, facts = load_network(output / "model.pt", DownlinkPilotNetwork)
    assert facts["steps"] == 12
    assert {"val/nmse_ratio", "val/crb_violation_rate"} <= set(facts["metrics"])
    assert list(output.glob("logs/events*"))
    scenario = DownlinkPilotScenario(num_ues=3)
    problem = power_problem(scenario.sample(12, generator=torch.Generator().manual_seed(4)), scenario)
    torch.manual_seed(1)
    untrained = DownlinkPilotNetwork(hidden=16, layers=1, refinements=1, steps=2)
    trained, start = (allocate(problem, DownlinkPilotLearned(one, repair=False)).value.log() for one in (network, untrained))
    assert (trained - start).mean() > 0
    assert train(labelled, output, 16, "--ckpt_path", "last") == 0
    assert load_network(output / "model.pt", DownlinkPilotNetwork)[1]["steps"] == 16


def test_training_refuses_in_one_line(labelled, tmp_path, capsys):
    assert train(tmp_path / "nowhere", tmp_path / "training", 4) == 2
    said = capsys.readouterr().err
    assert "no such folder" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "config", sorted((ROOT / "configs/downlink_pilots").glob("generate_*.yaml")), ids=lambda path: path.stem
)
def test_every_recipe_can_be_started(config, tmp_path):
    """Two drops of each setting; what the file says is otherwise used as it stands."""
    options = ["--num_drops=1", "--workers=1", f"--output={tmp_path}"]
    assert cli.main(["downlink-pilots", "generate", "--config", str(config), *options]) == 0
    settings = yaml.safe_load(config.read_text())["variants"]
    assert json.loads((tmp_path / "manifest.json").read_text())["num_shards"] == len(settings)
