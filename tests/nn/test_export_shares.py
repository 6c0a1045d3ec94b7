"""The network of shares as arrays: the inputs of the graph say the whole problem; a bundle answers every requirement."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from isac_torch.deployment.allocator import DeployedAllocator
from isac_torch.deployment.card import has_shares
from isac_torch.deployment.snapshot import Snapshot
from isac_torch.nn.checkpoint import load_network
from isac_torch.nn.export import export_bundle
from isac_torch.nn.export_shares import ShareArchive
from isac_torch.nn.tracking.share_network import ShareNetwork
from isac_torch.nn.tracking.shares import share_power
from isac_torch.tensors import map_tensors
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.requirement import KINDS, Requirement
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.tracking.share_inputs import SHARE_INPUTS, SHARE_UNITS, share_inputs, share_problem_of
from isac_torch.tracking.share_problem import ShareProblem
from isac_torch.weights import shipped_weights


def problem_of(kind: str, size: str):
    scenario = TrackingScenario.of_size(size, requirement=Requirement(kind))
    return power_problem(scenario.sample(2, generator=torch.Generator().manual_seed(17)), scenario)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", ["5x3x2", "4x2x0"])
def test_inputs_say_the_whole_problem(kind: str, size: str) -> None:
    problem = problem_of(kind, size)
    whole = ShareProblem.of(problem)
    again = share_problem_of(share_inputs(whole))
    for name in ("kind", "real", "signal", "coherent", "noise"):
        assert_close(getattr(again, name), getattr(whole, name))
    power = problem.link_budget[:, None] / 7.0
    found, wanted = again.at(power), whole.at(power)
    for name in ("log_sinr", "log_quality", "quality_slope"):
        assert_close(getattr(found, name), getattr(wanted, name))
    arrays = share_inputs(ShareProblem.of(map_tensors(problem, lambda t: t.numpy())))
    assert list(arrays) == SHARE_INPUTS == list(SHARE_UNITS)
    for name, value in share_inputs(whole).items():
        np.testing.assert_allclose(arrays[name], value.numpy(), rtol=1e-12)


def test_the_archive_is_the_network_without_its_learned_steps() -> None:
    torch.manual_seed(3)
    network = ShareNetwork(hidden=8, layers=1, steps=2).double().eval()
    with torch.no_grad():
        for parameter in [*network.link_heads.parameters(), *network.ap_heads.parameters()]:
            parameter.normal_(0.0, 0.3)
        problem = problem_of("dominate", "5x3x2")
        dense = ShareProblem.of(problem)
        share = ShareArchive(network)(**share_inputs(dense))
        power = share_power(dense, network.points(problem)[network.corrections - 1])
    assert network.stepper is not None
    assert_close(share * problem.link_budget, power)


@pytest.mark.slow  # minutes: tracing with open sizes
def test_a_bundle_of_the_shipped_weights_answers_every_requirement(tmp_path) -> None:
    weights = shipped_weights("tracking_shares")
    card = export_bundle(weights, tmp_path / "bundle")
    assert has_shares(card)
    assert card["network"]["steps"] == load_network(weights, ShareNetwork)[0].shape["steps"]
    allocator = DeployedAllocator.load(tmp_path / "bundle")
    for kind in KINDS:
        asked = Requirement(kind, sicnr_min_db=-9.0, miss=0.6, position_error=25.0)
        scenario = TrackingScenario.of_size("8x6x2", requirement=asked)
        drop = scenario.sample(4, generator=torch.Generator().manual_seed(19))
        problem = power_problem(drop, scenario)
        answers = allocator.many([Snapshot.from_drop(drop, index, scenario) for index in range(4)])
        power = torch.from_numpy(np.stack([answer.power for answer in answers]))
        met = torch.tensor([answer.path != "best_effort" for answer in answers])
        assert bool((problem.violations(power).worst <= 1e-6)[met].all())
        assert bool(met.all()) or kind != "dominate"
