"""Promises of the repository itself: links, imports, oracles, pinned versions, no traces of a machine."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from setuptools import find_packages

from tests.paths import ROOT

ORACLES = sorted((ROOT / "tests" / "oracles").glob("*.py"))


def imports(path: Path) -> set[str]:
    """Top-level names of all that a file imports."""
    tree = ast.parse(path.read_text())
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("path", ORACLES, ids=lambda path: path.stem)
def test_oracles_never_import_what_they_judge(path):
    assert not imports(path) & {"isac_torch", "torch"}


@pytest.mark.parametrize("name", ["datasets", "trainers"])
def test_linked_folders_are_packages_under_one_name_only(name):
    link = ROOT / "isac_torch" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..") / name
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {name}"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"import isac_torch.{name}" in run.stderr


def test_configurations_are_linked_too():
    assert (ROOT / "isac_torch" / "configs").readlink() == Path("..") / "configs"


def test_only_isac_torch_is_installed():
    packages = find_packages(str(ROOT), include=["isac_torch*"])
    assert {"isac_torch", "isac_torch.datasets", "isac_torch.trainers"} <= set(packages)
    assert {package.split(".")[0] for package in packages} == {"isac_torch"}


def test_physics_imports_fast_and_plain():
    # Importing must only define names, so that a deployment pays for what it uses.
    code = (
        "import sys, isac_torch.tracking.build, isac_torch.allocators.tracking.heuristics; "
        "heavy = {'cvxpy', 'lightning', 'matplotlib', 'h5py', 'distributed', 'moreau', 'jsonargparse'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_container_gets_all_that_its_build_needs():
    words = [line.split()[1:-1] for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("COPY ")]
    copied = {name for line in words for name in line if not name.startswith(("-", "/"))}
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == let_in
    assert {"isac_torch", "native", "configs", "datasets", "trainers", "setup.py", "pyproject.toml"} <= copied
    assert all((ROOT / name).exists() for name in copied)


def test_constraints_are_versions_only():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line) for line in lines)
    assert lines == sorted(lines)


def test_every_pinned_version_is_the_tested_one():
    from importlib.metadata import version

    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    for name in ("torch", "lightning", "cvxpy", "clarabel", "moreau", "h5py", "distributed", "jsonargparse", "ruff", "mypy"):
        assert version(name).split("+")[0] == pins[name]


def test_only_the_places_that_security_md_names_unpickle():
    calls = {"pickle.loads": {"isac_torch/deployment/decoding.py"}, "pickle.load(": set()}
    sources = [path for folder in ("isac_torch", "datasets", "trainers") for path in (ROOT / folder).rglob("*.py")]
    for call, allowed in calls.items():
        found = {str(path.relative_to(ROOT)) for path in sources if call in path.read_text()}
        assert found <= allowed, call
    for path in sources:
        for line in path.read_text().splitlines():
            if "torch.load(" in line or "np.load(" in line:
                assert "weights_only=True" in line or "allow_pickle=False" in line or "trusted" in line, (path, line)
    assert "weights_only=True" in (ROOT / "SECURITY.md").read_text()
