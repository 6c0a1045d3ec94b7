"""allocate, serve and import-geometry on the command line, in processes that cannot import torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from isac_torch import cli

ROOT = Path(__file__).parents[1]
SITES = str(ROOT / "examples" / "sites.csv")
WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; from isac_torch.cli import main; sys.exit(main(sys.argv[1:]))"


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


def test_slips_are_one_line(capsys, tmp_path):
    assert "none.csv" in error_line(capsys, "import-geometry", str(tmp_path / "none.csv"))
    assert "carrier_frequency" in error_line(capsys, "import-geometry", SITES, "--carrier_frequency", "2")
    assert "--model" in error_line(capsys, "allocate", str(ROOT / "examples" / "drop.json"))
    assert ".txt" in error_line(capsys, "allocate", "x.json", "--model", "x", "--output", "x.txt")
    assert "window" in error_line(capsys, "serve", "x", "--window_ms", "-1")
    assert "port" in error_line(capsys, "serve", "x", "--port", "many")


def test_no_module_needs_torch():
    names = ["adapters", "answers", "batching", "commands", "files", "geometry"]
    names += ["importing", "metrics", "schema", "serving", "server"]
    code = "import sys; sys.modules['torch'] = None\n" + "\n".join(f"import isac_torch.deployment.{name}" for name in names)
    subprocess.run([sys.executable, "-c", code], check=True)
