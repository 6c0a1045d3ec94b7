"""Commands that train a network. Their options are those of Lightning's own parser, which reads the arguments itself."""

from __future__ import annotations

import warnings
from pathlib import Path

from isac_torch.errors import IsacError
from isac_torch.trainers.role_settings import Block, ScorerSettings

DEFAULT_FIT = ScorerSettings()


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


def train_roles(rounds: list[list[Block]], output: Path, seed: int = 0, fit: ScorerSettings = DEFAULT_FIT) -> None:
    """Train the network that scores sets of receive APs; labels that an interrupted run left are used again.

    Args:
        rounds: Blocks of labels. Sets of the first round are drawn by chance, those of later ones are mostly what the network
            so far puts first.
        output: Folder of labels and of model.pt.
        seed: Of the first block; every block has the next one.
        fit: How the network is fitted to the labels.
    """
    from isac_torch.trainers.role_scorer import train_scorer

    train_scorer(rounds, output, seed, fit)


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
