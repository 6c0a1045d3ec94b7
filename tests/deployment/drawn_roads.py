"""Roads for the tests, as torch's problems and as snapshots."""

import torch

from isac_torch import (
    DownlinkPilotScenario,
    RoadAllocator,
    RoadSnapshot,
    power_problem,
)

ALLOCATOR = RoadAllocator.load()


def roads(count=1, seed=3, **changes):
    """A batch of torch's problems, and the same roads as snapshots."""
    scenario = DownlinkPilotScenario(**changes)
    drop = scenario.sample(count, generator=torch.Generator().manual_seed(seed))
    return power_problem(drop, scenario), [RoadSnapshot.from_drop(drop, index, scenario) for index in range(count)]
