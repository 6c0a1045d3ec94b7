"""How much more rate the weakest UE gets when the radar may lose nothing against uniform power, for several factors.

python examples/dominate_uniform_power.py --size 16x16x4 --drops 8
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import torch

from isac_torch.allocation import Status, allocate
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.communication import rate
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.scenario import TrackingScenario


def compare(
    size: str = "16x16x4", drops: int = 8, seed: int = 7, factors: tuple[float, ...] = (0.8, 0.9, 1.0, 1.1)
) -> list[str]:
    """One line for each common factor of scan echoes, SICNR and position information."""
    scenario = TrackingScenario.of_size(size, listening_aps=2)
    drop = scenario.sample(drops, generator=torch.Generator().manual_seed(seed))
    lines = ["factor  smallest rate / uniform  position error / uniform  infeasible"]
    for factor in factors:
        asked = Requirement("dominate", scan=factor, sicnr=factor, position=factor)
        problem = power_problem(drop, replace(scenario, requirement=asked))
        found = allocate(problem, BatchedOptimal(tie="none"))
        uniform, position = problem.reference, problem.position
        if uniform is None or position is None:  # only where a factor is 0
            continue
        smallest, base = (rate(problem.objective(power), scenario).mean() for power in (found.power, uniform))
        error = (position.error(found.power) / position.error(uniform)).mean()
        infeasible = int((found.status == Status.INFEASIBLE).sum())
        lines.append(f"{factor:6.2f}  {float(smallest / base):23.2f}  {float(error):24.2f}  {infeasible:10d}")
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="16x16x4")
    parser.add_argument("--drops", type=int, default=8)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    print("\n".join(compare(options.size, options.drops, options.seed)))  # noqa: T201 - what it is for
