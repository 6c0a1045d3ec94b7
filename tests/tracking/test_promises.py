"""The exchange of promises: promises add up to the constraint, and every AP moves to the nearest powers that keep its own."""

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
import torch

from isac_torch import TrackingScenario, power_problem
from isac_torch.allocators.tracking.distributed import Distributed
from isac_torch.errors import AllocationError
from isac_torch.nn.tracking.local_channels import Lossy
from isac_torch.nn.tracking.unfolded import UnfoldedPrices
from isac_torch.tracking.local.promises import nearest_kept, promises, settled
from isac_torch.tracking.local.rounds import neighbourhoods
from isac_torch.tracking.requirement import Requirement

REQUIREMENTS = [Requirement("sir"), Requirement("sicnr", sicnr_min_db=-3.0)]


@pytest.fixture(scope="module", params=REQUIREMENTS, ids=lambda requirement: requirement.kind)
def problem(request):
    scenario = TrackingScenario.of_size("8x6x2", requirement=request.param, sir_min_db=-8.0)
    return power_problem(scenario.sample(40, generator=torch.Generator().manual_seed(11)), scenario)


def powers(problem, share):
    return share.exp() * problem.link_budget


def even(problem):
    """Log shares of the budgets by which every AP shares half of its budget among its links."""
    links = neighbourhoods(problem).links.clamp_min(1.0).gather(1, problem.link_ap)
    return -(2.0 * links).log()


def test_promises_add_up_to_what_the_constraint_needs(problem):
    """Sum of b over the APs: 1.001 times the required quality times the noise, whether the constraint is met before or not."""
    share = even(problem)
    each, promised = promises(problem, neighbourhoods(problem), share)
    power = powers(problem, share)
    missed = problem.sir(power) < 1.001 * problem.sir_min
    assert missed.any()
    assert not missed.all()
    needed = 1.001 * problem.sir_min * problem.constraint_noise
    size = (each.abs() * share.exp()[:, None]).sum(-1)
    torch.testing.assert_close((promised.sum(-1) - needed) / size, torch.zeros_like(size), rtol=0.0, atol=1e-12)


def test_kept_promises_meet_every_constraint(problem):
    """Where every AP keeps what it promised, no constraint is missed, and no budget either."""
    known, share = neighbourhoods(problem), even(problem)
    each, promised = promises(problem, known, share)
    after = nearest_kept(problem, share, each, promised)
    adds = torch.stack([problem.ap_load(row * after.exp()) for row in each.unbind(1)], 1)
    kept = (adds >= promised - 1e-4 * each.abs().amax(-1, keepdim=True)).flatten(1).all(-1)
    violations = problem.violations(powers(problem, after))
    before = problem.violations(powers(problem, share))
    assert (violations.budget <= 1e-12).all()
    repaired = kept & (before.sensing > 0.0)
    assert repaired.sum() >= 3
    exact = (adds >= promised).flatten(1).all(-1) & kept
    assert (violations.sensing[exact] == 0.0).all()
    assert (violations.sensing[repaired] == 0.0).double().mean() > 0.9


def test_an_ap_moves_to_the_nearest_powers_that_keep_its_promises():
    """Against a convex solver: least sum of q log(q / q0) - q + q0 under the promises and the budget of one AP.

    Twelve sweeps are not the limit: 2 % of a share are left.
    """
    scenario = TrackingScenario.of_size("8x6x2")
    problem = power_problem(scenario.sample(1, generator=torch.Generator().manual_seed(3)), scenario)
    generator = torch.Generator().manual_seed(5)
    each = torch.randn(1, 2, problem.num_links, generator=generator, dtype=torch.float64)
    share = even(problem) + 0.3 * torch.randn(1, problem.num_links, generator=generator, dtype=torch.float64)
    reachable = (share + 0.8 * torch.randn(share.shape, generator=generator, dtype=torch.float64)).exp()
    load = problem.ap_load(reachable).clamp_min(0.9).gather(1, problem.link_ap) / 0.9
    promised = torch.stack([problem.ap_load(row * reachable / load) for row in each.unbind(1)], 1)
    found = nearest_kept(problem, share, each, promised)[0].exp().numpy()
    moved = 0
    for ap in range(problem.num_aps):
        own = (problem.link_ap[0] == ap).numpy()
        if not own.any():
            continue
        power, start = cp.Variable(int(own.sum())), share[0].exp().numpy()[own]
        kept = [each[0].numpy()[:, own] @ power >= promised[0, :, ap].numpy(), cp.sum(power) <= 1.0]
        cp.Problem(cp.Minimize(cp.sum(cp.kl_div(power, start))), kept).solve(solver="CLARABEL")
        np.testing.assert_allclose(found[own], power.value, rtol=2e-2, atol=1e-3)
        moved += int(np.abs(power.value - start).max() > 0.01)
    assert moved >= 4


def test_constraints_that_are_met_leave_powers_as_they_are(problem):
    share = even(problem)
    power = powers(problem, share)
    easy = problem.sir(power) * 0.9
    slack = replace(problem, sir_min=easy)
    torch.testing.assert_close(settled(slack, neighbourhoods(slack), share, 2), share, rtol=0.0, atol=1e-12)


def test_without_constraints_nothing_is_exchanged():
    scenario = TrackingScenario.of_size("6x5x0")
    alone = power_problem(scenario.sample(2, generator=torch.Generator().manual_seed(1)), scenario)
    assert torch.equal(settled(alone, neighbourhoods(alone), even(alone), 3), even(alone))


def test_an_ap_that_hears_no_answer_keeps_what_it_adds(problem):
    """Everything is lost: b is c, so that the powers stay."""
    share = even(problem)
    found = settled(problem, neighbourhoods(problem), share, 1, Lossy(1.0, torch.Generator()))
    torch.testing.assert_close(found, share, rtol=0.0, atol=1e-12)


def test_further_exchanges_repair_more(problem):
    share = UnfoldedPrices(2).double().eval().exits(problem, 2)[-1].detach()
    known = neighbourhoods(problem)
    missed = [
        int((problem.violations(powers(problem, settled(problem, known, share, count))).sensing > 1e-6).sum())
        for count in (0, 1, 3)
    ]
    assert missed[0] > missed[1] >= missed[2]


def test_exchanges_are_counted_from_zero():
    scenario = TrackingScenario.of_size("6x5x0")
    with pytest.raises(AllocationError, match="exchanges=-1"):
        Distributed(UnfoldedPrices(), 1, exchanges=-1).propose(
            power_problem(scenario.sample(1, generator=torch.Generator().manual_seed(1)), scenario)
        )
