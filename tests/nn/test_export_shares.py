"""The network of shares as arrays: the inputs of the graph say the whole problem; a bundle answers every requirement."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from isac_torch.deployment.allocator import DeployedAllocator
from isac_torch.deployment.card import has_shares
from isac_torch.deployment.snapshot import Snapshot
from isac_torch.errors import BundleError
from isac_torch.nn import export_shares
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


class WrongBy:
    """A graph that answers as the archive does, and by some share too much for one link: of every drop, or of the first one."""

    def __init__(self, archive: ShareArchive, much: float, *, everywhere: bool) -> None:
        self.archive, self.much, self.everywhere, self.calls = archive, much, everywhere, 0

    def module(self, check_guards: bool):
        return self

    def __call__(self, *inputs):
        with torch.no_grad():
            share = self.archive(*inputs).clone()
        if self.everywhere or self.calls == 0:
            share[: None if self.everywhere else 1, -1] += self.much
        self.calls += 1
        return share

    def run(self, outputs, inputs):
        return [self(*(torch.from_numpy(value) for value in inputs.values())).numpy()]


@pytest.mark.parametrize("wrong", ["onnx", "archive"])
def test_parity_refuses_either_graph_where_the_median_drop_differs(monkeypatch, tmp_path, wrong: str) -> None:
    import onnxruntime

    archive = ShareArchive(ShareNetwork(hidden=4, layers=1, steps=1).eval())
    monkeypatch.setattr(export_shares, "PARITY_SIZES", ("3x2x0", "2x2x1"))
    monkeypatch.setattr(export_shares, "KINDS", ("sir", "sicnr"))

    def parity(much: float, *, everywhere: bool):
        graphs = {name: WrongBy(archive, much if name == wrong else 0.0, everywhere=everywhere) for name in ("onnx", "archive")}
        monkeypatch.setattr(onnxruntime, "InferenceSession", lambda path, providers: graphs["onnx"])
        monkeypatch.setattr(torch.export, "load", lambda path: graphs["archive"])
        return export_shares.share_parity(archive, tmp_path)

    allowed, drops = 0.9 * export_shares.PARITY, 4
    for found, size in zip(parity(allowed, everywhere=True), ("3x2x0", "2x2x1"), strict=True):
        assert found == {"size": size, "onnx": 0.0, "archive": 0.0, "drops": drops} | {wrong: pytest.approx(allowed, rel=1e-3)}
    with pytest.raises(BundleError, match="3x2x0"):
        parity(1.1 * export_shares.PARITY, everywhere=True)
    assert parity(0.5, everywhere=False)[0][wrong] == pytest.approx(0.5, rel=1e-3)


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
