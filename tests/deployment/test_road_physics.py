"""The downlink-pilot system without torch: the same physics, network and slopes as torch, and Newton's optimum."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from isac_torch import (
    BatchedMinMaxNmse,
    DownlinkPilotScenario,
    RoadSnapshot,
    Status,
    allocate,
)
from isac_torch.deployment.downlink_pilots.merit import Point, powers, start_logits
from isac_torch.deployment.downlink_pilots.network import RoadNetwork
from isac_torch.deployment.downlink_pilots.newton import improved, located
from isac_torch.deployment.downlink_pilots.snapshot import EXAMPLE
from isac_torch.deployment.downlink_pilots.statistics import coefficients
from isac_torch.downlink_pilots.graph import link_graph
from isac_torch.downlink_pilots.localisation import fisher_gain
from isac_torch.nn.checkpoint import load_network
from isac_torch.nn.downlink_pilots.network import DownlinkPilotNetwork
from isac_torch.nn.downlink_pilots.shares import elasticities, merit_gradient
from isac_torch.nn.downlink_pilots.shares import start_logits as torch_start
from isac_torch.weights import shipped_weights
from tests.deployment.drawn_roads import ALLOCATOR, roads

SETTINGS = {
    "orthogonal": {"num_ues": 4},
    "lmmse": {"num_ues": 3, "downlink_correlation": 0.3},
    "projection": {"num_ues": 3, "downlink_correlation": 0.4, "receiver": "projection"},
    "ignorant": {"num_ues": 3, "downlink_correlation": 0.4, "receiver": "ignorant"},
    "shared": {"num_ues": 5, "uplink_symbols": 3, "downlink_correlation": 0.2},
    "shared projection": {"num_ues": 5, "uplink_symbols": 3, "receiver": "projection", "downlink_symbols": 4},
    "shared ignorant": {"num_ues": 5, "uplink_symbols": 3, "receiver": "ignorant", "downlink_correlation": 0.2},
    "shadowed": {"num_ues": 6, "num_aps": 6, "shadowing_db": 8.0},
}


@pytest.mark.parametrize("changes", SETTINGS.values(), ids=SETTINGS)
def test_physics_and_slopes_are_those_of_torch(changes):
    problem, (snapshot,) = roads(**changes)
    road = coefficients(snapshot)
    logits = torch_start(problem) + torch.linspace(-0.5, 0.5, problem.num_links, dtype=torch.float64)
    gradient, power = merit_gradient(problem, logits)
    point = Point(road, powers(road, logits[0].numpy().reshape(problem.num_ues, -1)))
    np.testing.assert_allclose(point.power.ravel(), power[0], rtol=1e-12)
    np.testing.assert_allclose(np.exp(point.loss), problem.nmse(power)[0], rtol=1e-9)
    np.testing.assert_allclose(road.crb(point.power), problem.crb(power)[0], rtol=1e-9)
    np.testing.assert_allclose(point.gradient().ravel(), gradient[0], rtol=1e-7, atol=1e-9 * float(gradient.abs().max()))
    for found, wanted in zip(point.elasticities, elasticities(problem, power), strict=True):
        np.testing.assert_allclose(found, wanted[0], rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("name", ["orthogonal", "lmmse", "shared", "shadowed"])
def test_logits_are_those_of_torch(name):
    network, _ = load_network(shipped_weights("downlink_pilots"), DownlinkPilotNetwork)
    problem, (snapshot,) = roads(seed=5, **SETTINGS[name])
    with torch.no_grad():
        wanted = network.double()(problem, link_graph(problem))[0]
    np.testing.assert_allclose(ALLOCATOR.network.logits(coefficients(snapshot)).ravel(), wanted, atol=1e-8)


FIRST_VERSION = (
    1.11225272, -0.68084643, -2.06306155, -2.70567914, 0.7091126, -0.78168821, -2.0320713, -2.74914688, -2.39398899,
    -1.74133156, -0.57886985, -0.12269259, -2.39815158, -1.88430399, -1.18715612, -0.82338227, -2.35051733, -1.74147923,
    -0.68517345, -0.44727138, -2.19178989, -1.54767933, -0.20994957, 0.05608921,
)  # fmt: skip
"""What torch said of the road below when networks read gradients and made learned gradient steps."""


def test_networks_of_the_first_version_still_answer():
    shapes = {name: tuple(value.shape) for name, value in DownlinkPilotNetwork(8, 1, 1, 2).state_dict().items()}
    shapes = {name: shape for name, shape in shapes.items() if not name.startswith("balance.")}
    shapes |= {f"{layer}.0.from_link.weight": (8, 10) for layer in ("layers", "refinements")}
    shapes |= {"stepper.time": (2, 16), "stepper.decay": (2,), "stepper.inner.weight": (16, 8), "stepper.inner.bias": (16,)}
    shapes |= {"stepper.outer.weight": (2, 18), "stepper.outer.bias": (2,)}
    weights = {name: 0.3 * np.sin(np.arange(np.prod(s)) + len(name)).reshape(s) for name, s in shapes.items()}
    facts = {"feature_version": 1, "hidden": 8, "layers": 1, "refinements": 1, "steps": 2}
    _, (snapshot,) = roads(num_ues=3)
    np.testing.assert_allclose(RoadNetwork(weights, facts).logits(coefficients(snapshot)).ravel(), FIRST_VERSION, atol=1e-7)


HARD = {
    "plain": {"num_ues": 6},
    "shadowed": {"num_ues": 3, "shadowing_db": 8.0},
    "large": {"num_ues": 8, "num_aps": 16},
}


@pytest.mark.parametrize("changes", HARD.values(), ids=HARD)
def test_newton_finds_the_certified_optimum(changes):
    problem, snapshots = roads(4, 11, **changes)
    optimum = allocate(problem, BatchedMinMaxNmse(gap=1e-3))
    assert (optimum.status == Status.OPTIMAL).all()
    for index, snapshot in enumerate(snapshots):
        road = coefficients(snapshot)
        power = improved(road, located(road, powers(road, start_logits(road))))
        assert road.quality(power).value.min() > 0.0
        assert (power.sum(0) <= road.budget).all()
        assert road.nmse(power).max() * float(optimum.value[index]) < 1.003


def test_receive_aps_and_cross_sections_of_paths_count():
    road = RoadSnapshot.from_mapping(EXAMPLE)
    every = coefficients(road).fisher
    half = coefficients(replace(road, receive_ap=np.arange(4))).fisher
    rest = coefficients(replace(road, receive_ap=np.arange(4, 8))).fisher
    np.testing.assert_allclose(half + rest, every, rtol=1e-12)
    doubled = coefficients(replace(road, path_cross_section=np.full((3, 8, 8), 2 * road.cross_section))).fisher
    np.testing.assert_allclose(doubled, 2 * every, rtol=1e-12)


@pytest.mark.parametrize("receives", [None, [1.0, 0.0, 1.0, 0.0]])
def test_information_of_every_path_by_a_loop(receives):
    """(P12)-(P14) of a drop whose APs do not all receive and whose paths have cross-sections of their own."""
    scenario = DownlinkPilotScenario(num_aps=4, num_ues=2)
    drop = scenario.sample(1, generator=torch.Generator().manual_seed(2))
    section = torch.rand(1, 2, 4, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    hears = None if receives is None else torch.tensor([receives], dtype=torch.float64)
    found = fisher_gain(replace(drop, receives=hears, path_cross_section=section), scenario)
    wavelength = 299_792_458.0 / scenario.carrier_frequency
    for k, m in np.ndindex(2, 4):
        total = np.zeros(3)
        for n in range(4):
            if receives is not None and not receives[n]:
                continue
            to_m, to_n = ((drop.ap_position[0, ap] - drop.ue_position[0, k]).numpy() for ap in (m, n))
            far = np.linalg.norm(to_m) * np.linalg.norm(to_n)
            snr = scenario.downlink_symbols * float(section[0, k, m, n]) * wavelength**2 / ((4 * np.pi) ** 3 * far**2)
            u = to_m / np.linalg.norm(to_m) + to_n / np.linalg.norm(to_n)
            total += snr / scenario.noise_power * np.array([u[0] ** 2, u[1] ** 2, u[0] * u[1]])
        total *= 8 * np.pi**2 * scenario.rms_bandwidth**2 / 299_792_458.0**2
        np.testing.assert_allclose([part[0, k, m] for part in (found.xx, found.yy, found.xy)], total, rtol=1e-12)
    told = coefficients(RoadSnapshot.from_drop(replace(drop, receives=hears, path_cross_section=section), 0, scenario))
    np.testing.assert_allclose(told.fisher, torch.cat([found.xx, found.yy, found.xy]), rtol=1e-12)
