"""Configurations of the package are found from anywhere by a short name."""

from pathlib import Path

import pytest

from isac_torch.commands.configs import FOLDER, packaged_configs, with_configs
from isac_torch.errors import IsacError
from tests.paths import CONFIGS


def test_every_configuration_of_the_checkout_comes_with_the_package():
    assert FOLDER.is_symlink()
    assert packaged_configs() == sorted(str(path.relative_to(CONFIGS).with_suffix("")) for path in CONFIGS.rglob("*.yaml"))


@pytest.mark.parametrize("name", ["demo/generate", "demo/generate.yaml", "configs/demo/generate.yaml"])
@pytest.mark.parametrize("form", [["--config", "{}"], ["--config={}"]])
def test_a_name_finds_the_file_of_the_package(tmp_path, monkeypatch, name, form):
    monkeypatch.chdir(tmp_path)
    *_, word = with_configs([*(part.format(name) for part in form), "--seed", "1"])[:-2]
    assert Path(word.removeprefix("--config=")) == FOLDER / "demo" / "generate.yaml"


def test_a_file_of_the_user_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "configs" / "demo" / "generate.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("seed: 1\n")
    argv = ["--config", "configs/demo/generate.yaml", "--output", "demo/generate"]
    assert with_configs(argv) == argv


@pytest.mark.parametrize("name", ["demo/absent", "../pyproject", "/demo/generate"])
def test_other_short_names_are_refused_or_left_to_the_parser(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    if name.startswith("demo"):
        with pytest.raises(IsacError, match="demo/generate"):
            with_configs(["--config", name])
    else:
        assert with_configs(["--config", name]) == ["--config", name]
