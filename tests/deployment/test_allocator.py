"""A deployed allocator: no torch, any sizes, budgets, determinism, threads, damaged bundles, one line for bad input."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import isac_torch
from isac_torch.deployment.allocator import DeployedAllocator
from isac_torch.deployment.card import quantities
from isac_torch.deployment.statistics import coefficients
from isac_torch.errors import DropError
from isac_torch.nn.tracking.dense import DenseProblem
from isac_torch.tensors import map_tensors
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.nodes import INPUTS, NodeProblem
from isac_torch.tracking.scenario import TrackingScenario
from tests.deployment.drawn import snapshots

BUNDLE = Path(isac_torch.__file__).parent / "weights" / "one_shot"
SIZES = ("16x16x4", "8x6x2", "4x3x0", "2x1x1", "12x10x1")


@pytest.fixture(scope="module")
def allocator():
    return DeployedAllocator.load(BUNDLE)


@pytest.fixture(scope="module")
def mixed():
    return [snapshot for size in SIZES for snapshot in snapshots(size, 3)]


def test_any_sizes_in_one_call_keep_their_order_and_budgets(allocator, mixed):
    order = np.random.default_rng(1).permutation(len(mixed))
    answers = allocator.many([mixed[index] for index in order])
    for index, answer in zip(order, answers, strict=True):
        snapshot = mixed[index]
        load = np.zeros(snapshot.num_aps)
        np.add.at(load, answer.link_ap, answer.power)
        assert (load <= snapshot.ap_power * (1 + 1e-9)).all()
        assert np.isfinite(answer.power).all()
        assert (answer.power >= 0).all()
        assert len(answer.sinr) == snapshot.num_ues
        assert len(answer.sir) == (snapshot.num_targets if snapshot.num_targets > 1 else 0)
        assert answer.owner_kind.count("ue") == snapshot.serving_ap.size
        assert (answer.power[: snapshot.serving_ap.size].reshape(snapshot.num_ues, -1).sum(-1) > 0).all()
        if answer.path != "best_effort":
            assert (answer.sir >= snapshot.sir_min * (1 - 2e-6)).all()


def test_links_name_their_ap_and_owner(allocator, mixed):
    snapshot = mixed[0]
    answer = allocator(snapshot)
    pairs = {(kind, owner, ap) for kind, owner, ap in zip(answer.owner_kind, answer.owner_index, answer.link_ap, strict=True)}
    wanted = {("ue", ue, ap) for ue, sets in enumerate(snapshot.serving_ap) for ap in sets}
    wanted |= {("target", target, ap) for target, sets in enumerate(snapshot.sensing_ap) for ap in sets}
    assert pairs == wanted


def test_alone_in_a_batch_twice_and_in_threads_the_answer_is_one(allocator, mixed):
    together = allocator.many(mixed)
    again = allocator.many(mixed)
    with ThreadPoolExecutor(4) as pool:
        alone = list(pool.map(allocator, mixed))
    for one, two, three in zip(together, again, alone, strict=True):
        assert (one.power == two.power).all()
        # Products of other sizes sum in another order, in single precision.
        np.testing.assert_allclose(three.power, one.power, rtol=2e-2, atol=2e-3 * one.power.max())
        assert one.path == three.path


def test_refined_answers_are_never_worse_and_say_so(mixed):
    # The Newton steps start from the powers that numpy computes.
    plain, refined = (DeployedAllocator.load(BUNDLE, refine=which, native=False).many(mixed) for which in (False, True))
    for before, after in zip(plain, refined, strict=True):
        assert after.path == ("refined" if before.path == "network" else before.path)
        assert after.sinr.min() >= before.sinr.min() * (1 - 1e-9)
        assert (after.sir >= np.minimum(before.sir, 10**-0.5) * (1 - 2e-6)).all()
    gain = [after.sinr.min() / before.sinr.min() for before, after in zip(plain, refined, strict=True)]
    assert max(gain) > 1.001


def test_bad_snapshots_are_refused_by_number(allocator, mixed):
    bad = replace(mixed[0], ue_gain=np.full_like(mixed[0].ue_gain, np.nan))
    with pytest.raises(DropError, match=r"^drop 1: ue_gain"):
        allocator.many([mixed[0], bad])
    with pytest.raises(DropError, match=r"^ue_gain"):
        allocator(bad)
    assert allocator.many([]) == []


def test_networks_unlike_the_training_say_so(allocator):
    assert not any(allocator.many(snapshots("16x16x4", 4))[index].out_of_distribution for index in range(4))
    strange = allocator.many(snapshots("16x16x4", 1, sir_min_db=-30.0) + snapshots("64x40x4", 1))
    assert any(text.startswith("sir_min -30 dB") for text in strange[0].out_of_distribution)
    assert any(text.startswith("transmit_aps 48") for text in strange[1].out_of_distribution)


def test_inputs_are_those_of_the_network_in_torch():
    for size in ("8x6x2", "8x6x1", "8x6x0"):
        scenario = TrackingScenario.of_size(size)
        problem = power_problem(scenario.sample(2, generator=torch.Generator().manual_seed(5)), scenario)
        (found,) = NodeProblem.of(map_tensors(problem, lambda t: t.numpy())).network_inputs()
        dense = DenseProblem.of(problem.cast(torch.float32))
        for name in INPUTS:
            np.testing.assert_allclose(found[name], getattr(dense, name).numpy(), rtol=1e-6, err_msg=name)


def test_quantities_of_a_network():
    found = quantities(coefficients(snapshots("16x16x4", 2)))
    assert found["transmit_aps"].tolist() == [12.0, 12.0]
    assert found["ues_per_ap"].tolist() == [16 / 12] * 2
    assert found["sir_min"] == pytest.approx([-5.0, -5.0])
    assert (found["weakest_ue"] <= found["strongest_ue"]).all()
    assert found["pilot_contamination"] == pytest.approx([0.0, 0.0])
    assert "least_echo_ratio" not in quantities(coefficients(snapshots("8x6x1", 1)))


NO_TORCH = """
import sys

class Blocked:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] in {"torch", "scipy", "h5py", "lightning", "cvxpy", "matplotlib"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])

sys.meta_path.insert(0, Blocked())
import isac_torch.cli
from isac_torch.deployment.allocator import DeployedAllocator
from isac_torch.deployment.snapshot import Snapshot

snapshot = Snapshot(
    tx_position=[[0, 0, 10], [400, 0, 10], [200, 350, 10]], tx_orientation=[0.8, 2.4, 4.7],
    rx_position=[[200, 120, 10], [180, 230, 10]], ue_position=[[120, 60, 1.65], [260, 210, 1.65]],
    target_position=[[90, 180, 60], [310, 150, 40]],
)
assert DeployedAllocator.load(sys.argv[1])(snapshot).power.sum() > 0
assert "torch" not in sys.modules
sys.exit(isac_torch.cli.main(["train", "--config", "nowhere.yaml", "--output", "nowhere"]))
"""


def test_nothing_needs_torch_but_training():
    run = subprocess.run([sys.executable, "-c", NO_TORCH, str(BUNDLE)], capture_output=True, text=True)
    assert run.returncode == 2, run.stderr
    assert run.stderr.strip().endswith("pip install 'isac-torch[train]'")
    assert "Traceback" not in run.stderr
