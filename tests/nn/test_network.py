"""The network's laws: equivariance, any size, no targets, pilot reuse, features within bounds."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from isac_torch.nn.tracking.balance import balance, logit_size, start_logits
from isac_torch.nn.tracking.merit import merit, merit_gradient, sensing_shortfall
from isac_torch.nn.tracking.network import AllocationNetwork
from isac_torch.tensors import map_tensors
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.graph import LINK_FEATURES, UE_FEATURES, link_graph
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.scenario import TrackingScenario
from tests.nn.relabelled import relabel

SIZES = ["16x16x4", "4x2x0", "4x3x1", "8x4x2", "2x1x3", "24x20x6"]


def make_problem(size="16x16x4", drops=4, seed=1_600_000_000, **parameters) -> MaxMinSinrProblem:
    scenario = TrackingScenario.of_size(size, **parameters)
    return power_problem(scenario.sample(drops, generator=torch.Generator().manual_seed(seed)), scenario)


@pytest.fixture(scope="module")
def network():
    """Random heads, as after training: fresh ones are zero and would hide mistakes."""
    torch.manual_seed(5)
    network = AllocationNetwork(hidden=16, layers=2, refinements=1, steps=2).double()
    assert network.stepper is not None
    with torch.no_grad():
        for head in network.heads:
            for parameter in head.parameters():
                parameter.normal_(0.0, 0.3)
        network.stepper.outer.weight.normal_(0.0, 0.1)
    return network.eval()


def predict(network, problem):
    assert network.stepper is not None
    with torch.no_grad():
        return network(problem, link_graph(problem))


@pytest.mark.parametrize("reuse", [False, True])
def test_relabelled_ues_targets_and_aps_get_the_same_powers(network, reuse):
    problem = make_problem(pilot_length=8 if reuse else None)
    generator = torch.Generator().manual_seed(1)
    ue, target, ap = (torch.randperm(n, generator=generator) for n in (16, 4, 12))
    moved, order = relabel(problem, ue, target, ap)
    power = balance(problem, predict(network, problem)).power
    again = balance(moved, predict(network, moved)).power
    # Sums in another order: rounding, amplified by the gradient steps.
    assert_close(again, power[:, order], rtol=1e-6, atol=1e-9)


def test_a_drop_does_not_depend_on_its_batch(network):
    problem = make_problem()
    alone = predict(network, problem.select(torch.tensor([2])))
    assert_close(predict(network, problem)[2:3], alone, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("size", SIZES)
def test_every_size_gives_sound_powers(network, size):
    problem = make_problem(size)
    logits = predict(network, problem)
    assert logits.shape == (4, logit_size(problem))
    found = balance(problem, logits, None, 24, 3)
    assert bool(found.power.isfinite().all())
    assert bool((found.power >= 0).all())
    assert bool((problem.violations(found.power).budget <= 1e-12).all())  # by construction, whatever the weights


@pytest.mark.parametrize("size", SIZES)
def test_features_are_finite_and_bounded(size):
    graph = link_graph(make_problem(size, pilot_length=2 if size == "8x4x2" else None))
    widths = {"link": LINK_FEATURES, "ue": UE_FEATURES, "target": 0, "ap": 0}
    for name, value in vars(graph).items():
        assert bool(value.isfinite().all()), name
        assert bool((value.abs() <= 10).all()), name
        if name in widths:
            assert value.shape[-1] == widths[name]


def test_features_ignore_the_unit_of_the_noise():
    """Gains halved at twice the budgets describe the same network."""
    problem = make_problem()
    changed = {"signal": problem.signal * 0.5**0.5, "leakage": problem.leakage * 0.5, "budget": problem.budget * 2.0}
    weaker = replace(problem, **changed)
    for value, again in zip(vars(link_graph(problem)).values(), vars(link_graph(weaker)).values(), strict=True):
        assert_close(again, value, rtol=1e-9, atol=1e-9)


def test_features_ignore_the_scale_of_a_row():
    problem = make_problem()
    scaled = replace(problem, echo=problem.echo * 7.0, cross_echo=problem.cross_echo * 7.0)
    for value, again in zip(vars(link_graph(problem)).values(), vars(link_graph(scaled)).values(), strict=True):
        assert_close(again, value, rtol=1e-9, atol=1e-9)


def test_an_untrained_network_takes_gradient_steps():
    problem = make_problem(drops=16).cast(torch.float32)
    torch.manual_seed(0)
    untrained = AllocationNetwork(hidden=8, layers=1, refinements=0, steps=6)
    start = merit(problem, balance(problem, start_logits(problem)))
    after = merit(problem, balance(problem, predict(untrained, problem)))
    assert float((after - start).mean()) > 0.05


def test_training_reaches_every_weight():
    problem = make_problem(drops=16).cast(torch.float32)
    torch.manual_seed(0)
    network = AllocationNetwork(hidden=8, layers=1, refinements=1, steps=2)
    assert network.stepper is not None
    with torch.no_grad():
        for head in network.heads:
            for parameter in head.parameters():
                parameter.normal_(0.0, 0.1)
        network.stepper.outer.weight.normal_(0.0, 0.1)
    logits = network(problem, link_graph(problem))
    (logits * torch.randn(logits.shape, generator=torch.Generator().manual_seed(0))).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name


def test_merit_gradient_points_uphill():
    problem = make_problem(drops=16)
    logits = start_logits(problem)
    gradient, value, _ = merit_gradient(problem, logits, iterations=100)
    step = 1e-4 * gradient / gradient.norm(dim=-1, keepdim=True)
    ahead = merit(problem, balance(problem, logits + step, iterations=100))
    # At a kink (another row or AP becomes tight) the first order need not hold; it must for most drops.
    assert ((ahead - value) > 0.5e-4 * gradient.norm(dim=-1)).float().mean() > 0.8


def test_shortfall_is_zero_exactly_where_rows_are_met():
    problem = make_problem(drops=16)
    power = balance(problem, start_logits(problem), None, 100, 3).power
    short = sensing_shortfall(problem, power, margin=0.0)
    assert bool(((short > 1e-12) == (problem.sir(power) < problem.sir_min * (1 - 1e-12))).all())
    silent = map_tensors(problem, torch.clone)
    assert bool(sensing_shortfall(silent, torch.zeros_like(power)).isfinite().all())


@pytest.mark.slow
def test_reading_a_network_loads_no_compiler():
    code = (
        "import sys\n"
        "from isac_torch import LearnedAllocator\n"
        "from isac_torch.weights import shipped_weights\n"
        "LearnedAllocator.load(shipped_weights())\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
