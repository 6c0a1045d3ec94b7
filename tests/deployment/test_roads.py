"""The allocator of roads without torch: bounds kept, hostile and extreme roads, one line a refusal."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from isac_torch import (
    BatchedMinMaxNmse,
    RoadAllocator,
    RoadSnapshot,
    Status,
    allocate,
)
from isac_torch.deployment.answers import answers_json
from isac_torch.deployment.downlink_pilots.snapshot import EXAMPLE
from isac_torch.deployment.downlink_pilots.statistics import coefficients
from isac_torch.errors import BundleError, DropError
from isac_torch.weights import shipped_roads, shipped_weights
from tests.deployment.drawn_roads import ALLOCATOR, roads


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


def test_other_files_are_no_network(tmp_path):
    with pytest.raises(BundleError, match="weights of training"):
        RoadAllocator.load(shipped_weights("downlink_pilots"))
    with pytest.raises(BundleError, match="there is no network"):
        RoadAllocator.load(tmp_path / "none.npz")
    (tmp_path / "cut.npz").write_bytes(shipped_roads().read_bytes()[:5000])
    with pytest.raises(BundleError, match="not readable"):
        RoadAllocator.load(tmp_path / "cut.npz")
