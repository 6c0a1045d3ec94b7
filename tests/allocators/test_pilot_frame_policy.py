"""Pilot lengths by the network: least lengths against the proofs, powers against the search, training and files."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from isac_torch import BatchedMinMaxNmse, DownlinkPilotScenario, Status, allocate, power_problem
from isac_torch.allocators.downlink_pilots.frame import best_frame, fixed_frame, frame_at
from isac_torch.allocators.downlink_pilots.frame_policy import (
    Lengths,
    chosen_downlink,
    lengths_of,
    load_scorer,
    policy_frame,
    roomy_downlink,
)
from isac_torch.errors import ScenarioError
from tests.scripts import benchmark

SMALL = DownlinkPilotScenario(frame_symbols=14, uplink_symbols=2, downlink_symbols=2)


def drawn(scenario, count, seed=4):
    return scenario.sample(count, generator=torch.Generator().manual_seed(seed))


def test_the_least_length_is_the_first_that_meets_every_bound():
    drop = drawn(SMALL, 4)
    lengths = lengths_of(drop, SMALL)
    assert bool((lengths.least > 2).any())
    for index, least in enumerate(lengths.least.tolist()):
        one = drop.select(torch.tensor([index]))
        for symbols in range(2, least + 1):
            problem = power_problem(one, replace(SMALL, downlink_symbols=symbols, frame_symbols=40))
            infeasible = bool(allocate(problem, BatchedMinMaxNmse(max_boxes=0)).status == Status.INFEASIBLE)
            assert infeasible == (symbols < least)


def test_the_network_comes_close_to_the_search():
    scenario = replace(SMALL, frame_symbols=9, crb_max=2.0)
    drop = drawn(scenario, 4)
    plan, best = policy_frame(drop, scenario), best_frame(drop, scenario)
    assert torch.equal(plan.feasible, best.feasible)
    some = best.feasible
    assert bool((plan.uplink[some] == 2).all())
    assert bool((plan.rate <= best.rate * 1.01).all())
    assert float((plan.rate[some] / best.rate[some]).mean()) > 0.93
    assert bool((plan.tried <= 1).all())


def test_the_network_reads_ten_numbers_of_a_road_and_a_length():
    accuracy = [-0.9, -2.0, -1.5, -1.2, -1.1, -1.0]
    table = torch.tensor([accuracy], dtype=torch.float64)
    lengths = Lengths(torch.tensor([3]), 2, 14, table, torch.tensor([0.7], dtype=torch.float64))
    downlink = [3, 4, 40]
    read, left = lengths.inputs(torch.tensor([downlink]))[0], lengths.left(torch.tensor([downlink]))[0]
    for index, symbols in enumerate(downlink):
        long = math.log(symbols)
        best, even, even_mean, free, second, free_mean = accuracy
        inside = best + long
        wanted = [min(inside, 1.5), math.exp(-5.0 * inside)]
        wanted += [min(part + long, 2.0) for part in (free, second, free_mean)]
        wanted += [even - best, even_mean - best, 0.7, 2 / 4 - 1, long - 1.5]
        assert read[index].tolist() == pytest.approx(wanted, rel=1e-12)
        share = 1.0 - (symbols + 2) / 14
        assert float(left[index]) == (pytest.approx(math.log(share)) if share > 0.0 else -math.inf)


def test_a_frame_without_room_for_a_symbol_of_every_ue_has_no_plan():
    scenario = replace(SMALL, frame_symbols=4, downlink_symbols=1)
    assert not bool(policy_frame(drawn(SMALL, 2), scenario).feasible.any())


def test_no_frame_where_no_length_meets_the_bounds():
    scenario = replace(SMALL, crb_max=1e-3)
    assert not bool(policy_frame(drawn(scenario, 2), scenario).feasible.any())


def test_lengths_per_drop_are_fixed_frames_drop_by_drop():
    drop = drawn(SMALL, 3)
    together = frame_at(drop, SMALL, [4, 6, 12], [2, 2, 2])
    for index, symbols in enumerate((4, 6)):
        one = drop.select(torch.tensor([index]))
        alone = fixed_frame(one, replace(SMALL, downlink_symbols=symbols))
        torch.testing.assert_close(together.rate[index], alone.rate[0], rtol=1e-6, atol=0.0)
    assert not bool(together.feasible[2])  # no data symbol is left


def test_the_simple_rule_asks_for_room():
    lengths = lengths_of(drawn(SMALL, 5), SMALL)
    assert torch.equal(roomy_downlink(lengths, 1.0), lengths.least)
    double = roomy_downlink(lengths, 2.0)
    inside = lengths.accuracy[:, 0].exp() * double
    assert bool((inside >= 2.0 * (1 - 1e-9)).all())


def test_shared_pilots_are_refused():
    scenario = replace(SMALL, num_ues=3)
    with pytest.raises(ScenarioError, match="share an uplink pilot"):
        policy_frame(drawn(scenario, 1), scenario)


@pytest.fixture(scope="module")
def trainer() -> Any:
    return benchmark("frame_policy")


def test_training_prefers_the_better_length_and_keeps_its_file(trainer, tmp_path):
    """Made-up rates that are largest at the third length whatever the road."""
    drop = drawn(SMALL, 12)
    lengths = lengths_of(drop, SMALL)
    downlink = lengths.candidates[:, :4]
    rate = torch.tensor([1.0, 1.2, 2.0, 1.5], dtype=torch.float64).expand(12, -1)
    labels = trainer.Labels(lengths.inputs(downlink), lengths.left(downlink), rate)
    network = trainer.fit([labels], steps=150)
    assert torch.equal(chosen_downlink(lengths, network), lengths.least + 2)
    trainer.save(network, tmp_path / "frames.npz")
    again = load_scorer(tmp_path / "frames.npz")
    assert torch.equal(chosen_downlink(lengths, again), lengths.least + 2)
