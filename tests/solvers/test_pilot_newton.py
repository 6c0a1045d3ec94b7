"""Downlink pilots: a Newton step solves the linearised optimality conditions, and the method needs no test of the caller's."""

import pytest
import torch
from torch import Tensor

from isac_torch.downlink_pilots.build import power_problem
from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
from isac_torch.interior_point import Iterate
from isac_torch.solvers.downlink_pilots.interior import _Engine, solve
from isac_torch.solvers.downlink_pilots.programmes import LeastNmse, Localisation, drops_of


def roads(num_drops: int) -> MinMaxNmseProblem:
    scenario = DownlinkPilotScenario(num_ues=3, num_aps=4, downlink_correlation=0.3)
    return power_problem(scenario.sample(num_drops, generator=torch.Generator().manual_seed(4)), scenario)


def uniform(problem: MinMaxNmseProblem) -> Tensor:
    """Shares that leave a tenth of every budget."""
    return torch.full_like(problem.gain, 0.9 / problem.num_ues)


@pytest.mark.parametrize("kind", ["localisation", "descent"])
@pytest.mark.parametrize("centred", [False, True])
def test_a_step_solves_the_linearised_conditions(kind: str, centred: bool) -> None:
    """Against one dense system in (dx/x, dt, dy) for each drop: stationarity in x and in t, and the constraints."""
    problem = roads(2)
    share, drops = uniform(problem), drops_of(problem)
    none = share.new_zeros(2, 0)
    error = problem.objective((share * problem.budget.unsqueeze(1)).flatten(1))
    programme = Localisation(drops) if kind == "localisation" else LeastNmse(drops, error, none, none)
    epigraph = torch.tensor([0.7, 0.9], dtype=torch.float64)
    rows = programme.constraints(share, epigraph)
    count, size = rows.value.shape[1], share[0].numel()
    dice = torch.Generator().manual_seed(1)
    dual, slack = (0.2 + torch.rand(2, count, generator=dice, dtype=torch.float64) for _ in range(2))
    product = 0.1 + torch.rand(2, size, generator=dice, dtype=torch.float64)  # of x and the dual variables of x >= 0
    point = Iterate(torch.cat([dual, share.flatten(1)], 1), torch.cat([slack, product / share.flatten(1)], 1), epigraph)
    wanted = 0.5 + torch.rand(2, count + size, generator=dice, dtype=torch.float64) if centred else None
    lead, rise = _Engine(programme, share.shape[1:]).newton(point).direction(wanted)
    goal = torch.zeros(2, count + size, dtype=torch.float64) if wanted is None else wanted * point.lead * point.partner
    blocks = programme.curvature(share, dual)
    for drop in range(2):
        slope, raising, y = rows.slope[drop].flatten(1), rows.raising[drop], dual[drop]
        curvature = torch.block_diag(*blocks[drop]) + product[drop].diag()
        zero = torch.zeros(size, 1, dtype=torch.float64)
        matrix = torch.cat(
            [
                torch.cat([curvature, zero, -slope.T], 1),
                torch.cat([zero.T, zero[:1], raising[None]], 1),
                torch.cat([slope, raising[:, None], (slack[drop] / y).diag()], 1),
            ]
        )
        right = torch.cat(
            [
                slope.T @ y + goal[drop, count:],
                -(1.0 + raising @ y)[None],
                goal[drop, :count] / y - rows.value[drop],
            ]
        )
        step = torch.linalg.solve(matrix, right)
        torch.testing.assert_close(lead[drop], torch.cat([step[size + 1 :] / y, step[:size]]), rtol=1e-8, atol=1e-9)
        torch.testing.assert_close(rise[drop], step[size], rtol=1e-8, atol=1e-9)


def test_the_least_load_at_which_every_ue_is_located() -> None:
    """t is minus the largest load, and the worst bound is just met. A caller that stops at once gets the first step."""
    problem = roads(3)
    programme, share = Localisation(drops_of(problem)), uniform(problem)
    epigraph = torch.full((3,), -1.2, dtype=torch.float64)
    found = solve(programme, share, epigraph, tolerance=1e-7)
    assert bool(found.converged.all())
    assert not bool(found.left.any())
    torch.testing.assert_close(found.point.share.sum(1).amax(-1), -found.point.epigraph, rtol=1e-7, atol=0.0)
    quality = (problem.crb_max / problem.crb((found.point.share * problem.budget.unsqueeze(1)).flatten(1))).amin(-1)
    torch.testing.assert_close(quality, torch.ones_like(quality), rtol=1e-6, atol=0.0)
    other = solve(programme, 0.5 * share, epigraph - 0.8, tolerance=1e-7)
    torch.testing.assert_close(other.point.epigraph, found.point.epigraph, rtol=1e-6, atol=0.0)
    first = solve(programme, share, epigraph, leave=lambda _, point: torch.ones_like(point.epigraph, dtype=torch.bool))
    assert bool(first.left.all())
    assert bool((first.point.share != share).any())
