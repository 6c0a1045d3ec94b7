"""Downlink pilots: the batched engine, derivatives, weak duality, boxes that cover, and the readable solver's answers."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocation import Status, allocate, equal_split
from isac_torch.allocators.downlink_pilots.batched import BatchedMinMaxNmse, _boxes
from isac_torch.allocators.downlink_pilots.classical import MinMaxNmse
from isac_torch.downlink_pilots.build import power_problem
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
from isac_torch.solvers.downlink_pilots.programmes import LeastNmse, Localisation, drops_of, quality_bound


def roads(num_drops=4, seed=4, **parameters):
    scenario = DownlinkPilotScenario(**parameters)
    return power_problem(scenario.sample(num_drops, generator=torch.Generator().manual_seed(seed)), scenario)


def shares(problem, seed=0, load=1.0):
    """Random shares that load every AP to `load`."""
    draw = torch.rand(problem.gain.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.05
    return load * draw / draw.sum(1, keepdim=True)


def duals(shape, seed=1):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1


def box(problem, share):
    """A box around the ratios of `share`, asking for its largest NMSE."""
    drops = drops_of(problem)
    own, noise = drops.received(share)
    power = (share * problem.budget.unsqueeze(1)).flatten(1)
    return LeastNmse(drops, problem.objective(power), 0.7 * own / noise, 1.6 * own / noise)


@pytest.mark.parametrize("kind", ["localisation", "descent", "box"])
def test_slopes_and_curvature_are_derivatives(kind):
    problem = roads(num_drops=2, num_ues=3, downlink_correlation=0.4)
    share = shares(problem, load=0.9)
    fenced = box(problem, share)
    none = fenced.low[:, :0]
    descent = LeastNmse(fenced.drops, fenced.unit, none, none)
    programme = {"localisation": Localisation(fenced.drops), "descent": descent, "box": fenced}[kind]
    t = torch.full_like(fenced.unit, 0.8)
    rows = programme.constraints(share, t)
    dual = duals(rows.value.shape)

    def weighted(x, t):
        return (programme.constraints(x, t).value * dual).sum()

    by_share, by_t = torch.autograd.functional.jacobian(weighted, (share, t))
    # The tangent of V has V's own slopes, and its value: V is homogeneous of degree one in (F, I).
    assert_close(share * by_share, torch.einsum("dr,drkm->dkm", dual, rows.slope), rtol=1e-8, atol=1e-9)
    assert_close(by_t, (dual * rows.raising).sum(-1), rtol=1e-8, atol=1e-9)
    if kind != "descent":  # there the error's own curvature is dropped
        hessian = torch.autograd.functional.hessian(lambda x: weighted(x, t), share)
        curvature = programme.curvature(share, dual)
        for drop in range(2):
            for k in range(3):
                scaled = -hessian[drop, k, :, drop, k] * share[drop, k][:, None] * share[drop, k]
                assert_close(curvature[drop, k], scaled, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_no_shares_in_a_box_beat_the_bound_of_any_prices(correlation):
    problem = roads(num_drops=6, num_ues=3, downlink_correlation=correlation, crb_max=3.0)
    inside = shares(problem)
    programme = box(problem, inside)
    t = torch.zeros_like(programme.unit)
    judged = 0
    for seed in range(6):
        share = inside if seed == 0 else 0.9 * inside + 0.1 * shares(problem, seed)
        value = programme.constraints(share, t).value
        met = (value[:, 3:] >= -1e-12).all(-1)  # cones, budgets and box; the first rows hold the margin
        margin = (value[:, :3] / programme.margin()).amin(-1)
        for point in (inside, shares(problem, 77)):
            bound, _ = programme.bound(point, duals(value.shape, seed))
            assert bool((margin <= bound + 1e-9)[met].all())
        judged += int(met.sum())
    assert judged > 6


def test_no_powers_locate_better_than_the_bound_of_any_prices():
    problem = roads(num_drops=6, num_ues=3)
    for seed in range(5):
        bound = quality_bound(drops_of(problem), shares(problem, seed), duals((6, 3), seed))
        power = (shares(problem, seed + 50) * problem.budget.unsqueeze(1)).flatten(1)
        assert bool(((problem.crb_max / problem.crb(power)).amin(-1) <= bound * (1 + 1e-9)).all())


@pytest.mark.parametrize(("num_aps", "boxes"), [(8, 2 * 3 + 1), (128, 3 + 1)], ids=["two_sides", "no_end_above"])
def test_boxes_cover_every_ratio_that_the_target_allows(num_aps, boxes):
    problem = roads(num_ues=3, num_aps=num_aps)
    drops, share = drops_of(problem), shares(problem)
    target = problem.objective((share * problem.budget.unsqueeze(1)).flatten(1))
    drop_of, low, high = _boxes(drops, share, target, 1e-3)
    assert drop_of.bincount().max() == boxes
    for drop in range(4):
        mine = drop_of == drop
        bottom, top = low[mine].amin(0), high[mine].amax(0)
        omega = bottom + (top - bottom) * duals((500, 3), drop).sub(0.1)
        inside = ((omega[:, None] >= low[mine]) & (omega[:, None] <= high[mine])).all(-1)
        assert bool(inside.any(-1).all())


@pytest.mark.parametrize(
    "parameters",
    [
        {"num_ues": 1},
        {"downlink_symbols": 4, "uplink_symbols": 16, "crb_max": 0.78},
        {"num_ues": 4, "num_aps": 5, "crb_max": 2.5},
        {"downlink_correlation": 0.3},
        {"num_ues": 3, "uplink_symbols": 2, "downlink_symbols": 6},
    ],
    ids=["single", "tight", "dense", "contaminated", "shared"],
)
def test_same_answers_as_drop_by_drop(parameters):
    """Both stop within about 1e-6 of the same optimum; bounds stand at the gap asked for, or at the same step of the search."""
    problem = roads(num_drops=5, **parameters)
    ours, reference = allocate(problem, BatchedMinMaxNmse()), allocate(problem, MinMaxNmse())
    feasible = reference.status != Status.INFEASIBLE
    assert torch.equal(ours.status == Status.INFEASIBLE, ~feasible)
    assert_close(ours.value[feasible], reference.value[feasible], rtol=5e-6, atol=0)
    assert_close(ours.best_quality, reference.best_quality, rtol=1e-6, atol=0)
    assert_close(ours.gap[feasible], reference.gap[feasible], rtol=1e-2, atol=1e-5)
    assert bool((ours.violation[feasible] <= 1e-9).all())


def test_company_does_not_matter():
    problem = roads(num_drops=6, num_ues=3, crb_max=0.5)
    together = allocate(problem, BatchedMinMaxNmse())
    alone = allocate(problem.select(torch.tensor([3])), BatchedMinMaxNmse())
    assert_close(alone.value, together.value[3:4], rtol=1e-6, atol=0)
    assert torch.equal(alone.status, together.status[3:4])


def test_sum_of_errors_goes_drop_by_drop():
    problem = replace(roads(num_drops=2), merit="sum")
    ours = allocate(problem, BatchedMinMaxNmse())
    assert bool((ours.value > problem.objective(equal_split(problem))).all())
    assert not bool(ours.upper_bound.isfinite().any())
