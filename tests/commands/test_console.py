"""The console script as a process: Ctrl-C at any moment, pipes whose reader has gone, closed streams, paths with ~."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from isac_torch.cli import main
from tests.paths import EXAMPLES, ROOT

CONSOLE = [sys.executable, "-m", "isac_torch.console"]
SITES, DROP = str(EXAMPLES / "sites.csv"), str(EXAMPLES / "drop.json")
GENERATE = ["generate", "--scenario.num_aps", "8", "--scenario.num_ues", "6", "--num_drops", "20000", "--seed", "3"]


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | more


def processor_seconds(pid: int) -> float:
    """Processor time of a process so far; a lot where the system does not tell."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return 1e9
    user, system = stat.read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def interrupted(command: list[str], seconds: float, cwd) -> tuple[int, str, float]:
    """Exit code, what was said, and how long the command took to end after a Ctrl-C `seconds` after its start."""
    process = subprocess.Popen(
        [*CONSOLE, *command], cwd=cwd, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    time.sleep(seconds)
    while process.poll() is None and processor_seconds(process.pid) < 0.15:  # a busy machine has not started Python yet
        time.sleep(0.01)
    if process.poll() is not None:
        return process.returncode, "", 0.0
    begin = time.perf_counter()
    os.killpg(process.pid, signal.SIGINT)  # what a terminal does
    _, said = process.communicate(timeout=60)
    return process.returncode, said, time.perf_counter() - begin


def check_interrupt(command: list[str], seconds: float, cwd) -> None:
    code, said, took = interrupted(command, seconds, cwd)
    if not took or (code == 0 and "Traceback" not in said):  # it had ended, or was about to
        assert code == 0
        return
    lines = [line for line in said.replace("\r", "\n").splitlines() if line and "|" not in line and "0%" not in line]
    assert code == 130, said
    assert [line for line in lines if "interrupted" in line] == lines[-1:], said
    assert "Traceback" not in said
    assert took < 5.0 * (1.0 if os.getloadavg()[0] < 2 * (os.cpu_count() or 1) else 2.0)


@pytest.mark.parametrize("seconds", [0.4, 1.5])
def test_ctrl_c_ends_a_command_in_one_line(seconds, tmp_path):
    check_interrupt([*GENERATE, "--workers", "1", "--output", "out"], seconds, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("command", ["generate", "workers", "serve", "evaluate", "allocate"])
def test_ctrl_c_ends_every_command_at_any_moment(command, tmp_path):
    commands = {
        "generate": [*GENERATE, "--workers", "1", "--output", "out"],
        "workers": [*GENERATE, "--workers", "2", "--output", "out"],
        "serve": ["serve", str(ROOT / "isac_torch" / "weights" / "one_shot"), "--port", "0"],
        "evaluate": ["evaluate", "--allocators=[opc_batched, gnn]", "--num_drops", "2000", "--seed", "4", "--output", "out"],
        "allocate": ["allocate", DROP],
    }
    moments = random.Random(1)
    for turn in range(12):
        check_interrupt(commands[command], moments.uniform(0.3, 0.8) if turn < 4 else moments.uniform(0.8, 8.0), tmp_path)
        shutil.rmtree(tmp_path / "out", ignore_errors=True)


def test_what_ignores_ctrl_c_is_ended():
    code = (
        "import sys, time\nfrom isac_torch import console, cli\nconsole._PATIENCE = 0.3\n"
        "def stubborn(argv=None):\n    print('ready', flush=True)\n    while True:\n        try:\n            time.sleep(60)\n"
        "        except KeyboardInterrupt:\n            pass\n"
        "cli.main = stubborn\nsys.exit(console.run())\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (130, "isac-torch: interrupted\n")


def shell(line: str, cwd=None, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `isac` is the console script."""
    start = f'isac() {{ "{sys.executable}" -m isac_torch.console "$@"; }}\n'
    return subprocess.run(["bash", "-c", start + line], capture_output=True, text=True, cwd=cwd, env=environment(**more))


@pytest.mark.parametrize("command", ["--help", f"import-geometry {SITES} 2>/dev/null", f"allocate {DROP} 2>/dev/null"])
def test_a_reader_that_has_gone_is_no_error(command):
    done = shell(f"isac {command} | true; echo ${{PIPESTATUS[0]}}")
    assert done.stdout in ("141\n", "0\n")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ("allocate - <&-", 2, "standard input is closed"),
        (f"allocate {DROP} >&-", 2, "standard output is closed"),
        ("--help >&-", 2, "standard output is closed"),
        (f"allocate {DROP} 2>&- >/dev/null", 0, ""),
        (f"allocate {DROP} --output powers.csv <&- >&- 2>&-", 0, ""),
        ("allocate none.json 2>&-", 2, ""),
    ],
)
def test_closed_streams(command, code, says, tmp_path):
    done = shell(f"isac {command}", tmp_path)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert done.stderr.count("\n") <= 1
    if "powers.csv" in command:
        assert (tmp_path / "powers.csv").read_text().startswith("drop,ap,")


def test_the_home_folder_in_options_and_yaml(tmp_path, monkeypatch, capsys):
    (tmp_path / "g.yaml").write_text(
        "scenario: {num_aps: 4, num_ues: 2, num_targets: 0}\nnum_drops: 2\nseed: 5\nworkers: 1\noutput: ~/runs/x\n"
    )
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)
    assert main(["import-geometry", SITES, "--output=~/a.json"]) == 0
    assert main(["generate", "--config", "g.yaml"]) == 0
    assert (home / "a.json").is_file()
    assert (home / "runs" / "x" / "manifest.json").is_file()
    assert not (tmp_path / "~").exists()
    capsys.readouterr()
    assert main(["import-geometry", SITES, "--output=~nobody-of-this-name/a.json"]) == 2
    assert "names the home of nobody" in capsys.readouterr().err


@pytest.mark.parametrize("port", [-1, 65536, 70000])
def test_no_port_beyond_the_last(port, capsys):
    assert main(["serve", str(ROOT / "isac_torch" / "weights" / "one_shot"), "--port", str(port)]) == 2
    assert f"port={port} must lie in 0..65535" in capsys.readouterr().err


def test_a_checkout_without_links_is_not_built(tmp_path):
    for name in ("configs", "datasets", "trainers"):
        (tmp_path / "isac_torch").mkdir(exist_ok=True)
        (tmp_path / "isac_torch" / name).write_text(f"../{name}")  # what git and zipfile make of a link
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "setup.py", tmp_path)
    for name in ("configs", "datasets", "trainers"):
        done = subprocess.run([sys.executable, "setup.py", "--version"], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert f"isac_torch/{name} is not the link" in line
        subprocess.run(["bash", "-c", line.partition("run: ")[2]], cwd=tmp_path, check=True)  # the remedy
    done = subprocess.run([sys.executable, "setup.py", "--version"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
