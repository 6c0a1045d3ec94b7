"""A scenario of the user's own on the command line: `scenario: {class_path: package.module.Name, init_args: {...}}`.

A scenario is a frozen dataclass, so the parser takes its fields as options (`--scenario.num_aps`) and shows them in its help. A
class of the user's is put in place of the package's before that, with the same options and its own.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from isac_torch.errors import ScenarioError

_WORD = "--scenario.class_path"
_ARGUMENTS = "--scenario.init_args."


def with_scenario(argv: list[str], kind: type) -> tuple[list[str], type]:
    """`argv` without the name of a scenario's class, and that class; `kind` where none is named.

    Args:
        argv: words of the command line; `--config` is followed by a file.
        kind: the package's class, which the user's must extend.

    Raises:
        ScenarioError: one line, where the class cannot be imported or does not extend `kind`.
    """
    words: list[str] = []
    place: str | None = None
    rest = iter(_apart(argv))
    for word in rest:
        if word == _WORD:
            place = next(rest, "")
        elif word == "--config":
            value, named = _config(next(rest, ""))
            place = named or place
            words += [word, value]
        else:
            words.append("--scenario." + word.removeprefix(_ARGUMENTS) if word.startswith(_ARGUMENTS) else word)
    return (argv, kind) if place is None else (words, _class(place, kind))


def _apart(argv: list[str]) -> list[str]:
    """`argv` with --config=FILE and --scenario.class_path=NAME as two words each."""
    names = {f"{name}=" for name in ("--config", _WORD)}
    return [part for word in argv for part in (word.split("=", 1) if word.startswith(tuple(names)) else [word])]


def _config(value: str) -> tuple[str, str | None]:
    """The configuration with the scenario's options alone, and the name of its class; `value` itself where it names none."""
    import yaml

    path = Path(value)
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8") if path.is_file() else value)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return value, None  # the parser says what is wrong with it
    scenario = content.get("scenario") if isinstance(content, dict) else None
    if not isinstance(scenario, dict) or "class_path" not in scenario:
        return value, None
    options = {name: entry for name, entry in scenario.items() if name not in ("class_path", "init_args")}
    content["scenario"] = {**(scenario.get("init_args") or {}), **options}
    return yaml.safe_dump(content), str(scenario["class_path"])


def _class(place: str, kind: type) -> type:
    module, _, name = place.replace(":", ".").rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, ValueError) as error:
        raise ScenarioError(f"scenario {place!r}: {error}; put the folder of {module or 'the module'} on PYTHONPATH") from error
    except AttributeError:
        raise ScenarioError(f"scenario {place!r}: {module} has no {name!r}; write package.module.Name") from None
    if not isinstance(found, type) or not issubclass(found, kind):
        raise ScenarioError(f"scenario {place!r} is no {kind.__name__}; let the class extend isac_torch.{kind.__name__}")
    return found
