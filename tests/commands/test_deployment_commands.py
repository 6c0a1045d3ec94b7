"""allocate, serve and import-geometry on the command line, in processes that cannot import torch."""

import json
import subprocess
import sys

import pytest

from isac_torch import cli
from tests.paths import ROOT

SITES = str(ROOT / "examples" / "sites.csv")
NO_TORCH = """
import sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ImportError("torch is not installed")
sys.meta_path.insert(0, NoTorch())
"""
WITHOUT_TORCH = NO_TORCH + "from isac_torch.cli import main; sys.exit(main(sys.argv[1:]))"


def run(*argv: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *argv], input=given, capture_output=True)


def error_line(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert cli.main(list(argv)) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    return said


def test_import_geometry_needs_no_torch(tmp_path):
    done = run("import-geometry", SITES, "--num_antennas", "8")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["num_antennas"] == 8
    assert b"6 transmit APs" in done.stderr


@pytest.mark.skipif(not (ROOT / "isac_torch" / "weights" / "one_shot").is_dir(), reason="no bundle in this checkout")
def test_allocate_needs_no_torch(tmp_path):
    drop = ROOT / "examples" / "drop.json"
    done = run("allocate", "-", given=drop.read_bytes())
    assert done.returncode == 0, done.stderr
    (answer,) = json.loads(done.stdout)["drops"]
    load = [sum(p for p, ap in zip(answer["power"], answer["ap"], strict=True) if ap == m) for m in range(3)]
    assert max(load) <= 2.0 * (1 + 1e-9)
    assert b"1 drop: " in done.stderr
    assert run("allocate", str(drop), "--output", str(tmp_path / "powers.csv")).returncode == 0
    assert len((tmp_path / "powers.csv").read_text().splitlines()) == 1 + len(answer["power"])
    (refined,) = json.loads(run("allocate", str(drop), "--refine").stdout)["drops"]
    assert refined["path"] in {"refined", "repaired"}
    assert min(refined["sinr"]) >= min(answer["sinr"]) * (1 - 1e-9)


def test_slips_are_one_line(capsys, tmp_path):
    assert "none.csv" in error_line(capsys, "import-geometry", str(tmp_path / "none.csv"))
    assert "carrier_frequency" in error_line(capsys, "import-geometry", SITES, "--carrier_frequency", "2")
    assert "none" in error_line(capsys, "allocate", str(ROOT / "examples" / "drop.json"), "--model", str(tmp_path / "none"))
    assert "none.json" in error_line(capsys, "allocate", str(tmp_path / "none.json"))
    assert ".txt" in error_line(capsys, "allocate", "x.json", "--model", "x", "--output", "x.txt")
    assert "window" in error_line(capsys, "serve", "x", "--window_ms", "-1")
    assert "port" in error_line(capsys, "serve", "x", "--port", "many")


def test_no_module_needs_torch():
    names = ["adapters", "answers", "batching", "files", "geometry"]
    names += ["importing", "metrics", "schema", "serving", "server"]
    code = NO_TORCH + "\n".join(f"import isac_torch.deployment.{name}" for name in names)
    subprocess.run([sys.executable, "-c", code], check=True)
