"""How APs go ahead when a slot begins: by what they know of their own links, without a message, the same without torch."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from isac_torch.deployment.local_layers import LocalCells
from isac_torch.nn.tracking.local_network import DistributedNetwork
from isac_torch.nn.tracking.unfolded import UnfoldedPrices
from isac_torch.tensors import map_tensors
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.local.rounds import neighbourhoods
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.trainers.slots import moved
from tests.oracles.going_ahead import power_after

SIZES = ("8x6x2", "6x5x0", "9x4x1")


def two_slots(size="8x6x2", **options):
    scenario = TrackingScenario.of_size(size, **options)
    before = power_problem(scenario.sample(3, generator=torch.Generator().manual_seed(4)), scenario)
    now = moved(before, 1.0, 3.0, torch.Generator().manual_seed(5))
    return (before, neighbourhoods(before)), (now, neighbourhoods(now))


@pytest.fixture(scope="module")
def network():
    """A network whose every weight matters: at the start the last layers are zero."""
    torch.manual_seed(3)
    network = DistributedNetwork(hidden=8, rounds=2, floats=2, prices=1, layers=1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return network.double().eval().requires_grad_(False)


def after(policy, problem, known):
    state = policy.begin(problem, known)
    for index in range(policy.rounds):
        state = policy.advance(problem, known, state, index)
    return state


@pytest.mark.parametrize("size", SIZES)
def test_where_nothing_has_changed_nobody_moves(network, size):
    before, _ = two_slots(size)
    state = after(network, *before)
    torch.testing.assert_close(network.go_ahead(before, *before, state).share, state.share)


@pytest.mark.parametrize("size", SIZES)
def test_what_costs_twice_as_much_gets_half_the_power(network, size):
    """Every link disturbs twice as much as before, and brings what it brought."""
    (problem, known), _ = two_slots(size)
    state = after(network, problem, known)
    dearer = replace(known, leakage=2.0 * known.leakage, cross_echo=2.0 * known.cross_echo, coherent=2.0 * known.coherent)
    found = network.go_ahead((problem, known), problem, dearer, state)
    torch.testing.assert_close(found.share, (state.share - math.log(2.0)).clamp_min(-16.0))
    assert found.private is state.private


@pytest.mark.parametrize("size", SIZES)
def test_powers_are_those_of_the_oracle(network, size):
    before, now = two_slots(size)
    state = after(network, *before)
    found = network.go_ahead(before, *now, state).share.exp() * now[1].limit
    heard, comm = state.heard, now[0].num_comm_links
    price = heard.price or (heard.told.echo, heard.told.other)  # both empty without targets
    words = {
        "u": heard.log_price.exp(),
        "s": heard.told.wanted,
        "D": heard.told.disturbance,
        "w": price[0],
        "other_w": price[1],
    }
    words |= {"o": heard.told.echo, "x": heard.told.other}
    serving = [link // now[0].serving if link < comm else -1 for link in range(now[0].num_links)]
    for drop in range(3):
        tables = tuple(
            {
                "signal": problem.signal[drop].flatten().tolist(),
                **{name: getattr(problem, name)[drop].tolist() for name in ("leakage", "echo", "cross_echo")},
            }
            for problem, _ in (before, now)
        )
        wanted = power_after(
            tables,
            serving,
            now[0].link_ap[drop].tolist(),
            now[0].budget[drop].tolist(),
            (state.share.exp() * now[1].limit)[drop].numpy(),
            {name: value[drop].tolist() for name, value in words.items()},
        )
        np.testing.assert_allclose(found[drop].numpy(), wanted, rtol=1e-9)


@pytest.mark.parametrize("size", SIZES)
def test_an_ap_uses_its_own_links_alone_and_keeps_its_budget(network, size):
    """Garbage in every coefficient and power of other APs' links, in both slots: the same powers."""
    before, now = two_slots(size)
    foreign = now[0].link_ap != 0
    state = after(network, *before)
    true = network.go_ahead(before, *now, state).share

    def hidden(problem, known):
        tables = {
            name: torch.where(foreign[:, None], torch.rand_like(getattr(known, name)), getattr(known, name))
            for name in ("leakage", "echo", "cross_echo")
        }
        other = foreign[:, : problem.num_comm_links].reshape(problem.signal.shape)
        signal = torch.where(other, torch.rand_like(problem.signal), problem.signal)
        return replace(problem, signal=signal), replace(known, **tables)

    garbage = replace(state, share=torch.where(foreign, torch.rand_like(state.share), state.share))
    problem, known = hidden(*now)
    found = network.go_ahead(hidden(*before), problem, known, garbage).share
    torch.testing.assert_close(found[~foreign], true[~foreign])
    assert not torch.equal(true, state.share)
    load = now[0].ap_load(true.exp() * now[0].link_budget) / now[0].budget
    assert (load <= 1 + 1e-12).all()


def test_a_policy_that_keeps_nothing_of_what_it_heard_stays():
    policy, (before, (problem, known)) = UnfoldedPrices(2).double(), two_slots()
    with torch.no_grad():
        state = after(policy, *before)
        assert policy.go_ahead(before, problem, known, state) is state


def test_before_the_first_round_nobody_has_heard_anything(network):
    before, now = two_slots()
    state = network.begin(*before)
    assert network.go_ahead(before, *now, state) is state


@pytest.mark.parametrize("size", SIZES)
def test_without_torch_it_is_the_same(network, size):
    slots = two_slots(size, pilot_length=3)
    cells = LocalCells({name: value.numpy() for name, value in network.state_dict().items()})
    problems = [map_tensors(problem, lambda value: value.numpy()) for problem, _ in slots]
    numpy_slots = [(problem, neighbourhoods(problem)) for problem in problems]

    def follows(policy, before, now):
        return policy.advance(*now, policy.go_ahead(before, *now, after(policy, *before)), policy.rounds).share

    wanted, found = follows(network, *slots), follows(cells, *numpy_slots)
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-9, atol=1e-9)


def test_it_meets_more_of_what_targets_ask_for():
    """With the shipped weights, where beams pass other targets: fewer constraints are missed before the first message."""
    from isac_torch.allocators.tracking.distributed import Distributed
    from isac_torch.weights import shipped_weights

    policy = Distributed.load(shipped_weights("distributed")).policy.double()
    scenario = TrackingScenario.of_size("16x16x4")
    before = power_problem(scenario.sample(40, generator=torch.Generator().manual_seed(6)), scenario)
    now = moved(before, 0.1, 3.0, torch.Generator().manual_seed(7))
    slots = [(problem, neighbourhoods(problem)) for problem in (before, now)]
    with torch.no_grad():
        state = after(policy, *slots[0])
        ahead = policy.go_ahead(slots[0], *slots[1], state)
    missing = [
        (now.sir_min / now.sir(share.exp() * now.link_budget)).log().clamp_min(0.0).mean()
        for share in (state.share, ahead.share)
    ]
    assert missing[1] < missing[0]
