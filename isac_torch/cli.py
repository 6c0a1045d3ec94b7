"""Console script `isac-torch`. Bad input ends in one line on stderr and exit code 2; everything heavy is imported when used."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from isac_torch import __version__
from isac_torch.commands.configs import with_configs
from isac_torch.commands.own_scenario import with_scenario
from isac_torch.commands.table import COMMANDS, GROUPS, Command, help_text
from isac_torch.errors import IsacError
from isac_torch.interruption import INTERRUPTION

if TYPE_CHECKING:
    from collections.abc import Callable


def _call(command: Command, argv: list[str]) -> None:
    """Parse `argv` (and the YAML file of --config) by the signature of the command's function, and call it."""
    from argparse import RawDescriptionHelpFormatter

    from jsonargparse import ArgumentParser, DefaultHelpFormatter

    class Formatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):
        """Keeps the lines of the examples."""

    function, positional = command.load(), bool(command.words)
    declared = get_type_hints(function).get("scenario")
    scenario = command.scenario_of(declared)
    if scenario is not None:
        argv, scenario = with_scenario(argv, scenario)
    parser = ArgumentParser(
        prog=f"isac-torch {command.name}",
        epilog="\n".join(["examples:", *(f"  {line}" for line in command.lines)]),
        formatter_class=Formatter,
        exit_on_error=False,
        allow_abbrev=False,
        default_env=False,
    )
    if not positional:
        parser.add_argument("--config", action="config", help="YAML file with any of the options below.")
    others: set[str | int] = set() if scenario is declared else {"scenario"}
    parser.add_function_arguments(function, as_positional=positional, fail_untyped=True, skip=others)
    if others:
        parser.add_class_arguments(scenario, "scenario", fail_untyped=True)
    values = vars(parser.instantiate(parser.parse_args(_with_flags(function, argv))))
    function(**{key: _at_home(key, value) for key, value in values.items() if key != "config"})


def _at_home(option: str, value: Any) -> Any:
    """A path with `~` as the home folder; shells leave it alone behind `=`, and YAML knows no home."""
    if not isinstance(value, Path) or not str(value).startswith("~"):
        return value
    try:
        return value.expanduser()
    except RuntimeError:
        raise IsacError(
            f"{option}={str(value)!r} names the home of nobody; write ./{value} for a folder of that name"
        ) from None


def _with_flags(function: Callable[..., None], argv: list[str]) -> list[str]:
    """`argv` with `=true` behind each yes-or-no option that stands alone; the parser wants a value there."""
    flags = {f"--{name}" for name, item in signature(function).parameters.items() if item.annotation in (bool, "bool")}
    following = [*argv[1:], "--"]
    return [
        f"{word}=true" if word in flags and after.startswith("--") else word
        for word, after in zip(argv, following, strict=False)
    ]


def _dispatch(argv: list[str]) -> None:
    if argv[:1] in ([], ["-h"], ["--help"]):
        print(help_text(), end="")
    elif argv[0] == "--version":
        from isac_torch.deployment.library import compute_path

        print(f"isac-torch {__version__}\ndeployed allocators: {compute_path()}")
    else:
        command, rest = _command(argv)
        rest = with_configs(rest)
        if command.parses:
            command.load()(rest)
        else:
            _call(command, rest)


def _command(argv: list[str]) -> tuple[Command, list[str]]:
    """The command that `argv` begins with, and its arguments. IsacError where there is none."""
    length = 2 if argv[0] in GROUPS else 1
    name = " ".join(argv[:length])
    if name in COMMANDS:
        return COMMANDS[name], argv[length:]
    if argv[0] == "pilot":
        now = " ".join(["isac-torch", "downlink-pilots", *argv[1:2]])
        raise IsacError(f"`isac-torch pilot` is `isac-torch downlink-pilots` now, with the same options; type {now}")
    known = [other for other in COMMANDS if length == 1 or other.startswith(f"{argv[0]} ")]
    raise IsacError(f"no command {name!r}; choose from {', '.join(known)}; see isac-torch --help")


def _missing(package: str, argv: list[str]) -> str:
    """One line for a command whose package is not installed."""
    extra = _command(argv)[0].extra
    return f"this command needs {package}; pip install " + (f"'isac-torch[{extra}]'" if extra else package)


def _one_line(error: BaseException) -> str:
    """The error's message without line breaks and without the parser's jargon."""
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        return f"{error.strerror}{where}"
    text = re.sub(r"<class '([^']*)'>", r"\1", str(error))
    text = re.sub(r'Parser key "([^"]*)":', r"option \1:", text)
    return " ".join(text.split()) or type(error).__name__


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments after the program's name; default those of the process.

    Returns:
        Exit code: 0, 2 after bad input, 130 after an interrupt, 141 where the reader of standard output has gone.
    """
    argv = sys.argv[1:] if argv is None else argv
    INTERRUPTION.said = False  # a program may call this more than once
    try:
        _dispatch(argv)
        sys.stdout.flush()
    except BrokenPipeError as error:
        if error.filename is not None:
            return _failed(error, argv)
        _forget_output()
        return 141
    except KeyboardInterrupt as error:  # its message says what is kept
        return INTERRUPTION.announce(str(error))
    except Exception as error:  # noqa: BLE001 - raised again where it is neither bad input nor the end of an interrupted run
        return _failed(error, argv)
    return 0


def _failed(error: Exception, argv: list[str]) -> int:
    """One line on stderr and the exit code; raises an error that is a mistake of the program."""
    from argparse import ArgumentError

    if INTERRUPTION.happened:
        return INTERRUPTION.announce()
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    foreseen = isinstance(error, (ArgumentError, ValueError, OSError)) or package not in ("", "isac_torch")
    if not foreseen or os.environ.get("ISAC_TORCH_TRACEBACK"):
        raise error
    print(f"isac-torch: error: {_missing(package, argv) if package else _one_line(error)}", file=sys.stderr)
    return 2


def _forget_output() -> None:
    """Nobody reads standard output any more: what is left goes to the null device, without a word at the interpreter's end."""
    with contextlib.suppress(OSError, ValueError):  # not a stream of the process, as in tests
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
