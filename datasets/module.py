"""LightningDataModule over labelled shards and freshly drawn drops; the training command builds it from YAML."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning
import torch

from isac_torch.datasets.fresh import BudgetMix, CrbMix, EitherMix, FactorMix, FreshBatches, SirMix
from isac_torch.datasets.loader import ShardBatches, ShardFile, shard_files, split_shards
from isac_torch.datasets.manifest import read_manifest
from isac_torch.datasets.share import ALL, Share
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
from isac_torch.errors import DatasetError
from isac_torch.systems import Scenario
from isac_torch.tracking.requirement import PLAIN
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.variants import scenarios_of

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


class _StoredOrFresh(lightning.LightningDataModule):
    """Batches of (problem, labels) of one system for training and validation.

    Validation always runs on stored drops, whose optimum is known: on `val_path`, or on shards held out of `path`.
    Training runs on the rest of `path`, or, with `fresh_batches`, on drops drawn on the fly.
    """

    SYSTEM: str

    def __init__(
        self,
        path: Path | None = None,
        val_path: Path | None = None,
        batch_size: int = 64,
        val_batch_size: int = 256,
        val_share: float = 0.1,
        feasible_only: bool = True,
        fresh_batches: int = 0,
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
            seed: of shuffling, and first seed of fresh drops.
            dtype: `float32` or `float64`; the network computes in the same.
            pool_drops: stored drops of one scenario held in memory and shuffled together.
        """
        super().__init__()
        if dtype not in _DTYPES:
            raise DatasetError(f"dtype={dtype!r} must be float32 or float64")
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("val_batch_size", val_batch_size, 1),
            ("fresh_batches", fresh_batches, 0),
            ("seed", seed, 0),
            ("pool_drops", pool_drops, 1),
        ):
            if value < least:
                raise DatasetError(f"{name}={value} must be at least {least}")
        if path is None and (val_path is None or fresh_batches < 1):
            raise DatasetError("path is missing; give a data set, or fresh_batches together with val_path")
        self.path, self.val_path, self.val_share = path, val_path, val_share
        self.batch_size, self.val_batch_size = batch_size, val_batch_size
        self.fresh_batches = fresh_batches
        self.seed, self.dtype = seed, _DTYPES[dtype]
        self._fresh: dict[str, Any] = {}
        self._options: dict[str, Any] = {"dtype": self.dtype, "feasible_only": feasible_only, "pool_drops": pool_drops}
        self._train: ShardBatches | FreshBatches | None = None
        self._val: ShardBatches | None = None

    def _draws(
        self,
        scenarios: Sequence[Scenario],
        mix: SirMix | FactorMix | EitherMix | CrbMix | None,
        uses: int = 1,
        budgets: BudgetMix | None = None,
    ) -> None:
        """From what fresh drops are drawn."""
        if uses < 1:
            raise DatasetError(f"fresh_uses={uses} must be at least 1")
        self._fresh = {"scenarios": scenarios, "mix": mix, "uses": uses, "budgets": budgets}

    def files(self) -> tuple[list[ShardFile], list[ShardFile]]:
        """Shards for training and for validation, as their manifests describe them. Reads no shard.

        Raises:
            DatasetError: one line, where a data set is missing, unfinished, foreign or without a drop that can be used.
        """
        train = shard_files(Path(self.path), self.SYSTEM) if self.path is not None else []
        val = shard_files(Path(self.val_path), self.SYSTEM) if self.val_path is not None else []
        needed = [train if self.val_path is None or not self.fresh_batches else [], val]
        if self.val_path is None:
            train, val = split_shards(train, self.val_share)
        needed += [[] if self.fresh_batches else train, val]
        for files in needed if self._options["feasible_only"] else ():
            _check_feasible(files)
        return train, val

    def facts(self) -> dict[str, Any]:
        """What networks are trained on, for `model.pt`: scenarios, each once, and the drawn requirements; JSON-able."""
        if not self.fresh_batches:
            recipe = json.loads(read_manifest(Path(str(self.path))).recipe)
            return {"scenarios": recipe["scenarios"], "requirements": None, "seed": recipe["seed"]}
        mix, budgets = self._fresh["mix"], self._fresh["budgets"]
        scenarios = [asdict(scenario) for scenario in dict.fromkeys(self._fresh["scenarios"])]
        return {
            "scenarios": scenarios,
            "requirements": None if mix is None else asdict(mix),
            "budgets": None if budgets is None else asdict(budgets),
            "seed": self.seed,
        }

    def setup(self, stage: str = "fit") -> None:
        """Choose the shards of this process. DatasetError as `files`."""
        if self._val is not None:
            return
        train, val = self.files()
        share = ALL if self.trainer is None else Share(self.trainer.global_rank, self.trainer.world_size)
        if self.fresh_batches:
            self._train = FreshBatches(
                batch_size=self.batch_size,
                batches=self.fresh_batches,
                seed=self.seed,
                dtype=self.dtype,
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
        """How far the training drops are gone through. Lightning itself restores a loader's state only within an epoch."""
        return self._train.state_dict() if self._train is not None else {}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on where the run that wrote a checkpoint was; with the next drops, where a version before 0.2 wrote it."""
        loader = self.train_dataloader()
        if "processes" in state_dict:
            loader.load_state_dict(state_dict)
        elif isinstance(loader, FreshBatches):
            loader.load_state_dict({"drawn": 0, "given": 0} | state_dict)
        else:  # they counted the passes that were begun
            loader.load_state_dict({"epoch": state_dict.get("epoch", 0) - 1, "given": 0})


def _check_feasible(files: Sequence[ShardFile]) -> None:
    if files and not any(file.feasible for file in files):
        raise DatasetError(
            f"{files[0].path.parent}: none of its {sum(file.num_drops for file in files)} drops meets its constraints; "
            "set feasible_only=false or generate it with a weaker sensing requirement"
        )


class PowerDataModule(_StoredOrFresh):
    """Batches of (problem, labels) of the tracking system for training and validation, from a data set or freshly drawn."""

    SYSTEM = "tracking"

    def __init__(
        self,
        fresh_scenarios: list[dict[str, Any]] | list[TrackingScenario] | None = None,
        fresh_sir: SirMix | None = None,
        fresh_factor: FactorMix | None = None,
        fresh_budgets: BudgetMix | None = None,
        fresh_uses: int = 1,
        **options: Any,
    ) -> None:
        """Set up without touching a file.

        Args:
            fresh_scenarios: what to draw fresh drops from, in turns: scenarios, or changes of the paper's network; default
                that network.
            fresh_sir: required SIRs of fresh drops, drawn per drop; default the scenario's.
            fresh_factor: factors on the requirements of fresh drops, drawn per drop. Beside `fresh_sir`, which then is for
                scenarios that require a SIR, those of all other scenarios.
            fresh_budgets: power budgets of the APs of fresh drops; default the scenario's.
            fresh_uses: times that each fresh drop is used, in the mean; drawing costs as much as learning.
            options: as of both systems.
        """
        super().__init__(**options)
        scenarios = scenarios_of(TrackingScenario, fresh_scenarios)
        mix: SirMix | FactorMix | EitherMix | None = fresh_sir or fresh_factor
        if fresh_sir is not None and fresh_factor is not None:
            if len({scenario.requirement.kind in PLAIN for scenario in scenarios}) == 1:
                raise DatasetError(
                    "fresh_sir and fresh_factor both say what fresh drops are asked for, but no scenario needs the second; "
                    "give one of them, or scenarios with a SIR and with another requirement"
                )
            mix = EitherMix(fresh_sir, fresh_factor)
        self._draws(scenarios, mix, fresh_uses, fresh_budgets)


class DownlinkPilotDataModule(_StoredOrFresh):
    """The same for the downlink-pilot system: fresh drops are roads, and what varies is how well a UE must be located."""

    SYSTEM = "downlink_pilots"

    def __init__(
        self,
        batch_size: int = 48,
        fresh_scenarios: list[dict[str, Any]] | list[DownlinkPilotScenario] | None = None,
        fresh_crb: CrbMix | None = None,
        **options: Any,
    ) -> None:
        """Set up without touching a file.

        Args:
            batch_size: drops in a training batch of each process.
            fresh_scenarios: what to draw fresh drops from, in turns: scenarios, or changes of the paper's two UEs; default
                those.
            fresh_crb: limits Gamma of fresh drops, drawn per drop; default the scenario's.
            options: as of both systems.
        """
        super().__init__(batch_size=batch_size, **options)
        self._draws(scenarios_of(DownlinkPilotScenario, fresh_scenarios), fresh_crb)


PilotDataModule = DownlinkPilotDataModule
"""The class by the name that YAML files written before version 0.2 give it."""
