"""A service that sees ever-new sizes keeps its memory."""

import gc
import resource
import sys
from pathlib import Path

import numpy as np
import pytest

from isac_torch.deployment.allocator import DeployedAllocator
from isac_torch.deployment.local_policy import DeployedPolicy
from isac_torch.deployment.snapshot import Snapshot

WARM, MORE = 400, 2000
"""Sizes before and after which the memory is read."""


def memory_mib() -> float:
    """Resident memory of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def networks(generator):
    """Random networks; hardly any two of one size."""
    while True:
        aps, ues, targets, listens = (int(generator.integers(*limits)) for limits in ((4, 40), (1, 30), (0, 7), (1, 4)))

        def places(count, height):
            return np.column_stack([generator.uniform(0.0, 900.0, (count, 2)), np.full(count, height)])

        yield Snapshot(
            tx_position=places(aps, 10.0),
            tx_orientation=generator.uniform(-3.0, 3.0, aps),
            rx_position=places(listens, 10.0),
            ue_position=places(ues, 1.65),
            target_position=places(targets, 50.0),
            num_antennas=int(generator.integers(1, 9)),
        )


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("load", [DeployedAllocator.load, DeployedPolicy.load], ids=["central", "distributed"])
def test_memory_stays_flat_over_ever_new_sizes(load):
    allocator, drawn = load(), networks(np.random.default_rng(1))
    for _ in range(WARM):
        allocator(next(drawn))
    gc.collect()
    before = memory_mib()
    for _ in range(MORE):
        allocator(next(drawn))
    gc.collect()
    assert memory_mib() - before < 24.0
