"""Search and tracking in one slot: what the allocator sees, what budgets hold, what more power for the search does."""

from dataclasses import dataclass, field, replace

import torch
from torch.testing import assert_close

from isac_torch.allocation import Proposal
from isac_torch.allocators.tracking.heuristics import Fractional
from isac_torch.evaluation.studies.search_and_track import outcome, sample_slots, slot_power
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.tracking.setup import SensingSetup

SCENARIO = TrackingScenario(
    num_aps=8,
    num_ues=5,
    num_targets=2,
    serving_aps=3,
    sensing_aps=2,
    pilot_length=3,
    pilot_power=1e-2,
    sensing=SensingSetup(rcs_variance_dbsm=0.0, sensing_samples=20),
)


@dataclass(frozen=True)
class Remembering:
    """Uniform power, and the problem that it was asked."""

    asked: list[MaxMinSinrProblem] = field(default_factory=list)
    name: str = "remembering"
    gap: float = float("inf")

    def propose(self, problem: MaxMinSinrProblem) -> Proposal:
        """Equal powers of an AP's links."""
        self.asked.append(problem)
        return Fractional().propose(problem)


def test_the_allocator_sees_the_sinrs_that_come_out() -> None:
    """With the interference of the search in the UEs' noise, the problem of the others has the SINRs of the whole one."""
    slot = sample_slots(SCENARIO, 3, 0)
    whole = power_problem(slot.both, slot.everyone)
    allocator = Remembering()
    power, _ = slot_power(slot, whole, allocator, 0.3)
    assert_close(allocator.asked[0].sinr(power[:, :-2]), whole.sinr(power))
    assert_close(whole.ap_load(power), whole.budget)
    for d in range(3):
        lit = slot.both.sensing_ap[d, -1]
        assert_close(power[d, -2:], 0.3 * whole.budget[d, lit])


def test_without_a_search_the_powers_are_those_of_the_tracked_targets() -> None:
    slot = sample_slots(SCENARIO, 3, 0)
    power, _ = slot_power(slot, power_problem(slot.both, slot.everyone), Fractional(), 0.0)
    alone = Fractional().propose(power_problem(slot.tracked, SCENARIO)).power
    assert_close(power[:, :-2], alone)
    assert not bool(power[:, -2:].any())


def test_more_power_for_the_search_finds_more_and_rates_fall() -> None:
    slot = sample_slots(SCENARIO, 8, 1)
    little, much = (outcome(slot, Fractional(), share, 2, 2) for share in (0.0, 0.4))
    assert float(much.detection.mean()) > float(little.detection.mean()) + 0.05
    assert float(much.rate.mean()) < float(little.rate.mean())
    assert bool((much.error > 0).all())
    assert much.error.shape == much.kept.shape == (8, 2)
    moved = (slot.truth.target_position - slot.both.target_position).abs()
    assert not bool(moved[:, :-1].any())
    assert float(moved.max()) <= 5.0
    again = outcome(slot, Fractional(), 0.4, 2, 2)
    assert torch.equal(again.detection, much.detection)
    nowhere = replace(slot, scenario=replace(SCENARIO, sensing=replace(SCENARIO.sensing, rcs_variance_dbsm=-90.0)))
    silent = outcome(nowhere, Fractional(), 0.4, 2, 2)  # an invisible target is found as often as there are false alarms
    assert_close(silent.detection, torch.full((8,), SCENARIO.sensing.false_alarm, dtype=torch.float64), rtol=1e-3, atol=0.0)
