"""Outputs: refused before any work where they cannot be written, and whole or untouched where the disk is full."""

import ast
import contextlib
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from isac_torch import cli
from isac_torch.allocators.tracking.heuristics import Fractional
from isac_torch.datasets.generate import LOG, generate_dataset
from isac_torch.deployment.answers import check_output, write_answers
from isac_torch.deployment.importing import import_geometry
from isac_torch.errors import OutputError
from isac_torch.files import remove_leftovers, writable_file, writable_folder, write_whole, written_whole
from isac_torch.nn.checkpoint import load_network, save_network
from isac_torch.nn.tracking.network import AllocationNetwork
from isac_torch.tracking.scenario import TrackingScenario
from tests.deployment.test_answers import ANSWERS
from tests.paths import EXAMPLES, ROOT

OLD = b"what was here before"


def test_outputs_that_cannot_be_written_are_refused(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for refused in (lambda: writable_folder(file / "below"), lambda: writable_file(file / "below" / "x.json")):
        with pytest.raises(OutputError, match="cannot be written") as caught:
            refused()
        assert "\n" not in str(caught.value)
    with pytest.raises(OutputError, match="is a folder"):
        writable_file(tmp_path)
    if os.geteuid() != 0:
        (tmp_path / "locked").mkdir(mode=0o500)
        with pytest.raises(OutputError, match="cannot be written"):
            writable_folder(tmp_path / "locked")
    assert [path.name for path in tmp_path.iterdir() if path.name != "locked"] == ["file"]


def test_folders_of_an_output_are_made(tmp_path):
    assert writable_folder(str(tmp_path / "a" / "b")).is_dir()
    assert not writable_file(tmp_path / "c" / "d.json").exists()
    assert (tmp_path / "c").is_dir()


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_interrupted_writing_keeps_the_old_file(tmp_path, error):
    path = tmp_path / "summary.json"
    path.write_bytes(OLD)

    def interrupted():
        with written_whole(path) as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert path.read_bytes() == OLD
    assert [p.name for p in tmp_path.iterdir()] == ["summary.json"]


def test_a_disk_that_fails_late_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x"
    write_whole(path, OLD)
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("input/output error")))
    with pytest.raises(OutputError, match=r"x: cannot be written \(input/output error\), the file is as it was before"):
        write_whole(path, b"new")
    assert path.read_bytes() == OLD


def test_links_permissions_and_pipes_are_kept(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    write_whole(target, OLD)
    target.chmod(0o640)
    link.symlink_to(target)
    write_whole(link, "α")
    assert link.is_symlink()
    assert target.read_text(encoding="utf-8") == "α"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        write_whole(writable_file(pipe), OLD)
        assert reader.communicate()[0] == OLD


def test_leftovers_of_a_killed_run_are_removed(tmp_path):
    with written_whole(tmp_path / "a.json") as partial:
        partial.write_text("{}")
        kept = tmp_path / partial.name.replace(str(os.getpid()), "7")  # as of another process, killed while it wrote
        kept.write_text("half")
    (tmp_path / "b.json").write_text("{}")
    assert kept.exists()
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b.json"]


def test_writing_a_file_removes_what_killed_writers_of_it_left(tmp_path):
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True
    ).stdout.strip()
    for name in (f".a.tmp{gone}.json", f".a.tmp{os.getppid()}.json", f".b.tmp{gone}.json", f".a.tmp{gone}.csv", "a.tmp.json"):
        (tmp_path / name).write_text("half")
    write_whole(tmp_path / "a.json", "{}")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"a.json", f".a.tmp{os.getppid()}.json", f".b.tmp{gone}.json", f".a.tmp{gone}.csv", "a.tmp.json"}


@contextmanager
def short_files(folder: Path) -> Iterator[None]:
    """No file may grow beyond 64 bytes: works everywhere, without rights."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """No block is free on the file system of `folder`, which is one of 256 KiB in memory."""
    block = folder / "block"
    with block.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        block.unlink()


@pytest.fixture(params=["short_files", "full_disk"])
def cramped(request, tmp_path) -> Iterator[tuple[Path, Callable[[Path], AbstractContextManager[None]]]]:
    """A folder, and a context in which nothing can be written to it."""
    if request.param == "short_files":
        yield tmp_path, short_files
        return
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "isac-torch-test", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here; the same writers ran with short_files")
    try:
        yield folder, full_disk
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _dataset(path: Path) -> None:
    scenario = TrackingScenario.of_size("4x3x2")
    generate_dataset(scenario, 2, path.parent, workers=1, shard_size=2, allocator=Fractional(), progress=False)


WRITERS: dict[str, Callable[[Path], object]] = {
    "text.txt": lambda path: write_whole(path, "x" * 5000),
    "powers.json": lambda path: write_answers(ANSWERS, path),
    "powers.npz": lambda path: write_answers(ANSWERS, path),
    "powers.h5": lambda path: write_answers(ANSWERS, path),
    "powers.csv": lambda path: write_answers(ANSWERS, path),
    "network.json": lambda path: import_geometry(EXAMPLES / "sites.csv", path),
    "model.pt": lambda path: save_network(path, AllocationNetwork(hidden=8, layers=1, refinements=1, steps=2), {}),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_the_old_file_and_says_so_in_one_line(cramped, name):
    folder, no_space = cramped
    path = folder / name
    path.write_bytes(OLD)
    with no_space(folder), pytest.raises(OutputError, match=r"cannot be written \(.*\), the file is as it was") as caught:
        WRITERS[name](path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == OLD
    assert [item.name for item in folder.iterdir()] == [name]
    WRITERS[name](path)
    assert path.read_bytes() != OLD


def test_a_data_set_goes_on_after_a_full_disk(cramped):
    folder, no_space = cramped
    with no_space(folder), pytest.raises((OutputError, OSError)):
        _dataset(folder / "manifest.json")
    assert {item.name for item in folder.iterdir()} <= {LOG}
    _dataset(folder / "manifest.json")
    assert {item.name for item in folder.iterdir()} == {LOG, "manifest.json", "shard-00000.h5"}


@pytest.mark.parametrize(("command", "given"), [("allocate", "drop.json"), ("import-geometry", "sites.csv")])
def test_a_command_on_a_full_disk_ends_in_one_line(cramped, command, given, capsys):
    folder, no_space = cramped
    path, argv = folder / "out.json", [command, str(EXAMPLES / given)]
    path.write_bytes(OLD)
    with no_space(folder):
        assert cli.main([*argv, "--output", str(path)]) == 2
    *_, said = capsys.readouterr().err.splitlines()  # import-geometry has said before what it found
    assert said.startswith("isac-torch: error: ")
    assert "the file is as it was before" in said
    assert path.read_bytes() == OLD
    assert cli.main([*argv, "--output", str(path)]) == 0
    assert path.read_bytes().startswith(b"{")


def test_format_of_powers_is_refused_before_any_work(tmp_path):
    check_output(tmp_path / "new" / "powers.json")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        check_output(tmp_path / "file" / "powers.json")


def test_written_networks_are_read_again(tmp_path):
    WRITERS["model.pt"](tmp_path / "model.pt")
    assert load_network(tmp_path / "model.pt", AllocationNetwork)[0].shape["hidden"] == 8


WRITING = {"write_text", "write_bytes", "savez", "savez_compressed", "savefig", "savetxt", "tofile"}
SAVERS = {"np", "numpy", "torch", "parser"}
"""Whose `save` writes a file."""
EXEMPT = {
    "files.py": "the helper itself",
    "datasets/files.py": "a log that is appended to",
    "nn/export.py": "writes into a temporary folder that is moved as a whole",
    "nn/graphs.py": "the same folder",
}


def direct_writes(path: Path) -> list[str]:
    """Calls of a source file that write a file by its name, outside `with written_whole(...)`."""
    found, tree = [], ast.parse(path.read_text(encoding="utf-8"))
    memory = {
        ast.unparse(target)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.value).endswith("BytesIO()")
        for target in node.targets
    }

    def visit(node: ast.AST, safe: bool) -> None:
        if isinstance(node, ast.With):
            calls = [item.context_expr for item in node.items if isinstance(item.context_expr, ast.Call)]
            safe = safe or any(isinstance(call.func, ast.Name) and call.func.id == "written_whole" for call in calls)
        if isinstance(node, ast.Call) and not safe and _writes(node, memory):
            found.append(f"line {node.lineno}: {ast.unparse(node)[:80]}")
        for child in ast.iter_child_nodes(node):
            visit(child, safe)

    visit(tree, False)
    return found


def _writes(call: ast.Call, memory: set[str]) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name == "save" and isinstance(call.func, ast.Attribute):
        owner = ast.unparse(call.func.value).split(".")[-1]
        return owner in SAVERS and ast.unparse(call.args[1]) not in memory
    into_memory = bool(call.args) and ast.unparse(call.args[0]) in memory
    if name == "open":
        modes = [item.value for item in [*call.args, *(k.value for k in call.keywords)] if isinstance(item, ast.Constant)]
        return any(isinstance(mode, str) and len(mode) <= 3 and set(mode) & set("wax+") for mode in modes)
    return name in WRITING and not into_memory


SOURCES = [
    path
    for folder in ("isac_torch", "datasets", "trainers")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if not path.is_relative_to(ROOT / "isac_torch" / "datasets") and not path.is_relative_to(ROOT / "isac_torch" / "trainers")
]


def test_every_writer_goes_through_the_helper():
    found = {
        str(path.relative_to(ROOT)): direct_writes(path)
        for path in SOURCES
        if str(path.relative_to(ROOT)).removeprefix("isac_torch/") not in EXEMPT
    }
    assert {name: writes for name, writes in found.items() if writes} == {}
