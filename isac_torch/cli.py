"""Console script `isac-torch`. Bad input ends in one line on stderr and exit code 2; everything heavy is imported when used."""

from __future__ import annotations

import os
import re
import sys
import warnings
from dataclasses import asdict
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from isac_torch import __version__
from isac_torch.errors import IsacError
from isac_torch.tracking.scenario import TrackingScenario

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
  reproduce liao        figures and claims of the paper on downlink pilots for estimation and localisation

examples:
  isac-torch generate --config configs/demo/generate.yaml --output runs/drops
  isac-torch generate --scenario.num_aps 32 --num_drops 1000 --seed 7 --output runs/large
  isac-torch dataset info runs/drops
  isac-torch dataset verify runs/drops
  isac-torch train --config configs/demo/train.yaml --output runs/training
  isac-torch evaluate --config configs/demo/evaluate.yaml --output runs/table
  isac-torch pareto --allocators='[opc_batched, upc]' --num_drops 32 --seed 1 --output runs/pareto
  isac-torch reproduce liao --figure 4a --quick --output runs/liao

`isac-torch COMMAND --help` lists a command's options; options on the command line win over the YAML file.
ISAC_TORCH_TRACEBACK=1 in the environment shows where an error comes from.
"""


def generate(
    scenario: TrackingScenario,
    num_drops: int,
    output: Path,
    seed: int = 0,
    shard_size: int = 250,
    workers: int = 0,
    scheduler: str | None = None,
    variants: list[dict[str, Any]] | None = None,
) -> None:
    """Write a data set of random drops with the powers of the certified optimum; resumes what an interrupted run left.

    Args:
        scenario: The network.
        num_drops: Drops in the data set, of each variant if there are any.
        output: Folder of the data set.
        seed: Shard i is drawn from seed + i; keep the ranges of several data sets apart.
        shard_size: Drops in each file.
        workers: Processes on this machine; 0 is one a core.
        scheduler: Address of a running Dask scheduler, such as tcp://host:8786, in place of local workers.
        variants: What to change in the network, one entry a size class: [{num_ues: 8}, {num_aps: 32, num_ues: 16}].
    """
    scenarios = [scenario] if variants is None else [_variant(scenario, change) for change in variants]
    from isac_torch.datasets.generate import generate_dataset

    generate_dataset(
        scenarios,
        num_drops=num_drops,
        output=output,
        seed=seed,
        shard_size=shard_size,
        workers=workers,
        scheduler=scheduler,
    )


def _variant(scenario: TrackingScenario, change: dict[str, Any]) -> TrackingScenario:
    """`scenario` with some parameters changed, held to the same types as those of the command line."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(TrackingScenario, "variants")
    values = parser.parse_object({"variants": {**asdict(scenario), **change}})
    return cast("TrackingScenario", parser.instantiate(values).variants)


def info(path: Path) -> None:
    """Print what a data set holds: sizes, seeds, statuses, certified gaps, units.

    Args:
        path: Folder of the data set, or one of its shards.
    """
    from isac_torch.datasets.inspect import info as dataset_info

    dataset_info(path)


def verify(path: Path) -> None:
    """Check checksums, fields and the feasibility of every label of a data set.

    Args:
        path: Folder of the data set, or one of its shards.
    """
    from isac_torch.datasets.inspect import verify as dataset_verify

    dataset_verify(path)


def evaluate(
    scenario: TrackingScenario,
    allocators: list[str],
    num_drops: int,
    seed: int,
    output: Path,
    checkpoint: Path | None = None,
    opc_paper_drops: int = 50,
    tensorboard: bool = True,
) -> None:
    """Run allocators on the same drops: table on the terminal, summary.json, CSV, figures, TensorBoard.

    Args:
        scenario: The network.
        allocators: Names such as upc, ppc, fpc_0.5_0.5, opc_paper, opc_global, gnn.
        num_drops: Drops to judge on.
        seed: Take one that no training set uses.
        output: Folder of the results.
        checkpoint: Weights (model.pt) of the learned allocator.
        opc_paper_drops: The paper's slow algorithm runs on the first ones only.
        tensorboard: Whether to write event files too.
    """
    from isac_torch.evaluation.run import evaluate as run

    run(
        scenario,
        allocators=allocators,
        num_drops=num_drops,
        seed=seed,
        output=output,
        checkpoint=checkpoint,
        opc_paper_drops=opc_paper_drops,
        tensorboard=tensorboard,
    )


def pareto(
    scenario: TrackingScenario,
    allocators: list[str],
    num_drops: int,
    seed: int,
    output: Path,
    sir_min_db: list[float] | None = None,
    checkpoint: Path | None = None,
) -> None:
    """Trace how much rate each allocator gives up for sensing SIR: pareto.csv and pareto.png.

    Args:
        scenario: The network; its own SIR0 is not used.
        allocators: Names as of `evaluate`; opc_batched or opc_global give the certified front.
        num_drops: Drops, the same for every point.
        seed: Take one that no training set uses.
        output: Folder of the results.
        sir_min_db: Required SIRs, dB; default a range around the usual ones.
        checkpoint: Weights (model.pt) of the learned allocator.
    """
    from isac_torch.evaluation.pareto import DEFAULT_SIR_DB
    from isac_torch.evaluation.pareto import pareto as trace

    trace(
        scenario,
        allocators=allocators,
        num_drops=num_drops,
        seed=seed,
        output=output,
        sir_min_db=DEFAULT_SIR_DB if sir_min_db is None else sir_min_db,
        checkpoint=checkpoint,
    )


def reproduce_liao(
    output: Path,
    figure: str | None = None,
    quick: bool = False,
    num_drops: int | None = None,
    seed: int = 1,
    workers: int = 1,
) -> None:
    """Draw the figures of Liao et al. (PNG and CSV) and judge the paper's claims (claims.json).

    Args:
        output: Folder of the results.
        figure: One figure, such as 4a, instead of all.
        quick: Few drops a point: minutes instead of hours.
        num_drops: Drops at every point, in place of either.
        seed: Of the drops.
        workers: Processes; the results do not depend on them.
    """
    from isac_torch.evaluation.liao import reproduce

    reproduce(output, figure=figure, quick=quick, num_drops=num_drops, seed=seed, workers=workers)


COMMANDS: dict[str, Callable[..., None]] = {
    "generate": generate,
    "dataset info": info,
    "dataset verify": verify,
    "evaluate": evaluate,
    "pareto": pareto,
    "reproduce liao": reproduce_liao,
}
GROUPS = ("dataset", "reproduce")
"""Commands whose next word belongs to the name."""


def _train(argv: list[str]) -> None:
    # LightningCLI has a parser of its own and cannot be the sub-command of another one; it warns of being called like this.
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    from isac_torch.trainers.cli import train

    try:
        train(argv)
    except MisconfigurationException as error:
        raise IsacError(str(error)) from error


def _call(name: str, function: Callable[..., None], argv: list[str]) -> None:
    """Parse `argv` (and the YAML file of --config) by the signature of `function`, and call it."""
    from argparse import RawDescriptionHelpFormatter

    from jsonargparse import ArgumentParser, DefaultHelpFormatter

    class Formatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):
        """Keeps the lines of the examples."""

    positional = name.startswith("dataset")
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
    elif command == "train":
        _train(rest)
    elif command in COMMANDS:
        _call(command, COMMANDS[command], rest)
    else:
        known = ", ".join(sorted([*COMMANDS, "train"]))
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
    except (ArgumentError, ValueError, OSError) as error:
        if os.environ.get("ISAC_TORCH_TRACEBACK"):
            raise
        print(f"isac-torch: error: {_one_line(error)}", file=sys.stderr)
        return 2
    return 0
