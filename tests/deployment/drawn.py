"""Networks that a scenario draws, as the deployed allocator reads them."""

import torch

from isac_torch.deployment.snapshot import Snapshot
from isac_torch.tracking.scenario import TrackingScenario


def snapshots(size, count, seed=970_000_000, **parameters):
    scenario = TrackingScenario.of_size(size, **parameters)
    drops = scenario.sample(count, generator=torch.Generator().manual_seed(seed))
    return [Snapshot.from_drop(drops, index, scenario) for index in range(count)]
