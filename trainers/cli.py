"""The training command: LightningCLI without sub-commands, writing everything under one folder.

isac-torch train --config configs/demo/train.yaml --output runs/training
isac-torch downlink-pilots train --config configs/downlink_pilots/train.yaml --output runs/downlink_pilots/training
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning import LightningDataModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger

from isac_torch.errors import CheckpointError
from isac_torch.files import writable_folder, write_whole
from isac_torch.nn.checkpoint import save_network
from isac_torch.trainers.hparams import announce, comparable
from isac_torch.trainers.module import AllocationTraining
from isac_torch.trainers.pilot import DownlinkPilotTraining

MODEL_FILE = "model.pt"
CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class Trained:
    """What the command needs to know of a network that can be trained.

    Attributes:
        module: its training.
        command: what the user typed.
        quality: validation metric that decides which checkpoint is the best one.
        mode: whether the metric's `max` or its `min` is best.
        others: further validation metrics by which runs are compared.
    """

    module: type[AllocationTraining] | type[DownlinkPilotTraining]
    command: str
    quality: str
    mode: str
    others: tuple[str, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """All validation metrics by which runs are compared."""
        return (self.quality, *self.others)


_TRACKING_METRICS = ("val/min_rate_ratio_p5", "val/min_rate_ratio_worst", "val/sir_violation_rate", "val/min_sinr_db")

SYSTEMS = {
    "tracking": Trained(AllocationTraining, "train", "val/min_rate_ratio", "max", _TRACKING_METRICS),
    "tracking-one-shot": Trained(AllocationTraining, "train", "val/min_rate_ratio", "max", _TRACKING_METRICS),
    "tracking-shares": Trained(AllocationTraining, "train", "val/min_rate_ratio", "max", _TRACKING_METRICS),
    "downlink_pilots": Trained(
        DownlinkPilotTraining, "downlink-pilots train", "val/nmse_ratio", "min", ("val/crb_violation_rate",)
    ),
}


class TrainingCLI(LightningCLI):
    """LightningCLI with `--output` and `--ckpt_path`; logs and checkpoints always go under the output folder."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Options of the command itself."""
        parser.add_argument("--output", type=Path, required=True, help="Folder for model.pt, checkpoints and TensorBoard logs.")
        parser.add_argument(
            "--ckpt_path", type=str | None, default=None, help="Lightning checkpoint to resume, or `last` of the output folder."
        )

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer of the YAML file, with TensorBoard and checkpoints under the output folder."""
        output = writable_folder(self.config["output"])
        trained = SYSTEMS[self.model.network.SYSTEM]
        logger = TensorBoardLogger(output, name=None, version="logs", default_hp_metric=False)
        saved = ModelCheckpoint(
            output / CHECKPOINTS,
            filename="step{step}",
            auto_insert_metric_name=False,
            monitor=trained.quality,
            mode=trained.mode,
            save_last=True,
        )
        return super().instantiate_trainer(**kwargs, logger=logger, callbacks=[saved])


def train(argv: list[str], system: str = "tracking") -> None:
    """Train as the options say and write `model.pt` beside the Lightning checkpoints.

    Args:
        argv: options of the command, without its name.
        system: whose network.

    Raises:
        IsacError: an option, file or folder cannot be used; the message is one line.
    """
    _quiet()
    trained = SYSTEMS[system]
    parser = {"prog": f"isac-torch {trained.command}", "exit_on_error": False, "allow_abbrev": False, "default_env": False}
    cli = TrainingCLI(
        trained.module,
        LightningDataModule,
        subclass_mode_data=True,
        run=False,
        args=argv,
        seed_everything_default=1,
        save_config_callback=None,
        parser_kwargs=parser,
    )
    output = Path(cli.config["output"])
    resume = _resume_path(cli.config["ckpt_path"], output)
    trainer, module = cli.trainer, cli.model
    if trainer.is_global_zero:
        write_whole(output / "config.yaml", cli.parser.dump(cli.config, skip_validation=True))
    assert isinstance(trainer.logger, TensorBoardLogger)  # noqa: S101 - made above
    announce(trainer.logger, _hyperparameters(cli), trained.metrics)
    trainer.fit(module, cli.datamodule, ckpt_path=resume)
    if trainer.interrupted:
        raise KeyboardInterrupt
    if not trainer.is_global_zero:
        return
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    facts = {"hyperparameters": dict(module.hparams), "steps": trainer.global_step, "metrics": metrics}
    save_network(output / MODEL_FILE, module.average, facts)
    _report(output / MODEL_FILE, metrics)


def _hyperparameters(cli: TrainingCLI) -> dict[str, Any]:
    """The options in which runs differ: those of the module, of its data and of the optimiser's length."""
    data = cli.config["data"].get("init_args") or {}
    run = [("max_steps", cli.config["trainer"]["max_steps"]), ("seed", cli.config["seed_everything"])]
    return comparable({"model": cli.model.hparams.items(), "data": data.items(), "trainer": run})


def _resume_path(given: str | None, output: Path) -> str | None:
    if given is None:
        return None
    path = output / CHECKPOINTS / "last.ckpt" if given == "last" else Path(given)
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such checkpoint to resume from; leave --ckpt_path out to start afresh")
    return str(path)


def _quiet() -> None:
    """Silence advice of Lightning that does not apply here."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    messages = ["many workers", "smaller than the logging interval", "`transfer_batch_to_device`", "LeafSpec"]
    messages += ["sync_dist=True", "exists and is not empty", "could not find the monitored key", "intended to run from within"]
    for message in messages:
        warnings.filterwarnings("ignore", f".*{message}")


def _report(path: Path, metrics: dict[str, float]) -> None:
    shown = ", ".join(f"{name} {metrics[name]:.4f}" for name in sorted(metrics) if name.startswith("val/"))
    print(f"{path}: {shown}")  # noqa: T201 - what the command is for
