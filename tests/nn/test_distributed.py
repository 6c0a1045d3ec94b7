"""Policies that run at the APs: what an AP knows, laws, allocators."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from isac_torch import allocate, named_allocator
from isac_torch.allocators.tracking.distributed import Distributed, HandTuned
from isac_torch.allocators.tracking.sinr_tracking import SinrTracking
from isac_torch.errors import AllocationError, CheckpointError
from isac_torch.nn.checkpoint import load_network, save_network
from isac_torch.nn.tracking.local_network import DistributedNetwork
from isac_torch.nn.tracking.unfolded import UnfoldedPrices
from isac_torch.tracking.local.rounds import (
    neighbourhoods,
)
from isac_torch.tracking.requirement import Requirement
from tests.nn.local_policies import SICNR, learned, problem_of

SIZES = ("8x6x2", "6x5x0", "9x4x1")


@pytest.mark.parametrize("size", SIZES)
def test_budgets_hold_after_every_round(policy, size):
    problem = problem_of(size)
    for share in policy.exits(problem):
        assert share.isfinite().all()
        load = problem.ap_load(share.exp() * problem.link_budget) / problem.budget
        assert (load <= 1 + 1e-12).all()


def test_what_an_ap_does_not_hear_cannot_change_its_powers(policy):
    """Garbage in every coefficient outside the neighbourhoods, while nodes measure the true air: the same powers."""
    problem = problem_of("9x4x2")
    hears = torch.rand(3, problem.num_ues, problem.num_aps, generator=torch.Generator().manual_seed(2)) < 0.4
    serves = torch.zeros_like(hears)
    for ue in range(problem.num_ues):
        for link in range(problem.serving):
            serves[torch.arange(3), ue, problem.link_ap[:, ue * problem.serving + link]] = True
    outside = ~(hears | serves).gather(2, problem.link_ap[:, None].expand(-1, problem.num_ues, -1))
    assert outside.any()
    garbage = replace(problem, leakage=torch.where(outside, 1e9 * torch.rand_like(problem.leakage), problem.leakage))
    true = policy.exits(problem, hears=hears)
    found = policy.exits(garbage, hears=hears, air=problem)
    for one, other in zip(true, found, strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(policy.exits(garbage)[-1], true[-1])


def test_before_any_message_an_ap_knows_only_its_own_links():
    """Other APs' links, and whom its own links disturb, change nothing at round 0."""
    network, problem = learned(), problem_of()
    first = network.exits(problem, 0)[0]
    other = replace(problem, leakage=3.0 * problem.leakage, echo=problem.echo * torch.rand_like(problem.echo))
    assert torch.equal(network.exits(other, 0)[0], first)
    foreign = problem.link_ap != 0
    comm = problem.num_comm_links
    factor = torch.where(foreign, 2.0, 1.0).to(problem.budget)
    signal = problem.signal * factor[:, :comm].reshape(problem.signal.shape)
    moved = network.exits(replace(problem, signal=signal, link_gain=problem.link_gain * factor), 0)[0]
    assert torch.equal(moved[~foreign], first[~foreign])
    assert not torch.equal(moved, first)


def test_ues_and_drops_are_not_told_apart(policy):
    problem = problem_of()
    order = torch.randperm(6, generator=torch.Generator().manual_seed(1))
    permuted = problem.of_ues(order.expand(3, -1))
    link = problem.links_of(order.expand(3, -1))
    for one, other in zip(policy.exits(problem), policy.exits(permuted), strict=True):
        torch.testing.assert_close(other, one.gather(1, link), rtol=1e-9, atol=1e-9)
    alone = policy.exits(problem.select(torch.tensor([1])))[-1]
    torch.testing.assert_close(alone, policy.exits(problem)[-1][1:2], rtol=1e-9, atol=1e-9)


def test_power_in_other_units_changes_nothing(policy):
    """Budgets times 10 and coefficients over 10: the same shares."""
    problem = problem_of()
    scaled = replace(
        problem,
        signal=problem.signal / 10**0.5,
        coherent=problem.coherent / 10**0.5,
        leakage=problem.leakage / 10,
        budget=problem.budget * 10,
        link_gain=problem.link_gain / 10,
    )
    torch.testing.assert_close(policy.exits(scaled)[-1], policy.exits(problem)[-1], rtol=1e-7, atol=1e-7)


def test_stopping_early_is_the_same_as_an_early_exit(policy):
    problem = problem_of()
    every = policy.exits(problem)
    for rounds in range(4):
        stopped = policy.exits(problem, rounds)
        assert len(stopped) == rounds + 1
        assert torch.equal(stopped[-1], every[rounds])


@pytest.mark.parametrize("kind", [DistributedNetwork, UnfoldedPrices])
def test_weights_come_back(kind, tmp_path):
    network = learned().float() if kind is DistributedNetwork else UnfoldedPrices(2)
    save_network(tmp_path / "model.pt", network, {})
    found, _ = load_network(tmp_path / "model.pt", kind)
    problem = problem_of().cast(torch.float32)
    assert torch.equal(found.exits(problem)[-1], network.eval().exits(problem)[-1])
    other: Any = UnfoldedPrices if kind is DistributedNetwork else DistributedNetwork
    with pytest.raises(CheckpointError, match="weights of"):
        load_network(tmp_path / "model.pt", other)
    assert Distributed.load(tmp_path / "model.pt", 2).rounds == 2


def test_classical_policies_beat_what_each_ap_does_alone():
    problem = problem_of("16x16x4", 8)
    alone = allocate(problem, named_allocator("upc")).value.log().mean()
    assert allocate(problem, HandTuned(8)).value.log().mean() > alone + 0.3
    assert allocate(problem, SinrTracking(4)).value.log().mean() > alone + 0.3


def test_more_rounds_track_a_common_sinr():
    problem = problem_of("16x16x0", 8)
    spread = []
    for rounds in (0, 8):
        sinr = problem.sinr(SinrTracking(rounds).propose(problem).power).log()
        spread.append(float((sinr.amax(-1) - sinr.amin(-1)).mean()))
    assert spread[1] < 0.7 * spread[0]


def test_noisy_constraints_are_weighed_and_other_units_of_the_echo_change_nothing(policy):
    problem = problem_of(requirement=SICNR)
    scale = torch.tensor([3.0, 0.2])
    other = replace(
        problem,
        echo=problem.echo * scale[:, None],
        cross_echo=problem.cross_echo * scale[:, None],
        echo_noise=problem.echo_noise * scale,
    )
    harder = replace(problem, sir_min=problem.sir_min * 4.0)
    found, again, more = (policy.exits(each)[-1] for each in (problem, other, harder))
    torch.testing.assert_close(again, found, rtol=1e-6, atol=1e-9)
    assert not torch.allclose(more, found, rtol=1e-3)


def test_without_noise_a_network_does_not_depend_on_what_it_learned_of_it():
    """A training on the SIR alone leaves the columns of these inputs at zero, where they start."""
    plain, noisy = problem_of(), problem_of(requirement=SICNR)

    def columns(network):
        inputs = [("encode.0.weight", 1), ("encode_near.0.weight", 2)]
        inputs += [(f"cells.{index}.target.0.weight", 1) for index in range(network.rounds)]
        return [network.get_parameter(name).data[:, -count:] for name, count in inputs]

    assert not any(bool(column.any()) for column in columns(DistributedNetwork(8, 2, 2, 1)))
    network = learned()
    before = [network.exits(problem)[-1] for problem in (plain, noisy)]
    for column in columns(network):
        column.mul_(-2.0)
    after = [network.exits(problem)[-1] for problem in (plain, noisy)]
    assert torch.equal(after[0], before[0])
    assert not torch.equal(after[1], before[1])


def test_requirements_on_cells_and_positions_are_refused_in_one_line():
    problem = problem_of(requirement=Requirement("dominate"))
    for allocator, words in ((Distributed(UnfoldedPrices(1)), "leave scan cells"), (SinrTracking(), "requirement sir or none")):
        with pytest.raises(AllocationError, match=words):
            allocate(problem, allocator)
    with pytest.raises(AllocationError, match="rounds=-1"):
        allocate(problem_of(), Distributed(UnfoldedPrices(1), -1))


def test_one_round_a_slot_goes_on_where_the_last_slot_ended(policy):
    problem = problem_of()
    known = neighbourhoods(problem)
    state = policy.begin(problem, known)
    for index in range(5):
        state = policy.advance(problem, known, state, index)
    torch.testing.assert_close(state.share, policy.exits(problem, 5)[-1], rtol=0, atol=0)


@pytest.mark.parametrize("policy", [DistributedNetwork(8, 1, 2, 1), UnfoldedPrices(1)], ids=["learned", "unfolded"])
def test_beams_of_a_target_that_asks_for_a_factor_move_by_it_and_rest_else(policy):
    """Before any training: with own_rest = 1 whether a target can name a factor changes nothing, with 0 the factor is all."""
    policy, problem = policy.double().eval(), problem_of()
    comm = problem.num_comm_links

    def after(rest, able, factor):
        def channel(kind, sent):
            asked = torch.tensor([factor, able], dtype=sent.dtype)
            return asked.expand_as(sent) if kind == "factor of targets" else sent

        with torch.no_grad():
            for name, parameter in policy.named_parameters():
                if name.endswith("own_rest"):
                    parameter.fill_(rest)
            first, last = policy.exits(problem, channel=channel)
        return (last - first)[:, comm:]

    assert torch.equal(after(1.0, 1.0, 0.3), after(1.0, 0.0, 0.3))
    assert torch.equal(after(0.0, 0.0, 0.3), after(1.0, 0.0, 0.3))
    assert not torch.equal(after(0.5, 1.0, 0.3), after(0.5, 0.0, 0.3))
    ap = problem.link_ap[:, comm:]
    for factor in (0.0, 0.3):
        moved = after(0.0, 1.0, factor)
        for drop in range(3):
            for one in range(problem.num_aps):  # but for the scale that keeps its budget, each AP moves all by the same
                own = moved[drop, ap[drop] == one]
                torch.testing.assert_close(own, own[:1].expand_as(own))
