"""What an error tells a user to do is done here, word for word where it is a command: the same thing then works."""

import json
import re
import shlex
import shutil
from unittest.mock import Mock

import pytest

from isac_torch.cli import main
from isac_torch.nn.checkpoint import load_network
from isac_torch.nn.tracking.network import AllocationNetwork
from isac_torch.weights import shipped_weights
from tests.paths import EXAMPLES, ROOT

WEIGHTS = ROOT / "isac_torch" / "weights"
SITES, DROP = str(EXAMPLES / "sites.csv"), str(EXAMPLES / "drop.json")


@pytest.fixture
def refused(capsys, tmp_path, monkeypatch):
    """A function that runs a command which must be refused, and gives the one line."""
    monkeypatch.chdir(tmp_path)

    def run(*argv: str) -> str:
        capsys.readouterr()
        assert main(list(argv)) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line.removeprefix("isac-torch: error: ")

    return run


def works(line: str) -> None:
    """Run the command that an error quotes."""
    (command,) = re.findall(r"`isac-torch ([^`]*)`", line)
    assert main(shlex.split(command)) == 0, command


def test_sites_for_a_drop_and_a_drop_for_sites(refused):
    works(refused("allocate", SITES))
    assert main(["allocate", "drop.json", "--output", "powers.csv"]) == 0
    works(refused("import-geometry", DROP))


def test_weights_of_another_network(refused):
    options = ["--num_drops", "2", "--seed", "910003", "--scenario.num_aps", "6", "--scenario.num_ues", "3"]
    options += ["--scenario.num_targets", "0", "--tensorboard", "false", "--output", "out"]
    evaluate = ["evaluate", "--allocators=[gnn]", *options, "--checkpoint"]
    line = refused(*evaluate, str(WEIGHTS / "one_shot.pt"))
    assert "`isac-torch export`" in line
    assert "an allocation network" in line  # what to give instead: the shipped weights are one
    assert load_network(shipped_weights(), AllocationNetwork)[0].shape
    assert "a one-shot network" in refused("export", "--checkpoint", str(shipped_weights()), "--output", "bundle")
    assert "the model.pt of a training" in refused("export", "--checkpoint", str(WEIGHTS / "one_shot"), "--output", "bundle")


def test_weights_for_a_bundle(refused, monkeypatch):
    line = refused("allocate", DROP, "--model", str(WEIGHTS / "one_shot.pt"))
    export = Mock(return_value={"parity": [{"onnx": 0.0}]})
    monkeypatch.setattr("isac_torch.nn.export.export_bundle", export)
    works(line)
    assert str(export.call_args.args[0]) == str(WEIGHTS / "one_shot.pt")
    assert main(["allocate", DROP, "--model", str(WEIGHTS / "one_shot"), "--output", "p.csv"]) == 0


def test_a_report_of_the_downlink_pilot_system(refused, tmp_path):
    run = ["downlink-pilots", "evaluate", "--allocators=[full]", "--num_drops", "2", "--seed", "910007"]
    assert main([*run, "--scenario.num_ues", "1", "--tensorboard", "false", "--output", "p"]) == 0
    line = refused("report", "p")
    assert "p: an evaluation of the downlink-pilot system, which report does not show" in line
    assert (tmp_path / "p" / "drops.csv").is_file()
    (tmp_path / "p" / "summary.json").write_text('{"frames": {}}')
    assert "frames of the downlink-pilot system, which report does not show" in refused("report", "p")


def test_pairs_without_a_path(refused, tmp_path):
    rows = "".join(f"tx,{x},0,10\n" for x in range(0, 500, 100))
    (tmp_path / "five.csv").write_text(f"kind,x,y,z\n{rows}ue,20,20,1.5\nue,380,20,1.5\n")
    (tmp_path / "gains.csv").write_text("-80,-95,0.5,-inf,-inf\n-inf,-inf,-inf,-95,-80\n")
    line = refused("import-geometry", "five.csv", "--gains_db", "gains.csv")
    assert line.endswith("-inf is no connection")
    (tmp_path / "gains.csv").write_text("-80,-95,-inf,-inf,-inf\n-inf,-inf,-inf,-95,-80\n")
    assert main(["import-geometry", "five.csv", "--gains_db", "gains.csv", "--output", "n.json"]) == 0
    assert main(["allocate", "n.json", "--output", "powers.json"]) == 0
    (answer,) = json.loads((tmp_path / "powers.json").read_text())["drops"]
    assert min(answer["sinr"]) > 0.0
    assert main(["import-geometry", "five.csv", "--gains_db", "gains.csv", "--serving_aps", "2", "--output", "n.json"]) == 0


def test_columns_called_as_the_error_says(refused, tmp_path):
    text = "kind,latitude,longitude,altitude\ntx,48.1,11.5,20\nrx,48.101,11.501,25\nue,48.1005,11.5005,1.5\n"
    (tmp_path / "s.csv").write_text(text)
    line = refused("import-geometry", "s.csv")
    old, new = re.findall(r"'(\w+)'", line)
    (tmp_path / "s.csv").write_text(text.replace(old, new))
    assert main(["import-geometry", "s.csv", "--output", "n.json"]) == 0


def test_an_output_that_is_taken(refused, tmp_path, monkeypatch):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.tex").write_text("x")
    monkeypatch.setattr("isac_torch.nn.export._write_graphs", lambda *_: None)
    assert "choose another output" in refused("export", "--checkpoint", str(WEIGHTS / "one_shot.pt"), "--output", "b")
    assert (tmp_path / "b" / "thesis.tex").read_text() == "x"


def test_a_damaged_bundle_is_replaced_by_a_whole_one(refused, tmp_path):
    shutil.copytree(WEIGHTS / "one_shot", tmp_path / "b")
    (tmp_path / "b" / "allocator.onnx").write_bytes(b"cut")
    line = refused("allocate", DROP, "--model", "b")
    assert "`isac-torch export`" in line
    shutil.copy(WEIGHTS / "one_shot" / "allocator.onnx", tmp_path / "b")  # what exporting it again would write
    assert main(["allocate", DROP, "--model", "b", "--output", "p.json"]) == 0
