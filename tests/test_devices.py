"""Whatever an array computes stays on the device of its inputs: every path runs on the meta device, without a host tensor.

The meta device has shapes and no values, so what decides by a value is decided beforehand. No operation may see arrays of both
devices; an accelerator takes numbers (arrays without axes) of the host, and indices.
"""

import runpy
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import isac_torch as it
from isac_torch.allocation import equal_split
from isac_torch.nn.downlink_pilots.network import DownlinkPilotNetwork
from isac_torch.nn.tracking.network import AllocationNetwork
from isac_torch.nn.tracking.one_shot import OneShotNetwork
from isac_torch.nn.tracking.share_network import ShareNetwork
from isac_torch.tensors import map_tensors
from isac_torch.tracking.fractional import fractional_power
from isac_torch.tracking.graph import link_graph
from tests.paths import ROOT

SCENARIO = it.TrackingScenario.of_size("6x4x2")
DOMINATE = replace(SCENARIO, requirement=it.Requirement("dominate"))
ROAD = it.DownlinkPilotScenario(num_aps=4, num_ues=2)


class OneDevice(TorchDispatchMode):
    """Refuses operations on arrays of two devices, as an accelerator does."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        arrays = [item for item in tree_leaves((args, kwargs or {})) if isinstance(item, torch.Tensor) and item.ndim]
        devices = {array.device.type for array in arrays if array.dtype.is_floating_point or array.dtype.is_complex}
        if len(devices) > 1 and "copy" not in str(function):
            raise RuntimeError(f"{function} on arrays of {sorted(devices)}")
        return function(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def one_device():
    with OneDevice():
        yield


def drawn(scenario):
    return scenario.sample(2, generator=torch.Generator().manual_seed(1))


def on_meta(item):
    return map_tensors(item, lambda tensor: tensor.to("meta"))


@pytest.fixture(scope="module")
def problems():
    """A problem of each kind and powers of its links, without values."""
    found = {}
    for name, scenario in (("sir", SCENARIO), ("dominate", DOMINATE), ("pilots", ROAD)):
        problem = it.power_problem(drawn(scenario), scenario)
        found[name] = (on_meta(problem), torch.empty(2, problem.num_links, dtype=torch.float64, device="meta"))
    return found


@pytest.fixture
def reuse(monkeypatch):
    """Whether pilots are shared is a question of values."""
    monkeypatch.setattr(it.MaxMinSinrProblem, "has_pilot_reuse", property(lambda self: True))


@pytest.mark.parametrize("name", ["sir", "dominate"])
def test_the_judges_of_tracking_stay_on_the_device(problems, name):
    problem, power = problems[name]
    answers = [problem.sinr(power), problem.sir(power), problem.objective(power), problem.violations(power).worst]
    answers += [problem.ap_load(power), equal_split(problem), fractional_power(problem, 0.5, 0.5)]
    assert {answer.device.type for answer in answers} == {"meta"}


def test_the_graph_stays_on_the_device(problems):
    graph = link_graph(problems["sir"][0])
    assert {getattr(graph, name).device.type for name in ("link", "ue", "target", "ap", "disturbance", "clutter")} == {"meta"}


def test_the_judges_of_downlink_pilots_stay_on_the_device(problems):
    problem, power = problems["pilots"]
    answers = [problem.nmse(power), problem.crb(power), problem.objective(power), problem.violations(power).worst]
    assert {answer.device.type for answer in answers} == {"meta"}
    assert it.power_problem(on_meta(drawn(ROAD)), ROAD).gain.device.type == "meta"
    assert DownlinkPilotNetwork().double().to("meta").points(problem)[-1].device.type == "meta"


@pytest.mark.usefixtures("reuse")
@pytest.mark.parametrize(
    ("kind", "name"),
    [(AllocationNetwork, "sir"), (OneShotNetwork, "sir"), (ShareNetwork, "dominate")],
    ids=lambda item: str(item),
)
def test_networks_and_their_gradients_stay_on_the_device(problems, kind, name):
    problem, _ = problems[name]
    network = kind().double().to("meta")
    logits = network.points(problem)[-1]
    network.loss(problem, logits, 3.0).mean().backward()
    assert network.power(problem, logits).device.type == "meta"
    assert {weight.grad.device.type for weight in network.parameters() if weight.grad is not None} == {"meta"}


def test_a_host_tensor_among_those_of_the_device_is_refused(problems):
    problem, power = problems["sir"]
    with pytest.raises(RuntimeError, match="'cpu', 'meta'"):
        problem.sinr(power.new_ones(power.shape, device="cpu"))


@pytest.mark.slow
def test_the_check_of_accelerators_runs(tmp_path):
    main = runpy.run_path(str(ROOT / "benchmarks" / "gpu_check.py"))["main"]
    quick = ["--drops", "2", "--seconds", "0.01", "--size", "6x3x2"]
    found = main([*quick, "--device", "cpu", "--json", str(tmp_path / "found.json")])
    assert set(found["parity"].values()) == {0.0}
    if not torch.cuda.is_available():
        with pytest.raises(SystemExit):
            main([*quick, "--json", str(tmp_path / "x.json")])
