"""The benchmark from names to files: what `isac-torch evaluate` does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from isac_torch.errors import AllocationError, ScenarioError
from isac_torch.evaluation.benchmark import run_benchmark
from isac_torch.evaluation.catalog import named_allocator
from isac_torch.evaluation.files import writable_folder
from isac_torch.evaluation.results import write_results

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from isac_torch.tracking.scenario import TrackingScenario

MAX_SEED = 2**32 - 1
"""PyTorch's generator on a CPU uses 32 bits of its seed."""


def evaluate(
    scenario: TrackingScenario,
    *,
    allocators: Sequence[str],
    num_drops: int,
    seed: int,
    output: str | Path,
    checkpoint: str | Path | None = None,
    opc_paper_drops: int = 50,
    tensorboard: bool = True,
) -> dict[str, Any]:
    """Run `allocators` on the same drops and write summary.json, drops.csv, provenance.json, figures and event files.

    The ratios are over the certified optimum: the best answer of opc_batched and opc_global, or of opc_batched alone, from
    `output`/optima if it is there, when neither is in the list. docs/evaluation.md defines every number.

    Args:
        scenario: the network.
        allocators: names, see `isac_torch.evaluation.catalog.KNOWN`.
        num_drops: drops to judge on.
        seed: of the drops; take one that no training set uses.
        output: folder of the results.
        checkpoint: weights of gnn.
        opc_paper_drops: the paper's slow algorithm runs on the first ones only.
        tensorboard: whether to write event files too.

    Returns:
        The content of summary.json.

    Raises:
        IsacError: one line, before any work, on unknown names, missing weights or an output that cannot be written.
    """
    from tqdm import tqdm

    check_run(allocators, num_drops, seed)
    if opc_paper_drops < 1:
        raise ScenarioError(f"opc_paper_drops={opc_paper_drops} must be at least 1")
    named = {name: named_allocator(name, checkpoint) for name in allocators}
    folder = writable_folder(output)
    benchmark = run_benchmark(
        scenario, named, num_drops=num_drops, seed=seed, slow_drops=opc_paper_drops, optima=folder / "optima"
    )
    tqdm.write(write_results(benchmark, folder, checkpoint, tensorboard))
    return benchmark.summary


def check_run(allocators: Sequence[str], num_drops: int, seed: int) -> None:
    """Refuse, in one line, an empty or repeating list of allocators, a number of drops or a seed out of range."""
    if not allocators:
        raise AllocationError("allocators=[] names nobody to evaluate; list at least one, such as upc")
    twice = {name for name in allocators if list(allocators).count(name) > 1}
    if twice:
        raise AllocationError(f"allocators names {sorted(twice)[0]!r} twice; name each once")
    if num_drops < 1:
        raise ScenarioError(f"num_drops={num_drops} must be at least 1")
    if not 0 <= seed <= MAX_SEED:
        raise ScenarioError(f"seed={seed} must lie in 0..{MAX_SEED}")
