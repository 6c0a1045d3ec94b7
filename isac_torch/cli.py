"""Console script `isac-torch`. Bad input ends in one line on stderr and exit code 2; everything heavy is imported when used."""

from __future__ import annotations

import os
import re
import sys
import warnings
from inspect import signature
from typing import TYPE_CHECKING

from isac_torch import __version__
from isac_torch.commands.tracking import COMMANDS
from isac_torch.errors import IsacError

if TYPE_CHECKING:
    from collections.abc import Callable

HELP = """\
usage: isac-torch COMMAND [--config FILE.yaml] [OPTIONS]

Power allocation for cell-free massive MIMO that communicates and senses at once.

commands:
  generate              write a labelled data set of random drops
  dataset info PATH     what a data set holds
  dataset verify PATH   check every byte, field and label of a data set
  train                 train a network on labelled or fresh drops
  evaluate              allocators against each other on the same fresh drops: table, CSV, figures, TensorBoard
  pareto                trace the trade-off between rate and sensing SIR: CSV, figure
  downlink-pilots generate the same for the downlink-pilot system: labelled roads; `dataset info` and `verify` read them too
  downlink-pilots train train a network of the downlink-pilot system
  downlink-pilots evaluate allocators of pilot power against each other on the same fresh roads
  report RUN            results of evaluate and train as one HTML page
  export                write a trained one-shot network as a bundle: ONNX, torch.export archive, card
  allocate DROP         powers for networks in a file from a deployed allocator, without torch
  serve BUNDLE          the same over HTTP
  import-geometry SITES positions in CSV or GeoJSON as drops for allocate
  reproduce liesegang   figures and claims of the paper on power control for communication and tracking
  reproduce liao        figures and claims of the paper on downlink pilots for estimation and localisation

examples:
  isac-torch generate --config configs/demo/generate.yaml --output runs/drops
  isac-torch generate --scenario.num_aps 32 --num_drops 1000 --seed 7 --output runs/large
  isac-torch dataset info runs/drops
  isac-torch dataset verify runs/drops
  isac-torch train --config configs/demo/train.yaml --output runs/training
  isac-torch evaluate --config configs/demo/evaluate.yaml --output runs/table
  isac-torch evaluate --config configs/evaluate/tracking.yaml --output runs/tracking
  isac-torch pareto --allocators='[opc_batched, upc]' --num_drops 32 --seed 1 --output runs/pareto
  isac-torch downlink-pilots generate --config configs/downlink_pilots/generate_val.yaml --output runs/downlink_pilots/val
  isac-torch downlink-pilots train --config configs/downlink_pilots/train.yaml --output runs/downlink_pilots/training
  isac-torch downlink-pilots evaluate --config configs/downlink_pilots/evaluate.yaml --output runs/downlink_pilots/table
  isac-torch report runs/demo --output report.html
  isac-torch export --checkpoint runs/training/one_shot/model.pt --output runs/bundle
  isac-torch allocate examples/drop.json --model runs/bundle --output powers.csv
  isac-torch allocate - --model runs/bundle < examples/drop.json
  isac-torch serve runs/bundle --port 8000
  isac-torch import-geometry examples/sites.csv --output network.json
  isac-torch reproduce liesegang --figure 8 --quick --output runs/liesegang
  isac-torch reproduce liao --figure 4a --quick --output runs/liao

`isac-torch COMMAND --help` lists a command's options; options on the command line win over the YAML file.
ISAC_TORCH_TRACEBACK=1 in the environment shows where an error comes from.
"""


GROUPS = ("dataset", "downlink-pilots", "reproduce")
"""Commands whose next word belongs to the name."""
POSITIONAL = ("allocate", "import-geometry", "report", "serve")
"""Commands whose required options are words without a name, besides those of `dataset`."""


EXTRA_OF = {"fastapi": "serve", "starlette": "serve", "uvicorn": "serve", "onnxruntime": "runtime"}
"""Extra that installs a package; everything else comes with `train`."""
TRAINING = {"train": "tracking", "downlink-pilots train": "downlink_pilots"}
"""Commands that train a network, and the system whose network it is."""


def _train(argv: list[str], system: str) -> None:
    # LightningCLI has a parser of its own and cannot be the sub-command of another one; it warns of being called like this.
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    from isac_torch.trainers.cli import train

    try:
        train(argv, system)
    except MisconfigurationException as error:
        raise IsacError(str(error)) from error


def _call(name: str, function: Callable[..., None], argv: list[str]) -> None:
    """Parse `argv` (and the YAML file of --config) by the signature of `function`, and call it."""
    from argparse import RawDescriptionHelpFormatter

    from jsonargparse import ArgumentParser, DefaultHelpFormatter

    class Formatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):
        """Keeps the lines of the examples."""

    positional = name in POSITIONAL or name.startswith("dataset")
    examples = [line for line in HELP.splitlines() if line.startswith(f"  isac-torch {name} ")]
    parser = ArgumentParser(
        prog=f"isac-torch {name}",
        epilog="\n".join(["examples:", *examples]),
        formatter_class=Formatter,
        exit_on_error=False,
        allow_abbrev=False,
        default_env=False,
    )
    if not positional:
        parser.add_argument("--config", action="config", help="YAML file with any of the options below.")
    parser.add_function_arguments(function, as_positional=positional, fail_untyped=True)
    values = vars(parser.instantiate(parser.parse_args(_with_flags(function, argv))))
    function(**{key: value for key, value in values.items() if key != "config"})


def _with_flags(function: Callable[..., None], argv: list[str]) -> list[str]:
    """`argv` with `=true` behind each yes-or-no option that stands alone; the parser wants a value there."""
    flags = {f"--{name}" for name, item in signature(function).parameters.items() if item.annotation in (bool, "bool")}
    following = [*argv[1:], "--"]
    return [
        f"{word}=true" if word in flags and after.startswith("--") else word
        for word, after in zip(argv, following, strict=False)
    ]


def _dispatch(argv: list[str]) -> None:
    length = 2 if argv[:1] and argv[0] in GROUPS else 1
    command, rest = " ".join(argv[:length]), argv[length:]
    if command in ("", "-h", "--help"):
        print(HELP, end="")
    elif command == "--version":
        print(f"isac-torch {__version__}")
    elif command in TRAINING:
        _train(rest, TRAINING[command])
    elif command in COMMANDS:
        _call(command, COMMANDS[command], rest)
    elif argv[0] == "pilot":
        now = " ".join(["isac-torch", "downlink-pilots", *argv[1:2]])
        raise IsacError(f"`isac-torch pilot` is `isac-torch downlink-pilots` now, with the same options; type {now}")
    else:
        known = ", ".join(sorted([*COMMANDS, *TRAINING]))
        raise IsacError(f"no command {command!r}; choose from {known}; see isac-torch --help")


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
        Exit code: 0, 2 after bad input, 130 after an interrupt.
    """
    from argparse import ArgumentError

    try:
        _dispatch(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        print("isac-torch: interrupted", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "isac_torch") or os.environ.get("ISAC_TORCH_TRACEBACK"):
            raise
        extra = EXTRA_OF.get(package, "train")
        print(f"isac-torch: error: this command needs {package}; pip install 'isac-torch[{extra}]'", file=sys.stderr)
        return 2
    except (ArgumentError, ValueError, OSError) as error:
        if os.environ.get("ISAC_TORCH_TRACEBACK"):
            raise
        print(f"isac-torch: error: {_one_line(error)}", file=sys.stderr)
        return 2
    return 0
