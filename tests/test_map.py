"""The map of CONTRIBUTING.md names every room, and the import contracts refuse what it forbids."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.paths import ROOT

PACKAGE = ROOT / "isac_torch"
MAP = (ROOT / "CONTRIBUTING.md").read_text().partition("| folder | holds | may import |")[2].partition("\n\n")[0]
TABLE = re.findall(r"^\| (`.*?) \| (.*?) \|(.*)\|$", MAP, flags=re.MULTILINE)
FORBIDDEN = (
    "torch", "isac_torch.nn.layers", "isac_torch.solvers.tracking.reference", "isac_torch.datasets.shards",
    "isac_torch.trainers.module", "isac_torch.allocators.registry", "isac_torch.evaluation.run",
)  # fmt: skip


def named() -> list[str]:
    """Files and folders of the first column: a bare name stands beside the one before it."""
    found = []
    for cell, _, _ in TABLE:
        for group in re.findall(r"`([^`]*)`", cell):
            words = group.split()
            base = words[0].rpartition("/")[0] if not words[0].endswith("/") else words[0].rstrip("/").rpartition("/")[0]
            found += [word if "/" in word.rstrip("/") or not base else f"{base}/{word}" for word in words]
    return [name.rstrip("/") for name in found]


def rooms() -> set[str]:
    """Folders and modules of the package, by their path in the checkout."""
    folders = [path for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))]
    modules = [path for path in PACKAGE.glob("*.py") if path.name != "__init__.py"]
    return {str(path.relative_to(ROOT)) for path in [*folders, *modules]}


def test_the_map_names_every_room_once():
    names = [name.replace("isac_torch.", "isac_torch/") for name in named()]
    inside = [name for name in names if name.startswith("isac_torch/")]
    assert len(names) == len(set(names))
    assert set(inside) == rooms()


def test_the_map_names_every_folder_of_the_checkout():
    run = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode:
        pytest.skip("not a checkout")
    folders = {line.partition("/")[0] for line in run.stdout.splitlines() if "/" in line}
    assert {name for name in folders if not name.startswith(".")} <= {name.partition("/")[0] for name in named()}


def test_what_the_map_says_of_the_runtime_is_what_the_contract_forbids():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (runtime,) = [contract for contract in contracts if contract["id"] == "runtime"]
    (row,) = [row for row in TABLE if row[0] == "`isac_torch/deployment/`"]
    forbidden = set(re.findall(r"`(\w+)`", row[2])) | {"torch"}
    assert forbidden <= {name.removeprefix("isac_torch.") for name in runtime["forbidden_modules"]}


def test_a_forbidden_import_is_refused(tmp_path):
    copy = tmp_path / "isac_torch"
    for path in PACKAGE.iterdir():  # through the links, without weights
        if path.is_dir() and path.name != "__pycache__":
            shutil.copytree(path, copy / path.name, ignore=shutil.ignore_patterns("__pycache__", "*.pt", "*.onnx", "*.pt2"))
    for path in PACKAGE.glob("*.py"):
        shutil.copy(path, copy / path.name)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    guard = copy / "deployment" / "guard.py"
    guard.write_text(guard.read_text() + "".join(f"\nimport {name}" for name in FORBIDDEN) + "\n")
    script = Path(sys.executable).with_name("lint-imports")
    command = [script, "--no-cache", "--contract", "runtime"]
    run = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(tmp_path)}, check=False
    )
    said = " ".join(run.stdout.split())
    assert run.returncode == 1, said
    for name in FORBIDDEN:
        assert f"isac_torch.deployment.guard -> {name}" in said, name
