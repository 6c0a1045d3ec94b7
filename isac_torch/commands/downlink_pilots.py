"""Commands of the downlink-pilot system: as `isac_torch.commands.tracking`, with its scenario and its allocators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario


def generate(
    scenario: DownlinkPilotScenario,
    num_drops: int,
    output: Path,
    seed: int = 0,
    shard_size: int = 250,
    workers: int = 0,
    scheduler: str | None = None,
    variants: list[dict[str, Any]] | None = None,
) -> None:
    """Write a data set of random roads with the pilot powers of least largest NMSE; resumes what an interrupted run left.

    Args:
        scenario: The road.
        num_drops: Drops in the data set, of each variant if there are any.
        output: Folder of the data set.
        seed: Shard i is drawn from seed + i; keep the ranges of several data sets apart.
        shard_size: Drops in each file.
        workers: Processes on this machine; 0 is one per core.
        scheduler: Address of a running Dask scheduler, such as tcp://host:8786, in place of local workers.
        variants: What to change in the road, one entry a size class: [{num_ues: 6}, {downlink_symbols: 4, uplink_symbols: 16}].
    """
    from isac_torch.datasets.generate import generate_dataset
    from isac_torch.variants import scenario_variants

    generate_dataset(scenario_variants(scenario, variants), num_drops, output, seed, shard_size, workers, scheduler)


def evaluate(
    scenario: DownlinkPilotScenario,
    allocators: list[str],
    num_drops: int,
    seed: int,
    output: Path,
    checkpoint: Path | None = None,
    variants: list[dict[str, Any]] | None = None,
    tensorboard: bool = True,
) -> dict[str, Any]:
    """Run allocators on the same roads: table on the terminal, summary.json, CSV, figures, TensorBoard.

    Args:
        scenario: The road.
        allocators: Names such as full, sca_paper, first_order, gnn, nmse_optimal.
        num_drops: Drops to judge on, for each variant if there are any.
        seed: Take one that no training set uses.
        output: Folder of the results.
        checkpoint: Weights (model.pt) of the learned allocator; default those shipped with the package.
        variants: What to change in the road, one entry a setting: [{num_ues: 6}, {crb_max: 0.5}].
        tensorboard: Whether to write event files too.

    Returns:
        The content of summary.json.
    """
    from isac_torch.evaluation.downlink_pilots.view import VIEW
    from isac_torch.evaluation.settings import Setting
    from isac_torch.evaluation.suite import run

    return run(
        VIEW,
        scenario,
        Setting(num_drops=num_drops, allocators=allocators),
        seed=seed,
        output=output,
        checkpoint=checkpoint,
        tensorboard=tensorboard,
        settings=[Setting(change) for change in ([{}] if variants is None else variants)],
    )
