"""The downlink-pilot system's allocators: constraints, proofs, brute force, power saved."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocation import Status, allocate, equal_split
from isac_torch.allocators.downlink_pilots.batched import BatchedMinMaxNmse
from isac_torch.allocators.downlink_pilots.classical import FullPower, MinMaxNmse, PaperSca
from isac_torch.solvers.downlink_pilots.ascent import descend, least_power, majorise
from isac_torch.solvers.downlink_pilots.certificate import upper_bound
from isac_torch.solvers.downlink_pilots.feasibility import best_localisation, restore
from isac_torch.solvers.downlink_pilots.model import drop_arrays
from isac_torch.solvers.downlink_pilots.relaxed import relaxed
from isac_torch.solvers.downlink_pilots.stationarity import kkt_residual
from tests.allocators.pilot_drops import drops, first, random_power

ALLOCATORS = [
    FullPower(),
    FullPower("estimate"),
    PaperSca(),
    MinMaxNmse(),
    MinMaxNmse(slack=0.05),
    MinMaxNmse(keep="full"),
    BatchedMinMaxNmse(),
]


@pytest.mark.parametrize("allocator", ALLOCATORS, ids=lambda a: a.name)
def test_contract(allocator):
    """Finite, within budgets, repeatable, and blind to the numbering of UEs and APs."""
    problem = drops(num_ues=3)
    allocation = allocate(problem, allocator)
    assert (allocation.status != Status.FAILED).all()
    violations = problem.violations(allocation.power)
    assert violations.budget.max() < 1e-9
    assert violations.negative.max() == 0
    assert_close(allocate(problem, allocator).power, allocation.power, rtol=0, atol=0)
    ues, aps = torch.tensor([2, 0, 1]), torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
    swapped = {n: getattr(problem, n)[:, ues][:, :, aps] for n in ("gain", "estimate", "fisher_xx", "fisher_yy", "fisher_xy")}
    moved = allocate(replace(problem, **swapped), allocator)
    # The optimum is flat: values agree to the solver's tolerance, entries less closely; the paper's bisection is a
    # sequence of yes and no, which last digits can tip.
    rtol = 2e-2 if allocator.name == "sca_paper" else 1e-4 if allocator.name.startswith("nmse_") else 1e-12
    assert_close(moved.value, allocation.value, rtol=rtol, atol=0)


@pytest.mark.parametrize(
    "parameters",
    [
        {"downlink_symbols": 4, "uplink_symbols": 16},
        {"num_ues": 6},
        {"num_ues": 2, "downlink_correlation": 0.6, "receiver": "projection"},
    ],
    ids=["tight", "dense", "contaminated"],
)
def test_optimum_is_certified_and_never_below_the_others(parameters):
    problem = drops(num_drops=6, **parameters)
    best = allocate(problem, MinMaxNmse())
    feasible = best.status != Status.INFEASIBLE
    assert feasible.any()
    assert (best.status[feasible] == Status.OPTIMAL).all()
    assert (best.gap[feasible] <= 1e-3).all()
    for allocator in (FullPower(), FullPower("estimate"), PaperSca()):
        other = allocate(problem, allocator)
        comparable = feasible & (other.violation <= 1e-6)
        assert (other.value <= best.value * (1 + 1e-6))[comparable].all()
        assert (other.value <= best.upper_bound)[comparable].all()


@pytest.mark.parametrize("receiver", ["projection", "lmmse"])
def test_brute_force(receiver):
    """Two APs, two UEs: an evolutionary search of 160,000 points finds nothing better, and comes within 1 %."""
    generator = torch.Generator().manual_seed(8)
    problem = drops(num_drops=2, num_aps=2, downlink_symbols=10, crb_max=110.0, downlink_correlation=0.4, receiver=receiver)
    best = allocate(problem, MinMaxNmse())
    for index in range(2):
        assert best.status[index] == (Status.OPTIMAL if receiver == "projection" else Status.FEASIBLE)
        one, spread = first(problem, index), 1.0
        many = one.select(torch.zeros(2000, dtype=torch.int64))
        winner, value = equal_split(one), -1.0
        for _ in range(80):
            step = torch.randn(2000, 4, generator=generator, dtype=torch.float64) * spread
            power = (winner * step.exp()).clamp_min(1e-12)
            load = (many.ap_load(power) / many.budget).clamp_min(1.0)
            power = power / load.gather(1, many.link_ap)
            reached = torch.where(many.violations(power).worst <= 1e-9, many.objective(power), -1.0)
            if float(reached.max()) > value:
                value, winner = float(reached.max()), power[reached.argmax()][None]
            spread *= 0.93
        assert value <= float(best.value[index]) * (1 + 1e-6)
        assert value >= 0.99 * float(best.value[index])


def test_starts_agree():
    """Twelve random starts end at the same value: the problem is benign, although not convex."""
    generator = torch.Generator().manual_seed(1)
    problem = drops(num_drops=1, num_ues=3, downlink_correlation=0.3)
    values = torch.cat([problem.objective(descend(problem, random_power(problem, generator))) for _ in range(12)])
    assert float(values.max() / values.min()) - 1 < 1e-5


@pytest.mark.parametrize("shared", [False, True], ids=["orthogonal", "shared_uplink"])
@pytest.mark.parametrize("merit", ["worst", "sum"])
def test_descent_is_monotone_and_ends_stationary(merit, shared):
    problem = replace(
        drops(num_drops=1, num_ues=4, uplink_symbols=3 if shared else 10, downlink_correlation=0.2, crb_max=1.1), merit=merit
    )
    steps: list[torch.Tensor] = []
    power = descend(problem, equal_split(problem), steps=steps)
    values = [float(problem.objective(p)) for p in steps[1:]]
    assert all(b >= a for a, b in pairwise(values))
    assert float(problem.violations(power).worst) <= 1e-9
    assert kkt_residual(problem, power) < 5e-3 < kkt_residual(problem, equal_split(problem))
    bound = upper_bound(problem, power)
    assert np.isinf(bound) == (shared or merit == "sum")


@pytest.mark.parametrize("uplink", [10, 2])
def test_majoriser_lies_above_and_touches(uplink):
    generator = torch.Generator().manual_seed(3)
    problem = drops(num_drops=1, num_ues=3, uplink_symbols=uplink, downlink_correlation=0.5)
    drop, power = drop_arrays(problem), random_power(problem, generator)
    frozen = majorise(drop, problem, power)

    def bound(candidate):
        share = drop.share(candidate)
        products = np.concatenate([np.sqrt(share[i] * share[j]) for i, j in drop.pairs]) if drop.pairs else np.zeros(0)
        return frozen.linear @ share.reshape(-1) + frozen.product @ products + frozen.constant

    assert_close(torch.as_tensor(bound(power)), problem.error(power)[0], rtol=1e-9, atol=0)
    for _ in range(50):
        other = random_power(problem, generator) * torch.rand(1, generator=generator, dtype=torch.float64)
        assert (bound(other) >= problem.error(other)[0].numpy() * (1 - 1e-9)).all()


def test_weights_and_sum():
    problem = drops(num_drops=2)
    plain = allocate(problem, MinMaxNmse())
    weight = problem.weight * torch.tensor([4.0, 1.0])
    favoured = allocate(replace(problem, weight=weight), MinMaxNmse())
    assert (favoured.status == Status.OPTIMAL).all()
    assert (problem.nmse(favoured.power)[:, 0] < problem.nmse(plain.power)[:, 0]).all()
    total = replace(problem, merit="sum")
    least = allocate(total, MinMaxNmse())
    assert (least.value >= total.objective(plain.power) * (1 - 1e-6)).all()
    assert (least.value > total.objective(favoured.power)).all()


def test_infeasible_is_proven_and_best_effort_locates_best():
    generator = torch.Generator().manual_seed(2)
    problem = drops(num_drops=4, crb_max=0.05)
    allocation = allocate(problem, MinMaxNmse())
    assert (allocation.status == Status.INFEASIBLE).all()
    worst = problem.crb(allocation.power).amax(-1)
    assert_close(allocation.best_quality, 1 / worst)
    for _ in range(200):
        assert (problem.crb(random_power(problem, generator)).amax(-1) >= worst * (1 - 1e-6)).all()
    # On the verge of feasibility the proof must not fire: the limit itself is attainable.
    attainable = replace(problem, crb_max=(worst * (1 + 1e-6))[:, None].expand(-1, 2).contiguous())
    assert (allocate(attainable, MinMaxNmse(max_boxes=0)).status == Status.FEASIBLE).all()


def test_restored_powers_meet_the_bounds():
    generator = torch.Generator().manual_seed(5)
    problem = drops(num_drops=1, downlink_symbols=6)
    inside = best_localisation(problem)
    assert inside.quality > 1
    problem = replace(problem, crb_max=problem.crb(inside.power) * 1.05)
    for _ in range(20):
        power = restore(problem, random_power(problem, generator), inside.power)
        assert float(problem.violations(power).worst) <= 1e-9


def test_power_saved():
    """At the optimum of orthogonal pilots full power is used; 5 % slack saves some, the equal split's NMSE about half."""
    problem = drops(num_drops=3)
    optimum = allocate(problem, MinMaxNmse())
    slack, as_full = allocate(problem, MinMaxNmse(slack=0.05)), allocate(problem, MinMaxNmse(keep="full"))
    assert_close(optimum.power.sum(-1), problem.budget.sum(-1), rtol=1e-4, atol=0)
    assert (slack.power.sum(-1) < 0.9 * optimum.power.sum(-1)).all()
    assert (slack.value >= optimum.value / 1.05001).all()
    assert (as_full.power.sum(-1) < 0.7 * optimum.power.sum(-1)).all()
    assert (as_full.value >= problem.objective(equal_split(problem)) * (1 - 1e-5)).all()
    one = first(problem)
    assert_close(least_power(one, optimum.power[:1], 1e-9), optimum.power[:1])  # out of reach: unchanged


@pytest.mark.parametrize("correlation", [0.3, 0.6])
def test_whole_pilot_is_certified_by_a_relaxation(correlation):
    """Value, bound and random powers in order; the batched engine agrees with the drop-by-drop one."""
    problem = drops(num_drops=2, num_ues=2, downlink_correlation=correlation)
    best = allocate(problem, BatchedMinMaxNmse())
    assert (best.status <= Status.FEASIBLE).all()
    assert (best.gap < 0.1).all()
    assert_close(allocate(problem, MinMaxNmse(max_boxes=0)).value, best.value, rtol=1e-5, atol=0)
    generator = torch.Generator().manual_seed(2)
    for _ in range(50):
        assert (problem.objective(random_power(problem, generator)) <= best.upper_bound).all()
    other = allocate(replace(problem, receiver="projection"), BatchedMinMaxNmse(max_boxes=0))
    assert (problem.objective(other.power) <= best.value * (1 + 1e-6)).all()
    assert (best.value > 1.5 * other.value).all()  # most of the contamination is the projection's doing


def test_relaxation_is_never_worse():
    """Powers at least as good as the known ones have at most the same NMSE in the relaxed problem."""
    problem = drops(num_drops=4, num_ues=3, downlink_correlation=0.4)
    known = equal_split(problem)
    wider = relaxed(problem, known)
    assert wider.separated
    generator, compared = torch.Generator().manual_seed(3), 0
    for _ in range(60):
        power = random_power(problem, generator) * 0.5 + 0.5 * known
        better = problem.objective(power) >= problem.objective(known)
        compared += int(better.sum())
        assert (wider.nmse(power) <= problem.nmse(power) * (1 + 1e-9))[better].all()
    assert compared > 10


def test_ignorant_receiver_is_optimised_without_losing():
    """Steps along tangents never lose; the value lies under the projection's bound and above other receivers' powers."""
    problem = drops(num_drops=2, num_ues=2, downlink_correlation=0.3, receiver="ignorant")
    best = allocate(problem, MinMaxNmse())
    assert (best.value <= best.upper_bound).all()
    assert (best.value >= problem.objective(equal_split(problem))).all()
    for index in range(2):
        assert kkt_residual(first(problem, index), best.power[index, None]) < 1e-2
