"""Exporting a network, and the installation that only deploys. Minutes long: tracing with open sizes, a fresh environment."""

import json
import subprocess
import venv
from dataclasses import asdict

import pytest
import torch

from isac_torch.datasets.generate import generate_dataset
from isac_torch.deployment.allocator import DeployedAllocator
from isac_torch.deployment.bundle import is_bundle
from isac_torch.deployment.card import ARCHIVE, CARD, ONNX
from isac_torch.errors import CheckpointError, OutputError
from isac_torch.nn.checkpoint import save_network
from isac_torch.nn.export import export_bundle
from isac_torch.nn.tracking.network import AllocationNetwork
from isac_torch.nn.tracking.one_shot import OneShotNetwork
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.trainers.cli import train
from isac_torch.weights import shipped_bundle, shipped_weights
from tests.paths import ROOT

DATA = {"scenarios": [asdict(TrackingScenario.of_size("5x3x2", ap_power=0.5))], "requirements": None, "seed": 1}
"""What a network says that it was trained on."""


def checkpoint(folder, network=None):
    torch.manual_seed(0)
    if network is None:
        network = OneShotNetwork(hidden=8, layers=1)
        with torch.no_grad():
            for parameter in network.head_parameters():
                parameter.normal_(0.0, 0.2)
    facts = {"steps": 0, "metrics": {"val/min_rate_ratio": 0.5}, "hyperparameters": {"data": DATA}}
    save_network(folder / "model.pt", network, facts)
    return folder / "model.pt"


def bundle(folder, format_name="isac-torch-bundle"):
    """A folder that looks like a bundle to whoever only reads the card."""
    folder.mkdir(parents=True)
    (folder / CARD).write_text(json.dumps({"format": format_name}))
    (folder / ONNX).write_bytes(b"graph")
    (folder / ARCHIVE).write_bytes(b"archive")
    return folder


FOREIGN = {
    "a file": lambda path: path.write_text("x"),
    "other files": lambda path: (path.mkdir(), (path / "chapter.tex").write_text("x")),
    "a foreign card": lambda path: bundle(path, "playing cards"),
    "a card that is none": lambda path: (bundle(path), (path / CARD).write_text("[")),
    "a bundle and a note": lambda path: (bundle(path), (path / "note.txt").write_text("x")),
    "a bundle and a folder": lambda path: (bundle(path), (path / "more").mkdir(), (path / "more" / "x").write_text("x")),
    "a folder called as a graph": lambda path: (bundle(path), (path / ONNX).unlink(), (path / ONNX).mkdir()),
}


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_folder_with_something_else_is_left_alone(tmp_path, name):
    path = checkpoint(tmp_path)
    FOREIGN[name](tmp_path / "thesis")
    before = contents(tmp_path)
    with pytest.raises(OutputError, match="something other than a bundle") as error:
        export_bundle(path, tmp_path / "thesis")
    assert "\n" not in str(error.value)
    assert contents(tmp_path) == before


@pytest.fixture
def quick(monkeypatch):
    """Exports without the minutes of tracing."""

    def graphs(_, folder):
        (folder / ONNX).write_bytes(b"new graph")
        (folder / ARCHIVE).write_bytes(b"new archive")

    monkeypatch.setattr("isac_torch.nn.export._write_graphs", graphs)
    monkeypatch.setattr("isac_torch.nn.export.check_parity", lambda *_: [])
    monkeypatch.setattr("isac_torch.nn.export.ranges", lambda *_: {})


@pytest.mark.parametrize("facts", [{}, {"hyperparameters": {}}, {"hyperparameters": {"data": {"scenarios": [{"moons": 3}]}}}])
def test_a_network_that_does_not_say_what_it_has_seen_is_refused(tmp_path, facts):
    save_network(tmp_path / "model.pt", OneShotNetwork(hidden=8, layers=1), facts)
    with pytest.raises(CheckpointError, match=r"trained on.*isac-torch train") as caught:
        export_bundle(tmp_path / "model.pt", tmp_path / "bundle")
    assert "\n" not in str(caught.value)


def test_the_card_has_the_ranges_of_the_training(tmp_path, monkeypatch):
    """A tiny network trained by the command on a scenario of its own, with a mixture of SIR0: its card tells of these."""
    drops, output = tmp_path / "drops", tmp_path / "run"
    scenario = TrackingScenario.of_size("6x3x2", pilot_length=2)
    generate_dataset([scenario], num_drops=4, output=drops, seed=1_810_000_000, shard_size=4, workers=1)
    settings = {
        "model": {"network": {"kind": "one_shot", "hidden": 4, "layers": 1}},
        "data": {
            "class_path": "isac_torch.datasets.module.PowerDataModule",
            "init_args": {
                "val_path": str(drops), "batch_size": 4, "fresh_batches": 2, "fresh_sir": {"low_db": -9.0, "high_db": -7.5},
                "fresh_scenarios": [{"num_aps": 7, "num_ues": 2, "num_targets": 3, "ap_power": 0.25}] * 2,
            },
        },
        "trainer": {"max_steps": 1, "accelerator": "cpu", "num_sanity_val_steps": 0, "enable_progress_bar": False},
        "output": str(output),
    }  # fmt: skip
    (tmp_path / "train.yaml").write_text(json.dumps(settings))
    train(["--config", str(tmp_path / "train.yaml")])
    monkeypatch.setattr(
        "isac_torch.nn.export._write_graphs", lambda _, folder: [(folder / n).write_bytes(b"") for n in (ONNX, ARCHIVE)]
    )
    monkeypatch.setattr("isac_torch.nn.export.check_parity", lambda *_: [])
    card = export_bundle(output / "model.pt", tmp_path / "bundle")
    found = {name: (item["least"], item["most"]) for name, item in card["ranges"].items()}
    assert found["sir_min"] == (-9.0, -7.5)
    assert found["ues"] == (2.0, 2.0)
    assert found["targets"] == (3.0, 3.0)
    assert found["transmit_aps"] == (5.0, 5.0)
    wanted = TrackingScenario.of_size("7x2x3", ap_power=0.25)
    assert card["training"]["hyperparameters"]["data"]["scenarios"] == [json.loads(json.dumps(asdict(wanted)))]


def test_an_older_bundle_is_replaced_as_a_whole(tmp_path, quick):
    path, target = checkpoint(tmp_path), bundle(tmp_path / "b")
    (tmp_path / "link").symlink_to(target)
    export_bundle(path, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert is_bundle(target)
    assert (target / ONNX).read_bytes() == b"new graph"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["b", "link", "model.pt"]


@pytest.mark.parametrize("moment", ["_write_graphs", "check_parity"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_what_goes_wrong_leaves_the_older_bundle(tmp_path, quick, monkeypatch, moment, error):
    path, target = checkpoint(tmp_path), bundle(tmp_path / "b")

    def fail(*_):
        raise error

    monkeypatch.setattr(f"isac_torch.nn.export.{moment}", fail)
    with pytest.raises((KeyboardInterrupt, OutputError)):
        export_bundle(path, target)
    assert (target / ONNX).read_bytes() == b"graph"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["b", "model.pt"]


def killed_process() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_what_a_killed_export_left_is_brought_back_or_removed(tmp_path, quick, monkeypatch):
    path, dead = checkpoint(tmp_path), killed_process()
    target = tmp_path / "b"
    bundle(tmp_path / f".b.old.tmp{dead}")  # killed between the two renames
    bundle(tmp_path / f".b.new.tmp{dead}")
    bundle(tmp_path / ".b.old.tmp1", "playing cards")  # neither ours nor of a process that has ended
    (tmp_path / f".b.new.tmp{dead}9" / "more").mkdir(parents=True)

    def fail(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("isac_torch.nn.export.check_parity", fail)
        with pytest.raises(KeyboardInterrupt):
            export_bundle(path, target)
    assert (target / ONNX).read_bytes() == b"graph", "the older bundle is back under its name"
    export_bundle(path, target)
    assert (target / ONNX).read_bytes() == b"new graph"
    assert sorted(item.name for item in tmp_path.iterdir()) == [f".b.new.tmp{dead}9", ".b.old.tmp1", "b", "model.pt"]


def test_another_kind_of_network_is_refused(tmp_path):
    path = checkpoint(tmp_path, AllocationNetwork(hidden=8, layers=1, refinements=0, steps=1))
    with pytest.raises(CheckpointError, match=r"weights of an allocation network.*give those of a one-shot network"):
        export_bundle(path, tmp_path / "bundle")


@pytest.mark.slow
def test_export_writes_a_bundle_that_answers(tmp_path):
    card = export_bundle(checkpoint(tmp_path), tmp_path / "bundle")  # parity at ten sizes is checked inside
    assert {path.name for path in (tmp_path / "bundle").iterdir()} == {CARD, ONNX, ARCHIVE}
    assert json.loads((tmp_path / "bundle" / CARD).read_text()) == json.loads(json.dumps(card))
    assert card["metrics"] == {"val/min_rate_ratio": 0.5}
    assert len(card["parity"]) == 10
    assert DeployedAllocator.load(tmp_path / "bundle").card["inputs"]["sent"] == "float32"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]  # no scratch folder is left


def test_the_shipped_card_tells_how_the_shipped_weights_were_trained():
    card = json.loads((shipped_bundle() / CARD).read_text())
    training = torch.load(shipped_weights("one_shot"), weights_only=True)["training"]
    assert {**card["training"], "metrics": card["metrics"]} == json.loads(json.dumps(training))
    data, ranges = training["hyperparameters"]["data"], card["ranges"]
    for name, count in (("ues", "num_ues"), ("targets", "num_targets")):
        counts = [scenario[count] for scenario in data["scenarios"]]
        assert (ranges[name]["least"], ranges[name]["most"]) == (min(counts), max(counts))
    requirements = data["requirements"]
    assert (ranges["sir_min"]["least"], ranges["sir_min"]["most"]) == (requirements["low_db"], requirements["high_db"])


@pytest.mark.slow
def test_the_light_installation_answers_without_torch(tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    constraints = ROOT / "constraints.txt"
    install = [python, "-m", "pip", "install", "--quiet", "--constraint", constraints, f"{ROOT}[runtime]"]
    subprocess.run(install, check=True)
    code = "import importlib.util as u, sys; sys.exit(u.find_spec('torch') is not None)"
    subprocess.run([python, "-c", code], check=True, cwd=tmp_path)
    bundle = ROOT / "isac_torch" / "weights" / "one_shot"
    command = [python.with_name("isac-torch"), "allocate", ROOT / "examples" / "drop.json", "--model", bundle]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["drops"][0]["path"] in {"network", "repaired", "best_effort"}
