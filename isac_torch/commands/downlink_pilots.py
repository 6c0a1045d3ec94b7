"""Commands of the downlink-pilot system alone; those of both systems are in `isac_torch.commands.tracking`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
from isac_torch.errors import ScenarioError
from isac_torch.evaluation.settings import Setting


def evaluate(
    scenario: DownlinkPilotScenario,
    allocators: list[str],
    num_drops: int,
    seed: int,
    output: Path,
    checkpoint: Path | None = None,
    variants: list[dict[str, Any]] | None = None,
    settings: list[Setting] | None = None,
    threads: int = 1,
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
        settings: The same with names and numbers of drops: [{name: dense, scenario: {num_ues: 6}, num_drops: 50}].
        threads: Of PyTorch; with one, times are those of one core and depend least on what else the machine does.
        tensorboard: Whether to write event files too.

    Returns:
        The content of summary.json.
    """
    from isac_torch.evaluation.downlink_pilots.view import VIEW
    from isac_torch.evaluation.suite import run

    if variants is not None and settings is not None:
        raise ScenarioError("variants and settings both say what to judge on; give one of them")

    return run(
        VIEW,
        scenario,
        Setting(num_drops=num_drops, allocators=allocators),
        seed=seed,
        output=output,
        checkpoint=checkpoint,
        threads=threads,
        tensorboard=tensorboard,
        settings=settings or [Setting(change) for change in ([{}] if variants is None else variants)],
    )


def frame(
    scenario: DownlinkPilotScenario,
    num_drops: int,
    seed: int,
    output: Path,
    objective: Literal["rate", "energy", "overhead", "nmse", "sum_nmse", "paper_rate"] = "rate",
    rate_min: float | None = None,
    weight: list[float] | None = None,
    splits: list[list[int]] | None = None,
) -> dict[str, Any]:
    """Choose pilot lengths and powers of a frame for every drop, against fixed splits: frames.csv, summary.json, frames.png.

    Args:
        scenario: The road; its pilot lengths are not used, but their sum is by the objectives nmse and sum_nmse.
        num_drops: Fresh drops, the same for every row.
        seed: Take one that no training set uses.
        output: Folder of the results.
        objective: Largest smallest net rate (rate; one more row has lengths that a network chooses), least energy of a frame at
            rate_min (energy), fewest pilot symbols that meet Gamma (overhead), smallest largest NMSE (nmse) or sum of NMSE
            (sum_nmse) at the scenario's pilot symbols, or the largest smallest net rate by the paper's formula (paper_rate).
            All of them meet the localisation bounds.
        rate_min: Net rate of every UE, bit/s, for the objective energy.
        weight: Of each UE's NMSE, for the objectives nmse and sum_nmse.
        splits: Downlink and uplink pilot symbols of each fixed frame to compare with, by default [[4, 16], [10, 10], [16, 4]]
            with at least one symbol per UE.

    Returns:
        The content of summary.json.
    """
    from isac_torch.evaluation.downlink_pilots.frames import compare_frames, default_splits

    return compare_frames(
        scenario,
        num_drops=num_drops,
        seed=seed,
        output=output,
        splits=default_splits(scenario) if splits is None else splits,
        objective=objective,
        rate_min=rate_min,
        weight=weight,
    )
