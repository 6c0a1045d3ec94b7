"""The balancing layer in numpy against that of torch."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from isac_torch.deployment.balance import balanced_power
from isac_torch.nn.tracking.balance import balance, logit_size, start_logits
from isac_torch.tensors import map_tensors
from isac_torch.tracking.balancing import CONSTANTS
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.nodes import NodeProblem
from isac_torch.tracking.scenario import TrackingScenario


def numpy_power(problem, logits, start=None):
    link, owner = np.split(logits, [problem.num_links], 1)
    return balanced_power(NodeProblem.of(problem), link, owner, CONSTANTS, start)


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
    wanted, sooner = (balance(problem, logits, None, steps, 4).power.numpy() for steps in (300, 250))
    found = numpy_power(map_tensors(problem, lambda t: t.numpy()), logits.numpy())
    # Among 32 crowded drops one has rows so tightly coupled that torch is not at rest.
    steady = np.abs(wanted - sooner).max(-1) < 1e-9 * wanted.max(-1)
    assert steady.mean() > 0.95
    error = np.abs(found - wanted).max(-1) / wanted.max(-1)
    assert float(error[steady].max()) < 1e-6


@pytest.mark.parametrize("name", ["floor_share", "sensing_cap", "excess_at_zero"])
def test_the_runtime_balances_with_the_constants_of_the_card(name):
    problem = make_problem("8x4x2", 4)
    logits = start_logits(problem).numpy()
    logits[:, -1] = 6.0
    link, owner = np.split(logits, [problem.num_links], 1)
    owned = NodeProblem.of(map_tensors(problem, lambda t: t.numpy()))
    other = replace(CONSTANTS, **{name: 1e-3 * getattr(CONSTANTS, name)})
    one, two = (balanced_power(owned, link, owner, constants) for constants in (CONSTANTS, other))
    assert np.abs(one - two).max() > 1e-6 * one.max()


def test_excess_and_floor_mean_the_same():
    problem = make_problem("16x16x4", 4)
    logits = start_logits(problem)
    logits[:, problem.num_links + 2] = 4.0
    logits[:, -1] = 6.0
    wanted = balance(problem, logits, None, 300, 4).power.numpy()
    found = numpy_power(map_tensors(problem, lambda t: t.numpy()), logits.numpy())
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-9)


def drops_with_two_targets_at_one_receiver(drops):
    """Small and crowded; at SIR0 = 0 dB (every second drop) the two rows are one row, twice: equal echoes, at any power."""
    problem = map_tensors(make_problem("3x2x2", drops, pilot_length=2, serving_aps=2, sensing_aps=2), lambda t: t.numpy())
    echo, cross = problem.echo.copy(), problem.cross_echo.copy()
    echo[:, 1], cross[:, 1] = cross[:, 0], echo[:, 0]
    sir_min = np.where(np.arange(drops)[:, None] % 2, 10**-0.5, 1.0) * np.ones((1, 2))
    return replace(problem, echo=echo, cross_echo=cross, sir_min=sir_min)


def test_a_drop_gets_the_same_powers_in_any_batch():
    problem = drops_with_two_targets_at_one_receiver(32)
    logits = 2.0 * np.random.default_rng(7).standard_normal((32, problem.num_links + 4))
    together = numpy_power(problem, logits)
    for drop in range(32):
        alone = numpy_power(problem.select(np.array([drop])), logits[[drop]])[0]
        assert np.abs(alone - together[drop]).max() <= 1e-8 * alone.max()


def test_rounding_of_the_logits_stays_rounding_of_the_powers():
    problem = drops_with_two_targets_at_one_receiver(32)
    generator = np.random.default_rng(7)
    logits = 2.0 * generator.standard_normal((32, problem.num_links + 4))
    noise = generator.uniform(-1e-6, 1e-6, logits.shape)
    power, other = (numpy_power(problem, values) for values in (logits, logits + noise))
    # A hundredfold for what crowded drops amplify; without a unique answer to each, some would change by a good part of it.
    assert (np.abs(other - power).max(-1) / power.max(-1)).max() < 1e-4


def test_nonsense_never_raises():
    problem = map_tensors(make_problem("8x4x2", 3), lambda t: t.numpy())
    logits = np.zeros((3, problem.num_links + 6))
    logits[0] = np.nan
    logits[1] = 1e30
    with np.errstate(all="ignore"):
        assert numpy_power(problem, logits).shape == (3, problem.num_links)
