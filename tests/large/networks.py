"""Networks for the tests of the allocator for thousands of APs."""

import dataclasses

import numpy as np
import torch

from isac_torch.deployment.snapshot import Snapshot
from isac_torch.large.sample import sample_network
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.scenario import TrackingScenario


def network(aps, ues, targets, seed, **fields):
    """A network at the paper's density on 32 pilots."""
    scenario = TrackingScenario(num_aps=aps, num_ues=ues, num_targets=targets, pilot_length=32, coherence_length=200)
    return dataclasses.replace(sample_network(scenario, seed), **fields)


def dense(size, **parameters):
    """One dense drop of the paper's kind as a problem and as a snapshot."""
    scenario = TrackingScenario.of_size(size, **parameters)
    drop = scenario.sample(1, generator=torch.Generator().manual_seed(900_001))
    return power_problem(drop, scenario), Snapshot.from_drop(drop, 0, scenario)


def random_powers(problem, seed):
    return np.random.default_rng(seed).exponential(0.3, problem.link_ap.shape[-1])
