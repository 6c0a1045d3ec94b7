"""Closed-form prices against autograd through the balancing layer, and the one-shot network's laws."""

import pytest
import torch
from torch.testing import assert_close

from isac_torch.links import split_by_node
from isac_torch.nn.tracking.balance import balance, logit_size, start_logits
from isac_torch.nn.tracking.dense import DenseProblem
from isac_torch.nn.tracking.merit import merit_gradient
from isac_torch.nn.tracking.one_shot import OneShotNetwork, start_weights
from isac_torch.nn.tracking.prices import priced_point
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.scenario import TrackingScenario
from tests.nn.relabelled import relabel

SIZES = ["16x16x4", "4x2x0", "4x3x1", "2x1x0", "2x1x1", "2x1x3", "24x20x6"]
ENOUGH = 300
"""Repetitions after which the fixed points stand still to rounding on these drops."""


def make_problem(size="16x16x4", drops=16, seed=1_900_000_000, **parameters) -> MaxMinSinrProblem:
    scenario = TrackingScenario.of_size(size, **parameters)
    return power_problem(scenario.sample(drops, generator=torch.Generator().manual_seed(seed)), scenario)


def shaken(problem):
    """Directions away from the untrained ones, in the links alone: at a priced point all UEs ask for the same."""
    logits = start_logits(problem)
    noise = torch.randn(problem.num_drops, problem.num_links, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    logits[:, : problem.num_links] += 0.3 * noise
    return logits


@pytest.mark.parametrize("size", SIZES)
def test_start_is_that_of_the_balancing_layer(size):
    problem = make_problem(size, 4)
    weight = start_weights(DenseProblem.of(problem)).squeeze(1)
    for found, wanted in zip(
        split_by_node(problem, weight), split_by_node(problem, start_logits(problem)[:, : problem.num_links]), strict=True
    ):
        assert_close(found / found.sum(-1, keepdim=True), wanted.softmax(-1))


@pytest.mark.parametrize(("size", "pilots"), [("16x16x4", 16), ("16x16x4", 8), ("8x6x0", 6), ("16x16x1", 16)])
def test_prices_are_the_gradient_of_the_level(size, pilots):
    problem = make_problem(size, pilot_length=pilots)
    logits = shaken(problem)
    gradient, _, balanced = merit_gradient(problem, logits, iterations=ENOUGH)
    dense = DenseProblem.of(problem)
    point = priced_point(dense, logits[:, None, : problem.num_links].exp(), ENOUGH, 9)
    assert_close((point.scale / point.per_watt).squeeze(1), balanced.scale, rtol=1e-4, atol=1e-5)
    assert_close(point.common_sinr.flatten(), balanced.common_sinr, rtol=1e-5, atol=0.0)
    slope = point.useful - point.harm
    found = (slope - point.share * ((slope @ dense.owner.mT) @ dense.owner)).squeeze(1)
    wanted = gradient[:, : problem.num_links]
    error = (found - wanted).norm(dim=-1) / wanted.norm(dim=-1)
    # Where a row is missed or at the cap the merit has a term more; rounding decides between two APs that are equally tight.
    assert float(error.median()) < 1e-9
    assert float((error < 1e-5).double().mean()) > 0.7


def test_few_repetitions_are_near():
    problem = make_problem(drops=64)
    dense = DenseProblem.of(problem)
    exact = balance(problem, start_logits(problem), iterations=ENOUGH)
    for repetitions, error in ((2, 0.2), (4, 0.05), (8, 0.005)):
        near = priced_point(dense, start_weights(dense), repetitions)
        assert float((near.common_sinr.flatten() / exact.common_sinr - 1).abs().median()) < error


@pytest.fixture(scope="module")
def network():
    """Random heads, as after training: fresh ones are zero and would hide mistakes."""
    torch.manual_seed(5)
    network = OneShotNetwork(hidden=16, layers=2).double()
    with torch.no_grad():
        for parameter in network.head_parameters():
            parameter.normal_(0.0, 0.3)
    return network.eval()


def predict(network, problem):
    with torch.no_grad():
        return network(problem)


@pytest.mark.parametrize("size", SIZES)
def test_every_size_gives_sound_powers(network, size):
    problem = make_problem(size, 4)
    logits = predict(network, problem)
    assert logits.shape == (4, logit_size(problem))
    found = balance(problem, logits, None, 24, 3)
    assert bool(found.power.isfinite().all())
    assert bool((problem.violations(found.power).budget <= 1e-12).all())


def test_single_precision_stays_finite(network):
    for size in ("24x20x6", "16x16x4"):
        problem = make_problem(size, 64).cast(torch.float32)
        with torch.no_grad():
            logits = OneShotNetwork(8, 1)(problem)
        assert bool(logits.isfinite().all())


@pytest.mark.parametrize("pilots", [16, 8])
def test_relabelled_ues_targets_and_aps_get_the_same_powers(network, pilots):
    problem = make_problem(drops=4, pilot_length=pilots)
    generator = torch.Generator().manual_seed(1)
    ue, target, ap = (torch.randperm(n, generator=generator) for n in (16, 4, 12))
    moved, order = relabel(problem, ue, target, ap)
    expected = predict(network, problem)[:, : problem.num_links][:, order]
    # Sums in another order: rounding, amplified by nearly degenerate prices.
    assert_close(predict(network, moved)[:, : problem.num_links], expected, rtol=1e-6, atol=1e-7)


def test_a_drop_does_not_depend_on_its_batch(network):
    problem = make_problem(drops=4)
    alone = predict(network, problem.select(torch.tensor([2])))
    assert_close(predict(network, problem)[2:3], alone, rtol=1e-8, atol=1e-8)


def test_training_reaches_every_weight():
    problem = make_problem(drops=16).cast(torch.float32)
    torch.manual_seed(0)
    network = OneShotNetwork(hidden=8, layers=2)
    with torch.no_grad():
        for parameter in network.head_parameters():
            parameter.normal_(0.0, 0.1)
    logits = network(problem)
    (logits * torch.randn(logits.shape, generator=torch.Generator().manual_seed(0))).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
        assert float(parameter.grad.abs().max()) > 0.0, name
