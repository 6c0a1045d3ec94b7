"""Exporting a network, and the installation that only deploys. Minutes long: tracing with open sizes, a fresh environment."""

import json
import subprocess
import venv

import pytest
import torch

from isac_torch.deployment.allocator import Allocator
from isac_torch.deployment.card import ARCHIVE, CARD, ONNX
from isac_torch.errors import BundleError, CheckpointError
from isac_torch.nn.checkpoint import save_network
from isac_torch.nn.export import export_bundle
from isac_torch.nn.tracking.network import AllocationNetwork
from isac_torch.nn.tracking.one_shot import OneShotNetwork
from tests.paths import ROOT


def checkpoint(folder, network=None):
    torch.manual_seed(0)
    if network is None:
        network = OneShotNetwork(hidden=8, layers=1)
        with torch.no_grad():
            for parameter in network.head_parameters():
                parameter.normal_(0.0, 0.2)
    save_network(folder / "model.pt", network, {"steps": 0, "metrics": {"val/min_rate_ratio": 0.5}})
    return folder / "model.pt"


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("x")
    with pytest.raises(BundleError, match="something other than a bundle"):
        export_bundle(checkpoint(tmp_path), tmp_path / "thesis")


def test_another_kind_of_network_is_refused(tmp_path):
    path = checkpoint(tmp_path, AllocationNetwork(hidden=8, layers=1, refinements=0, steps=1))
    with pytest.raises(CheckpointError, match="tracking-one-shot"):
        export_bundle(path, tmp_path / "bundle")


@pytest.mark.slow
def test_export_writes_a_bundle_that_answers(tmp_path):
    card = export_bundle(checkpoint(tmp_path), tmp_path / "bundle")  # parity at ten sizes is checked inside
    assert {path.name for path in (tmp_path / "bundle").iterdir()} == {CARD, ONNX, ARCHIVE}
    assert json.loads((tmp_path / "bundle" / CARD).read_text()) == json.loads(json.dumps(card))
    assert card["metrics"] == {"val/min_rate_ratio": 0.5}
    assert len(card["parity"]) == 10
    assert Allocator.load(tmp_path / "bundle").card["inputs"]["sent"] == "float32"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]  # no scratch folder is left


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
