"""The checkpoints of a training run: the last state and the best one, each whole, bound to the run that wrote them.

`last.ckpt` is the state at the last validation or at the end. It holds whatever the next step depends on: weights, their
average, the optimiser, the schedule, the loops, how far the drops are gone through, and the generators; so that on a CPU a run
that was killed and resumed ends with the same bits as one that was not. Files are read as plain tensors and numbers only.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from isac_torch.errors import CheckpointError
from isac_torch.files import write_whole
from isac_torch.nn.checkpoint import FORMAT

CHECKPOINTS = "checkpoints"
LAST, BEST = "last.ckpt", "best.ckpt"
_ENTRIES = {
    "state_dict": dict,
    "loops": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
    "global_step": int,
    "epoch": int,
}
_AFRESH = "leave --ckpt_path out and choose another --output to start afresh"


class Keeper(Checkpoint):
    """Writes `last.ckpt` after every validation and at the end, `best.ckpt` where the quality is better than ever before."""

    def __init__(self, folder: Path, quality: str, mode: str, run: str) -> None:
        """Set up without touching a file.

        Args:
            folder: of the checkpoints.
            quality: metric that says which is the best.
            mode: whether its `max` or its `min` is best.
            run: name of the run.
        """
        self.folder, self.quality, self.mode, self.run = folder, quality, mode, run
        self.saved_step = 0
        self.best: float | None = None
        self.metrics: dict[str, float] = {}
        self._generators: dict[str, Any] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on with the generators of a checkpoint."""
        if self._generators is not None:
            torch.set_rng_state(self._generators["cpu"])
            if len(self._generators["cuda"]) == torch.cuda.device_count():
                torch.cuda.set_rng_state_all(self._generators["cuda"])
            self._generators = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the state, and the best one."""
        if trainer.sanity_checking:
            return
        self.metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        score = self.metrics.get(self.quality)
        better = score is not None and (self.best is None or (score > self.best if self.mode == "max" else score < self.best))
        self.best = score if better else self.best
        self._save(trainer, LAST)
        if better:
            self._save(trainer, BEST)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the final state, unless it is kept."""
        if trainer.global_step > self.saved_step:
            self.metrics |= {name: float(value) for name, value in trainer.callback_metrics.items()}
            self._save(trainer, LAST)

    def _save(self, trainer: Trainer, name: str) -> None:
        self.saved_step = trainer.global_step
        trainer.save_checkpoint(self.folder / name, weights_only=False)

    def state_dict(self) -> dict[str, Any]:
        """Name of the run, best quality, last metrics, and the states of the generators."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        generators = {"cpu": torch.get_rng_state(), "cuda": cuda}
        return {"run": self.run, "best": self.best, "metrics": self.metrics, "generators": generators}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the run of a checkpoint."""
        self.best, self.metrics, self._generators = state_dict["best"], state_dict["metrics"], state_dict["generators"]


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints staged beside their target, so that a full disk or a kill keeps the old one; read without unpickling."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write `checkpoint` to `path`. OutputError, one line, where the disk is full."""
        content = io.BytesIO()
        torch.save(checkpoint, content)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_whole(Path(path), content.getvalue())

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """What `read_checkpoint` gives."""
        return read_checkpoint(Path(path))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a Lightning checkpoint, plain tensors and numbers only.

    Raises:
        CheckpointError: one line, where the file is missing, cut, a `model.pt`, or something else.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such checkpoint to resume from; leave --ckpt_path out to start afresh")
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(item.file_size for item in archive.infolist()) > path.stat().st_size:
                raise ValueError("compressed")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # noqa: BLE001 - the unpickler fails on garbage in every way there is
        raise CheckpointError(f"{path}: no whole checkpoint, it is cut, damaged or something else; {_AFRESH}") from None
    if isinstance(content, dict) and content.get("format") == FORMAT:
        raise CheckpointError(f"{path}: the weights alone, from which no training can be resumed; give {CHECKPOINTS}/{LAST}")
    entries = content if isinstance(content, dict) else {}
    whole = all(isinstance(entries.get(name), kind) for name, kind in _ENTRIES.items())
    if not whole or len(entries["optimizer_states"]) != 1 or len(entries["lr_schedulers"]) != 1:
        raise CheckpointError(f"{path}: not the checkpoint of a training; give {CHECKPOINTS}/{LAST} of one, or {_AFRESH}")
    return entries


def check_resume(path: Path, module: LightningModule, max_steps: int) -> str | None:
    """Prove that `module` can go on from the checkpoint at `path`, and give the name of the run that wrote it.

    Args:
        path: the checkpoint.
        module: the training that is to go on.
        max_steps: steps that it ends with; -1 if they are not limited.

    Returns:
        The name of the run; None where a version before 0.2 wrote it.

    Raises:
        CheckpointError: one line, with what is different there.
    """
    content = read_checkpoint(path)
    weights, mine = content["state_dict"], module.state_dict()
    if weights.keys() != mine.keys() or any(_kind(weights[name]) != _kind(value) for name, value in mine.items()):
        raise CheckpointError(
            f"{path}: is of another network ({_difference(content, module)}); give the same options, or {_AFRESH}"
        )
    broken = [name for name, value in weights.items() if not bool(value.isfinite().all())]
    if broken:
        raise CheckpointError(f"{path}: weight {broken[0]} is not finite; {_AFRESH}")
    if content["global_step"] > max_steps != -1:
        raise CheckpointError(
            f"{path}: is of step {content['global_step']}, beyond trainer.max_steps={max_steps}; raise max_steps, or {_AFRESH}"
        )
    states = content.get("callbacks", {})
    state = states.get(Keeper.__qualname__) if isinstance(states, dict) else None
    return str(state["run"]) if isinstance(state, dict) and "run" in state else None


def _kind(value: Any) -> tuple[Any, ...]:
    return (value.shape, value.dtype) if isinstance(value, torch.Tensor) else (type(value),)


def _difference(content: dict[str, Any], module: LightningModule) -> str:
    """The options, or else the weights, in which the checkpoint's network is another one."""
    there, here = content.get("hyper_parameters"), dict(module.hparams)
    if isinstance(there, dict):
        sizes = [
            name for name, value in here.items() if isinstance(value, int | str) and name in there and there[name] != value
        ]
        if sizes:
            return ", ".join(f"{name}={here[name]}, the checkpoint has {there[name]!s:.40}" for name in sizes)
    for name, value in module.state_dict().items():
        other = content["state_dict"].get(name)
        if _kind(other) != _kind(value):
            shown = f"{tuple(other.shape)} {other.dtype}" if isinstance(other, torch.Tensor) else "nothing"
            return f"{name} is {tuple(value.shape)} {value.dtype}, the checkpoint has {shown}"
    return "it has further weights"
