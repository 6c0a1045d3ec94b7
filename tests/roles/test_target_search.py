"""The search for receive APs for the targets' sake: what it calls promising, and drops that do not see each other."""

import math
from dataclasses import replace

import pytest
import torch

from isac_torch.allocation import allocate, equal_split
from isac_torch.allocators.registry import TRACKING
from isac_torch.roles.held import Held, default_standard
from isac_torch.roles.target_search import TargetSearch, _outlook, _promising, search_for_targets
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.drop import all_aps
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.roles import swapped, weakest_amplitude
from tests.roles.small import SMALL, drawn

SIX = replace(SMALL, num_aps=6, num_ues=3, requirement=Requirement("dominate", scan=0.0, position=0.0))


def test_the_outlook_is_a_sum_over_the_constraints():
    """(log SICNR) + 0.5 (log of what cells miss) + 2 (log of what position information misses), all with uniform power."""
    scenario = replace(SIX, requirement=Requirement("dominate"))
    problem = power_problem(drawn(2, scenario), scenario)
    position, generator = problem.position, torch.Generator().manual_seed(1)
    assert position is not None
    harder, more = (2.0 * torch.rand(one.shape, generator=generator) + 0.3 for one in (problem.sir_min, position.required))
    problem = replace(problem, sir_min=problem.sir_min * harder, position=replace(position, required=position.required * more))
    uniform = equal_split(problem)
    for drop, found in enumerate(_outlook(problem, torch.arange(2)).tolist()):
        reached = (problem.sir(uniform) / problem.sir_min)[drop].tolist()
        known = (position.h(uniform) / (position.required * more))[drop].tolist()
        wanted = sum(math.log(one) for one in reached[:2])
        wanted += 0.5 * sum(math.log(one) for one in reached[2:] if one < 1.0)
        wanted += 2.0 * sum(math.log(one) for one in known if one < 1.0)
        assert found == pytest.approx(wanted, rel=1e-9)


def test_sets_that_cost_the_weakest_ue_too_much_are_not_promising():
    drop = drawn(4, SIX)
    held, aps = Held(drop, SIX, default_standard(drop, SIX)), all_aps(drop)
    every = swapped(aps.receive, aps.position.shape[1])
    amplitude = weakest_amplitude(aps.gain, every, SIX.serving_links)
    least = 0.9**0.5 * weakest_amplitude(aps.gain, aps.receive[:, None], SIX.serving_links)
    assert bool((amplitude < least).any(-1).all()), "every drop has a set to leave out"
    found = _promising(held, aps, every, 0.9, TargetSearch(looked=3, solved=3))
    enough = weakest_amplitude(aps.gain, found, SIX.serving_links) >= least
    several = (amplitude >= least).sum(-1) >= 3
    assert bool(several.any())
    assert bool(enough[several].all())


def test_drops_do_not_see_each_other():
    drop = drawn(4, SIX)
    floor = 0.7 * allocate(power_problem(drop, SIX), TRACKING.named("upc")).value
    held, search = Held(drop, SIX, default_standard(drop, SIX)), TargetSearch(looked=6, solved=4, rounds=3)
    together = search_for_targets(held, floor, 0.7, search)
    assert bool((together != all_aps(drop).receive).any(-1).all())
    for index in range(4):
        one = torch.tensor([index])
        assert torch.equal(search_for_targets(held.select(one), floor[one], 0.7, search)[0], together[index])
    once = search_for_targets(held, floor, 0.7, replace(search, rounds=1))
    assert bool((once != together).any()), "one round is not enough for some drop"
