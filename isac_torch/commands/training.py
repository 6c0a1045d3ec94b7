"""Commands that train a network. Their options are those of Lightning's own parser, which reads the arguments itself."""

from __future__ import annotations

import warnings

from isac_torch.errors import IsacError


def train(argv: list[str]) -> None:
    """Train a network of the tracking system.

    Args:
        argv: arguments after the command's name.
    """
    _train(argv, "train", "tracking")


def train_distributed(argv: list[str]) -> None:
    """Train a policy that runs at the APs.

    Args:
        argv: arguments after the command's name.
    """
    _train(argv, "distributed train", "tracking-distributed")


def train_downlink_pilots(argv: list[str]) -> None:
    """Train a network of the downlink-pilot system.

    Args:
        argv: arguments after the command's name.
    """
    _train(argv, "downlink-pilots train", "downlink_pilots")


def _train(argv: list[str], command: str, system: str) -> None:
    # LightningCLI has a parser of its own and cannot be the sub-command of another one; it warns of being called like this.
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    from isac_torch.commands.table import COMMANDS
    from isac_torch.trainers.cli import train

    try:
        train(argv, system, COMMANDS[command].lines)
    except MisconfigurationException as error:
        raise IsacError(str(error)) from error
