"""What the APs and nodes of a distributed policy calculate: marginals, prices of budgets, own beams, features."""

import math
from itertools import product

import pytest
import torch

from isac_torch.tracking.local.features import alone, near
from isac_torch.tracking.local.rounds import (
    budget_price,
    measured,
    neighbourhoods,
    on_common_scale,
    own_beam_factor,
    own_beams,
    worth_and_cost,
)
from tests.nn.local_policies import SICNR, problem_of


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


def test_what_a_link_brings_and_costs_at_the_constraints_by_a_loop():
    """Largest and smallest gain over the disturbance, largest echo and disturbance, over each constraint's largest echo."""
    problem = problem_of()
    read = near(problem, neighbourhoods(problem))[..., 4:8]
    for drop, link in product(range(3), range(problem.num_links)):
        gain, light, dim = [], [], []
        for row in range(problem.num_constraints):
            top = float(problem.echo[drop, row].max())
            light.append(math.log(max(float(problem.echo[drop, row, link]) / top, 1e-30)))
            dim.append(math.log(max(float(problem.cross_echo[drop, row, link]) / top, 1e-30)))
            gain.append(min(8.0, max(-8.0, light[-1] - dim[-1] - math.log(float(problem.sir_min[drop, row])))))
        told = [max(gain) / 2.0, min(gain) / 2.0, (max(light) + 2.0) / 3.0, (max(dim) + 3.0) / 3.0]
        assert read[drop, link].tolist() == pytest.approx([min(5.0, max(-5.0, one)) for one in told], rel=1e-6)
