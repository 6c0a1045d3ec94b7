"""The output folder of a training: one run at a time, one run for good, nothing written before the first step."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from lightning.pytorch.callbacks import Callback

from isac_torch.errors import CheckpointError, IsacError
from isac_torch.files import exclusive_log, remove_leftovers, writable_folder, write_whole
from isac_torch.trainers.hparams import announce
from isac_torch.trainers.keeping import CHECKPOINTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import TextIOWrapper

    from lightning import LightningModule, Trainer

MODEL_FILE = "model.pt"
CONFIG_FILE = "config.yaml"
LOG = "train.log.jsonl"


class RunFolder:
    """The folder that a training writes to.

    Attributes:
        path: the folder.
        run: name of the run, which its log and its checkpoints carry.
        started: whether the training has begun.
    """

    def __init__(self, path: Path) -> None:
        """A folder for a new run; touches no file."""
        self.path, self.run, self.started = path, uuid4().hex, False
        self._log: TextIOWrapper | None = None

    def check_unused(self) -> None:
        """Refuse a folder in which another training has left something to lose. IsacError, one line."""
        if (self.path / MODEL_FILE).exists() or any((self.path / CHECKPOINTS).glob("*.ckpt")):
            raise IsacError(
                f"output={str(self.path)!r} holds a training already; go on with it by --ckpt_path last, "
                "choose another output, or delete it"
            )

    def go_on(self, run: str | None, checkpoint: Path) -> None:
        """Go on with `run`, whose checkpoint is in this folder. CheckpointError where another run wrote the folder."""
        known = _runs(self.path / LOG)
        if run is not None and known and run not in known:
            raise CheckpointError(f"{checkpoint}: another run wrote it than the rest of {self.path}; choose another --output")
        self.run = run or self.run

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """The folder for this run alone, as long as the block takes; nothing is left of it where the training did not begin.

        Raises:
            OutputError: another run is writing there, or nobody can.
        """
        made = not self.path.exists()
        writable_folder(self.path)
        try:
            with exclusive_log(self.path / LOG) as log:
                remove_leftovers(self.path)
                remove_leftovers(self.path / CHECKPOINTS)
                self._log = log
                try:
                    yield
                finally:
                    if not _runs(self.path / LOG):
                        (self.path / LOG).unlink()
        finally:
            if made:
                with contextlib.suppress(OSError):  # it is not empty
                    self.path.rmdir()

    def starter(self, config: str, hyperparameters: dict[str, Any], metrics: tuple[str, ...]) -> Callback:
        """A callback that writes `config`, as YAML, and announces the run to the loggers when the training begins."""
        folder = self

        class Starter(Callback):
            def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
                if not trainer.is_global_zero:
                    return
                folder._begin(trainer.global_step)
                write_whole(folder.path / CONFIG_FILE, config)
                for logger in trainer.loggers:
                    announce(logger, hyperparameters, metrics)

        return Starter()

    def _begin(self, step: int) -> None:
        assert self._log is not None  # noqa: S101 - the folder is claimed
        self._log.write(json.dumps({"time": round(time.time(), 3), "event": "start", "run": self.run, "step": step}) + "\n")
        self._log.flush()
        self.started = True


def _runs(log: Path) -> set[str]:
    """Names of the runs that began in a folder."""
    runs = set()
    with contextlib.suppress(OSError, UnicodeDecodeError):
        for line in log.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError, TypeError, KeyError):
                runs.add(str(json.loads(line)["run"]))
    return runs
