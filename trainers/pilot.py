"""Training of the downlink-pilot system's network with Lightning, without labels: they only judge."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor

from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
from isac_torch.nn.downlink_pilots.network import DownlinkPilotNetwork
from isac_torch.nn.downlink_pilots.shares import localisation_shortfall, merit, powers
from isac_torch.trainers.averaged import AveragedTraining
from isac_torch.trainers.objectives import clipped_gradient
from isac_torch.trainers.ranks import gathered

Batch = tuple[MinMaxNmseProblem, dict[str, Tensor]]

_CRB_SLACK = 1.01
"""A drop counts as violated where a bound exceeds this times Gamma, as in the benchmark."""


class DownlinkPilotTraining(AveragedTraining):
    """Trains a `DownlinkPilotNetwork` to lower the largest NMSE; validates the averaged weights against stored optima.

    The loss is -merit (`isac_torch.nn.downlink_pilots.shares`): log of the largest NMSE plus `row_weight` times the missing
    localisation, at the end of the network's trajectory and, weighted less, after each correction.
    """

    def __init__(
        self,
        hidden: int = 48,
        layers: int = 2,
        refinements: int = 1,
        steps: int = 10,
        learning_rate: float = 2e-3,
        weight_decay: float = 1e-4,
        warmup_steps: int = 20,
        early_weight: float = 0.2,
        row_weight: float = 10.0,
        margin: float = 0.005,
        average_decay: float = 0.99,
    ) -> None:
        """Network and optimiser settings.

        Args:
            hidden: width of the network.
            layers: message layers before the first correction.
            refinements: further message layers, each with a correction.
            steps: balancing steps after them.
            learning_rate: of AdamW at its highest; falls to 2 % of it on a cosine.
            weight_decay: of AdamW.
            warmup_steps: steps over which the learning rate rises.
            early_weight: weight of the loss after each correction.
            row_weight: nepers of NMSE that a neper of missing localisation is worth.
            margin: nepers by which every bound is to stay below Gamma.
            average_decay: of the running average of the weights that is validated and stored.
        """
        super().__init__(average_decay)
        self.save_hyperparameters()
        self.network: DownlinkPilotNetwork = DownlinkPilotNetwork(hidden, layers, refinements, steps)
        self.average: DownlinkPilotNetwork = deepcopy(self.network).requires_grad_(False)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """A scalar whose gradient is that of the losses, clipped per drop at the logits."""
        problem, _ = batch
        points = self.network.points(problem)
        scalar, value = self._pull(problem, points[-1])
        for early in points[: self.network.corrections]:
            scalar = scalar + self.hparams["early_weight"] * self._pull(problem, early)[0]
        power = powers(problem, points[-1].detach())
        size = problem.num_drops
        self.log("train/loss", value, prog_bar=True, batch_size=size)
        self.log("train/largest_nmse_db", -10.0 * problem.objective(power).log10().mean(), batch_size=size)
        self.log("train/crb_shortfall", localisation_shortfall(problem, power, margin=0.0).mean(), batch_size=size)
        self.log("train/learning_rate", self.optimizers().param_groups[0]["lr"], batch_size=size)  # type: ignore[union-attr]
        return scalar

    def _pull(self, problem: MinMaxNmseProblem, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Scalar whose gradient in `logits` is the clipped one, and the mean loss."""
        aim = self.hparams["row_weight"], self.hparams["margin"]
        gradient, value = clipped_gradient(lambda leaf: -merit(problem, powers(problem, leaf), *aim), logits)
        return (gradient * logits).sum() / len(logits), value.mean()

    def validation_step(self, batch: Batch, batch_index: int) -> dict[str, Tensor]:
        """Largest NMSE over that of the stored optimum, and whether a localisation bound is missed, drop by drop."""
        problem, label = batch
        with torch.no_grad():
            power = powers(problem, self.average.points(problem)[-1])
            ratio = label["value"].to(power.dtype) / problem.objective(power)
            missed = (problem.crb(power) > _CRB_SLACK * problem.crb_max).any(-1)
            self._seen.append((ratio, missed.float()))
        return {"ratio": ratio}

    def on_validation_epoch_start(self) -> None:
        """Forget the drops of the validation before."""
        self._seen: list[tuple[Tensor, Tensor]] = []

    def on_validation_epoch_end(self) -> None:
        """Log the quantities by which a network is judged, under the names of the benchmark."""
        ratio, missed = (gathered(torch.cat(parts).float()) for parts in zip(*self._seen, strict=True))
        self.log("val/nmse_ratio", ratio.mean(), prog_bar=True)
        self.log("val/nmse_ratio_p95", ratio.quantile(0.95), prog_bar=True)
        self.log("val/nmse_ratio_max", ratio.max())
        self.log("val/crb_violation_rate", missed.mean(), prog_bar=True)
