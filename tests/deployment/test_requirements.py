"""Requirements in the runtime: the engine's optimum within a per cent, no violation, absolute ones that nobody can meet."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from isac_torch.allocators.tracking.dominating import Dominating
from isac_torch.commands.deployment import allocate_file
from isac_torch.deployment.allocator import DeployedAllocator
from isac_torch.deployment.answers import answer_tables, answers_json
from isac_torch.deployment.files import encode_json
from isac_torch.deployment.guard import guard
from isac_torch.deployment.interior import ascend
from isac_torch.deployment.limits import Limits
from isac_torch.deployment.local_policy import DeployedPolicy
from isac_torch.deployment.radar_repair import asking, met_by_steps
from isac_torch.deployment.schema import EXAMPLE
from isac_torch.deployment.snapshot import Snapshot
from isac_torch.deployment.statistics import coefficients
from isac_torch.errors import DropError
from isac_torch.large.allocator import LargeAllocator
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.scenario import TrackingScenario
from tests.deployment.stand_in import run

DOMINATE = Requirement("dominate")


def drawn(size: str, count: int, requirement: Requirement = DOMINATE, seed: int = 951_000_000):
    scenario = TrackingScenario.of_size(size, requirement=requirement)
    drop = scenario.sample(count, generator=torch.Generator().manual_seed(seed))
    return power_problem(drop, scenario), [Snapshot.from_drop(drop, index, scenario) for index in range(count)]


@pytest.fixture(scope="module")
def allocator() -> DeployedAllocator:
    return DeployedAllocator.load()


@pytest.mark.parametrize("asked", [DOMINATE, Requirement("dominate", comm_exponent=0.5, sensing_exponent=0.5)])
def test_dominating_answers_are_the_optimum_without_torch(allocator: DeployedAllocator, asked: Requirement) -> None:
    """Judged by the tensors' problem; the engine's certified powers are the measure."""
    problem, snapshots = drawn("8x6x3", 12, asked)
    answers = allocator.many(snapshots)
    power = torch.from_numpy(np.stack([answer.power for answer in answers]))
    assert float(problem.violations(power).worst.max()) <= 1e-6
    best = problem.objective(Dominating().propose(problem).power)
    ratio = torch.log2(1.0 + problem.objective(power)) / torch.log2(1.0 + best)
    assert float(ratio.mean()) > 0.99
    assert float(ratio.min()) > 0.95
    compared = problem.objective(problem.reference)
    assert bool((problem.objective(power) > compared).all())
    for index, answer in enumerate(answers):
        assert answer.quality >= 1.0 - 1e-6
        assert len(answer.sicnr) == len(answer.position_error) == 3
        assert not len(answer.sir)
        np.testing.assert_allclose(answer.position_error, problem.position.error(power)[index].numpy(), rtol=1e-9)
        alone = allocator(snapshots[index])
        np.testing.assert_allclose(alone.power, answer.power, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", ["none", "sicnr", "detection", "position", "dominate"])
@pytest.mark.parametrize("size", ["6x4x2", "4x3x1", "3x2x0"])
def test_every_kind_at_every_size_is_answered(allocator: DeployedAllocator, kind: str, size: str) -> None:
    asked = Requirement(kind, sicnr_min_db=-15.0, miss=0.8, position_error=28.0, margin=0.1)
    problem, snapshots = drawn(size, 3, asked)
    for index, answer in enumerate(allocator.many(snapshots)):
        one, power = problem.select(torch.tensor([index])), torch.from_numpy(answer.power)[None]
        found = one.violations(power)
        assert bool(power.isfinite().all())
        assert float(found.budget) <= 1e-9
        assert float(found.negative) == 0.0
        assert float(one.objective(power)) > 0.0
        assert float(found.sensing) <= 1e-6 or answer.path == "best_effort"


def test_what_nobody_can_meet_is_met_by_one_common_factor(allocator: DeployedAllocator) -> None:
    """Twice the SICNR of every target that any powers reach: each target gets the same share of it, and the answer says so."""
    problem, snapshots = drawn("6x4x2", 4, Requirement("sicnr", sicnr_min_db=40.0))
    for index, answer in enumerate(allocator.many(snapshots)):
        assert answer.path == "best_effort"
        assert "sensing SICNR of target" in answer.reason
        assert "no powers meet" in answer.reason
        sicnr = problem.sir(torch.from_numpy(answer.power)[None].expand(4, -1))[index].numpy()
        np.testing.assert_allclose(answer.sicnr, sicnr, rtol=1e-9)
        np.testing.assert_allclose(answer.quality, sicnr.min() * 1e-4, rtol=1e-6)


def test_hopeless_proposals_are_replaced_and_repaired() -> None:
    _, snapshots = drawn("6x4x2", 4)
    problem = coefficients(snapshots)
    assert problem.reference is not None
    for proposal in (np.full_like(problem.reference, np.nan), 0.0 * problem.reference, 1e9 * problem.reference):
        found = guard(problem, proposal)
        assert problem.violations(found.power).worst.max() <= 1e-6
        assert (problem.objective(found.power) >= problem.objective(problem.reference) * (1 - 1e-9)).all()
    kept = guard(problem, problem.reference)
    assert kept.path == ["network"] * 4
    np.testing.assert_array_equal(kept.power, problem.reference)


def test_steps_never_lose_to_their_start_and_lower_requirements_give_no_less() -> None:
    _, snapshots = drawn("6x4x2", 6)
    problem = coefficients(snapshots)
    power, share = met_by_steps(problem, problem.reference)
    assert (share == 1.0).all()
    easier = met_by_steps(asking(problem, np.full(6, 0.8)), power)[0]
    assert (problem.objective(easier) >= problem.objective(power) * (1 - 1e-12)).all()
    assert problem.objective(easier).mean() > 1.05 * problem.objective(power).mean()
    again = met_by_steps(problem, power)[0]
    assert (problem.objective(again) >= problem.objective(power) * (1 - 1e-12)).all()
    assert np.isfinite(ascend(problem, problem.reference, 0.01, 5)).all()


def test_command_and_files_tell_of_the_radar(allocator: DeployedAllocator, tmp_path, capsys) -> None:
    _, snapshots = drawn("4x3x2", 2)
    file = tmp_path / "drops.json"
    file.write_bytes(encode_json([replace(snapshot, requirement="sir") for snapshot in snapshots]))
    allocate_file(file, requirement="dominate")
    for drop, answer in zip(json.loads(capsys.readouterr().out)["drops"], allocator.many(snapshots), strict=True):
        assert drop["quality"] >= 1.0 - 1e-6
        np.testing.assert_allclose(drop["sicnr"], answer.sicnr, rtol=1e-6)
    tables = answer_tables(allocator.many(snapshots))
    assert tables["sicnr"]["drop"].tolist() == tables["position"]["drop"].tolist() == [0, 0, 1, 1]
    plain = json.loads(answers_json(allocator.many([replace(snapshots[0], requirement="none")])))["drops"][0]
    assert (plain["quality"], plain["sicnr"], plain["sir"]) == (None, [], [])
    with pytest.raises(DropError, match=r"requirement\.kind='dominat' must be"):
        allocate_file(file, requirement="dominat")


def test_the_service_answers_requirements(allocator: DeployedAllocator) -> None:
    asked = {**EXAMPLE, "rx_orientation": [0.0], "requirement": {"kind": "dominate"}}

    async def both(client, _):
        wrong = asked | {"requirement": {"kind": "dominate", "factor": 1}}
        return [await client.post("/allocate", json=body) for body in (asked, wrong)]

    good, bad = run(both, Limits(), allocator)
    assert good.json()["drops"][0]["quality"] >= 1.0 - 1e-6
    assert bad.status_code == 422
    assert "requirement.factor is no field of requirement" in bad.json()["detail"]


def test_who_does_not_know_scan_cells_and_positions_refuses_them() -> None:
    asked = Snapshot.from_mapping({**EXAMPLE, "rx_orientation": [0.0], "requirement": "dominate"})
    with pytest.raises(DropError, match="SIR or SICNR of targets only"):
        DeployedPolicy.load()(asked)
    with pytest.raises(DropError, match="not for large networks"):
        LargeAllocator()(asked)
