"""Policies that run at the APs: what an AP knows, laws, messages, allocators."""

import math
import queue
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import torch

from isac_torch import TrackingScenario, allocate, named_allocator, power_problem
from isac_torch.allocators.tracking.ap_groups import GroupChannel, groups_of, run_as_processes, run_program
from isac_torch.allocators.tracking.distributed import Distributed, HandTuned
from isac_torch.allocators.tracking.sinr_tracking import SinrTracking
from isac_torch.errors import AllocationError, CheckpointError
from isac_torch.nn.checkpoint import load_network, save_network
from isac_torch.nn.tracking.local_channels import OF_TARGETS, Coarse, Late, Lossy, Silent, loudest_pairs
from isac_torch.nn.tracking.local_network import DistributedNetwork
from isac_torch.nn.tracking.local_traffic import traffic
from isac_torch.nn.tracking.unfolded import UnfoldedPrices
from isac_torch.tracking.local.features import alone, near
from isac_torch.tracking.local.rounds import (
    budget_price,
    clear,
    measured,
    neighbourhoods,
    on_common_scale,
    own_beam_factor,
    own_beams,
    worth_and_cost,
)
from isac_torch.tracking.requirement import Requirement

SIZES = ("8x6x2", "6x5x0", "9x4x1")
SICNR = Requirement("dominate", scan=0.0, position=0.0, sicnr=0.9)


def problem_of(size="8x6x2", drops=3, **options):
    scenario = TrackingScenario.of_size(size, **options)
    return power_problem(scenario.sample(drops, generator=torch.Generator().manual_seed(7)), scenario)


def learned(seed=3):
    """A network whose every weight matters: at the start the last layers are zero."""
    torch.manual_seed(seed)
    network = DistributedNetwork(hidden=8, rounds=3, floats=2, prices=1, layers=1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return network.double().eval()


POLICIES = {"learned": learned, "unfolded": lambda: UnfoldedPrices(3).double()}


@pytest.fixture(params=POLICIES)
def policy(request):
    return POLICIES[request.param]()


@pytest.mark.parametrize("size", SIZES)
def test_budgets_hold_after_every_round(policy, size):
    problem = problem_of(size)
    for share in policy.exits(problem):
        assert share.isfinite().all()
        load = problem.ap_load(share.exp() * problem.link_budget) / problem.budget
        assert (load <= 1 + 1e-12).all()


def test_marginals_are_those_of_autograd():
    """n_e and d_e are the two parts of the derivative of sum_k u_k log SINR_k + sum_l w_l log SIR_l in the powers."""
    problem = problem_of()
    power = (problem.link_budget / 7.0).requires_grad_()
    log_price = torch.randn(3, 6, dtype=torch.float64)
    price = torch.rand(3, 2, dtype=torch.float64)
    value = (log_price.exp() * problem.sinr(power).log()).sum() + (price * problem.sir(power).log()).sum()
    (slope,) = torch.autograd.grad(value, power)
    with torch.no_grad():
        seen = measured(problem, power)
        worth, cost = worth_and_cost(problem, neighbourhoods(problem), power, seen, log_price, (price, price))
    torch.testing.assert_close(worth - cost, slope, rtol=1e-9, atol=1e-9 * float(slope.abs().max()))


def test_marginals_of_shared_pilots_are_those_of_autograd():
    problem = problem_of("8x6x2", pilot_length=3)
    assert problem.has_pilot_reuse
    power = (problem.link_budget / 7.0).requires_grad_()
    value = problem.sinr(power).log().sum()
    (slope,) = torch.autograd.grad(value, power)
    with torch.no_grad():
        seen = measured(problem, power)
        worth, cost = worth_and_cost(problem, neighbourhoods(problem), power, seen, power.new_zeros(3, 6), None)
    torch.testing.assert_close(worth - cost, slope, rtol=1e-9, atol=1e-9 * float(slope.abs().max()))


def test_the_price_of_a_budget_is_the_least_that_keeps_it():
    problem = problem_of()
    asked = torch.rand(3, problem.num_links, dtype=torch.float64) + 0.1
    cost = torch.rand(3, problem.num_links, dtype=torch.float64) + 0.1
    price = budget_price(problem, 3.0 * asked, cost, 0.4)
    load = problem.ap_load(3.0 * asked * (cost + price.gather(1, problem.link_ap)) ** -0.4) / problem.budget
    busy = problem.ap_load(asked) > 0
    assert (load[busy] <= 1 + 1e-6).all()
    torch.testing.assert_close(load[busy & (price > 0)], torch.ones_like(load[busy & (price > 0)]), rtol=1e-6, atol=0.0)


def test_own_beams_times_their_factor_meet_the_constraint():
    problem = problem_of()
    power = problem.link_budget / 7.0
    factor, able, _ = own_beam_factor(problem, own_beams(problem, neighbourhoods(problem), power), measured(problem, power))
    comm, every = problem.num_comm_links, (problem.num_links - problem.num_comm_links) // problem.num_targets
    tested = 0
    for target in range(problem.num_targets):
        scaled = power.clone()
        own = slice(comm + target * every, comm + (target + 1) * every)
        scaled[:, own] *= factor[:, target, None].exp()
        inside = (able[:, target] > 0) & (factor[:, target].abs() < 0.99)
        met = problem.sir(scaled)[:, target] / problem.sir_min[:, target]
        torch.testing.assert_close(met[inside], torch.full_like(met[inside], 1.03), rtol=1e-9, atol=0.0)
        tested += int(inside.sum())
    assert tested > 0


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


def test_the_loudest_pairs_hear_each_other():
    problem = problem_of("9x4x2")
    every, half = loudest_pairs(problem, 1.0), loudest_pairs(problem, 0.5)
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


def test_what_is_required_is_the_same_on_the_common_scale():
    problem = problem_of(requirement=SICNR)
    alike = on_common_scale(problem)
    power = problem.link_budget * torch.rand(
        3, problem.num_links, generator=torch.Generator().manual_seed(2), dtype=torch.float64
    )
    assert bool((alike.sir_min == 10**-0.5).all())
    torch.testing.assert_close(alike.sir(power) / alike.sir_min, problem.sir(power) / problem.sir_min)
    torch.testing.assert_close(alike.sinr(power), problem.sinr(power))
    assert torch.equal(on_common_scale(problem_of()).sir_min, problem_of().sir_min)


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


def test_what_the_noise_asks_for_is_told_beside_the_largest_echo():
    """The last features of links, by loops over targets and links; 0 where no constraint has noise."""
    problem = on_common_scale(problem_of(requirement=SICNR))
    known = neighbourhoods(problem)
    comm, asked = problem.num_comm_links, problem.sir_min * problem.constraint_noise
    per = (problem.num_links - comm) // problem.num_targets
    for drop in range(3):
        told = near(problem, known)[drop, :, -2:]
        for link in range(problem.num_links):
            limit = float(problem.link_budget[drop, link])
            noise = [
                min(5.0, math.log(1.0 + float(asked[drop, row] / (problem.echo[drop, row].max() * limit))) / 0.2)
                for row in range(problem.num_constraints)
            ]
            own = 0.0 if link < comm else noise[(link - comm) // per]
            torch.testing.assert_close(told[link].tolist(), [max(noise), own])
        assert bool((alone(problem, known)[drop, :, -1] == 1.0).all())
    plain = problem_of()
    assert not bool(near(plain, neighbourhoods(plain))[..., -2:].any())
    assert not bool(alone(plain, neighbourhoods(plain))[..., -1].any())


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


def test_one_round_a_slot_goes_on_where_the_last_slot_ended(policy):
    problem = problem_of()
    known = neighbourhoods(problem)
    state = policy.begin(problem, known)
    for index in range(5):
        state = policy.advance(problem, known, state, index)
    torch.testing.assert_close(state.share, policy.exits(problem, 5)[-1], rtol=0, atol=0)


class Queues:
    """Messages between threads."""

    def __init__(self, program, boxes):
        self.program, self.boxes = program, boxes

    def exchange(self, sent, expected):
        for other, out in enumerate(sent):
            if out.numel():
                self.boxes[self.program, other].put(out.clone())
        return [
            self.boxes[other, self.program].get(timeout=60) if into.numel() else into for other, into in enumerate(expected)
        ]


def run_in_threads(policy, problem, programs, rounds, hears=None, faults=lambda: clear, exchanges=2):
    groups = groups_of(problem, programs, hears)
    boxes: dict[tuple[int, int], queue.Queue[torch.Tensor]] = {
        (a, b): queue.Queue() for a in range(programs) for b in range(programs)
    }
    channels = [GroupChannel(groups, program, Queues(program, boxes), faults()) for program in range(programs)]
    with ThreadPoolExecutor(programs) as pool:
        parts = list(pool.map(lambda channel: run_program(policy, problem, rounds, channel, hears, exchanges), channels))
    return torch.stack(parts).sum(0), channels


PROGRAMS = [("8x6x2", {}), ("6x5x0", {}), ("8x6x2", {"pilot_length": 3}), ("8x6x2", {"requirement": SICNR})]


@pytest.mark.parametrize(("size", "options"), PROGRAMS, ids=["sir", "no targets", "shared pilots", "sicnr"])
@pytest.mark.parametrize("heard", [1.0, 0.4])
def test_programs_that_exchange_messages_find_the_same_powers_to_the_bit(policy, size, options, heard):
    problem = problem_of(size, 1, **options)
    assert problem.has_pilot_reuse == ("pilot_length" in options)
    hears = torch.rand(1, problem.num_ues, problem.num_aps, generator=torch.Generator().manual_seed(4)) < heard
    whole = policy.answer(problem, 3, 2, hears).exp() * problem.link_budget
    found, channels = run_in_threads(policy, problem, 3, 3, hears)
    assert torch.equal(found, whole)
    assert sum(sum(channel.counted.values()) for channel in channels) > 0


def dead_ap(problem):
    return Silent(problem.link_ap == 2, torch.arange(problem.num_aps)[None] == 2)


FAULTS = {
    "lost": lambda: Lossy(0.3, torch.Generator().manual_seed(5)),
    "lost, twice": lambda: Lossy(0.4, torch.Generator().manual_seed(5), OF_TARGETS),
    "late": lambda: Late(0.5, torch.Generator().manual_seed(5), 2),
    "coarse": lambda: Coarse(4),
    "dead": lambda: dead_ap(problem_of("8x6x2", 1)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_programs_whose_messages_suffer_find_the_powers_of_the_batched_form_to_the_bit(policy, fault):
    problem, faults = problem_of("8x6x2", 1), FAULTS[fault]
    whole = policy.answer(problem, 3, 2, channel=faults()).exp() * problem.link_budget
    assert torch.equal(run_in_threads(policy, problem, 3, 3, faults=faults)[0], whole)
    assert not torch.equal(whole, policy.answer(problem, 3, 2).exp() * problem.link_budget)


def test_one_program_per_ap_sends_no_more_than_the_ledger_counts():
    """Words to nodes of the own AP do not cross; the ledger counts them as if every master were elsewhere."""
    problem, network = problem_of("8x6x2", 1), learned()
    ledger = traffic(network, problem)
    counted = []
    for exchanges in (0, 1):
        _, channels = run_in_threads(network, problem, problem.num_aps, 1, exchanges=exchanges)
        counted.append(sum(sum(channel.counted.values()) for channel in channels))
    assert 0 < counted[0] <= problem.num_aps * float((ledger.each_round + ledger.once).sum())
    assert 0 < counted[1] - counted[0] <= problem.num_aps * float(ledger.each_exchange.sum())


@pytest.mark.slow
def test_processes_over_sockets_find_the_same_powers_to_the_bit(tmp_path):
    problem, network = problem_of("8x6x2", 1).cast(torch.float32), learned().float()
    save_network(tmp_path / "model.pt", network, {})
    found = run_as_processes(tmp_path / "model.pt", problem, 3, 3, tmp_path, faults=FAULTS["late"](), exchanges=1)
    assert torch.equal(found, network.answer(problem, 3, 1, channel=FAULTS["late"]()).exp() * problem.link_budget)


def test_processes_refuse_more_than_one_drop(tmp_path):
    with pytest.raises(AllocationError, match="2 drops; give one"):
        run_as_processes(tmp_path / "model.pt", problem_of("8x6x2", 2), 3, 3, tmp_path)
