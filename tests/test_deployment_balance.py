"""The balancing layer in numpy against that of torch."""

import numpy as np
import pytest
import torch

from isac_torch.deployment.balance import Constants, balanced_power
from isac_torch.nn.balance import (
    EXCESS_AT_ZERO,
    EXCESS_CAP,
    LEAST_NET_GAIN,
    SENSING_CAP,
    balance,
    logit_size,
    start_logits,
)
from isac_torch.tensors import map_tensors
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.scenario import TrackingScenario

CONSTANTS = Constants(SENSING_CAP, LEAST_NET_GAIN, EXCESS_AT_ZERO, EXCESS_CAP)


def make_problem(size, drops, **parameters):
    scenario = TrackingScenario.of_size(size, **parameters)
    return power_problem(scenario.sample(drops, generator=torch.Generator().manual_seed(1_950_000_000)), scenario)


@pytest.mark.parametrize(
    ("size", "pilots"), [("16x16x4", 16), ("16x16x4", 8), ("16x16x1", 16), ("8x6x0", 6), ("2x1x1", 1), ("24x20x6", 20)]
)
def test_numpy_finds_the_powers_of_torch(size, pilots):
    problem = make_problem(size, 32, pilot_length=pilots)
    noise = torch.randn(32, logit_size(problem), generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    logits = start_logits(problem) + 0.3 * noise
    wanted = balance(problem, logits, None, 300, 4).power.numpy()
    found = balanced_power(map_tensors(problem, lambda t: t.numpy()), logits.numpy(), CONSTANTS)
    error = np.abs(found - wanted).max(-1) / wanted.max(-1)
    # Newton steps end below 1e-5 and square what is left; among 32 crowded drops one has rows so tightly coupled that
    # neither side has come to rest.
    assert float(np.quantile(error, 0.9)) < 1e-7
    assert float(error.max()) < 2e-2


def test_excess_and_floor_mean_the_same():
    problem = make_problem("16x16x4", 4)
    logits = start_logits(problem)
    logits[:, problem.num_links + 2] = 4.0
    logits[:, -1] = 6.0
    wanted = balance(problem, logits, None, 300, 4).power.numpy()
    found = balanced_power(map_tensors(problem, lambda t: t.numpy()), logits.numpy(), CONSTANTS)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-9)


def test_nonsense_never_raises():
    problem = map_tensors(make_problem("8x4x2", 3), lambda t: t.numpy())
    logits = np.zeros((3, problem.num_links + 6))
    logits[0] = np.nan
    logits[1] = 1e30
    with np.errstate(all="ignore"):
        assert balanced_power(problem, logits, CONSTANTS).shape == (3, problem.num_links)
