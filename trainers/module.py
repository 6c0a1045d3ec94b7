"""Training of the allocating network with Lightning."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import asdict

import torch
from torch import Tensor, nn

from isac_torch.errors import IsacError
from isac_torch.nn.tracking.merit import FIRST_SENSING_WEIGHT, MAX_MIN, Aim
from isac_torch.nn.tracking.network import AllocationNetwork
from isac_torch.nn.tracking.one_shot import OneShotNetwork
from isac_torch.nn.tracking.own import OwnNetwork, class_path
from isac_torch.nn.tracking.share_network import ShareNetwork
from isac_torch.nn.tracking.shares import log_quality
from isac_torch.tensors import to_db
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.trainers.averaged import AveragedTraining
from isac_torch.trainers.objectives import clipped_gradient, supervised_loss
from isac_torch.trainers.ranks import gathered
from isac_torch.trainers.settings import LOSS, NETWORK, OPTIMISER, LossSettings, NetworkSettings, OptimiserSettings
from isac_torch.trainers.start import take_weights

Network = AllocationNetwork | OneShotNetwork | ShareNetwork | OwnNetwork
Batch = tuple[MaxMinSinrProblem, dict[str, Tensor]]

_MISSED = 1e-4
"""Nepers below what is required from which the multiplier counts a constraint as missed."""
_SLACK = 0.1 * math.log(10.0) / 10.0
"""Nepers (0.1 dB) below what is required from which validation does, as the benchmark."""


class AllocationTraining(AveragedTraining):
    """Trains a network of the tracking system; validates the running average of its weights against stored optima.

    `LossSettings` says what is minimised.
    """

    def __init__(
        self,
        network: NetworkSettings = NETWORK,
        loss: LossSettings = LOSS,
        optimiser: OptimiserSettings = OPTIMISER,
        own: nn.Module | None = None,
        start: str | None = None,
    ) -> None:
        """A new network to be trained.

        Args:
            network: which one, and its sizes.
            loss: what is minimised.
            optimiser: its steps, and the running average of the weights.
            own: a module of yours in place of `network`, named by `class_path`; see `isac_torch.nn.tracking.own`.
            start: weights (model.pt) of a training of the same network to go on from; default new ones.
        """
        super().__init__(optimiser.average_decay)
        if network.kind == "shares" and loss.objective != "unsupervised":
            raise IsacError(
                f"loss.objective={loss.objective} has no meaning for network.kind=shares; choose loss.objective: unsupervised"
            )
        sizes = {name: value for name, value in asdict(network).items() if name != "kind"}
        # One flat list of plain values, under the names that checkpoints, cards and TensorBoard have always had.
        shape = {"network": network.kind, **sizes} if own is None else {"network": class_path(type(own))}
        self.save_hyperparameters({**shape, **asdict(loss), **asdict(optimiser), "start": start})
        self.settings = loss
        self.network: Network
        if own is not None:
            self.network = OwnNetwork(own)
        elif network.kind == "one_shot":
            self.network = OneShotNetwork(network.hidden, network.layers)
        else:
            self.network = (AllocationNetwork if network.kind == "refined" else ShareNetwork)(**sizes)
        if start is not None:
            if isinstance(self.network, OwnNetwork):
                raise IsacError(f"start={start}: a network of your own goes on by --ckpt_path alone; leave start out")
            take_weights(self.network, start)
        self.average: Network = deepcopy(self.network).requires_grad_(False)
        self.row_weight: Tensor  # the name that stored checkpoints have
        self.register_buffer("row_weight", torch.tensor(loss.sensing_weight))

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """A scalar whose gradient is that of the objective, clipped per drop at the predicted directions."""
        problem, label = batch
        aim = self._aim()
        points = self.network.points(problem, aim)
        early = points[self.network.corrections - 1]
        total, value = self._pull(problem, label, points[-1], aim, float(self.row_weight))
        if early is not points[-1]:
            total = total + self.settings.early_weight * self._pull(problem, label, early, aim, FIRST_SENSING_WEIGHT)[0]
        if aim == MAX_MIN:
            self._log_training(problem, points[-1].detach(), value)
        return total

    def _aim(self) -> Aim:
        """Plain directions and directions by UE beams in turns; each `fair_every`-th step is for proportional fairness."""
        step, every = self.global_step, self.settings.fair_every
        aim = Aim(by_ue_beams=bool(step % 2))
        if every and step % every == every - 1:
            aim = Aim("proportional_fair", by_ue_beams=bool(step // every % 2))
        return aim if aim in self.network.AIMS else MAX_MIN

    def _pull(
        self, problem: MaxMinSinrProblem, label: dict[str, Tensor], logits: Tensor, aim: Aim, row_weight: float
    ) -> tuple[Tensor, Tensor]:
        """Scalar whose gradient in `logits` is the clipped one, and the mean loss."""
        supervised = self._supervised_share() if aim.objective == "max_min" else 0.0
        if supervised > 0.0 and "power" not in label:
            raise IsacError("supervised training needs labels; give the data module a path and fresh_batches: 0")
        scalar, mean = logits.new_zeros(()), logits.new_zeros(())
        losses = [
            (supervised, lambda leaf: supervised_loss(problem, leaf, label["power"])),
            (1.0 - supervised, lambda leaf: self.network.loss(problem, leaf, row_weight, aim)),
        ]
        for share, loss in losses:
            if share > 0.0:
                gradient, value = clipped_gradient(loss, logits)
                scalar = scalar + share * (gradient * logits).sum() / len(logits)
                mean = mean + share * value.mean()
        return scalar, mean

    def _supervised_share(self) -> float:
        objective = self.settings.objective
        if objective == "hybrid":
            return max(0.0, 1.0 - self.global_step / max(self.settings.supervised_steps, 1))
        return 1.0 if objective == "supervised" else 0.0

    def _log_training(self, problem: MaxMinSinrProblem, logits: Tensor, value: Tensor) -> None:
        with torch.no_grad():
            power = self.network.power(problem, logits)
            missed = log_quality(problem, power) < -_MISSED
            share = missed.float().mean() if missed.numel() else value.new_zeros(())
            share = self.trainer.strategy.reduce(share, reduce_op="mean")  # one multiplier for all processes
        change = self.settings.sensing_weight_step * (share - self.settings.sensing_violations)
        self.row_weight.mul_(change.exp()).clamp_(0.1, 100.0)
        size = problem.num_drops
        self.log("train/loss", value, prog_bar=True, batch_size=size)
        self.log("train/min_sinr_db", to_db(problem.objective(power).clamp_min(1e-9)).mean(), batch_size=size)
        self.log("train/sir_violation_rate", share, batch_size=size)
        self.log("train/row_multiplier", self.row_weight, batch_size=size)
        self.log("train/supervised_share", self._supervised_share(), batch_size=size)
        self.log("train/learning_rate", self.optimizers().param_groups[0]["lr"], batch_size=size)  # type: ignore[union-attr]

    def validation_step(self, batch: Batch, batch_index: int) -> dict[str, Tensor]:
        """Smallest rate over that of the stored optimum, and whether each sensing constraint is met, per drop."""
        problem, label = batch
        with torch.no_grad():
            logits = self.average.points(problem)[-1]
            power = self.average.power(problem, logits)
            value = problem.objective(power)
            ratio = torch.log2(1.0 + value) / torch.log2(1.0 + label["value"].to(value.dtype)).clamp_min(1e-9)
            short = log_quality(problem, power) < -_SLACK
            self._seen.append((ratio.clamp_max(1.0), short.float().flatten(), value))
        return {"ratio": ratio}

    def on_validation_epoch_start(self) -> None:
        """Forget the drops of the validation before."""
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def on_validation_epoch_end(self) -> None:
        """Log the quantities by which a network is judged, under their physical names."""
        ratio, short, value = (gathered(torch.cat(parts).float()) for parts in zip(*self._seen, strict=True))
        self.log("val/min_rate_ratio", ratio.mean(), prog_bar=True)
        self.log("val/min_rate_ratio_p5", ratio.quantile(0.05), prog_bar=True)
        self.log("val/min_rate_ratio_worst", ratio.min())
        self.log("val/sir_violation_rate", short.mean() if short.numel() else 0.0, prog_bar=True)
        self.log("val/min_sinr_db", to_db(value.clamp_min(1e-9)).mean())
