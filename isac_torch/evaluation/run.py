"""What `isac-torch evaluate` does: one function whose signature is the command's list of options.

Everything heavy is imported inside, so that reading a command line costs nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from isac_torch.evaluation.settings import Setting
from isac_torch.tracking.scenario import TrackingScenario


def evaluate(
    scenario: TrackingScenario,
    allocators: list[str],
    num_drops: int,
    seed: int,
    output: Path | str,
    checkpoint: Path | str | None = None,
    opc_paper_drops: int = 50,
    opc_global_drops: int | None = None,
    sensed_drops: int = 50,
    sensed_blocks: int = 2,
    max_drops: int | None = None,
    threads: int = 1,
    tensorboard: bool = True,
    settings: list[Setting] | None = None,
) -> dict[str, Any]:
    """Run allocators on the same drops: table on the terminal, summary.json, CSV, figures, TensorBoard.

    Ratios are over the certified optimum: the best answer of opc_batched and opc_global, or of opc_batched alone, from
    optima/ in the output folder if it is there, when neither is in the list. docs/evaluation.md defines every number.

    Args:
        scenario: The network.
        allocators: Names such as upc, ppc, fpc_0.5_0.5, opc_paper, opc_global, opc_batched, first_order, gnn, gnn_refined.
        num_drops: Drops to judge on.
        seed: Of the drops; take one that no training set uses.
        output: Folder of the results.
        checkpoint: Weights (model.pt) of the learned allocators; default those shipped with the package.
        opc_paper_drops: The paper's slow algorithm runs on the first ones only.
        opc_global_drops: The readable reference too; default all.
        sensed_drops: Drops whose true echoes are judged.
        sensed_blocks: Coherence blocks over which true echoes are averaged.
        max_drops: Cap on the drops of every setting, for a quick look.
        threads: Of PyTorch; with one, times are those of one core and depend least on what else the machine does.
        tensorboard: Whether to write event files too.
        settings: Several settings in one run, each changing any of the above: [{scenario: {num_ues: 8}}, {num_drops: 50, ...}];
            each gets a folder of its own below the output and an entry in summary.json.

    Returns:
        The content of summary.json.

    Raises:
        IsacError: one line, before any work, on unknown names, missing weights or an output that cannot be written.

    Example:
        >>> from isac_torch.evaluation.run import evaluate
        >>> from isac_torch.tracking.scenario import TrackingScenario
        >>> summary = evaluate(
        ...     TrackingScenario(), ["upc", "opc_batched"], num_drops=8, seed=1, output="runs/table"
        ... )  # doctest: +SKIP
        >>> summary["allocators"]["upc"]["min_rate_ratio_mean"]  # doctest: +SKIP
    """
    from isac_torch.evaluation.suite import run
    from isac_torch.evaluation.tracking.view import VIEW

    return run(
        VIEW,
        scenario,
        Setting({}, None, None, num_drops, list(allocators), opc_paper_drops, opc_global_drops, sensed_drops, sensed_blocks),
        seed=seed,
        output=output,
        checkpoint=checkpoint,
        max_drops=max_drops,
        threads=threads,
        tensorboard=tensorboard,
        settings=settings or (),
    )
