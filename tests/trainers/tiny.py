"""Tiny trainings by the command, and processes of their own to kill."""

import os
import signal
import sys
from pathlib import Path

import torch

from isac_torch import cli
from isac_torch.trainers.averaged import AveragedTraining

TINY = {"hidden": 8, "layers": 1, "refinements": 1, "steps": 1}
TRAINER = {
    "max_steps": 4, "max_epochs": -1, "accelerator": "cpu", "num_sanity_val_steps": 0, "enable_progress_bar": "false",
    "enable_model_summary": "false", "log_every_n_steps": 1,
}  # fmt: skip


def options(drops: Path, output: Path, *more: str) -> list[str]:
    """Options of a training of four steps of eight drops, one pass of two steps each; `more` wins."""
    model = [f"--model.network.{name}={value}" for name, value in TINY.items()]
    trainer = [f"--trainer.{name}={value}" for name, value in TRAINER.items()]
    data = ["--data=isac_torch.datasets.module.PowerDataModule", f"--data.path={drops}", "--data.batch_size=8"]
    return [*model, *trainer, *data, f"--output={output}", *more]


def weights(output: Path) -> dict[str, torch.Tensor]:
    """Those of a finished training."""
    return torch.load(output / "model.pt", weights_only=True)["weights"]


def forked(argv: list[str], signal_number: int | None = None, step: int = 0) -> tuple[int, str]:
    """Status and words of the command in a process of its own, which sends itself a signal behind training step `step`."""
    said = Path(f"{argv[-1].partition('=')[2]}.said")
    child = os.fork()
    if child == 0:  # imports nothing, so it is as fast as a call
        code = 99
        try:
            with said.open("w") as sink:
                sys.stdout = sys.stderr = sink
                signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored in the background of a shell
                if signal_number is not None:
                    before = AveragedTraining.on_train_batch_end

                    def strike(self, *arguments):
                        before(self, *arguments)
                        if self.global_step == step:
                            os.kill(os.getpid(), signal_number)

                    setattr(AveragedTraining, "on_train_batch_end", strike)  # noqa: B010 - mypy refuses to assign to a method
                code = cli.main(["train", *argv])
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    return status, said.read_text()
