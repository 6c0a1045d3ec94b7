"""The training command: LightningCLI without sub-commands, writing everything under one folder.

isac-torch train --config configs/demo/train.yaml --output runs/training
isac-torch downlink-pilots train --config configs/downlink_pilots/train.yaml --output runs/downlink_pilots/training
"""

from __future__ import annotations

import logging
import signal
import warnings
from argparse import ArgumentError, RawDescriptionHelpFormatter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jsonargparse import DefaultHelpFormatter
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger

from isac_torch.errors import CheckpointError, IsacError
from isac_torch.nn.checkpoint import save_network
from isac_torch.trainers.distributed import DistributedTraining
from isac_torch.trainers.folder import MODEL_FILE, RunFolder
from isac_torch.trainers.hparams import comparable
from isac_torch.trainers.keeping import CHECKPOINTS, LAST, Keeper, WholeCheckpoints, check_resume
from isac_torch.trainers.module import AllocationTraining
from isac_torch.trainers.options import TRAINER, check_monitors, check_options
from isac_torch.trainers.pilot import DownlinkPilotTraining
from isac_torch.trainers.settings import refuse_flat


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

    module: type[AllocationTraining] | type[DistributedTraining] | type[DownlinkPilotTraining]
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
    **{
        system: Trained(AllocationTraining, "train", "val/min_rate_ratio", "max", _TRACKING_METRICS)
        for system in ("tracking", "tracking-one-shot", "tracking-shares", "tracking-own")
    },
    **{
        system: Trained(DistributedTraining, "distributed train", "val/min_rate_ratio", "max", ("val/min_sinr_db",))
        for system in ("tracking-distributed", "tracking-unfolded")
    },
    "downlink_pilots": Trained(
        DownlinkPilotTraining,
        "downlink-pilots train",
        "val/nmse_ratio",
        "min",
        ("val/nmse_ratio_p95", "val/nmse_ratio_max", "val/crb_violation_rate"),
    ),
}


class TrainingCLI(LightningCLI):
    """LightningCLI with `--output` and `--ckpt_path`; logs and checkpoints always go under the output folder."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Options of the command itself, and what it says of Lightning's."""
        parser.add_argument("--output", type=Path, required=True, help="Folder for model.pt, checkpoints and TensorBoard logs.")
        parser.add_argument(
            "--ckpt_path", type=str | None, default=None, help="Lightning checkpoint to resume, or `last` of the output folder."
        )
        parser.set_defaults({"trainer.inference_mode": False})
        for action in parser._actions:
            rule = TRAINER.get(action.dest.removeprefix("trainer."))
            if action.dest.startswith("trainer.") and rule is not None and rule.says:
                action.help = f"{action.help} Here: {rule.says}.".replace("%", "%%")

    def before_instantiate_classes(self) -> None:
        """Refuse what the command cannot honour."""
        data = self.config["data"]
        if data is None:
            raise IsacError("data is missing; give --data=isac_torch.datasets.module.PowerDataModule or a --config with data")
        trainer, model = (vars(self.config[name]) for name in ("trainer", "model"))
        check_options(trainer, model, vars(data["init_args"]) if data.get("init_args") else {})

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer of the configuration: its callbacks beside the command's own, its loggers or else TensorBoard."""
        own = self.config["model"].get("own")
        if own is not None:
            arguments = own.init_args.as_dict() if "init_args" in own else {}
            for network in (self.model.network, self.model.average):
                network.remember(arguments)
        given = self.config_init["trainer"]
        output, trained = Path(self.config["output"]), SYSTEMS[self.model.network.SYSTEM]
        callbacks = given["callbacks"] or []
        callbacks = list(callbacks) if isinstance(callbacks, list) else [callbacks]
        check_monitors(callbacks, trained.metrics)
        self.folder = RunFolder(output)
        self.keeper = Keeper(output / CHECKPOINTS, trained.quality, trained.mode, self.folder.run)
        if not given["fast_dev_run"]:
            hyperparameters = _hyperparameters(self) if given["enable_autolog_hparams"] else {}
            config = self.parser.dump(self.config, skip_none=False, skip_validation=True)  # null is not the default
            callbacks.insert(0, self.folder.starter(config, hyperparameters, trained.metrics))
            callbacks += [self.keeper] if given["enable_checkpointing"] is not False else []
        logger = given["logger"]
        if logger is None or logger is True:
            logger = TensorBoardLogger(output, name=None, version="logs", default_hp_metric=False)
        mine = {"callbacks": callbacks, "logger": logger, "plugins": [WholeCheckpoints()], "default_root_dir": output}
        return super().instantiate_trainer(**kwargs | mine)


def train(argv: list[str], system: str = "tracking", examples: Sequence[str] = ()) -> None:
    """Train as the options say and write `model.pt` beside the checkpoints.

    Nothing is written before every option, the drops and the checkpoint to resume are checked.

    Args:
        argv: options of the command, without its name.
        system: whose network.
        examples: command lines that --help shows.

    Raises:
        IsacError: an option, file or folder cannot be used; the message is one line.
        KeyboardInterrupt: the training was interrupted; the message says what is kept.
    """
    _quiet()
    cli = _parsed(argv, SYSTEMS[system], examples)
    _check_data(cli.datamodule, system.partition("-")[0])
    module: LightningModule = cli.model.to(getattr(cli.datamodule, "dtype", torch.float32))
    resume = _resume(cli, module)
    if cli.config["trainer"]["fast_dev_run"]:
        _fit(cli, module, None)
        print("fast_dev_run: training and validation work; nothing was kept")  # noqa: T201 - what the command is for
        return
    if not cli.trainer.is_global_zero:
        _fit(cli, module, resume)
        return
    with cli.folder.claimed():
        _fit(cli, module, resume)
        _write_model(cli, module)


class _Formatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Keeps the lines of the examples."""


def _parsed(argv: list[str], trained: Trained, examples: Sequence[str]) -> TrainingCLI:
    parser = {
        "prog": f"isac-torch {trained.command}",
        "epilog": "\n".join(["examples:", *(f"  {line}" for line in examples)]) if examples else None,
        "formatter_class": _Formatter,
        "exit_on_error": False,
        "allow_abbrev": False,
        "default_env": False,
    }
    try:
        return TrainingCLI(
            trained.module,
            LightningDataModule,
            subclass_mode_data=True,
            run=False,
            args=argv,
            seed_everything_default=1,
            save_config_callback=None,
            parser_kwargs=parser,
            auto_configure_optimizers=False,
        )
    except ArgumentError:
        if trained.module is AllocationTraining:
            refuse_flat(argv)
        raise


def _check_data(data: LightningDataModule, system: str) -> None:
    """Refuse data of the other system, and data sets that cannot be used. Data modules of users are trusted."""
    theirs = getattr(data, "SYSTEM", system)
    if theirs != system:
        raise IsacError(f"data: {type(data).__name__} gives drops of the {theirs} system, where those of {system} are wanted")
    if hasattr(data, "files"):
        data.files()


def _resume(cli: TrainingCLI, module: LightningModule) -> Path | None:
    """The checkpoint to go on from, checked; None to start afresh, in a folder without a training."""
    given = cli.config["ckpt_path"]
    path = cli.folder.path / CHECKPOINTS / LAST if given == "last" else Path(given) if given else None
    if path is not None:
        run = check_resume(path, module, cli.config["trainer"]["max_steps"])
        if path.resolve().parent == (cli.folder.path / CHECKPOINTS).resolve():
            cli.folder.go_on(run, path)
            cli.keeper.run = cli.folder.run
            return path
    cli.folder.check_unused()
    return path


def _fit(cli: TrainingCLI, module: LightningModule, resume: Path | None) -> None:
    """Train, with one line where the checkpoint cannot be gone on from and where the user interrupts."""
    before = signal.getsignal(signal.SIGINT)
    for part in (module, cli.datamodule):
        part._log_hyperparams = False  # what the run folder logs, once the training has started
    try:
        cli.trainer.fit(module, cli.datamodule, ckpt_path=resume)
    except SystemExit:
        if not cli.trainer.interrupted:
            raise
        signal.signal(signal.SIGINT, before)  # Lightning has switched it off
        if not cli.trainer.is_global_zero:
            raise
        raise KeyboardInterrupt(_kept(cli)) from None
    except (KeyError, RuntimeError, TypeError, AttributeError, IndexError) as error:
        if resume is None or cli.folder.started:
            raise
        raise CheckpointError(
            f"{resume}: a training cannot go on from it ({type(error).__name__}); leave --ckpt_path out to start afresh"
        ) from error


def _kept(cli: TrainingCLI) -> str:
    step = cli.keeper.saved_step
    return f"{cli.keeper.folder / LAST} keeps step {step}, go on with --ckpt_path last" if step else "no step was kept"


def _write_model(cli: TrainingCLI, module: Any) -> None:
    """`model.pt`, and one line that says how good it is."""
    if cli.trainer.global_step == 0:
        raise IsacError("no training step was done, so no model.pt is written; raise trainer.max_time")
    latest = {name: float(value) for name, value in cli.trainer.callback_metrics.items()}
    metrics = cli.keeper.metrics | latest
    facts = {"hyperparameters": dict(module.hparams), "steps": cli.trainer.global_step, "metrics": metrics}
    path = cli.folder.path / MODEL_FILE
    save_network(path, module.stored().float(), facts)
    shown = ", ".join(f"{name} {metrics[name]:.4f}" for name in sorted(metrics) if name.startswith("val/"))
    print(f"{path}: {shown or 'no validation in these steps'}")  # noqa: T201 - what the command is for


def _hyperparameters(cli: TrainingCLI) -> dict[str, Any]:
    """The options in which runs differ: those of the module, of its data and of the optimiser's length."""
    data = cli.config["data"].get("init_args") or {}
    run = [("max_steps", cli.config["trainer"]["max_steps"]), ("seed", cli.config["seed_everything"])]
    return comparable({"model": cli.model.hparams.items(), "data": data.items(), "trainer": run})


def _quiet() -> None:
    """Silence advice of Lightning that does not apply here."""
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed"):
        logging.getLogger(name).setLevel(logging.WARNING)
    messages = ["many workers", "smaller than the logging interval", "`transfer_batch_to_device`", "LeafSpec"]
    messages += ["sync_dist=True", "exists and is not empty", "could not find the monitored key", "intended to run from within"]
    messages += ["callbacks used to create the checkpoint"]  # those of versions before 0.2
    for message in messages:
        warnings.filterwarnings("ignore", f".*{message}")
