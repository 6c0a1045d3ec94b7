"""The wheel is whole: outside any checkout, in a fresh environment, the commands of the README work."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from tests.paths import ROOT

UV = Path(sys.executable).with_name("uv")
LINKS = [word for folder in os.environ.get("PIP_FIND_LINKS", "").split() for word in ("--find-links", folder)]
CLEAN = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def call(*command: object, cwd: Path, **more: str) -> str:
    words = [str(word) for word in command]
    run = subprocess.run(words, cwd=cwd, env=CLEAN | more, capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"{command}: {run.stdout[-2000:]}\n{run.stderr[-2000:]}"
    return run.stdout


def blocks(heading: str, kind: str) -> str:
    """The first block of code of a kind below a heading of the README."""
    part = (ROOT / "README.md").read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = re.search(rf"```{kind}\n(.*?)```", part, flags=re.DOTALL)
    assert found, heading
    return found[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    constraints = ["--build-constraint", ROOT / "constraints.txt"]
    call(UV, "build", "--quiet", *LINKS, *constraints, "--python", sys.executable, "--out-dir", folder, ROOT, cwd=folder)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def test_the_wheel_has_weights_configurations_and_styles(built):
    names = set(zipfile.ZipFile(built[0]).namelist())
    wanted = [path for folder in ("configs", "isac_torch/weights") for path in (ROOT / folder).rglob("*") if path.is_file()]
    inside = {str(path.relative_to(ROOT)) for path in wanted if "__pycache__" not in path.parts}
    assert {name if name.startswith("isac_torch/") else f"isac_torch/{name}" for name in inside} <= names
    assert {"isac_torch/py.typed", "isac_torch/datasets/generate.py", "isac_torch/trainers/module.py"} <= names
    assert not [name for name in names if name.split("/")[0] not in ("isac_torch",) and ".dist-info/" not in name]


def test_the_sources_build_the_same_wheel(built, tmp_path):
    wheel, sdist = built
    constraints = ["--build-constraint", ROOT / "constraints.txt"]
    call(
        UV,
        "build",
        "--quiet",
        "--wheel",
        *LINKS,
        *constraints,
        "--python",
        sys.executable,
        "--out-dir",
        tmp_path,
        sdist,
        cwd=tmp_path,
    )
    (again,) = tmp_path.glob("*.whl")
    assert set(zipfile.ZipFile(again).namelist()) == set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.parametrize("core", ["0", "1"])
def test_wheels_of_both_kinds_allocate_in_an_empty_folder(tmp_path, core):
    if core == "1" and shutil.which("cc") is None:
        pytest.skip("no C compiler")
    build = [UV, "build", "--quiet", "--wheel", *LINKS, "--build-constraint", ROOT / "constraints.txt"]
    sources = tmp_path / "sources"  # a build leaves its files in the folder of the sources
    shutil.copytree(ROOT, sources, symlinks=True, ignore=shutil.ignore_patterns(".*", "*.so", "build", "runs", "*.egg-info"))
    call(*build, "--python", sys.executable, "--out-dir", tmp_path, sources, cwd=tmp_path, ISAC_TORCH_NATIVE=core)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert ("isac_torch/deployment/_native.so" in names) == (core == "1")
    assert wheel.name.endswith("-py3-none-any.whl") == (core == "0")
    call(UV, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    constraints = ["--constraint", ROOT / "constraints.txt"]
    call(UV, "pip", "install", "--quiet", "--python", python, *LINKS, *constraints, f"{wheel}[runtime]", cwd=tmp_path)
    code = "from isac_torch import DeployedAllocator, Snapshot; from isac_torch.deployment.schema import EXAMPLE; "
    code += "a = DeployedAllocator.load(); print(a(Snapshot.from_mapping(EXAMPLE)).path, a.computes_by)"
    path, kind = call(python, "-c", code, cwd=tmp_path).split()[:2]
    assert path == "network"
    assert kind == ("compiled" if core == "1" else "numpy")


def test_the_commands_of_the_readme_work_in_an_empty_folder(built, tmp_path):
    begin = time.perf_counter()
    call(UV, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    constraints = ["--constraint", ROOT / "constraints.txt"]
    call(UV, "pip", "install", "--quiet", "--python", python, *LINKS, *constraints, f"{built[0]}[train]", cwd=tmp_path)
    installed = time.perf_counter()
    empty = tmp_path / "empty"
    empty.mkdir()
    said = call(python, "-c", blocks("Start", "python"), cwd=empty)
    assert "OPTIMAL" in said
    first = time.perf_counter()
    for line in blocks("Install", "console").splitlines():
        if line.startswith("isac-torch "):
            call(python.with_name("isac-torch"), *line.split()[1:], cwd=empty)
    assert "upc" in json.loads((empty / "runs" / "table" / "summary.json").read_text())["allocators"]
    assert (empty / "runs" / "table" / "report.html").stat().st_size > 10_000
    print(f"installation {installed - begin:.0f} s, then first certified allocation {first - installed:.0f} s")
    assert first - begin < 600  # two minutes with a warm cache on an idle machine
