"""Commands of the downlink-pilot system alone; those of both systems are in `isac_torch.commands.tracking`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
        tensorboard=tensorboard,
        settings=settings or [Setting(change) for change in ([{}] if variants is None else variants)],
    )
