"""The position requirement in the engine: exact slopes, certified optima, fallbacks, and an independent cone programme."""

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocation import Status, allocate
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.solvers.tracking.certificate import upper_bound, with_tangents
from isac_torch.solvers.tracking.common_factor import largest_factor
from isac_torch.solvers.tracking.objectives import least_power
from isac_torch.solvers.tracking.position_rows import scaled_information, shape
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.scenario import TrackingScenario


def dominating(count: int, factor: float = 1.0, size: str = "8x4x2", **changes: object) -> MaxMinSinrProblem:
    requirement = Requirement("dominate", scan=factor, sicnr=factor, position=factor)
    scenario = TrackingScenario.of_size(size, requirement=requirement, **changes)
    return power_problem(scenario.sample(count, generator=torch.Generator().manual_seed(5)), scenario)


@pytest.fixture(scope="module")
def problem() -> MaxMinSinrProblem:
    return dominating(6, listening_aps=2)


def test_slope_and_curvature_are_the_derivatives(problem: MaxMinSinrProblem) -> None:
    assert problem.position is not None
    information = scaled_information(problem.position, problem.link_budget)
    power = torch.rand(problem.link_gain.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.05
    seen = shape(information, power)
    assert_close(seen.value, problem.position.h(power * problem.link_budget) / problem.position.required)
    for drop, target in ((0, 0), (3, 1)):

        def one(x: torch.Tensor, drop: int = drop, target: int = target) -> torch.Tensor:
            return information.h(power.index_copy(0, torch.tensor([drop]), x[None]))[drop, target]

        slope = torch.autograd.functional.jacobian(one, power[drop])
        curve = torch.autograd.functional.hessian(one, power[drop])
        assert_close(seen.slope[drop, target], slope, rtol=1e-9, atol=1e-12 * float(slope.abs().max()))
        squares = seen.curve[drop, target]
        assert_close(-squares.mT @ squares, curve, rtol=1e-8, atol=1e-10 * float(curve.abs().max()))


def test_tangents_allow_all_that_the_requirement_allows(problem: MaxMinSinrProblem) -> None:
    assert problem.position is not None
    generator = torch.Generator().manual_seed(2)
    for _ in range(50):
        around, power = (
            problem.link_budget * 10.0 ** (-2.0 * torch.rand(problem.link_gain.shape, generator=generator, dtype=torch.float64))
            for _ in range(2)
        )
        outer = with_tangents(problem, around)
        tangents = outer.sir(power)[:, problem.num_constraints :] / outer.sir_min[:, problem.num_constraints :]
        met = problem.position.h(power) >= problem.position.required
        assert bool((tangents[met] >= 1.0 - 1e-12).all())


def test_dominating_optima_are_certified_and_never_below_uniform_power() -> None:
    problem = dominating(24)
    answer = allocate(problem, BatchedOptimal(tie="none"))
    assert answer.status.tolist() == [Status.OPTIMAL] * 24
    assert float(answer.gap.max()) <= 1e-3
    assert bool((answer.value >= problem.objective(problem.reference)).all())
    assert float(problem.violations(answer.power).worst.max()) <= 1e-6


def test_second_stage_saves_power_and_keeps_the_requirement(problem: MaxMinSinrProblem) -> None:
    first, second = (allocate(problem, BatchedOptimal(tie=tie)) for tie in ("none", "least_power"))
    assert second.status.tolist() == [Status.OPTIMAL] * 6
    assert bool((second.power.sum(-1) <= first.power.sum(-1) * (1.0 + 1e-6)).all())
    half = (0.5 * first.value)[:, None].expand(-1, problem.num_ues).contiguous()
    cheap = least_power(problem, half)
    assert bool(cheap.solved.all())
    assert bool((cheap.lower_bound <= cheap.power.sum(-1) * (1.0 + 1e-5)).all())
    assert float((cheap.power.sum(-1) - cheap.lower_bound).max()) <= 1e-3 * float(cheap.power.sum(-1).max())


def test_a_factor_out_of_reach_is_proven_and_the_best_common_one_is_said() -> None:
    problem = dominating(6, factor=2.0)
    limit = largest_factor(problem)
    assert bool((limit.margin_bound < 1.0).all())
    # ... and uniform power, which meets a factor of one, shows that half of it is within reach
    assert bool((limit.margin >= 0.5 * (1.0 - 1e-4)).all())
    assert bool((limit.margin_bound - limit.margin <= 1e-3 * limit.margin).all())
    answer = allocate(problem, BatchedOptimal(tie="none"))
    assert answer.status.tolist() == [Status.INFEASIBLE] * 6
    assert_close(answer.best_quality, limit.margin, rtol=1e-6, atol=0.0)
    position = problem.position
    assert position is not None
    share = torch.cat([problem.sir(answer.power) / problem.sir_min, position.h(answer.power) / position.required], 1).amin(-1)
    assert bool((share >= 0.95 * limit.margin * (1.0 - 1e-6)).all())


def test_random_allowed_powers_stay_below_the_bound() -> None:
    problem = dominating(4, factor=0.8)
    found = allocate(problem, BatchedOptimal(tie="none"))
    reference = problem.reference
    assert reference is not None
    generator, tried = torch.Generator().manual_seed(3), 0
    for _ in range(60):
        noise = torch.randn(reference.shape, generator=generator, dtype=torch.float64)
        power = found.power * (0.03 * noise).exp()
        power = power / (problem.ap_load(power) / problem.budget).amax(-1, keepdim=True).clamp_min(1.0)
        mixed = 0.5 * (power + reference)
        for one in (power, mixed):
            met = problem.violations(one).worst <= 0.0
            tried += int(met.sum())
            assert bool((problem.objective(one) <= found.upper_bound)[met].all())
    assert tried > 20


def test_wrong_dual_variables_prove_less_but_nothing_false(problem: MaxMinSinrProblem) -> None:
    found = allocate(problem, BatchedOptimal(tie="none"))
    generator = torch.Generator().manual_seed(4)
    outer = with_tangents(problem, found.power.clamp_min(1e-9))
    for _ in range(20):
        ue = torch.rand(problem.signal.shape[:2], generator=generator, dtype=torch.float64)
        row = torch.rand(outer.sir_min.shape, generator=generator, dtype=torch.float64) * 1e-3
        assert bool((upper_bound(outer, found.power, ue, row) >= found.value * (1.0 - 1e-6)).all())


def cone_value(problem: MaxMinSinrProblem, sinr: float) -> float:
    """Largest common slack of SINR >= sinr over one drop's powers, by CVXPY: positive where the sinr can be reached."""
    position = problem.position
    assert position is not None
    limit = problem.link_budget[0].numpy()
    share, slack = cp.Variable(problem.num_links, nonneg=True), cp.Variable()
    member = np.arange(problem.num_aps)[:, None] == problem.link_ap[0].numpy()[None]
    rules = [member.astype(float) @ share <= 1.0]
    rows = (problem.echo - problem.sir_min[..., None] * problem.cross_echo)[0].numpy() * limit
    size = np.abs(rows).max(1)
    rules.append(rows / size[:, None] @ share >= (problem.sir_min * problem.constraint_noise)[0].numpy() / size)
    ues, serving = problem.num_ues, problem.serving
    amplitude = problem.signal[0].numpy() * np.sqrt(limit[: ues * serving].reshape(ues, serving))
    for k in range(ues):
        unit = amplitude[k].max() ** 2
        need = sinr * (problem.leakage[0, k].numpy() * limit @ share + 1.0) / unit + slack
        roots = cp.Variable(serving)
        for s in range(serving):
            rules.append(cp.SOC(share[k * serving + s] + need, cp.hstack([2 * roots[s], share[k * serving + s] - need])))
        rules.append(amplitude[k] / np.sqrt(unit) @ roots >= need)
    for t in range(position.required.shape[1]):
        unit = float(position.required[0, t])
        parts = [np.diag(position.prior[0, t].numpy()) / unit]
        for r in range(position.energy.shape[2]):
            for m in range(problem.num_aps):
                energy, cross, spread = (
                    (value[0, t, r].numpy() * limit * member[m]) @ share / unit
                    for value in (position.energy, position.cross, position.spread)
                )
                left = cp.Variable(nonneg=True)
                rules.append(cp.quad_over_lin(cross, energy) <= spread - left)
                arrival, departure = position.arrival[0, t, r].numpy(), position.departure[0, t, m].numpy()
                parts += [energy * np.outer(arrival, arrival), left * np.outer(departure, departure)]
        whole = sum(parts[1:], parts[0])
        eye = np.eye(3)
        rules.append(cp.matrix_frac(eye[0], whole) + cp.matrix_frac(eye[1], whole) <= 1.0)
    search = cp.Problem(cp.Maximize(slack), rules)
    search.solve(solver=cp.CLARABEL)
    return float(slack.value)


def test_an_exact_cone_programme_agrees() -> None:
    problem = dominating(1, size="4x2x1")
    found = allocate(problem, BatchedOptimal(gap=1e-3, tie="none"))
    value = float(found.value)
    assert cone_value(problem, value * (1.0 - 2e-3)) > 0.0
    assert cone_value(problem, value * (1.0 + 2e-3)) < 0.0


def test_reference_powers_stand_in_where_nothing_better_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from isac_torch.solvers.tracking import first_stage

    problem = dominating(2)
    one_step = replace(first_stage._ATTEMPTS[0], max_iterations=1)
    monkeypatch.setattr(first_stage, "_ATTEMPTS", (one_step,))
    answer = allocate(problem, BatchedOptimal(tie="none"))
    assert_close(answer.power, problem.reference)
    assert bool((answer.status == Status.FEASIBLE).all())
