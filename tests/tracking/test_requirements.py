"""Requirements: what uniform power meets by construction, their laws, both array libraries, and what is refused."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocation import Status, allocate, equal_split
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.allocators.tracking.heuristics import Fractional
from isac_torch.errors import ScenarioError
from isac_torch.tensors import cat_tensors, map_tensors, tensor_fields
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.requirements import reference_standard
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.variants import scenario_variant

SCENARIO = TrackingScenario(
    num_aps=8, num_ues=6, num_targets=3, serving_aps=3, sensing_aps=3, requirement=Requirement("dominate")
)
KINDS = ("sicnr", "detection", "position", "dominate")


def _drop(count: int = 3, scenario: TrackingScenario = SCENARIO):
    return scenario.sample(count, generator=torch.Generator().manual_seed(5))


def _asking(kind: str, scenario: TrackingScenario = SCENARIO, **numbers: float) -> MaxMinSinrProblem:
    asked = replace(scenario, requirement=Requirement(kind, **numbers))
    return power_problem(_drop(scenario=scenario), asked)


def _random_power(problem: MaxMinSinrProblem, seed: int = 0) -> torch.Tensor:
    share = torch.rand(problem.link_gain.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return share * equal_split(problem)


@pytest.fixture(scope="module")
def dominate() -> MaxMinSinrProblem:
    return power_problem(_drop(), SCENARIO)


def test_uniform_power_meets_its_own_standard_exactly(dominate: MaxMinSinrProblem) -> None:
    """With factors of 1 every constraint is tight there; with 1.1 none is met."""
    power = equal_split(dominate)
    assert_close(dominate.reference, power)
    assert_close(dominate.sir(power) / dominate.sir_min, torch.ones_like(dominate.sir_min), rtol=1e-9, atol=0.0)
    assert dominate.position is not None
    assert_close(dominate.position.h(power), dominate.position.required, rtol=1e-9, atol=0.0)
    assert float(dominate.violations(power).worst.max()) < 1e-9
    more = _asking("dominate", scan=1.1, sicnr=1.1, position=1.1)
    assert_close(more.violations(power).sensing, torch.full((3,), 1.0 - 1.0 / 1.1, dtype=torch.float64), rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("exponents", [(0.5, 0.5), (-0.3, 1.0)])
def test_dominate_compares_with_fractional_power_control_where_it_is_asked_to(exponents) -> None:
    """Its powers meet all three respects with equality, and the optimum is never below theirs."""
    problem = _asking("dominate", comm_exponent=exponents[0], sensing_exponent=exponents[1])
    power = Fractional(*exponents).propose(problem).power
    assert_close(problem.reference, power)
    assert_close(problem.sir(power) / problem.sir_min, torch.ones_like(problem.sir_min), rtol=1e-9, atol=0.0)
    assert problem.position is not None
    assert_close(problem.position.h(power), problem.position.required, rtol=1e-9, atol=0.0)
    assert float(problem.violations(equal_split(problem)).sensing.min()) > 1e-3  # uniform power is another standard
    best = allocate(problem, BatchedOptimal(gap=1e-3))
    assert best.status.tolist() == [Status.OPTIMAL] * 3
    assert bool((best.value >= problem.sinr(power).amin(-1) * (1 - 1e-6)).all())


def test_only_dominate_compares_with_other_powers() -> None:
    plain, other = _asking("sicnr", sicnr_min_db=-3.0), _asking("sicnr", sicnr_min_db=-3.0, comm_exponent=1.0)
    assert torch.equal(plain.echo, other.echo)
    assert Requirement("sicnr", comm_exponent=1.0).name == "sicnr_0"
    assert Requirement("dominate", comm_exponent=0.5).name == "dominate_1_1_1_fpc_0.5_0"


def test_factors_of_zero_leave_constraints_out() -> None:
    scan = _asking("dominate", sicnr=0.0, position=0.0)
    assert scan.position is None
    assert scan.num_cells == scan.num_constraints > 0
    assert scan.num_target_constraints == 0
    sicnr = _asking("dominate", scan=0.0, position=0.0)
    assert (sicnr.num_cells, sicnr.num_constraints) == (0, 3)
    position = _asking("dominate", scan=0.0, sicnr=0.0)
    assert position.num_constraints == 0
    assert position.position is not None


def test_information_is_concave_and_grows_with_the_powers(dominate: MaxMinSinrProblem) -> None:
    position = dominate.position
    assert position is not None
    first, second = _random_power(dominate, 1), _random_power(dominate, 2)
    middle = position.information(0.5 * (first + second))
    gain = middle - 0.5 * (position.information(first) + position.information(second))
    assert float(torch.linalg.eigvalsh(gain).amin()) > -1e-9 * float(middle.abs().max())
    assert bool((position.h(0.5 * (first + second)) >= 0.5 * (position.h(first) + position.h(second)) * (1 - 1e-12)).all())
    assert bool((position.h(first + second) >= position.h(first) * (1 - 1e-9)).all())


def test_h_is_that_of_the_inverse_information(dominate: MaxMinSinrProblem) -> None:
    position = dominate.position
    assert position is not None
    power = _random_power(dominate)
    inverse = torch.linalg.inv(position.information(power))
    assert_close(position.h(power), 1.0 / (inverse[..., 0, 0] + inverse[..., 1, 1]), rtol=1e-7, atol=0.0)
    assert_close(position.error(power), position.h(power).rsqrt())


def test_information_without_prior_scales_with_the_powers(dominate: MaxMinSinrProblem) -> None:
    assert dominate.position is not None
    position = replace(dominate.position, prior=torch.zeros_like(dominate.position.prior))
    power = _random_power(dominate)
    assert_close(position.information(0.1 * power), 0.1 * position.information(power), rtol=1e-10, atol=0.0)


def test_h_is_differentiable(dominate: MaxMinSinrProblem) -> None:
    assert dominate.position is not None
    position = dominate.position.select(torch.tensor([0]))
    power = _random_power(dominate)[:1].requires_grad_(True)
    assert torch.autograd.gradcheck(position.h, (power,))


@pytest.mark.parametrize("kind", KINDS)
def test_numpy_and_torch_build_the_same(kind: str) -> None:
    asked = replace(SCENARIO, requirement=Requirement(kind, margin=0.2, enough_db=15.0))
    ours = power_problem(_drop(), asked)
    theirs = power_problem(map_tensors(_drop(), lambda t: t.numpy()), asked)
    assert tensor_fields(ours).keys() == tensor_fields(theirs).keys()
    for name in ("echo", "cross_echo", "echo_noise", "sir_min"):
        if getattr(ours, name) is not None:
            np.testing.assert_allclose(getattr(theirs, name), getattr(ours, name).numpy(), rtol=1e-9, atol=1e-12)
    power = _random_power(ours)
    np.testing.assert_allclose(theirs.violations(power.numpy()).worst, ours.violations(power).worst.numpy(), atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_target_has_constraints_too(kind: str) -> None:
    single = _asking(kind, replace(SCENARIO, num_targets=1))
    assert single.num_target_constraints == (0 if kind == "position" else 1)
    assert (single.position is not None) == (kind in ("position", "dominate"))
    assert bool(torch.isfinite(single.violations(equal_split(single)).worst).all())


def test_without_targets_only_the_scan_is_left() -> None:
    empty = replace(SCENARIO, num_targets=0)
    assert _asking("sicnr", empty).num_constraints == 0
    scan = _asking("dominate", empty)
    assert scan.num_constraints == scan.num_cells > 0


def test_cells_that_are_heard_well_ask_for_no_more(dominate: MaxMinSinrProblem) -> None:
    """With a bound below every cell all ask for the same echo; with one above all nothing changes; uniform power meets any."""
    scan = slice(SCENARIO.num_targets, None)
    power = equal_split(dominate)
    low, high = (_asking("dominate", enough_db=level) for level in (-60.0, 200.0))
    assert_close(high.echo, dominate.echo)
    echo = reference_standard(dominate, _drop(), SCENARIO).scan
    assert_close(low.sir(power)[:, scan], echo / (6 * 1e-6), rtol=1e-9, atol=0.0)  # six transmit APs, one that listens
    assert float(low.violations(power).worst.max()) < 1e-9


def test_a_rarer_miss_asks_for_more() -> None:
    often, seldom = (_asking("detection", miss=miss).sir_min for miss in (0.3, 0.05))
    assert bool((seldom > often).all())


def test_the_margin_is_largest_where_detection_is_uncertain() -> None:
    """The miss probability behind the margin is the one at which `detection` asks for uniform power's own SICNR."""
    plain, raised = _asking("dominate"), _asking("dominate", margin=0.2)
    extra = (raised.sir_min / plain.sir_min)[:, : SCENARIO.num_targets] - 1.0
    assert_close(raised.sir_min[:, SCENARIO.num_targets :], plain.sir_min[:, SCENARIO.num_targets :])
    assert float(extra.min()) >= 0.0
    assert 0.01 < float(extra.max()) <= 0.2
    drop, target = divmod(int(extra.flatten().argmax()), SCENARIO.num_targets)
    root = (1.0 - float(extra[drop, target]) / 0.2) ** 0.5
    asked = [float(_asking("detection", miss=miss).sir_min[drop, target]) for miss in ((1.0 - root) / 2.0, (1.0 + root) / 2.0)]
    assert min(abs(value / float(plain.sir_min[drop, target]) - 1.0) for value in asked) < 1e-6


def test_a_standard_of_other_drops_is_what_is_compared_with() -> None:
    """Its own standard changes nothing; twice of it asks for twice of everything."""
    drop = _drop()
    own = reference_standard(power_problem(drop, SCENARIO), drop, SCENARIO)
    problem = power_problem(drop, SCENARIO, standard=own)
    power = equal_split(problem)
    assert float(problem.violations(power).worst.max()) < 1e-9
    twice = power_problem(drop, SCENARIO, standard=map_tensors(own, lambda t: 2.0 * t))
    assert_close(twice.violations(power).sensing, torch.full((3,), 0.5, dtype=torch.float64), rtol=1e-6, atol=0.0)


def test_members_follow_their_problem(dominate: MaxMinSinrProblem) -> None:
    again = cat_tensors([dominate.select(torch.tensor([0])), dominate.select(torch.tensor([1, 2]))])
    assert again.position is not None
    assert dominate.position is not None
    assert torch.equal(again.position.energy, dominate.position.energy)
    assert again.cast(torch.float32).position.energy.dtype == torch.float32  # type: ignore[union-attr]


def test_scenarios_name_and_change_their_requirement() -> None:
    assert TrackingScenario().name.endswith("_sir-5")
    changed = scenario_variant(TrackingScenario(), {"requirement": {"kind": "dominate", "scan": 0.9}})
    assert changed.requirement == Requirement("dominate", scan=0.9)
    assert changed.name.endswith("dominate_0.9_1_1")
    assert TrackingScenario.from_mapping(asdict(changed)) == changed
    with pytest.raises(ScenarioError, match="kind"):
        scenario_variant(TrackingScenario(), {"requirement": {"kind": "best"}})


@pytest.mark.parametrize(
    "wrong",
    [{"miss": 1.5}, {"scan": -1.0}, {"enough_db": float("inf")}, {"cell": 0.0}, {"blocks": 0}, {"sicnr_min_db": float("nan")}],
)
def test_requirements_that_make_no_sense_are_refused_in_one_line(wrong: dict[str, object]) -> None:
    with pytest.raises(ScenarioError, match=f"requirement.{next(iter(wrong))}") as caught:
        Requirement(**wrong)
    assert "\n" not in str(caught.value)
