"""The labelling run: same bytes however it is made, resumable after any end, no other data set touched."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from isac_torch.allocators.tracking.heuristics import Fractional
from isac_torch.datasets.generate import LOG, generate_dataset
from isac_torch.datasets.inspect import check_dataset, describe
from isac_torch.datasets.manifest import MANIFEST, read_manifest
from isac_torch.datasets.recipe import Recipe
from isac_torch.datasets.shards import read_shard
from isac_torch.errors import DatasetError, OutputError
from isac_torch.files import exclusive_log
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.scenario import TrackingScenario
from tests.paths import ROOT

SMALL = TrackingScenario.of_size("4x3x2")
OTHER = TrackingScenario.of_size("5x2x1")


def generate(folder: Path, **changes: object) -> Path:
    options = {"seed": 5, "shard_size": 4, "workers": 1, "allocator": Fractional(), "progress": False} | changes
    generate_dataset(options.pop("scenario", [SMALL, OTHER]), options.pop("num_drops", 10), folder, **options)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != LOG}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return generate(tmp_path_factory.mktemp("data") / "set")


@pytest.fixture
def copy(made, tmp_path) -> Path:
    folder = tmp_path / "copy"
    folder.mkdir()
    for name, data in content(made).items():
        (folder / name).write_bytes(data)
    return folder


def test_shards_hold_the_drops_of_their_seeds(made):
    manifest = read_manifest(made)
    assert [entry["num_drops"] for _, entry in sorted(manifest.shards.items())] == [4, 4, 2, 4, 4, 2]
    shard = read_shard(made / "shard-00001.h5")
    drop = SMALL.sample(4, generator=torch.Generator().manual_seed(6))
    assert torch.equal(shard.drop["ue_position"], drop.ue_position)
    assert isinstance(shard.problem, MaxMinSinrProblem)
    assert torch.equal(shard.problem.leakage, power_problem(drop, SMALL).leakage)
    assert json.loads(shard.header.config)["scenario"]["num_ues"] == 3


def test_second_run_changes_nothing(copy):
    before = content(copy)
    times = {path.name: path.stat().st_mtime_ns for path in copy.glob("*.h5")}
    generate(copy)
    assert content(copy) == before
    assert {path.name: path.stat().st_mtime_ns for path in copy.glob("*.h5")} == times


def test_missing_truncated_and_changed_shards_are_made_again(copy):
    before = content(copy)
    (copy / "shard-00000.h5").unlink()
    (copy / "shard-00001.h5").write_bytes(before["shard-00001.h5"][:1000])
    (copy / "shard-00002.h5").write_bytes(before["shard-00002.h5"] + b"\0")
    (copy / ".shard-00004.tmp4711.h5").write_bytes(b"left over by a kill")
    generate(copy)
    assert content(copy) == before


def test_lost_manifest_costs_work_but_no_bytes(copy):
    before = content(copy)
    (copy / MANIFEST).unlink()
    generate(copy)
    assert content(copy) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 6}, "seed 5 there, 6 here"),
        ({"shard_size": 5}, "shard_size"),
        ({"num_drops": 11}, "num_drops"),
        ({"scenario": [SMALL, TrackingScenario.of_size("5x2x1", ap_power=1.0)]}, "ap_power 2.0 there, 1.0 here"),
        ({"allocator": Fractional(0.0, 1.0)}, "allocator"),
    ],
)
def test_folder_of_another_recipe_is_refused_and_kept(copy, change, words):
    before = content(copy)
    with pytest.raises(DatasetError, match=words):
        generate(copy, **change)
    assert content(copy) == before


def test_foreign_shard_is_refused_and_kept(made, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    foreign = (made / "shard-00001.h5").read_bytes()
    (folder / "shard-00001.h5").write_bytes(foreign)
    with pytest.raises(DatasetError, match="another data set"):
        generate(folder, seed=77)
    assert (folder / "shard-00001.h5").read_bytes() == foreign


def test_two_runs_do_not_share_a_folder(copy):
    with exclusive_log(copy / LOG), pytest.raises(OutputError, match="another run"):
        generate(copy)


def test_output_that_cannot_be_written_is_refused_first(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written") as caught:
        generate(tmp_path / "file" / "set")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [{"num_drops": 0}, {"shard_size": 0}, {"seed": -1}, {"seed": 2**32 - 3}, {"workers": -1}])
def test_impossible_numbers_are_refused(tmp_path, change):
    with pytest.raises(DatasetError, match=f"{next(iter(change))}="):
        generate(tmp_path / "set", **change)


def test_scheduler_that_does_not_answer_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("isac_torch.datasets.workers.CONNECT_SECONDS", 1)
    with pytest.raises(DatasetError, match="does not answer") as caught:
        generate(tmp_path / "set", scheduler="tcp://127.0.0.1:9")
    assert "\n" not in str(caught.value)


def test_fingerprint_separates_recipes():
    recipe = Recipe((SMALL,), 10, 0, 4, "upc")
    others = [Recipe((SMALL,), 10, 1, 4, "upc"), Recipe((OTHER,), 10, 0, 4, "upc"), Recipe((SMALL,), 10, 0, 4, "ppc")]
    assert len({item.fingerprint for item in (recipe, *others, Recipe((SMALL,), 10, 0, 4, "upc"))}) == 4


def test_description_counts_what_is_there(made):
    text = describe(made)
    assert "20 drops in 6 of 6 shards, seeds 5..10" in text
    assert "4x3x2_tau3_sir-5" in text
    assert "label/power" in text
    assert "drop, link" in text
    assert "4 drops" not in text
    assert "4x3x2" in describe(made / "shard-00001.h5")


def test_verification_passes_what_generate_wrote(made):
    assert "20 drops in 6 shards whole" in check_dataset(made)


def rewrite(folder: Path, label: str, factor: float) -> None:
    """Change a label and the checksum with it, as a careful forger or a wrong solver would."""
    from dataclasses import replace

    from isac_torch.datasets.files import sha256
    from isac_torch.datasets.shards import encode_shard

    path = folder / "shard-00003.h5"
    shard = read_shard(path)
    data = encode_shard(replace(shard, label=shard.label | {label: shard.label[label] * factor}))
    path.write_bytes(data)
    manifest = read_manifest(folder)
    manifest.shards[path.name]["sha256"] = sha256(data)
    manifest.write(folder)


@pytest.mark.parametrize(("label", "factor", "words"), [("power", 1.01, "breaks a constraint"), ("value", 1.01, "do not give")])
def test_verification_judges_labels_anew(copy, label, factor, words):
    rewrite(copy, label, factor)
    with pytest.raises(DatasetError, match=words):
        check_dataset(copy)


def test_verification_names_what_is_missing_or_too_much(copy):
    data = (copy / "shard-00002.h5").read_bytes()
    (copy / "shard-00002.h5").unlink()
    with pytest.raises(DatasetError, match=r"shard-00002\.h5: no such shard"):
        check_dataset(copy)
    (copy / "shard-00002.h5").write_bytes(data)
    (copy / "stranger.h5").write_bytes(data)
    with pytest.raises(DatasetError, match="stranger"):
        check_dataset(copy)


def test_damaged_manifest_is_one_line(copy):
    (copy / MANIFEST).write_text("{")
    with pytest.raises(DatasetError, match="damaged"):
        check_dataset(copy)
    (copy / MANIFEST).unlink()
    with pytest.raises(DatasetError, match="no data set"):
        check_dataset(copy)
    with pytest.raises(DatasetError, match="no such folder"):
        check_dataset(copy / "nowhere")


@pytest.mark.parametrize(
    "change",
    [
        {"num_shards": 10**15},
        {"num_shards": -1},
        {"num_shards": True},
        {"num_shards": 2.5},
        {"shards": {"../x.h5": {}}},
        {"shards": []},
        {"recipe": None},
        {"format_version": "1"},
    ],
)
def test_manifests_of_others_are_refused_in_one_line_and_at_once(copy, change):
    (copy / MANIFEST).write_text(json.dumps(json.loads((copy / MANIFEST).read_text()) | change))
    with pytest.raises(DatasetError) as caught:
        check_dataset(copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change", [{"num_drops": 5}, {"num_drops": True}, {"status": {"optimal": -4}}, {"scenario": 2}, {"sha256": 1}]
)
def test_entries_of_a_manifest_fit_its_recipe(copy, change):
    content = json.loads((copy / MANIFEST).read_text())
    content["shards"]["shard-00001.h5"] |= change
    (copy / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(DatasetError, match="damaged"):
        read_manifest(copy)


def test_a_manifest_nested_too_deeply_is_one_line(copy):
    (copy / MANIFEST).write_text("[" * 100_000)
    with pytest.raises(DatasetError, match="damaged"):
        check_dataset(copy)


def killed(folder: Path, *options: str) -> dict[str, object]:
    """Result of the kill experiment, in a process that imports once and forks its runs."""
    command = [sys.executable, str(ROOT / "benchmarks/kill_resume.py"), "--output", str(folder), "--allocator", "upc", *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=None, check=False)
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout
    return json.loads(done.stdout.splitlines()[-1])


def test_runs_killed_at_random_moments_end_with_the_same_bytes(tmp_path):
    result = killed(tmp_path / "kills", "--size=4x3x2", "--drops=24", "--shard-size=4", "--workers=1", "--kills=3")
    assert result["killed_runs"] == 3
    assert result["different"] == []


def test_dask_workers_write_what_one_process_writes(made, tmp_path):
    folder = generate(tmp_path / "dask", workers=2)
    assert content(folder) == content(made)


@pytest.mark.slow
def test_killed_workers_cost_nothing(tmp_path):
    result = killed(tmp_path / "kills", "--size=8x6x2", "--drops=600", "--shard-size=20", "--workers=2", "--kills=4")
    assert result["killed_workers"] == 4
    assert result["different"] == []


def test_running_scheduler_is_used_and_left_running(made, tmp_path):
    from distributed import Client, LocalCluster

    local = {"processes": False, "protocol": "tcp", "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(n_workers=1, threads_per_worker=1, **local) as cluster:
        folder = generate(tmp_path / "cluster", scheduler=cluster.scheduler_address)
        with Client(cluster, set_as_default=False) as client:
            assert client.submit(int, 3).result() == 3
    assert content(folder) == content(made)


def test_the_text_of_a_recipe_does_not_depend_on_the_order_of_its_entries():
    """Else a data set begun by another version would count as one of another recipe."""
    recipe = Recipe((SMALL,), 10, 0, 4, "upc")
    for text in (recipe.to_json(), recipe.shard_config(recipe.tasks[0])):
        assert text == json.dumps(json.loads(text), sort_keys=True)
