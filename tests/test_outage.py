"""UEs out of everybody's reach: bound against random powers, slices against loops, and nobody else pays for them."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from isac_torch.allocation import Status, allocate, equal_split
from isac_torch.allocators.registry import named_allocator
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.deployment.allocator import DeployedAllocator
from isac_torch.deployment.snapshot import NO_PATH_GAIN, Snapshot
from isac_torch.deployment.statistics import coefficients
from isac_torch.large.allocator import LargeAllocator
from isac_torch.large.gains import MeasuredGains
from isac_torch.outage import OUTAGE_SINR, by_coverage, outage_ues
from isac_torch.tensors import map_tensors
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.scenario import TrackingScenario

SCENARIO = TrackingScenario.of_size("8x6x2", pilot_length=3)


def drops(outage: list[list[int]], scenario: TrackingScenario = SCENARIO) -> list[Snapshot]:
    """Networks whose UEs of these numbers no AP hears."""
    made = scenario.sample(len(outage), generator=torch.Generator().manual_seed(910_000))
    found = []
    for index, ues in enumerate(outage):
        snapshot = Snapshot.from_drop(made, index, scenario)
        assert snapshot.ue_gain is not None
        gain = snapshot.ue_gain.copy()
        gain[ues] = NO_PATH_GAIN
        found.append(dataclasses.replace(snapshot, ue_gain=gain))
    return found


@pytest.fixture(scope="module")
def problem():
    return map_tensors(coefficients(drops([[], [0], [2, 4], [5], list(range(6))])), torch.as_tensor)


def test_no_powers_exceed_the_bound(problem):
    generator = torch.Generator().manual_seed(1)
    for _ in range(50):
        power = torch.rand(problem.link_ap.shape, generator=generator, dtype=torch.float64) ** 4 * problem.link_budget
        power = power / (problem.ap_load(power) / problem.budget).amax(-1, keepdim=True).clamp_min(1.0)
        assert (problem.sinr(power) <= problem.best_sinr() * (1 + 1e-12)).all()
    alone = torch.zeros_like(problem.leakage[:, 0])
    alone[:, : problem.serving] = problem.link_budget[:, : problem.serving]  # reached but for the interference of its own beams
    assert (problem.sinr(alone)[:, 0] <= problem.best_sinr()[:, 0]).all()
    assert outage_ues(problem).sum(-1).tolist() == [0, 1, 2, 1, 6]


@pytest.mark.parametrize("library", ["torch", "numpy"])
def test_slices_are_those_of_loops(problem, library):
    batch = problem if library == "torch" else map_tensors(problem, lambda t: t.numpy())
    parts = {part.index.tolist()[0]: part for part in by_coverage(batch, outage_ues(batch))}
    assert {tuple(part.index.tolist()) for part in parts.values()} == {(0,), (1, 3), (2,), (4,)}
    assert parts[0].problem is None
    assert parts[4].problem is None
    part = parts[1]
    serving, comm = problem.serving, problem.num_comm_links
    for row, (drop, ues) in enumerate(((1, [1, 2, 3, 4, 5]), (3, [0, 1, 2, 3, 4]))):
        links = [ue * serving + s for ue in ues for s in range(serving)] + list(range(comm, problem.num_links))
        assert part.problem is not None
        assert part.link is not None
        small = map_tensors(part.problem, torch.as_tensor)
        assert part.link[row].tolist() == links
        assert torch.equal(small.signal[row], problem.signal[drop, ues])
        assert torch.equal(small.leakage[row], problem.leakage[drop][ues][:, links])
        assert torch.equal(small.coherent[row], problem.coherent[drop][ues][:, ues])
        assert torch.equal(small.echo[row], problem.echo[drop][:, links])
        assert torch.equal(small.link_ap[row], problem.link_ap[drop, links])


def test_requirements_on_the_position_are_sliced_too():
    requirement = Requirement(kind="dominate")
    scenario = TrackingScenario.of_size("8x6x2", requirement=requirement)
    problem = power_problem(scenario.sample(2, generator=torch.Generator().manual_seed(4)), scenario)
    kept = torch.tensor([[0, 2, 5], [1, 3, 4]])
    small, link = problem.of_ues(kept), problem.links_of(kept)
    power = torch.rand(link.shape, generator=torch.Generator().manual_seed(5), dtype=problem.budget.dtype)
    full = torch.zeros_like(problem.leakage[:, 0]).scatter(1, link, power)
    assert problem.position is not None
    assert small.position is not None
    assert problem.reference is not None
    assert small.reference is not None
    torch.testing.assert_close(small.position.h(power), problem.position.h(full), rtol=1e-5, atol=0.0)
    torch.testing.assert_close(small.sir(power), problem.sir(full), rtol=1e-5, atol=0.0)
    torch.testing.assert_close(small.sinr(power), problem.sinr(full).gather(1, kept), rtol=1e-5, atol=0.0)
    assert torch.equal(small.reference, problem.reference.gather(1, link))


def without(snapshot: Snapshot, ues: list[int]) -> Snapshot:
    """The network without some UEs, by deleting them from the snapshot."""
    fields = ("ue_position", "ue_gain", "pilot_power", "pilot", "serving_ap")
    return dataclasses.replace(snapshot, **{name: np.delete(getattr(snapshot, name), ues, 0) for name in fields})


@pytest.mark.parametrize("name", ["opc_batched", "gnn"])
def test_the_others_fare_as_if_it_were_not_there(name):
    given = drops([[0], [2, 4], [5], []], TrackingScenario.of_size("8x6x2"))
    problem: Any = map_tensors(coefficients(given), torch.as_tensor)
    found = allocate(problem, named_allocator(name))
    assert (found.violation <= 1e-6).all()
    assert (found.value[:3] <= found.upper_bound[:3]).all()
    assert (found.upper_bound[:3] < OUTAGE_SINR).all(), "the certificate of an outage"
    assert found.status[:3].tolist() == [Status.FEASIBLE] * 3
    for drop, ues in enumerate(([0], [2, 4])):
        alone: Any = map_tensors(coefficients([without(given[drop], ues)]), torch.as_tensor)
        best = allocate(alone, named_allocator(name)).value
        others = np.delete(problem.sinr(found.power)[drop].numpy(), ues)
        assert others.min() >= 0.985 * float(best), "the cost of serving those in outage is bounded"
        assert (found.power[drop] >= 0).all()


def test_the_runtime_says_who_is_out_of_reach():
    given = drops([[0], [2, 4], [], list(range(6))])
    answers = DeployedAllocator.load().many(given)
    assert "UE 0 out of reach" in answers[0].reason
    assert "UE 2, 4 out of reach" in answers[1].reason
    assert "out of reach" not in answers[2].reason
    assert "every UE" in answers[3].reason
    problem = coefficients(given)
    power = np.stack([answer.power for answer in answers])
    assert np.isfinite(power).all()
    assert (problem.violations(power).budget <= 1e-12).all()
    for index, (answer, ues) in enumerate(zip(answers, ([0], [2, 4], []), strict=False)):
        np.testing.assert_allclose(answer.sinr, problem.sinr(power)[index], rtol=1e-12)
        tensors: Any = map_tensors(coefficients([without(given[index], ues)]), torch.as_tensor)
        best = float(allocate(tensors, BatchedOptimal()).value)
        assert np.delete(answer.sinr, ues).min() >= 0.85 * best
        assert (answer.sinr > 0).all(), "everybody is sent something"


def test_a_ue_in_outage_does_not_drain_a_large_network():
    scenario = TrackingScenario.of_size("30x20x4", pilot_length=20)
    (whole,) = drops([[]], scenario)
    (snapshot,) = drops([[3]], scenario)
    free = dict.fromkeys(("ue_azimuth", "ue_elevation", "serving_ap", "sensing_ap", "listening_ap"))
    whole, snapshot = (dataclasses.replace(one, **free) for one in (whole, snapshot))
    found = LargeAllocator()(snapshot, MeasuredGains(snapshot.ue_gain))
    before = LargeAllocator()(whole, MeasuredGains(whole.ue_gain))
    assert found.outage.nonzero()[0].tolist() == [3]
    assert not before.outage.any()
    assert np.delete(found.sinr, 3).min() >= 0.9 * np.delete(before.sinr, 3).min()


def test_usual_drops_have_no_ue_in_outage():
    scenario = TrackingScenario.of_size("16x16x4")
    problem = power_problem(scenario.sample(200, generator=torch.Generator().manual_seed(3)), scenario)
    assert not outage_ues(problem).any()
    assert equal_split(problem).isfinite().all()


def test_unequal_budgets_are_said_and_improved():
    made = TrackingScenario.of_size("16x16x4", sir_min_db=-10.0)
    (snapshot,) = drops([[]], made)
    budget = np.full(snapshot.num_aps, 0.25)
    budget[:3] = 40.0
    snapshots = [dataclasses.replace(snapshot, ap_power=power) for power in (budget, np.full(snapshot.num_aps, 2.0))]
    uneven, even = DeployedAllocator.load().many(snapshots)
    assert any(words.startswith("budget_spread 22.04 dB") for words in uneven.out_of_distribution)
    assert uneven.path in {"refined", "repaired"}
    assert "budget_spread" in uneven.reason or uneven.path == "repaired"
    assert not any("budget_spread" in words for words in even.out_of_distribution)
    problem: Any = map_tensors(coefficients(snapshots), torch.as_tensor)
    best = allocate(problem, BatchedOptimal()).value
    assert uneven.sinr.min() >= 0.97 * float(best[0])
