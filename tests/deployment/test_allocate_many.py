"""Batches of many sizes are answered as if each had been asked alone."""

import torch
from torch.testing import assert_close

from isac_torch.allocation import allocate, allocate_many
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.allocators.tracking.heuristics import Fractional
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.scenario import TrackingScenario


def problems():
    batches = []
    for index, (size, drops) in enumerate((("8x4x2", 3), ("8x6x2", 2), ("8x4x2", 1), ("6x3x1", 2))):
        scenario = TrackingScenario.of_size(size)
        batches.append(power_problem(scenario.sample(drops, generator=torch.Generator().manual_seed(index)), scenario))
    return batches


def test_heuristics_answer_as_alone():
    for one, joined in zip(problems(), allocate_many(problems(), Fractional(0.0, 1.0)), strict=True):
        assert_close(joined.power, allocate(one, Fractional(0.0, 1.0)).power, rtol=0, atol=0)


def test_the_engine_answers_within_its_gap():
    """Drops share Newton steps with their batch, so values agree within the certified gap, not to the bit."""
    for one, joined in zip(problems(), allocate_many(problems(), BatchedOptimal()), strict=True):
        alone = allocate(one, BatchedOptimal())
        assert joined.status.tolist() == alone.status.tolist()
        assert_close(joined.value, alone.value, rtol=1e-3, atol=0)


def test_sizes_are_grouped():
    class Counting(Fractional):
        calls: list[int] = []  # noqa: RUF012

        def propose(self, problem):
            self.calls.append(problem.num_drops)
            return super().propose(problem)

    allocate_many(problems(), Counting())
    assert sorted(Counting.calls) == [2, 2, 4]
    assert allocate_many([], Fractional()) == []
