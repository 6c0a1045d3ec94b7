"""Requirements with a margin are eased only where they cannot be met."""

from dataclasses import replace

import torch

from isac_torch import BatchedOptimal, Requirement, TrackingScenario, allocate, power_problem
from isac_torch.allocation import equal_split
from isac_torch.allocators.tracking.margin import eased, without_margin

SCENARIO = TrackingScenario.of_size("8x6x2", requirement=Requirement("dominate"))


def problems(margin, drops=6):
    drop = SCENARIO.sample(drops, generator=torch.Generator().manual_seed(3))
    wanted = replace(SCENARIO, requirement=replace(SCENARIO.requirement, margin=margin))
    return power_problem(drop, wanted), power_problem(drop, SCENARIO)


def test_what_can_be_met_is_asked_for():
    wanted, least = problems(0.01)
    assert torch.equal(eased(wanted, least).sir_min, wanted.sir_min)


def test_what_cannot_be_met_is_eased_to_what_can():
    wanted, least = problems(3.0)
    refused = allocate(wanted, BatchedOptimal(tie="none")).violation > 1e-6
    assert refused.any()
    found = eased(wanted, least, most_cost=1.0)
    assert (allocate(found, BatchedOptimal(tie="none")).violation <= 1e-6).all()
    assert torch.equal(found.sir_min[~refused], wanted.sir_min[~refused])
    assert (found.sir_min >= least.sir_min).all()
    assert (found.sir_min[refused] < wanted.sir_min[refused]).any(-1).all()


def test_a_margin_costs_no_more_than_it_may():
    wanted, least = problems(0.6)
    before = allocate(least, BatchedOptimal(tie="none")).value
    whole = allocate(wanted, BatchedOptimal(tie="none"))
    share, met = whole.value / before, whole.violation <= 1e-6
    found = eased(wanted, least, most_cost=0.02)
    kept = allocate(found, BatchedOptimal(tie="none")).value / before
    assert (met & (share < 0.98)).any()
    assert float(kept.min()) > 0.98 - 1e-3
    cheap = met & (share > 0.985)
    assert torch.equal(found.sir_min[cheap], wanted.sir_min[cheap])


def test_without_any_margin_uniform_power_is_enough():
    _, least = problems(0.0)
    impossible = replace(least, sir_min=1e6 * least.sir_min)
    found = eased(impossible, least)
    torch.testing.assert_close(found.sir_min, least.sir_min)
    assert (found.violations(equal_split(found)).worst < 1e-9).all()


def test_the_problem_without_a_margin_needs_no_second_look_at_the_network():
    wanted, least = problems(0.7)
    found = without_margin(wanted, SCENARIO.requirement.sicnr)
    torch.testing.assert_close(found.sir_min, least.sir_min, rtol=1e-12, atol=0.0)
    assert (wanted.sir_min > found.sir_min).any()
    torch.testing.assert_close(found.echo, least.echo, rtol=0.0, atol=0.0)
