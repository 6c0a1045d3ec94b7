"""Repaired and refined allocators: nothing broken is left, nothing good is lost, warm starts end where cold ones do."""

import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocation import FEASIBILITY_TOLERANCE, Proposal, Status, allocate
from isac_torch.allocators.registry import TRACKING, named_allocator
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.allocators.tracking.heuristics import Fractional
from isac_torch.allocators.tracking.learned import FirstOrder
from isac_torch.allocators.tracking.refined import Refined, Repaired
from isac_torch.errors import CheckpointError
from isac_torch.nn.checkpoint import save_network
from isac_torch.nn.tracking.network import AllocationNetwork
from isac_torch.solvers.tracking import interior
from isac_torch.solvers.tracking.epigraph_program import max_min_program
from isac_torch.solvers.tracking.warm_start import WARM_EPIGRAPH, push_inside, warm_point
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.weights import shipped_weights

ENGINE = BatchedOptimal(gap=1e-3, tie="none")


def make_problem(size="16x16x4", drops=24, seed=1_700_000_100, **parameters):
    scenario = TrackingScenario.of_size(size, **parameters)
    return power_problem(scenario.sample(drops, generator=torch.Generator().manual_seed(seed)), scenario)


@pytest.fixture(scope="module")
def problem():
    return make_problem()


@pytest.fixture(scope="module")
def best(problem):
    return allocate(problem, ENGINE)


class Replay:
    """An allocator that answers what it is given."""

    name, gap = "replay", 0.0

    def __init__(self, power):
        self.power = power

    def propose(self, problem):
        return Proposal(self.power)


def test_repair_keeps_what_is_valid_and_solves_the_rest(problem, best):
    raw = allocate(problem, Fractional(0.5, 0.5))
    valid = raw.violation <= FEASIBILITY_TOLERANCE
    assert 0 < int(valid.sum()) < problem.num_drops
    found = allocate(problem, Repaired(Fractional(0.5, 0.5)))
    assert_close(found.power[valid], raw.power[valid], rtol=0, atol=0)
    solved = (best.status == Status.OPTIMAL) & ~valid
    assert bool((found.status[solved] == Status.OPTIMAL).all())
    assert bool((found.value[solved] >= best.value[solved] * (1 - 2e-3)).all())  # two gaps of 1e-3
    assert bool((found.status[valid] == Status.FEASIBLE).all())


def test_refinement_is_certified_and_never_worse_than_its_start(problem, best):
    raw = allocate(problem, FirstOrder(60))
    found = allocate(problem, Refined(FirstOrder(60)))
    feasible = best.status == Status.OPTIMAL
    assert bool((found.status[feasible] == Status.OPTIMAL).all())
    assert float(found.gap[feasible].max()) <= 3e-3
    assert bool((found.value[feasible] >= best.value[feasible] * (1 - 4e-3)).all())
    valid = raw.violation <= FEASIBILITY_TOLERANCE
    assert bool((found.value[valid] >= raw.value[valid]).all())
    assert bool((found.upper_bound[feasible] >= best.value[feasible] * (1 - 1e-6)).all())  # both bounds hold


@pytest.mark.parametrize("kind", [Repaired, Refined])
def test_hopeless_answers_are_replaced(kind, problem, best):
    power = Fractional().propose(problem).power.clone()
    power[0, 3], power[1], power[2, 0] = torch.nan, 0.0, 1e3
    found = allocate(problem, kind(Replay(power)))
    feasible = best.status == Status.OPTIMAL
    assert bool((found.violation[feasible] <= FEASIBILITY_TOLERANCE).all())
    assert bool((found.value[:3] >= 0.99 * best.value[:3])[feasible[:3]].all())


@pytest.mark.parametrize("kind", [Repaired, Refined])
def test_unreachable_requirement_is_recognised_and_met_as_well_as_can_be(kind):
    problem = make_problem("8x4x2", 12, sir_min_db=3.0)
    best, found = allocate(problem, ENGINE), allocate(problem, kind(FirstOrder(10)))
    lost = best.status == Status.INFEASIBLE
    assert bool(lost.any())
    assert bool((found.status[lost] == Status.INFEASIBLE).all())
    assert_close(found.best_quality[lost], best.best_quality[lost])
    reached = problem.sir(found.power).amin(-1)[lost] / best.best_quality[lost]
    assert bool((reached >= 0.95 * (1 - 1e-6)).all())
    assert bool((reached <= 1 + 1e-6).all())
    assert bool((found.status[~lost] != Status.INFEASIBLE).all())


@pytest.mark.parametrize(("size", "pilots"), [("4x2x0", None), ("4x3x1", None), ("8x4x2", 2), ("16x16x4", 8)])
def test_every_kind_of_problem_is_refined(size, pilots):
    problem = make_problem(size, 6, pilot_length=pilots)
    best, found = allocate(problem, ENGINE), allocate(problem, Refined(FirstOrder(20)))
    assert bool(((found.violation <= FEASIBILITY_TOLERANCE) | (best.status == Status.INFEASIBLE)).all())
    # shared pilots: another local optimum may be found from another start
    assert bool((found.value >= best.value * (1 - (4e-3 if pilots is None else 5e-2))).all())


def test_good_powers_save_steps(problem, best):
    feasible = problem.select((best.status == Status.OPTIMAL).nonzero()[:, 0])
    limit = feasible.budget.gather(1, feasible.link_ap)
    even = 0.5 * Fractional().propose(feasible).power / limit
    near = push_inside(FirstOrder(60).propose(feasible).power / limit, even)
    steps = []
    for start, epigraph, warm in ((even, 0.5, False), (near, WARM_EPIGRAPH, True)):
        scale = feasible.objective(start * limit)
        program = max_min_program(feasible, scale)
        found = interior.solve(program, start, torch.full_like(scale, epigraph), 1.5e-3, warm=warm)
        assert bool(found.converged.all())
        steps.append(float(found.iterations.double().mean()))
    assert steps[1] < 0.85 * steps[0]  # 0.7 measured over 256 drops


def test_refinement_takes_fewer_steps_than_a_start_from_nothing(problem, best, monkeypatch):
    """Through the public ways in: a start that is dropped on the way would cost as much as none."""
    feasible = problem.select((best.status == Status.OPTIMAL).nonzero()[:10, 0])
    power = FirstOrder(40).propose(feasible).power
    solve, taken = interior.solve, []

    def counted(*arguments, **options):
        found = solve(*arguments, **options)
        taken.append(int(found.iterations.sum()))
        return found

    monkeypatch.setattr(interior, "solve", counted)

    def steps(answer):
        taken.clear()
        answer()
        return sum(taken)

    cold = steps(lambda: ENGINE.propose(feasible))
    assert 0 < steps(lambda: ENGINE.improve(feasible, power)) < 0.85 * cold  # as measured above
    assert 0 < steps(lambda: Refined(Replay(power), ENGINE).propose(feasible)) < 0.85 * cold


def test_only_powers_that_are_known_get_dual_variables_to_match(problem, best, monkeypatch):
    """The engine's start from nothing is the even one; the dual variables of a warm start belong to good powers alone."""
    few = problem.select((best.status == Status.OPTIMAL).nonzero()[:3, 0])
    solve, told = interior.solve, []

    def watched(program, power, epigraph, tolerance, max_iterations, to_boundary, warm):
        told.append((warm, float(epigraph[0])))
        return solve(program, power, epigraph, tolerance, max_iterations, to_boundary, warm)

    monkeypatch.setattr(interior, "solve", watched)
    ENGINE.propose(few)
    assert told[0] == (False, 0.5)
    told.clear()
    ENGINE.improve(few, FirstOrder(40).propose(few).power)
    assert told[0] == (True, WARM_EPIGRAPH)


def test_warm_point_is_inside_and_balanced(problem):
    limit = problem.budget.gather(1, problem.link_ap)
    start = push_inside(FirstOrder(20).propose(problem).power / limit, 0.5 * Fractional().propose(problem).power / limit)
    scale = problem.objective(start * limit)
    program = max_min_program(problem, scale)
    point = warm_point(program, start, torch.full_like(scale, WARM_EPIGRAPH))
    for positive in (point.power, point.slack, point.dual, point.bound_dual):
        assert bool((positive > 0).all())
        assert bool(positive.isfinite().all())
    interference = (problem.interference(start * limit) * point.dual[:, : problem.num_ues]).sum(-1)
    assert_close(interference, torch.ones_like(interference))  # the optimality condition of t


def test_names_of_learned_rows(tmp_path):
    path = tmp_path / "model.pt"
    save_network(path, AllocationNetwork(hidden=8, layers=1, refinements=1, steps=2), {})
    names = [named_allocator(name, path).name for name in ("gnn", "gnn_repaired", "gnn_refined")]
    assert names == ["gnn", "gnn_repaired", "gnn_refined"]
    with pytest.raises(CheckpointError, match="no weights of the nowhere system"):
        shipped_weights("nowhere")


def test_shipped_weights_are_the_default(tmp_path):
    try:
        path = shipped_weights()
    except CheckpointError:
        pytest.skip("this tree holds no shipped weights")
    other = tmp_path / "model.pt"
    save_network(other, AllocationNetwork(hidden=8, layers=1, refinements=1, steps=2), {})
    for name in TRACKING.learned:
        own = TRACKING.own.get(name)
        assert TRACKING.weights_file(name, None) == (shipped_weights(own[1]) if own else path)
    assert TRACKING.weights_file("gnn", other) == other
    assert TRACKING.weights_file("gnn_shipped", other) == path
    problem = make_problem("8x4x2", 4)
    found = [allocate(problem, named_allocator(*arguments)).power for arguments in (("gnn",), ("gnn_shipped", other))]
    assert_close(found[0], found[1], rtol=0, atol=0)
