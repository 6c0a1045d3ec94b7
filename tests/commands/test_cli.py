"""The console script: light, and one clear line with exit code 2 for every kind of bad input."""

import importlib
import os
import subprocess
import sys
import tomllib
from inspect import signature
from pathlib import Path
from unittest.mock import Mock

import pytest

from isac_torch import cli
from isac_torch.commands import tracking as commands
from isac_torch.commands.table import COMMANDS, GROUPS, Command, help_text
from isac_torch.tracking.scenario import TrackingScenario
from tests.paths import ROOT

GENERATE = ["generate", "--num_drops", "2", "--output", "unused"]


def error_line(capsys: pytest.CaptureFixture[str], argv: list[str]) -> str:
    """The one line that `argv` ends in; fails unless the exit code is 2 and nothing else is said."""
    assert cli.main(argv) == 2
    said = capsys.readouterr().err
    assert said.startswith("isac-torch: error: ")
    assert said.endswith("\n")
    assert said.count("\n") == 1, said
    return said


def write(folder: Path, text: str) -> str:
    path = folder / "config.yaml"
    path.write_text(text)
    return str(path)


def test_help_lists_every_command_and_loads_nothing_heavy():
    code = (
        "import sys; from isac_torch.cli import main; assert main(['--help']) == 0; "
        "heavy = {'torch', 'lightning', 'numpy', 'jsonargparse', 'cvxpy', 'matplotlib'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(f"\n  {command}" in run.stdout for command in COMMANDS)


def test_bad_option_is_refused_before_torch_is_loaded():
    code = (
        "import sys; from isac_torch.cli import main; "
        "assert main(['generate', '--num_drops', '2', '--output', 'x', '--scenario.num_ues', '0']) == 2; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("command", [name for name, command in COMMANDS.items() if not command.parses])
def test_every_command_has_help_with_an_example(capsys, command):
    with pytest.raises(SystemExit, match="0"):
        cli.main([*command.split(), "--help"])
    assert f"examples:\n  isac-torch {command} " in capsys.readouterr().out


@pytest.mark.parametrize("command", list(COMMANDS.values()), ids=lambda command: command.name)
def test_the_table_says_what_each_function_takes(command):
    function = command.load()
    assert function.__doc__
    given = {name: item for name, item in signature(function).parameters.items() if item.kind is not item.VAR_KEYWORD}
    required = [name for name, item in given.items() if item.default is item.empty]
    if command.parses:
        assert required == ["argv"]
    elif command.words:
        assert list(command.words) == required
    assert command.examples
    assert len(command.summary) < 90
    assert set(filter(None, command.extra.split(","))) <= extras()


def extras() -> set[str]:
    return set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


def test_files_that_the_examples_name_exist():
    named = {word for line in help_text().splitlines() for word in line.split() if word.startswith(("configs/", "examples/"))}
    assert named
    assert all((ROOT / word).is_file() for word in named)


def test_a_missing_package_is_named_with_the_extra_that_brings_it(capsys, monkeypatch):
    def missing(command: Command, argv: list[str]) -> None:
        raise ModuleNotFoundError("no", name="onnxruntime.capi")

    monkeypatch.setattr(cli, "_call", missing)
    assert "needs onnxruntime; pip install 'isac-torch[runtime,serve]'" in error_line(capsys, ["serve", "x"])
    assert "needs onnxruntime; pip install onnxruntime" in error_line(capsys, ["import-geometry", "x"])


def test_a_group_lists_its_own_commands(capsys):
    assert GROUPS == ("dataset", "roles", "distributed", "leaderboard", "reproduce", "downlink-pilots")
    said = error_line(capsys, ["dataset", "eat"])
    assert "choose from dataset info, dataset verify;" in said


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("isac-torch ")


@pytest.mark.parametrize("command", [["frobnicate"], ["dataset"], ["dataset", "eat"], ["reproduce"], ["gen"]])
def test_unknown_command(capsys, command):
    assert "choose from" in error_line(capsys, command)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--num_drop", "3"], "--num_drop"),  # no abbreviations: they would change meaning with the next option
        (["--scenario.num_uess", "3"], "num_uess"),
        (["--num_drops", "many"], "num_drops"),
        (["--seed", "1.5"], "seed"),
        (["--scenario.num_ues", "0"], "num_ues=0"),
        (["--scenario.num_ues", "-1"], "num_ues=-1"),
        (["--scenario.pilot_length", "60"], "pilot_length=60"),
        (["--scenario.ap_power", "0"], "ap_power"),
        (["--scenario.ap_power", "nan"], "ap_power"),
        (["--scenario.pilot_assignment", "magic"], "pilot_assignment"),
        (["--config", "no/such/file.yaml"], "no/such/file.yaml"),
    ],
)
def test_bad_option(capsys, options, says):
    assert says in error_line(capsys, GENERATE + options)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("scenario: {num_uess: 3}", "num_uess"),
        ("scenari: {num_ues: 3}", "scenari"),
        ("scenario: {num_ues: three}", "num_ues"),
        ("scenario: {num_ues: 0}", "num_ues=0"),
        ("scenario: {ap_power: .nan}", "ap_power"),
        ("scenario: {ap_power: .inf}", "ap_power"),
        ("scenario: {coherence_length: 16}", "coherence_length=16"),
        ("variants: [{num_uess: 3}]", "num_uess"),
        ("variants: [{num_ues: three}]", "num_ues"),
        ("variants: [{num_ues: 8}, {num_ues: 0}]", "num_ues=0"),
        ("variants: 8x8x2", "variants"),
        ("scenario: [3", "config"),
        ("", "config"),
        ("just words", "config"),
    ],
)
def test_bad_config(capsys, tmp_path, text, says):
    assert says in error_line(capsys, [*GENERATE, "--config", write(tmp_path, text)])


def test_missing_argument(capsys):
    assert "output" in error_line(capsys, ["generate", "--num_drops", "2"])


def test_command_line_wins_over_the_file(tmp_path, monkeypatch):
    seen: dict[str, object] = {}

    def spy(seed: int, output: Path) -> None:
        seen.update(seed=seed, output=output)

    assert COMMANDS["generate"].load() is commands.generate
    monkeypatch.setattr(commands, "generate", spy)
    config = write(tmp_path, "seed: 5\noutput: there")
    assert cli.main(["generate", "--config", config, "--seed", "3"]) == 0
    assert seen["seed"] == 3
    assert seen["output"] == Path("there")


def test_interrupt_is_130_and_traceback_on_request(capsys, monkeypatch):
    def interrupted(argv: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_dispatch", interrupted)
    for _ in range(2):  # in one process, each run says its line
        assert cli.main(["train"]) == 130
        assert capsys.readouterr().err == "isac-torch: interrupted\n"
    monkeypatch.undo()
    monkeypatch.setenv("ISAC_TORCH_TRACEBACK", "1")
    with pytest.raises(ValueError, match="frobnicate"):
        cli.main(["frobnicate"])


def test_console_script_is_installed():
    script = Path(sys.executable).with_name("isac-torch")
    run = subprocess.run([script, "frobnicate"], capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
    assert run.returncode == 2
    assert "Traceback" not in run.stderr


CONFIGS = ROOT / "configs"


@pytest.mark.parametrize("path", [CONFIGS / "demo" / "generate.yaml", *CONFIGS.glob("generate/*.yaml")], ids=str)
def test_every_generate_config_is_understood(path, monkeypatch, tmp_path):
    from isac_torch.datasets import generate as module

    calls = []
    monkeypatch.setattr(module, "generate_dataset", lambda scenarios, num_drops, *_, **__: calls.append((scenarios, num_drops)))
    assert cli.main(["generate", "--config", str(path), "--output", str(tmp_path)]) == 0
    assert calls[0][0]
    assert calls[0][1] > 0


@pytest.mark.parametrize("path", [*CONFIGS.glob("demo*/evaluate.yaml"), *CONFIGS.glob("evaluate/*.yaml")], ids=str)
def test_every_evaluation_config_is_understood(path, monkeypatch, tmp_path):
    run = Mock(return_value={})
    monkeypatch.setattr("isac_torch.evaluation.suite.run", run)
    assert cli.main(["evaluate", "--config", str(path), "--output", str(tmp_path)]) == 0
    assert run.call_args.args[2].allocators


@pytest.mark.parametrize("path", CONFIGS.glob("pareto/*.yaml"), ids=str)
def test_every_pareto_config_is_understood(path, monkeypatch, tmp_path):
    traced = "pareto_factors.pareto_factors" if path.stem == "dominate" else "pareto.pareto"
    calls = []
    monkeypatch.setattr(f"isac_torch.evaluation.tracking.{traced}", lambda scenario, **rest: calls.append(rest))
    assert cli.main(["pareto", "--config", str(path), "--output", str(tmp_path)]) == 0
    assert calls[0]["allocators"]


def test_variants_change_the_scenario(monkeypatch):
    from isac_torch.datasets import generate as module

    calls: list[list[TrackingScenario]] = []
    monkeypatch.setattr(module, "generate_dataset", lambda scenarios, *rest, **named: calls.append(scenarios))
    options = ["--scenario.num_targets", "2", "--variants", "[{num_ues: 8}, {num_aps: 32}]"]
    assert cli.main(GENERATE + options) == 0
    assert [(s.num_aps, s.num_ues, s.num_targets) for s in calls[0]] == [(16, 8, 2), (32, 16, 2)]


@pytest.mark.parametrize(("paper", "names"), [("liao", ["2", "4a", "4b", "5"]), ("liesegang", ["2", "3", "8", "9"])])
def test_reproduce_takes_figures_by_name(paper, names, monkeypatch, capsys, tmp_path):
    module = importlib.import_module(f"isac_torch.evaluation.studies.{paper}")
    assert "figure='99'" in error_line(capsys, ["reproduce", paper, "--figure", "99", "--output", str(tmp_path / "x")])
    calls: list[object] = []
    monkeypatch.setattr(module, "reproduce", lambda output, **rest: calls.append((rest["figure"], rest["quick"])))
    flags: list[tuple[list[str], bool]] = [
        ([], False),
        (["--quick"], True),
        (["--quick", "true"], True),
        (["--quick=false"], False),
    ]
    for name, (flag, _) in zip(names, flags, strict=True):
        assert cli.main(["reproduce", paper, *flag, "--figure", name, "--output", str(tmp_path)]) == 0
    assert calls == [(name, quick) for name, (_, quick) in zip(names, flags, strict=True)]


def test_output_that_cannot_be_written(capsys, tmp_path):
    file = tmp_path / "file"
    file.touch()
    assert "file" in error_line(capsys, ["generate", "--num_drops", "2", "--output", str(file / "below")])
    evaluate = ["evaluate", "--allocators=[upc]", "--num_drops=2", "--seed=1", "--output", str(file / "below")]
    assert "file" in error_line(capsys, evaluate)


def test_allocator_that_does_not_exist(capsys, tmp_path):
    options = ["evaluate", "--num_drops=2", "--seed=1", "--output", str(tmp_path / "new")]
    assert "magic" in error_line(capsys, [*options, "--allocators=[magic]"])
    missing = str(tmp_path / "none.pt")
    assert "none.pt" in error_line(capsys, [*options, "--allocators=[gnn]", "--checkpoint", missing])


def test_train_refuses_in_one_line(capsys, tmp_path):
    assert "frobnicate" in error_line(capsys, ["train", "--frobnicate", "3"])
    assert "nothing.yaml" in error_line(capsys, ["train", "--config", str(tmp_path / "nothing.yaml")])
    options = ["train", "--config", str(CONFIGS / "demo" / "train.yaml"), "--output", str(tmp_path / "training")]
    assert "hiden" in error_line(capsys, [*options, "--model.network.hiden", "3"])
    assert "model.network.hidden" in error_line(capsys, [*options, "--model.network.hidden", "three"])
    capsys.readouterr()
    for bad, says in (("--trainer.max_epochs=-5", "max_epochs"), ("--data.init_args.path=nowhere", "nowhere")):
        assert cli.main([*options, bad]) == 2
        assert says in capsys.readouterr().err.splitlines()[-1]  # Lightning has spoken before
