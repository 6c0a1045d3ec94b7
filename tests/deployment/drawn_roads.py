"""Roads for the tests, as torch's problems and as snapshots."""

from dataclasses import replace

import numpy as np
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


def with_complex_pilots(snapshots, symbols):
    """The same roads with complex downlink pilots; products of a scenario's own are real."""
    rng, shape = np.random.default_rng(5), (snapshots[0].num_ues, symbols)
    pilots = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    pilots /= np.linalg.norm(pilots, axis=1, keepdims=True)
    gram = pilots.conj() @ pilots.T
    np.fill_diagonal(gram, 1.0)
    return [replace(snapshot, gram_real=gram.real, gram_imag=gram.imag) for snapshot in snapshots]
