"""LightningDataModule over labelled shards and freshly drawn drops; the training command builds it from YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import torch

from isac_torch.datasets.fresh import CrbMix, FreshBatches, SirMix
from isac_torch.datasets.loader import ShardBatches, shard_files, split_shards
from isac_torch.datasets.share import ALL, Share
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
from isac_torch.errors import DatasetError
from isac_torch.tracking.scenario import TrackingScenario

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


class PowerDataModule(lightning.LightningDataModule):
    """Batches of (problem, labels) for training and validation.

    Validation always runs on stored drops, whose optimum is known: on `val_path`, or on shards held out of `path`.
    Training runs on the rest of `path`, or, with `fresh_batches`, on drops drawn on the fly.
    """

    def __init__(
        self,
        path: Path | None = None,
        val_path: Path | None = None,
        batch_size: int = 64,
        val_batch_size: int = 256,
        val_share: float = 0.1,
        feasible_only: bool = True,
        fresh_batches: int = 0,
        fresh_scenarios: list[TrackingScenario] | None = None,
        fresh_sir: SirMix | None = None,
        fresh_uses: int = 1,
        seed: int = 1_000_000_000,
        dtype: str = "float32",
        pool_drops: int = 4000,
    ) -> None:
        """Set up without touching a file.

        Args:
            path: data set to train on; with `fresh_batches` and a `val_path` it may be left out.
            val_path: data set to validate on; default shards held out of `path`.
            batch_size: drops in a training batch of each process.
            val_batch_size: drops in a validation batch of each process.
            val_share: share of the shards of each scenario that is held out where there is no `val_path`.
            feasible_only: leave out drops whose label breaks a constraint, most of them proven infeasible.
            fresh_batches: batches of freshly drawn drops that make an epoch; 0 trains on stored drops.
            fresh_scenarios: what to draw them from, in turns; default the paper's network.
            fresh_sir: required SIRs of fresh drops, drawn per drop; default the scenario's.
            fresh_uses: times that each fresh drop is used, in the mean; drawing costs as much as learning.
            seed: of shuffling, and first seed of fresh drops.
            dtype: `float32` or `float64`.
            pool_drops: stored drops of one scenario held in memory and shuffled together.
        """
        super().__init__()
        if dtype not in _DTYPES:
            raise DatasetError(f"dtype={dtype!r} must be float32 or float64")
        if path is None and (val_path is None or fresh_batches < 1):
            raise DatasetError("path is missing; give a data set, or fresh_batches together with val_path")
        self.path, self.val_path, self.val_share = path, val_path, val_share
        self.batch_size, self.val_batch_size = batch_size, val_batch_size
        self.fresh_batches = fresh_batches
        self.seed = seed
        self._fresh: dict[str, Any] = {
            "scenarios": fresh_scenarios or [TrackingScenario()],
            "mix": fresh_sir,
            "uses": fresh_uses,
        }
        self._options: dict[str, Any] = {"dtype": _DTYPES[dtype], "feasible_only": feasible_only, "pool_drops": pool_drops}
        self._train: ShardBatches | FreshBatches | None = None
        self._val: ShardBatches | None = None

    def setup(self, stage: str = "fit") -> None:
        """Read the manifests and choose the shards. DatasetError where a data set is missing, unfinished or foreign."""
        if self._val is not None:
            return
        train = shard_files(Path(self.path)) if self.path is not None else []
        if self.val_path is not None:
            val = shard_files(Path(self.val_path))
        else:
            train, val = split_shards(train, self.val_share)
        share = ALL if self.trainer is None else Share(self.trainer.global_rank, self.trainer.world_size)
        if self.fresh_batches:
            self._train = FreshBatches(
                batch_size=self.batch_size,
                batches=self.fresh_batches,
                seed=self.seed,
                dtype=self._options["dtype"],
                share=share,
                **self._fresh,
            )
        else:
            self._train = ShardBatches(train, self.batch_size, seed=self.seed, share=share, **self._options)
        self._val = ShardBatches(val, self.val_batch_size, shuffle=False, share=share, **self._options)

    def train_dataloader(self) -> ShardBatches | FreshBatches:
        """Shuffled batches of the training drops."""
        if self._train is None:
            self.setup()
        assert self._train is not None  # noqa: S101 - setup has just made it
        return self._train

    def val_dataloader(self) -> ShardBatches:
        """The validation drops, always in the same order."""
        if self._val is None:
            self.setup()
        assert self._val is not None  # noqa: S101
        return self._val

    def state_dict(self) -> dict[str, int]:
        """How far the training drops have been drawn, for checkpoints: a resumed run goes on with new ones."""
        if isinstance(self._train, FreshBatches):
            return self._train.progress()
        return {"epoch": self._train.epoch} if self._train is not None else {}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on where the checkpoint's run stopped drawing."""
        loader = self.train_dataloader()
        if isinstance(loader, FreshBatches):
            loader.go_on(state_dict)
        else:
            loader.epoch = state_dict.get("epoch", 0)


class DownlinkPilotDataModule(PowerDataModule):
    """The same for the downlink-pilot system: fresh drops are roads, and what varies is how well a UE must be located."""

    def __init__(
        self,
        path: Path | None = None,
        val_path: Path | None = None,
        batch_size: int = 48,
        val_batch_size: int = 256,
        val_share: float = 0.1,
        feasible_only: bool = True,
        fresh_batches: int = 0,
        fresh_scenarios: list[DownlinkPilotScenario] | None = None,
        fresh_crb: CrbMix | None = None,
        seed: int = 1_000_000_000,
        dtype: str = "float32",
        pool_drops: int = 4000,
    ) -> None:
        """Set up without touching a file.

        Args:
            path: data set to train on; with `fresh_batches` and a `val_path` it may be left out.
            val_path: data set to validate on; default shards held out of `path`.
            batch_size: drops in a training batch of each process.
            val_batch_size: drops in a validation batch of each process.
            val_share: share of the shards of each scenario that is held out where there is no `val_path`.
            feasible_only: leave out drops whose label breaks a constraint, most of them proven infeasible.
            fresh_batches: batches of freshly drawn drops that make an epoch; 0 trains on stored drops.
            fresh_scenarios: what to draw them from, in turns; default the paper's two UEs.
            fresh_crb: limits Gamma of fresh drops, drawn per drop; default the scenario's.
            seed: of shuffling, and first seed of fresh drops.
            dtype: `float32` or `float64`.
            pool_drops: stored drops of one scenario held in memory and shuffled together.
        """
        super().__init__(
            path=path,
            val_path=val_path,
            batch_size=batch_size,
            val_batch_size=val_batch_size,
            val_share=val_share,
            feasible_only=feasible_only,
            fresh_batches=fresh_batches,
            seed=seed,
            dtype=dtype,
            pool_drops=pool_drops,
        )
        self._fresh = {"scenarios": fresh_scenarios or [DownlinkPilotScenario()], "mix": fresh_crb}


PilotDataModule = DownlinkPilotDataModule
"""The class by the name that YAML files written before version 0.2 give it."""
