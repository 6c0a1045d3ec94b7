"""Shares of the budgets, the network over them and the guard behind it, under sensing constraints of every kind."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from isac_torch.nn.tracking.share_network import ShareNetwork
from isac_torch.nn.tracking.shares import log_quality, merit, share_point, share_power, slopes, start_shares
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.fractional import reference_power
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.restoration import restored
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.tracking.share_problem import ShareProblem

ASKED = {
    "dominate": Requirement("dominate"),
    "half": Requirement("dominate", scan=0.5, sicnr=0.5, position=0.5),
    "sicnr": Requirement("sicnr", sicnr_min_db=-10.0),
    "position": Requirement("position", position_error=20.0),
    "sir": Requirement("sir"),
    "none": Requirement("none"),
}


def make_problem(kind="dominate", size="8x4x2", drops=6, seed=1_650_000_000, **parameters) -> MaxMinSinrProblem:
    scenario = TrackingScenario.of_size(size, requirement=ASKED[kind], **parameters)
    return power_problem(scenario.sample(drops, generator=torch.Generator().manual_seed(seed)), scenario)


@pytest.fixture(scope="module")
def problem():
    return make_problem()


@pytest.fixture(scope="module")
def network():
    """Random heads, as after training: fresh ones are zero and would hide mistakes."""
    torch.manual_seed(5)
    network = ShareNetwork(hidden=8, layers=1, refinements=1, steps=3).double()
    assert network.stepper is not None
    with torch.no_grad():
        for parameter in [*network.link_heads.parameters(), *network.ap_heads.parameters(), network.stepper.outer.weight]:
            parameter.normal_(0.0, 0.2)
    return network.eval()


def shaken(problem, spread=1.0):
    start = start_shares(ShareProblem.of(problem))
    return start + spread * torch.randn(start.shape, generator=torch.Generator().manual_seed(3), dtype=start.dtype)


def powers(problem, logits):
    return share_power(ShareProblem.of(problem), logits)


def predict(network, problem):
    assert network.stepper is not None
    with torch.no_grad():
        return network(ShareProblem.of(problem))


def jacobian(value, leaf):
    return torch.stack([torch.autograd.grad(one.sum(), leaf, retain_graph=True)[0] for one in value.unbind(1)], 1)


def test_budgets_hold_whatever_the_logits(problem):
    for logits in (shaken(problem, 30.0), 0.0 * shaken(problem), shaken(problem, 500.0)):
        power = powers(problem, logits)
        assert bool(power.isfinite().all())
        assert bool((problem.violations(power).budget <= 1e-10).all())


def test_a_search_starts_at_the_reference_powers(problem):
    assert_close(powers(problem, shaken(problem, 0.0)), problem.reference, rtol=2e-4, atol=1e-5)
    none = make_problem("none")
    assert none.reference is None
    assert_close(none.ap_load(reference_power(none)), none.budget)


def test_quality_is_judged_as_the_problem_does(problem):
    power = powers(problem, shaken(problem, 0.3))
    short = 1.0 - log_quality(problem, power).amin(-1).exp()
    assert_close(short.clamp_min(0.0), problem.violations(power).sensing, rtol=1e-9, atol=1e-12)
    assert log_quality(problem, power).shape[1] == problem.num_constraints + problem.num_targets


@pytest.mark.parametrize(("kind", "pilots"), [("dominate", 2), ("dominate", 4), ("sicnr", 4), ("position", 4), ("sir", 4)])
def test_the_dense_problem_is_the_problem(kind, pilots):
    """SINRs and qualities by `MaxMinSinrProblem`, their slopes by autograd."""
    problem = make_problem(kind, drops=2, pilot_length=pilots)
    leaf = powers(problem, shaken(problem, 0.3)).log().requires_grad_()
    sinr, quality = problem.sinr(leaf.exp()).log(), log_quality(problem, leaf.exp())
    dense = ShareProblem.of(problem)
    found = dense.at(leaf.detach().exp()[:, None])
    there = dense.real[0] > 0
    assert_close(found.log_sinr, sinr)
    assert_close(found.sinr_slope, jacobian(sinr, leaf), rtol=1e-8, atol=1e-10)
    assert_close(found.log_quality[:, there], quality)
    assert_close(found.quality_slope[:, there], jacobian(quality, leaf), rtol=1e-8, atol=1e-10)
    assert bool((found.log_quality[:, ~there] == 0.0).all())


@pytest.mark.parametrize("objective", ["max_min", "proportional_fair"])
def test_the_gradient_is_that_of_the_merit(problem, objective):
    logits, dense = shaken(problem, 0.3), ShareProblem.of(problem)
    gradient, _ = slopes(share_point(dense, logits), dense, 1.0, 20.0, objective)
    along = torch.randn(logits.shape, generator=torch.Generator().manual_seed(8), dtype=logits.dtype)
    step = 1e-6
    ahead, behind = (merit(share_point(dense, logits + sign * step * along).at, 1.0, 20.0, objective) for sign in (1.0, -1.0))
    assert_close((gradient * along).sum(-1), (ahead - behind) / (2.0 * step), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", list(ASKED))
@pytest.mark.parametrize("size", ["8x4x2", "4x3x1", "4x2x0"])
def test_every_kind_and_size_gives_sound_powers(network, kind, size):
    problem = make_problem(kind, size, 3, pilot_length=2)
    logits = predict(network, problem)
    assert logits.shape == (3, problem.num_links + problem.num_aps)
    power = restored(problem, powers(problem, logits)).power
    assert bool(power.isfinite().all())
    assert bool((problem.violations(power).budget <= 1e-10).all())
    assert bool((problem.violations(power).sensing <= 1e-6).all()) or kind in ("sicnr", "position", "sir")


def test_relabelled_ues_targets_cells_and_aps_get_the_same_powers(network, problem):
    generator = torch.Generator().manual_seed(1)
    ue, target, ap, cell = (torch.randperm(n, generator=generator) for n in (4, 2, problem.num_aps, problem.num_cells))
    links = torch.arange(problem.num_links)
    comm = links[: problem.num_comm_links].reshape(4, -1)[ue].flatten()
    order = torch.cat([comm, links[problem.num_comm_links :].reshape(2, -1)[target].flatten()])
    constraint = torch.cat([target, 2 + cell])
    rank = torch.empty_like(ap)
    rank[ap] = torch.arange(len(ap))
    position = problem.position
    changed = {name: getattr(position, name)[:, target][..., order] for name in ("energy", "cross", "spread")}
    changed |= {name: getattr(position, name)[:, target] for name in ("arrival", "prior", "required")}
    moved = replace(
        problem,
        signal=problem.signal[:, ue],
        leakage=problem.leakage[:, ue][:, :, order],
        coherent=problem.coherent[:, ue][:, :, ue],
        echo=problem.echo[:, constraint][:, :, order],
        cross_echo=problem.cross_echo[:, constraint][:, :, order],
        sir_min=problem.sir_min[:, constraint],
        echo_noise=problem.echo_noise[:, constraint],
        budget=problem.budget[:, ap],
        link_ap=rank[problem.link_ap[:, order]],
        link_gain=problem.link_gain[:, order],
        reference=problem.reference[:, order],
        position=replace(
            position, departure=position.departure[:, target][:, :, ap], link_ap=rank[position.link_ap[:, order]], **changed
        ),
    )
    expected = powers(problem, predict(network, problem))[:, order]
    assert_close(powers(moved, predict(network, moved)), expected, rtol=1e-6, atol=1e-9)


def test_a_drop_does_not_depend_on_its_batch(network, problem):
    alone = predict(network, problem.select(torch.tensor([2])))
    assert_close(predict(network, problem)[2:3], alone, rtol=1e-8, atol=1e-8)


def test_training_reaches_every_weight(problem):
    torch.manual_seed(0)
    network = ShareNetwork(hidden=8, layers=1, refinements=1, steps=2)
    assert network.stepper is not None
    with torch.no_grad():
        for parameter in [*network.link_heads.parameters(), *network.ap_heads.parameters(), network.stepper.outer.weight]:
            parameter.normal_(0.0, 0.1)
    single = problem.cast(torch.float32)
    logits = network(ShareProblem.of(single))
    (logits * torch.randn(logits.shape, generator=torch.Generator().manual_seed(0))).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name


def test_powers_that_meet_everything_are_left_alone(problem):
    easy = replace(
        problem, sir_min=0.5 * problem.sir_min, position=replace(problem.position, required=0.5 * problem.position.required)
    )
    assert bool((restored(easy, easy.reference).power == easy.reference).all())


def test_small_shortfalls_are_restored_by_small_changes(problem):
    """Requirements a little below what the powers at hand give, then powers a little off."""
    power = powers(problem, shaken(problem, 0.3))
    quality = (0.995 * log_quality(problem, power).exp()).split([problem.num_constraints, problem.num_targets], 1)
    near = replace(
        problem,
        sir_min=problem.sir_min * quality[0],
        position=replace(problem.position, required=problem.position.required * quality[1]),
    )
    noise = torch.randn(power.shape, generator=torch.Generator().manual_seed(2), dtype=power.dtype)
    off = power * (1.0 + 0.02 * noise)
    found = restored(near, off).power
    assert bool((near.violations(found).worst <= 1e-6).all())
    assert float((found / power - 1.0).abs().max()) < 0.25
    assert bool((near.violations(off).sensing > 1e-4).any())  # there was something to restore


def test_at_smaller_factors_the_worst_powers_are_mixed_with_the_reference():
    problem = make_problem("half")
    silent = torch.zeros_like(problem.reference)
    silent[:, : problem.serving] = 0.1
    found = restored(problem, silent).power
    assert bool((problem.violations(found).worst <= 1e-6).all())
