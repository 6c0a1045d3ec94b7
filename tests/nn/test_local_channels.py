"""Messages of policies at the APs: cut to few bits, lost, late, of a dead AP; the ledger of what is sent."""

from dataclasses import replace
from itertools import product

import pytest
import torch

from isac_torch.nn.tracking.local_channels import Coarse, Late, Lossy, Silent, loudest_pairs
from isac_torch.nn.tracking.local_traffic import traffic
from isac_torch.nn.tracking.unfolded import UnfoldedPrices
from tests.nn.local_policies import SICNR, learned, problem_of


def test_channel_carries_every_message():
    """Numbers that are cut to 8 bits change little, lost ones more; nothing else passes between the nodes."""
    network, problem, kinds = learned(), problem_of(), set()

    def coarse(kind, sent):
        kinds.add(kind)
        return sent if kind in ("air", "gain", "beams", "largest echo", "scale of targets") else (sent * 16.0).round() / 16.0

    clear, cut = network.exits(problem)[-1], network.exits(problem, channel=coarse)[-1]
    ues, targets = {"price of UEs", "measured by UEs"}, {"price of targets", "measured at targets", "factor of targets"}
    assert kinds == {"air", "up", "down", "gain", "beams", "largest echo", "scale of targets"} | ues | targets
    assert 0.0 < (cut - clear).abs().mean() < 0.3


def test_lost_messages_leave_what_was_heard_before(policy):
    problem = problem_of()
    clear = policy.exits(problem)[-1]
    assert torch.equal(policy.exits(problem, channel=Lossy(0.0, torch.Generator()))[-1], clear)
    some = policy.exits(problem, channel=Lossy(0.5, torch.Generator().manual_seed(1)))[-1]
    assert some.isfinite().all()
    assert not torch.equal(some, clear)
    lossy = Lossy(1.0, torch.Generator())
    lossy.last["up"] = torch.ones(2, 3, 4)
    assert torch.equal(lossy("up", torch.zeros(2, 3, 4)), torch.ones(2, 3, 4))
    assert torch.equal(lossy("price of UEs", torch.zeros(1, 1, 1)), torch.full((1, 1, 1), -25.0))


def test_what_is_sent_twice_is_lost_where_both_are():
    twice, once = (Lossy(0.2, torch.Generator().manual_seed(1), kinds) for kinds in (("beams",), ()))
    sent = torch.ones(200, 100, 1)
    assert torch.equal(twice("up", sent), once("up", sent))
    assert float(1.0 - twice("beams", sent).mean()) == pytest.approx(0.04, abs=0.005)  # 5 standard errors are 0.007
    assert float(1.0 - once("beams", sent).mean()) == pytest.approx(0.2, abs=0.01)


def test_few_bits_cost_little_and_many_next_to_nothing(policy):
    problem = problem_of()
    clear = policy.exits(problem)[-1]
    errors = [float((policy.exits(problem, channel=Coarse(bits))[-1] - clear).abs().max()) for bits in (24, 8)]
    assert errors[0] < 1e-3 < errors[1]
    assert float((Coarse(3)("up", torch.tensor([[[100.0, -0.5]]])) - torch.tensor([[[6.0, -6.0 / 7.0]]])).abs().max()) < 1e-6
    beams = Coarse(8)("beams", torch.tensor([[[0.0, 0.5, 2.0, 1e9]]]))[0, 0]
    step = 12.0 / 255.0
    assert float((beams[1:3] / torch.tensor([0.5, 2.0])).log().abs().max()) <= 0.5 * step
    assert (float(beams[0]), float(beams[3].log())) == pytest.approx((0.0, 4.0), rel=1e-5)
    promise = torch.rand(1, 3, 6)
    assert torch.equal(Coarse(2)("parts of constraints", promise), promise)


LIMITS = {
    "measured by UEs": (-5.0, 19.0),
    "shared pilots of UEs": (-10.0, 10.0),
    "price of UEs": (-25.0, 20.0),
    "measured at targets": (-8.0, 6.0),
    "price of targets": (-20.0, 12.0),
    "up": (-6.0, 6.0),
}
"""Nepers. Shipped policies were trained and judged with these."""


@pytest.mark.parametrize("kind", LIMITS)
@pytest.mark.parametrize("bits", [4, 8])
def test_few_bits_are_spread_evenly_between_the_limits_of_a_message(kind, bits):
    low, high = LIMITS[kind]
    values = torch.linspace(low, high, 2**bits)
    torch.testing.assert_close(Coarse(bits)(kind, values[None, None])[0, 0], values)
    beyond = Coarse(bits)(kind, torch.tensor([[[low - 1.0, high + 1.0]]]))
    torch.testing.assert_close(beyond, torch.tensor([[[low, high]]]))


@pytest.mark.parametrize("size", ["9x4x2", "9x2x0"])
def test_the_loudest_pairs_hear_each_other(size):
    problem = problem_of(size)
    every, half = loudest_pairs(problem, 1.0), loudest_pairs(problem, 0.5)
    loud = torch.zeros_like(half, dtype=torch.float64)
    for drop, ue, ap in product(range(3), range(problem.num_ues), range(problem.num_aps)):
        own = problem.link_ap[drop] == ap
        loud[drop, ue, ap] = problem.leakage[drop, ue, own].mean() if own.any() else 0.0
    assert bool((loud.where(half, torch.inf).amin((1, 2)) >= loud.where(~half, 0.0).amax((1, 2))).all())
    assert every.all()
    assert torch.equal(half.sum((1, 2)), torch.full((3,), half[0].numel() // 2))


def test_ledger_counts_what_a_loop_counts():
    problem, network = problem_of(), learned()
    hears = torch.rand(3, 6, problem.num_aps, generator=torch.Generator().manual_seed(5)) < 0.5
    ledger = traffic(network, problem, hears)
    comm, every = problem.num_comm_links, (problem.num_links - problem.num_comm_links) // problem.num_targets
    for drop in range(3):
        for ap in range(problem.num_aps):
            own = [link for link in range(problem.num_links) if int(problem.link_ap[drop, link]) == ap]
            serving, lighting = [link for link in own if link < comm], [link for link in own if link >= comm]
            ues = {ue for ue in range(6) if hears[drop, ue, ap]} | {link // problem.serving for link in serving}
            sent = 2 * len(own) + 2 * len(lighting) + 2 * 2
            heard = 3 * len(ues) + 4 * 2 + (2 + 1) * len(serving) + (2 + 2) * len(lighting)
            assert (int(ledger.sent[drop, ap]), int(ledger.heard[drop, ap])) == (sent, heard)
            assert int(ledger.of_targets[drop, ap]) == (2 + 4) * 2 + (2 + 2) * len(lighting)
            assert int(ledger.once[drop, ap]) == len(serving) + 2 * 2
            assert int(ledger.upload[drop, ap]) == len(serving) + (6 + 4) * len(own) + len(own)
    assert every > 0
    noisy = problem_of(requirement=SICNR)
    assert torch.equal(traffic(network, noisy).once, traffic(network, problem).once + noisy.num_constraints)


def test_a_message_that_is_late_is_that_of_the_round_before(policy):
    channel = Late(1.0, torch.Generator())
    first, second = torch.ones(2, 3, 1), 2.0 * torch.ones(2, 3, 1)
    assert torch.equal(channel("up", first), torch.zeros(2, 3, 1))
    assert torch.equal(channel("up", second), first)
    assert torch.equal(channel("measured by UEs", second), second)
    problem = problem_of()
    late, now = policy.exits(problem, channel=Late(1.0, torch.Generator())), policy.exits(problem)
    assert torch.equal(late[0], now[0])
    assert torch.equal(policy.exits(problem, channel=Late(0.0, torch.Generator()))[-1], now[-1])
    assert not torch.equal(late[-1], now[-1])
    assert late[-1].isfinite().all()


@pytest.mark.parametrize("channel", [Lossy, Late])
@pytest.mark.parametrize("kind", ["air", "gain", "largest echo", "scale of targets"])
def test_what_is_measured_or_repeated_until_heard_is_neither_lost_nor_late(channel, kind):
    nothing = channel(1.0, torch.Generator())
    for sent in (torch.ones(2, 3, 1), 2.0 * torch.ones(2, 3, 1)):
        assert torch.equal(nothing(kind, sent), sent)


@pytest.mark.parametrize("rounds", [1, 3])
def test_receivers_hold_the_newest_message_that_has_arrived(rounds):
    """A loop over words: message t arrives in round t, or in round t + `rounds` where it is late."""
    channel = Late(0.6, torch.Generator().manual_seed(3), rounds)
    drawn = torch.Generator().manual_seed(3)
    late = [torch.rand(2, 5, 1, generator=drawn) < 0.6 for _ in range(8)]
    for now in range(8):
        heard = channel("up", torch.full((2, 5, 2), float(now + 1)))
        for drop in range(2):
            for word in range(5):
                there = [then for then in range(now + 1) if then + rounds * int(late[then][drop, word]) <= now]
                assert bool((heard[drop, word] == max(there, default=-1) + 1).all())


def test_nobody_hears_from_a_dead_ap(policy):
    problem = problem_of()
    dead, gone = problem.link_ap == 2, (torch.arange(problem.num_aps) == 2).expand(3, -1)
    found = policy.answer(problem, 3, 1, channel=Silent(dead, gone))
    garbage = torch.where(dead[:, None], problem.echo * 7.0, problem.echo)
    again = policy.answer(replace(problem, echo=garbage), 3, 1, channel=Silent(dead, gone), air=problem)
    alive = ~dead
    if isinstance(policy, UnfoldedPrices):
        assert torch.equal(found[alive], again[alive])
    assert found.isfinite().all()
    assert not torch.equal(found[alive], policy.exits(problem)[-1][alive])
