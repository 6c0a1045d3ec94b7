"""Learned powers against the certified optimum and fractional power control on a few fresh drops, from Python.

python examples/compare_policies.py
python examples/compare_policies.py --size 8x4x2 --drops 4 --checkpoint runs/training/model.pt
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from isac_torch.allocation import allocate
from isac_torch.allocators.registry import named_allocator
from isac_torch.errors import CheckpointError
from isac_torch.evaluation.tracking.metrics import rate_ratio
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.communication import rate
from isac_torch.tracking.scenario import TrackingScenario

POLICIES = ("fpc_0_1", "first_order", "gnn", "gnn_refined")


def compare(size: str, drops: int, seed: int, checkpoint: Path | None) -> list[str]:
    """A line for every policy: mean smallest rate, mean share of the optimum, drops in which a constraint is broken.

    Drops that no powers make feasible are left out; a network is left out where there are no weights of it.
    """
    scenario = TrackingScenario.of_size(size, sir_min_db=-5.0)
    problem = power_problem(scenario.sample(drops, generator=torch.Generator().manual_seed(seed)), scenario)
    best = allocate(problem, named_allocator("opc_batched"))
    solved = best.violation <= 1e-6
    lines = [f"{int(solved.sum())} of {drops} drops of {scenario.name} are feasible"]
    for name in ("opc_batched", *POLICIES):
        try:
            found = best if name == "opc_batched" else allocate(problem, named_allocator(name, checkpoint))
        except CheckpointError as error:
            lines.append(f"{name:12s} left out: {error}")
            continue
        smallest = rate(found.value[solved], scenario).mean() / 1e6
        ratio = rate_ratio(found.value[solved], best.value[solved]).mean()
        broken = int((found.violation[solved] > 1e-6).sum())
        lines.append(f"{name:12s} {smallest:7.3f} Mbit/s   {ratio:.3f} of the optimum   {broken} drop(s) break a constraint")
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    """Read the options and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="16x16x4", help="APs x UEs x targets")
    parser.add_argument("--drops", type=int, default=16)
    parser.add_argument("--seed", type=int, default=900_000)
    parser.add_argument("--checkpoint", type=Path, help="weights (model.pt) of the network; default those of the package")
    options = parser.parse_args(argv)
    print("\n".join(compare(options.size, options.drops, options.seed, options.checkpoint)))  # noqa: T201 - what it is for


if __name__ == "__main__":
    main()
