"""Configurations that come with the package: `--config demo/generate` finds one where there is no file of that name."""

from __future__ import annotations

from pathlib import Path

from isac_torch.errors import IsacError

FOLDER = Path(__file__).parents[1] / "configs"
_OPTION = "--config"


def packaged_configs() -> list[str]:
    """Names of the configurations that come with the package, such as demo/generate."""
    return sorted(str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.rglob("*.yaml"))


def with_configs(argv: list[str]) -> list[str]:
    """`argv` where the value of every --config is the path of a file.

    A file of the user comes first. Otherwise demo/generate, demo/generate.yaml and configs/demo/generate.yaml all mean the same
    file of the package.

    Raises:
        IsacError: a short name, without ending, is neither.
    """
    return [_found(word, before == _OPTION) for before, word in zip(["", *argv], argv, strict=False)]


def _found(word: str, is_value: bool) -> str:
    option, sign, value = word.partition("=")
    if is_value:
        return _config(word)
    return f"{option}={_config(value)}" if sign and option == _OPTION else word


def _config(value: str) -> str:
    """The file that `value` names."""
    name = value.removeprefix("configs/").removesuffix(".yaml")
    if Path(value).exists() or Path(name).is_absolute() or ".." in Path(name).parts:
        return value
    packaged = FOLDER / f"{name}.yaml"
    if packaged.is_file():
        return str(packaged)
    if not Path(value).suffix and "{" not in value and "\n" not in value:
        raise IsacError(
            f"--config {value}: no such file, and none of the package; choose a file or {', '.join(packaged_configs())}"
        )
    return value
