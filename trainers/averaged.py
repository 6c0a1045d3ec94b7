"""What the training of both systems' networks has in common: the optimiser, sound steps, a running average of the weights."""

from __future__ import annotations

import math
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from isac_torch.errors import IsacError


class AveragedTraining(lightning.LightningModule):
    """Trains `network` and keeps in `average` the running average of its weights, which is what is validated and stored.

    Subclasses set both and save the hyper-parameters learning_rate, weight_decay, warmup_steps and average_decay.
    """

    network: nn.Module
    average: nn.Module

    def __init__(self, average_decay: float) -> None:
        """Refuse a decay of the running average below 0, or one at which it never moves."""
        super().__init__()
        if not 0.0 <= average_decay < 1.0:
            raise IsacError(f"average_decay={average_decay} must be at least 0 and below 1")

    def stored(self) -> nn.Module:
        """The network that `model.pt` holds."""
        return self.average

    def on_fit_start(self) -> None:
        """Take down what the network is trained on: `model.pt` stores it with the hyper-parameters."""
        data = getattr(self.trainer, "datamodule", None)
        if data is not None and hasattr(data, "facts"):
            self.hparams["data"] = data.facts()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Leave out a step with a gradient that is not finite, and clip the others."""
        length = torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        if not bool(length.isfinite()):
            for parameter in self.network.parameters():
                parameter.grad = None
        self.log("train/gradient_norm", length.nan_to_num(0.0))

    def on_train_batch_end(self, *_: Any) -> None:
        """Move the running average; it follows faster at first."""
        decay = min(self.hparams["average_decay"], (1 + self.global_step) / (10 + self.global_step))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(value, 1.0 - decay)
            for kept, current in zip(self.average.buffers(), self.network.buffers(), strict=True):
                kept.copy_(current)  # such as the statistics of a user's batch normalisation

    def configure_optimizers(self) -> Any:
        """AdamW, warmed up, then on a cosine over the whole run."""
        optimizer = torch.optim.AdamW(
            self.network.parameters(), self.hparams["learning_rate"], weight_decay=self.hparams["weight_decay"]
        )
        total = max(int(self.trainer.estimated_stepping_batches), 1)
        warmup = max(self.hparams["warmup_steps"], 1)

        def factor(step: int) -> float:
            return min(1.0, (step + 1) / warmup) * (0.51 + 0.49 * math.cos(math.pi * min(step / total, 1.0)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def transfer_batch_to_device(
        self, batch: tuple[Any, dict[str, Tensor]], device: torch.device, dataloader_idx: int
    ) -> tuple[Any, dict[str, Tensor]]:
        """The problem and its labels on `device`."""
        problem, label = batch
        return problem.to(device), {name: value.to(device) for name, value in label.items()}
