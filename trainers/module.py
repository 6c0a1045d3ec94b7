"""Training of the allocating network with Lightning."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Literal

import torch
from torch import Tensor

from isac_torch.errors import IsacError
from isac_torch.nn.tracking.merit import FIRST_ROW_WEIGHT, MAX_MIN, Aim
from isac_torch.nn.tracking.network import AllocationNetwork
from isac_torch.nn.tracking.one_shot import OneShotNetwork
from isac_torch.nn.tracking.share_network import ShareNetwork
from isac_torch.nn.tracking.shares import log_quality
from isac_torch.tensors import to_db
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.trainers.averaged import AveragedTraining
from isac_torch.trainers.objectives import clipped_gradient, supervised_loss
from isac_torch.trainers.ranks import gathered

Network = AllocationNetwork | OneShotNetwork | ShareNetwork
Batch = tuple[MaxMinSinrProblem, dict[str, Tensor]]

_MISSED = 1e-4
"""Nepers below what is required from which the multiplier counts a constraint as missed."""
_SLACK = 0.1 * math.log(10.0) / 10.0
"""Nepers (0.1 dB) below what is required from which validation does, as the benchmark."""


class AllocationTraining(AveragedTraining):
    """Trains a network of the tracking system; validates the running average of its weights against stored optima.

    `unsupervised` raises the smallest rate under a multiplier on the sensing constraints; `supervised` imitates the label's
    shares; `hybrid` starts supervised and fades into unsupervised over `supervised_steps`.
    """

    def __init__(
        self,
        objective: Literal["supervised", "unsupervised", "hybrid"] = "unsupervised",
        hidden: int = 48,
        layers: int = 2,
        refinements: int = 2,
        steps: int = 8,
        learning_rate: float = 2e-3,
        weight_decay: float = 1e-2,
        warmup_steps: int = 20,
        supervised_steps: int = 100,
        early_weight: float = 0.3,
        row_weight: float = 3.0,
        row_weight_step: float = 0.0,
        row_violations: float = 0.005,
        average_decay: float = 0.99,
        fair_every: int = 0,
        network: Literal["refined", "one_shot", "shares"] = "refined",
    ) -> None:
        """Network and optimiser settings.

        Args:
            objective: see the class.
            hidden: width of the network.
            layers: message layers before the first correction.
            refinements: further message layers, each with a correction.
            steps: learned gradient steps after them.
            learning_rate: of AdamW at its highest; falls to 2 % of it on a cosine.
            weight_decay: of AdamW.
            warmup_steps: steps over which the learning rate rises.
            supervised_steps: steps over which `hybrid` fades from labels to rates.
            early_weight: weight of the loss at the directions before the learned steps.
            row_weight: first value of the multiplier of the sensing rows, nepers of rate a neper of SIR.
            row_weight_step: log-step of the multiplier by (violated share - row_violations); 0 keeps it constant.
            row_violations: share of violated rows that the multiplier aims at.
            average_decay: of the running average of the weights that is validated and stored.
            fair_every: each so-many-th step trains for proportional fairness instead of the smallest rate; 0 for none.
            network: `one_shot` is the one for deployment: no learned steps, only the smallest rate; `shares` is the one for
                sensing constraints that ask for watts, only unsupervised.
        """
        super().__init__(average_decay)
        self.save_hyperparameters()
        if network == "shares" and objective != "unsupervised":
            raise IsacError(f"objective={objective} has no meaning for network=shares; choose objective: unsupervised")
        self.network: Network
        if network == "one_shot":
            self.network = OneShotNetwork(hidden, layers)
        else:
            self.network = (AllocationNetwork if network == "refined" else ShareNetwork)(hidden, layers, refinements, steps)
        self.average: Network = deepcopy(self.network).requires_grad_(False)
        self.row_weight: Tensor
        self.register_buffer("row_weight", torch.tensor(row_weight))

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """A scalar whose gradient is that of the objective, clipped per drop at the predicted directions."""
        problem, label = batch
        aim = self._aim()
        points = self.network.points(problem, aim)
        early = points[self.network.corrections - 1]
        total, value = self._pull(problem, label, points[-1], aim, float(self.row_weight))
        if early is not points[-1]:
            total = total + self.hparams["early_weight"] * self._pull(problem, label, early, aim, FIRST_ROW_WEIGHT)[0]
        if aim == MAX_MIN:
            self._log_training(problem, points[-1].detach(), value)
        return total

    def _aim(self) -> Aim:
        """Plain and frugal directions in turns; each `fair_every`-th step is for proportional fairness."""
        step, every = self.global_step, self.hparams["fair_every"]
        aim = Aim(frugal=bool(step % 2))
        if every and step % every == every - 1:
            aim = Aim("proportional_fair", frugal=bool(step // every % 2))
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
        objective = self.hparams["objective"]
        if objective == "hybrid":
            return max(0.0, 1.0 - self.global_step / max(self.hparams["supervised_steps"], 1))
        return 1.0 if objective == "supervised" else 0.0

    def _log_training(self, problem: MaxMinSinrProblem, logits: Tensor, value: Tensor) -> None:
        with torch.no_grad():
            power = self.network.power(problem, logits)
            missed = log_quality(problem, power) < -_MISSED
            share = missed.float().mean() if missed.numel() else value.new_zeros(())
            share = self.trainer.strategy.reduce(share, reduce_op="mean")  # one multiplier for all processes
        change = self.hparams["row_weight_step"] * (share - self.hparams["row_violations"])
        self.row_weight.mul_(change.exp()).clamp_(0.1, 100.0)
        size = problem.num_drops
        self.log("train/loss", value, prog_bar=True, batch_size=size)
        self.log("train/min_sinr_db", to_db(problem.objective(power).clamp_min(1e-9)).mean(), batch_size=size)
        self.log("train/sir_violation_rate", share, batch_size=size)
        self.log("train/row_multiplier", self.row_weight, batch_size=size)
        self.log("train/supervised_share", self._supervised_share(), batch_size=size)
        self.log("train/learning_rate", self.optimizers().param_groups[0]["lr"], batch_size=size)  # type: ignore[union-attr]

    def validation_step(self, batch: Batch, batch_index: int) -> dict[str, Tensor]:
        """Smallest rate over that of the stored optimum, and whether each row is met, drop by drop."""
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
