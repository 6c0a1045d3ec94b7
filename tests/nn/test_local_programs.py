"""Programs that exchange messages find the powers of the batched policy, to the bit."""

import queue
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from isac_torch.allocators.tracking.ap_groups import GroupChannel, groups_of, run_as_processes, run_program
from isac_torch.errors import AllocationError
from isac_torch.nn.checkpoint import save_network
from isac_torch.nn.tracking.local_channels import OF_TARGETS, Coarse, Late, Lossy, Silent
from isac_torch.nn.tracking.local_traffic import traffic
from isac_torch.tracking.local.rounds import (
    clear,
)
from tests.nn.local_policies import SICNR, learned, problem_of


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
