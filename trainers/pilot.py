"""Training of the pilot system's network on fresh drops, without labels."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from isac_torch.nn.checkpoint import save_network
from isac_torch.nn.pilot_graph import link_graph
from isac_torch.nn.pilot_network import PilotNetwork
from isac_torch.nn.shares import merit, powers, row_shortfall
from isac_torch.pilot.build import power_problem
from isac_torch.pilot.problem import MinMaxNmseProblem
from isac_torch.pilot.scenario import PilotScenario
from isac_torch.trainers.objectives import clipped_gradient

MODEL_FILE = "model.pt"
SCENARIOS = tuple(
    PilotScenario(num_ues=ues, downlink_symbols=dl, uplink_symbols=20 - dl)
    for ues, dl in ((2, 4), (2, 6), (2, 10), (6, 10), (6, 14))
)
"""Size classes and pilot ratios that the benchmark asks for."""


class FreshRoads(Dataset[MinMaxNmseProblem]):
    """Batch `index` of new drops: one scenario after the other, each batch from its own seed."""

    def __init__(self, scenarios: tuple[PilotScenario, ...], batches: int, batch_size: int, seed: int) -> None:
        """`batches` batches of `batch_size` drops."""
        self.scenarios, self.batches, self.batch_size, self.seed = scenarios, batches, batch_size, seed

    def __len__(self) -> int:
        """Batches."""
        return self.batches

    def __getitem__(self, index: int) -> MinMaxNmseProblem:
        """The problems of a batch, float32, with localisation limits from half to one and a half times the scenario's."""
        scenario = self.scenarios[index % len(self.scenarios)]
        generator = torch.Generator().manual_seed(self.seed + index)
        drop = scenario.sample(self.batch_size, generator=generator)
        problem = power_problem(drop, scenario)
        factor = 0.75 + 0.5 * torch.rand(self.batch_size, 1, generator=generator, dtype=torch.float64)
        return replace(problem, crb_max=problem.crb_max * factor).cast(torch.float32)


class PilotTraining(lightning.LightningModule):
    """Lowers -merit at every point of the network's trajectory; keeps a running average of the weights."""

    def __init__(
        self,
        hidden: int = 32,
        layers: int = 2,
        refinements: int = 2,
        steps: int = 6,
        learning_rate: float = 2e-3,
        total: int = 1000,
    ) -> None:
        """Network sizes as in `PilotNetwork`; `total` optimiser steps for the cosine."""
        super().__init__()
        self.save_hyperparameters()
        self.network = PilotNetwork(hidden, layers, refinements, steps)
        self.average = deepcopy(self.network).requires_grad_(False)

    def training_step(self, problem: MinMaxNmseProblem, batch_index: int) -> Tensor:
        """A scalar whose gradient is that of the losses, clipped per drop at the logits."""
        points = list(self.network.trajectory(problem, link_graph(problem)))
        scalar = points[-1].new_zeros(())
        early = points[: 1 + self.hparams["refinements"]]
        for weight, logits in [(0.2, point) for point in early] + [(1.0, points[-1])]:
            gradient, value = clipped_gradient(lambda leaf: -merit(problem, powers(problem, leaf), 10.0), logits)
            scalar = scalar + weight * (gradient * logits).sum() / len(logits)
        power = powers(problem, points[-1].detach())
        size = problem.num_drops
        self.log("train/loss", value.mean(), prog_bar=True, batch_size=size)
        self.log("train/largest_nmse_db", -10.0 * problem.objective(power).log10().mean(), batch_size=size)
        self.log("train/crb_shortfall", row_shortfall(problem, power, margin=0.0).mean(), batch_size=size)
        return scalar

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip, and leave out a step with a gradient that is not finite."""
        if not bool(torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0).isfinite()):
            for parameter in self.network.parameters():
                parameter.grad = None

    def on_train_batch_end(self, *_: Any) -> None:
        """Move the running average; it follows faster at first."""
        decay = min(0.99, (1 + self.global_step) / (10 + self.global_step))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(value, 1.0 - decay)

    def configure_optimizers(self) -> Any:
        """AdamW on a cosine."""
        optimizer = torch.optim.AdamW(self.network.parameters(), self.hparams["learning_rate"], weight_decay=1e-4)
        total = max(self.hparams["total"], 1)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min(1.0, (step + 1) / 20) * (0.51 + 0.49 * math.cos(math.pi * min(step / total, 1.0)))
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def transfer_batch_to_device(
        self, batch: MinMaxNmseProblem, device: torch.device, dataloader_idx: int
    ) -> MinMaxNmseProblem:
        """The problems on `device`."""
        return batch.to(device)


def train_pilot(
    output: str | Path,
    scenarios: tuple[PilotScenario, ...] = SCENARIOS,
    steps: int = 1000,
    batch_size: int = 48,
    seed: int = 2_000_000_000,
    hidden: int = 32,
    layers: int = 2,
    refinements: int = 2,
    steps_inside: int = 6,
) -> Path:
    """Train on fresh drops and write `model.pt`, with TensorBoard logs, to a folder.

    Args:
        output: folder; made if need be.
        scenarios: drawn from in turn.
        steps: optimiser steps.
        batch_size: drops in each.
        seed: of the drops; far from those of benchmarks.
        hidden, layers, refinements, steps_inside: sizes, as in `PilotNetwork` (its `steps` are `steps_inside` here).

    Returns:
        Path of the weights.
    """
    from lightning.pytorch.loggers import TensorBoardLogger

    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):  # first weights by a seed of their own, whatever the caller has drawn
        torch.manual_seed(1)
        module = PilotTraining(hidden, layers, refinements, steps_inside, total=steps)
    roads = FreshRoads(scenarios, steps, batch_size, seed)
    trainer = lightning.Trainer(
        max_steps=steps,
        max_epochs=1,
        accelerator="auto",
        devices=1,
        logger=TensorBoardLogger(output, name=None, version="logs", default_hp_metric=False),
        enable_checkpointing=False,
        enable_model_summary=False,
        log_every_n_steps=20,
    )
    trainer.fit(module, DataLoader(roads, batch_size=None))
    facts = {"hyperparameters": dict(module.hparams), "steps": trainer.global_step, "seed": seed}
    save_network(output / MODEL_FILE, module.average.cpu(), facts)
    return output / MODEL_FILE
