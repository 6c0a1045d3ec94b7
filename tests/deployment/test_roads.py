"""The downlink-pilot system without torch: the same physics, network and slopes as torch, bounds kept, one line a refusal."""

import asyncio
import json
import subprocess
import sys
from dataclasses import replace

import h5py
import httpx
import numpy as np
import pytest
import torch

from isac_torch import (
    BatchedMinMaxNmse,
    DownlinkPilotScenario,
    RoadAllocator,
    RoadSnapshot,
    Status,
    allocate,
    cli,
    power_problem,
)
from isac_torch.deployment.answers import answer_tables, answers_json
from isac_torch.deployment.downlink_pilots.merit import Point, powers, start_logits
from isac_torch.deployment.downlink_pilots.network import RoadNetwork
from isac_torch.deployment.downlink_pilots.newton import improved, located
from isac_torch.deployment.downlink_pilots.snapshot import EXAMPLE
from isac_torch.deployment.downlink_pilots.statistics import coefficients
from isac_torch.deployment.files import read_snapshots
from isac_torch.deployment.limits import Limits
from isac_torch.deployment.serving import create_app
from isac_torch.downlink_pilots.graph import link_graph
from isac_torch.downlink_pilots.localisation import fisher_gain
from isac_torch.errors import BundleError, DropError
from isac_torch.nn.checkpoint import load_network
from isac_torch.nn.downlink_pilots.network import DownlinkPilotNetwork
from isac_torch.nn.downlink_pilots.shares import elasticities, merit_gradient
from isac_torch.nn.downlink_pilots.shares import start_logits as torch_start
from isac_torch.weights import shipped_roads, shipped_weights
from tests.paths import ROOT

ALLOCATOR = RoadAllocator.load()
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


def roads(count=1, seed=3, **changes):
    """A batch of torch's problems, and the same roads as snapshots."""
    scenario = DownlinkPilotScenario(**changes)
    drop = scenario.sample(count, generator=torch.Generator().manual_seed(seed))
    return power_problem(drop, scenario), [RoadSnapshot.from_drop(drop, index, scenario) for index in range(count)]


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


def test_bounds_are_met_wherever_they_can_be():
    problem, snapshots = roads(12, 18, num_ues=6, shadowing_db=8.0, crb_max=0.85)
    optimum = allocate(problem, BatchedMinMaxNmse(gap=1e-2))
    answers = ALLOCATOR.many(snapshots)
    power = torch.tensor(np.stack([answer.power for answer in answers]))
    violations = problem.violations(power)
    assert float(violations.budget.max()) <= 1e-12
    assert float(violations.negative.max()) == 0.0
    reachable = optimum.status != Status.INFEASIBLE
    assert 0 < int(reachable.sum()) < 12  # roads of both kinds
    assert float(violations.sensing[reachable].max()) < 1e-6
    assert {answers[i].path for i in range(12) if not reachable[i]} == {"best_effort"}
    assert "engine" in {answer.path for answer in answers}
    for index in reachable.nonzero().flatten().tolist():
        assert float(optimum.value[index] * problem.nmse(power)[index].max()) < 1.15


def test_best_effort_is_the_best_localisation():
    """Gamma falls, and with it the quality: the same bounds, which no powers can lower together."""
    road = RoadSnapshot.from_mapping(EXAMPLE)
    qualities = [ALLOCATOR(replace(road, crb_max=np.full(3, gamma))).quality / gamma for gamma in (0.05, 0.01)]
    assert qualities[0] == pytest.approx(qualities[1], rel=2e-3)


def test_refining_lowers_the_largest_nmse():
    refining = RoadAllocator.load(refine=True)
    _, snapshots = roads(4, 23, num_ues=6, crb_max=2.0)
    for plain, better in zip(ALLOCATOR.many(snapshots), refining.many(snapshots), strict=True):
        assert better.path == "refined"
        assert better.nmse.max() <= plain.nmse.max() * (1 + 1e-9)
        assert better.quality > 1.0 - 1e-6


def test_roads_out_of_training_are_named():
    strange = replace(RoadSnapshot.from_mapping(EXAMPLE), downlink_symbols=5000)
    assert any(text.startswith("weakest_ue") for text in ALLOCATOR(strange).out_of_distribution)


def test_runs_without_torch():
    code = (
        "import sys\n"
        "from isac_torch import RoadAllocator, RoadSnapshot\n"
        "from isac_torch.deployment.downlink_pilots.snapshot import EXAMPLE\n"
        "print(RoadAllocator.load()(RoadSnapshot.from_mapping(EXAMPLE)).path, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "network False"


FAULTS = {
    "unknown name": ({"ap_positoin": [[0, 0]]}, "ap_position"),
    "other bound": ({"crb": "expected"}, "crb: the deployed allocator limits the bound at the mean beam power only"),
    "tracking network": ({"tx_position": [[0, 0, 0]]}, "isac-torch allocate"),
    "missing": ({"ue_position": None}, "ue_position is missing"),
    "shape": ({"gain": [[1e-9] * 3] * 3}, "gain has 3 entries"),
    "dB": ({"gain": [[-90.0] * 8] * 3}, "a linear power gain, not dB"),
    "NaN": ({"ap_position": [[np.nan, 0.0]] * 8}, "NaN"),
    "infinite": ({"bandwidth": np.inf}, "finite"),
    "word": ({"receiver": "magic"}, "receiver='magic'"),
    "text": ({"ue_position": "here"}, "ue_position"),
    "one AP": ({"ap_position": [[0, 0]]}, "1 APs"),
    "on an AP": ({"ue_position": [[37.5, 0.0], [1.0, 1.0], [2.0, 2.0]]}, "UE 0 is 0 m from AP 0"),
    "pilot": ({"pilot": [0, 1, 99]}, "pilot holds 99"),
    "receiver twice": ({"receive_ap": [1, 1]}, "twice"),
    "no receiver": ({"receive_ap": []}, "names no AP"),
    "no Gram": ({"gram_real": [[1, 2, 0], [0, 1, 0], [0, 0, 1]]}, "gram_real"),
    "not Hermitian": ({"gram_real": [[1, 0.5, 0], [0, 1, 0], [0, 0, 1]]}, "psi_k\\^H psi_j"),
    "indefinite": ({"gram_real": [[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]]}, "negative eigenvalue"),
    "Gamma": ({"crb_max": [1.0, 0.0, 1.0]}, "crb_max holds 0"),
    "too large": ({"ap_position": np.random.default_rng(0).normal(size=(2000, 2)) * 1e4}, "split the road"),
}


@pytest.mark.parametrize(("changes", "words"), FAULTS.values(), ids=FAULTS)
def test_what_is_no_road_is_refused_in_one_line(changes, words):
    with pytest.raises(DropError, match=words) as error:
        RoadSnapshot.from_mapping(EXAMPLE | {"crb_max": None} | changes).check()
    assert "\n" not in str(error.value)


def test_products_of_normalised_pilots_are_taken_with_their_rounding():
    rng = np.random.default_rng(3)
    largest = 0.0
    for _ in range(20):
        pilots = rng.normal(size=(3, 5)) + 1j * rng.normal(size=(3, 5))
        pilots /= np.linalg.norm(pilots, axis=1, keepdims=True)
        gram = pilots.conj() @ pilots.T
        largest = max(largest, gram.real.max())
        RoadSnapshot.from_mapping(EXAMPLE | {"crb_max": None, "gram_real": gram.real, "gram_imag": gram.imag}).check()
    assert largest > 1.0


def test_edges_of_what_is_allowed_get_finite_powers():
    """Gains of 1, of 1e-20 and of 0, tiny and huge budgets, Gammas and pilots: budgets kept, nothing that is not finite."""
    rng = np.random.default_rng(7)
    snapshots = []
    for _ in range(40):
        aps, ues = int(rng.integers(2, 7)), int(rng.integers(1, 6))
        changes = {
            "gain": rng.choice([0.0, 1e-20, 1e-12, 1e-9, 1.0], size=(ues, aps)),
            "ap_power": rng.choice([1e-9, 0.2, 1e4], size=aps),
            "crb_max": rng.choice([1e-9, 1.0, 1e12], size=ues),
            "weight": rng.choice([1e-6, 1.0, 1e6], size=ues),
            "downlink_symbols": int(rng.choice([1, 10, 100_000])),
            "uplink_symbols": int(rng.choice([1, 10, 100_000])),
            "downlink_correlation": float(rng.choice([0.0, 0.5, 1.0])),
            "receiver": str(rng.choice(["lmmse", "projection", "ignorant"])),
            "noise_density_dbm_hz": float(rng.choice([-250.0, -164.0, -50.0])),
        }
        positions = {"ap_position": rng.uniform(-1e3, 1e3, (aps, 2)), "ue_position": rng.uniform(-1e3, 1e3, (ues, 2))}
        if rng.random() < 0.2:
            positions["ap_position"] = np.column_stack([np.arange(1.0, aps + 1), np.zeros(aps)])
            positions["ue_position"] = np.column_stack([-np.arange(1.0, ues + 1), np.zeros(ues)])  # on one line: never located
        kept = {name: value for name, value in changes.items() if rng.random() < 0.6}
        snapshots.append(RoadSnapshot.from_mapping(positions | kept))
    for snapshot, answer in zip(snapshots, ALLOCATOR.many(snapshots), strict=True):
        power = answer.power.reshape(snapshot.num_ues, snapshot.num_aps)
        budget = snapshot.pilot_power if snapshot.ap_power is None else snapshot.ap_power
        assert np.isfinite(power).all()
        assert power.min() >= 0.0
        assert (power.sum(0) <= budget * (1 + 1e-12)).all()
        assert np.isfinite(answer.nmse).all()
        assert not np.isnan(answer.crb).any()
    json.loads(answers_json(ALLOCATOR.many(snapshots[:3])))


def test_an_nmse_below_rounding_is_not_negative():
    """Energies of 10^20 over the noise, uplink pilots shared: the error of some UE is below zero by rounding."""
    rng = np.random.default_rng(3)
    symbols = {"downlink_symbols": 100_000, "uplink_symbols": 1}
    extreme = symbols | {"noise_density_dbm_hz": -250.0, "bandwidth": 1e3, "crb_max": np.full(8, 10.0)}
    below = 0
    for _ in range(8):
        sides = np.column_stack([rng.uniform(0.0, 200.0, 5), 100.0 * (np.arange(5) % 2)])
        ues = {"ap_position": sides, "ue_position": rng.uniform([0.0, 20.0], [200.0, 80.0], (8, 2))}
        road = RoadSnapshot.from_mapping(ues | extreme)
        answer, problem = ALLOCATOR(road), coefficients(road)
        below += int((problem.nmse(problem.positive(answer.power.reshape(8, 5))) < 0.0).any())
        assert answer.nmse.min() >= 0.0
    assert below > 0


def test_receive_aps_and_cross_sections_of_paths_count():
    road = RoadSnapshot.from_mapping(EXAMPLE)
    every = coefficients(road).fisher
    half = coefficients(replace(road, receive_ap=np.arange(4))).fisher
    rest = coefficients(replace(road, receive_ap=np.arange(4, 8))).fisher
    np.testing.assert_allclose(half + rest, every, rtol=1e-12)
    doubled = coefficients(replace(road, path_cross_section=np.full((3, 8, 8), 2 * road.cross_section))).fisher
    np.testing.assert_allclose(doubled, 2 * every, rtol=1e-12)


def test_commands(tmp_path, capsys):
    for suffix in ("json", "npz", "h5", "csv"):
        assert (
            cli.main(["downlink-pilots", "allocate", str(ROOT / "examples/road.json"), "--output", f"{tmp_path}/p.{suffix}"])
            == 0
        )
    answer = json.loads((tmp_path / "p.json").read_text())["drops"][0]
    assert len(answer["power"]) == 24
    assert len(answer["nmse"]) == len(answer["crb"]) == 3
    assert cli.main(["downlink-pilots", "allocate", str(ROOT / "examples/drop.json")]) == 2
    assert "isac-torch allocate" in capsys.readouterr().err
    assert cli.main(["allocate", str(ROOT / "examples/road.json")]) == 2
    assert "isac-torch downlink-pilots allocate" in capsys.readouterr().err


def test_shards_of_the_system_are_read_and_those_of_the_other_refused(tmp_path, capsys):
    asked = ["--num_drops", "2", "--shard_size", "2", "--seed", "5", "--output", f"{tmp_path}/drops"]
    assert cli.main(["downlink-pilots", "generate", *asked]) == 0
    shard = tmp_path / "drops/shard-00000.h5"
    assert cli.main(["downlink-pilots", "allocate", str(shard), "--output", f"{tmp_path}/p.json"]) == 0
    answers = json.loads((tmp_path / "p.json").read_text())["drops"]
    scenario = DownlinkPilotScenario()
    drop = scenario.sample(2, generator=torch.Generator().manual_seed(5))
    for index, answer in enumerate(answers):
        np.testing.assert_allclose(answer["power"], ALLOCATOR(RoadSnapshot.from_drop(drop, index, scenario)).power, rtol=1e-6)
    assert cli.main(["allocate", str(shard)]) == 2
    assert "of another system; give one of the tracking system" in capsys.readouterr().err
    with h5py.File(shard, "r+") as file:
        file.attrs["system"] = "pilot"  # its former name
    assert len(read_snapshots(shard, kind=RoadSnapshot)) == 2


def test_npz_of_many_roads(tmp_path):
    positions = {name: np.array(EXAMPLE[name], float) for name in ("ap_position", "ue_position")}
    many = {name: np.stack([value, value + 1.0]) for name, value in positions.items()}
    np.savez(tmp_path / "roads.npz", receiver=np.array("projection"), **many)
    snapshots = read_snapshots(tmp_path / "roads.npz", kind=RoadSnapshot)
    assert [snapshot.receiver for snapshot in snapshots] == ["projection"] * 2
    tables = answer_tables(ALLOCATOR.many(snapshots))
    assert set(tables) == {"link", "ue", "drop"}
    np.testing.assert_array_equal(tables["ue"]["drop"], [0, 0, 0, 1, 1, 1])


def test_other_files_are_no_network(tmp_path):
    with pytest.raises(BundleError, match="weights of training"):
        RoadAllocator.load(shipped_weights("downlink_pilots"))
    with pytest.raises(BundleError, match="there is no network"):
        RoadAllocator.load(tmp_path / "none.npz")
    (tmp_path / "cut.npz").write_bytes(shipped_roads().read_bytes()[:5000])
    with pytest.raises(BundleError, match="not readable"):
        RoadAllocator.load(tmp_path / "cut.npz")


def test_server_answers_roads():
    async def inside():
        app = create_app(ALLOCATOR, Limits(max_drops=2), RoadSnapshot)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            bodies = (EXAMPLE, [EXAMPLE] * 3, {"tx_position": [[0, 0, 0]]}, EXAMPLE | {"gain": [[1.5] * 8] * 3})
            return [await client.post("/allocate", json=body) for body in bodies] + [await client.get("/openapi.json")]

    good, many, wrong, strong, pages = asyncio.run(inside())
    assert good.status_code == 200
    assert good.json()["drops"][0]["path"] == "network"
    for refused, words in ((many, "at most 2"), (wrong, "isac-torch allocate"), (strong, "not dB")):
        assert refused.status_code == 422
        assert words in refused.json()["detail"]
    assert "ap_position" in pages.text


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


def test_positions_of_ones_own(tmp_path, capsys):
    road, gains = tmp_path / "road.json", tmp_path / "gains.csv"
    gains.write_text("\n".join(",".join(["-90"] * 8) for _ in range(3)))
    words = ["downlink-pilots", "import-geometry", str(ROOT / "examples/road.csv"), "--output", str(road)]
    assert cli.main([*words, "--gains_db", str(gains), "--crb_max", "2"]) == 0
    assert "8 APs, of which 6 receive, 3 UEs on 225 x 100 m" in capsys.readouterr().err
    (found,) = read_snapshots(road, kind=RoadSnapshot)
    np.testing.assert_array_equal(found.receive_ap, [0, 1, 3, 4, 5, 7])
    np.testing.assert_array_equal(found.crb_max, [2.0] * 3)
    np.testing.assert_allclose(found.gain, np.full((3, 8), 1e-9))
    for row, says in (("rx,1,1", "every AP"), ("target,1,1", "height"), ("pilot,1,1", "kind='pilot'")):
        (tmp_path / "wrong.csv").write_text(f"kind,x,y\nap,0,0\nap,9,9\nue,5,0\n{row}\n")
        assert cli.main(["downlink-pilots", "import-geometry", str(tmp_path / "wrong.csv")]) == 2
        assert says in capsys.readouterr().err
