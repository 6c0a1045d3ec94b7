"""Hyper-parameters of a training run for TensorBoard's HParams tab, where runs are compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only


def comparable(groups: Mapping[str, Iterable[tuple[str, Any]]]) -> dict[str, Any]:
    """What of several groups of options the tab can compare, by "group/name"; lists, scenarios and None stay out."""
    found = {f"{group}/{name}": value for group, items in groups.items() for name, value in items}
    texts = {name: str(value) if isinstance(value, Path) else value for name, value in found.items()}
    return {name: value for name, value in texts.items() if isinstance(value, bool | int | float | str)}


@rank_zero_only  # type: ignore[untyped-decorator, unused-ignore]
def announce(logger: Logger, hyperparameters: dict[str, Any], metrics: Iterable[str]) -> None:
    """Write the hyper-parameters and, for TensorBoard, the names of the metrics that judge the run.

    The values of the metrics follow as the run logs them. Lightning's own way would log a first value, a point that nobody
    measured.
    """
    logger.log_hyperparams(hyperparameters)
    if isinstance(logger, TensorBoardLogger):
        from torch.utils.tensorboard.summary import hparams

        for summary in hparams(hyperparameters, dict.fromkeys(metrics, 0.0)):
            logger.experiment.file_writer.add_summary(summary)
