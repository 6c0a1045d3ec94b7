"""A deployed allocator: no torch, any sizes, budgets, determinism, threads, damaged bundles, one line for bad input."""

import json
import shutil
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
from isac_torch.deployment.card import CARD, ONNX, OUTPUTS, WEIGHTS, quantities
from isac_torch.deployment.snapshot import Snapshot
from isac_torch.deployment.statistics import coefficients
from isac_torch.errors import BundleError, DropError
from isac_torch.nn.tracking.dense import DenseProblem
from isac_torch.tensors import map_tensors
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.nodes import INPUTS, NodeProblem
from isac_torch.tracking.scenario import TrackingScenario

BUNDLE = Path(isac_torch.__file__).parent / "weights" / "one_shot"
SIZES = ("16x16x4", "8x6x2", "4x3x0", "2x1x1", "12x10x1")


def snapshots(size, count, seed=970_000_000, **parameters):
    scenario = TrackingScenario.of_size(size, **parameters)
    drops = scenario.sample(count, generator=torch.Generator().manual_seed(seed))
    return [Snapshot.from_drop(drops, index, scenario) for index in range(count)]


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


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (CARD, None, "there is no bundle"),
        (CARD, b"{", "not readable"),
        (CARD, b"[1]", "not the card"),
        (CARD, b'{"format": "isac-torch-bundle", "format_version": 99}', "format_version is 99"),
        (CARD, b'{"format": "isac-torch-bundle", "format_version": 2}', "is missing"),
        (CARD, b'{"format": "isac-torch-bundle", "format": 2}', "given twice"),
        (CARD, b"[" * 100_000, "too deep"),
        (ONNX, None, "missing"),
        (ONNX, b"not a graph", "checksum"),
    ],
)
def test_a_damaged_bundle_is_refused_in_one_line(tmp_path, name, content, words):
    for file in (CARD, ONNX):
        shutil.copy(BUNDLE / file, tmp_path / file)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BundleError, match=words) as error:
        DeployedAllocator.load(tmp_path)
    assert "\n" not in str(error.value)


def test_a_bundle_of_format_2_is_read_as_it_was_meant(tmp_path):
    card = json.loads((BUNDLE / CARD).read_text())
    current = DeployedAllocator.load(BUNDLE, native=False)
    shutil.copy(BUNDLE / ONNX, tmp_path / ONNX)
    del card["sha256"][WEIGHTS]  # such bundles have none
    for name in ("floor_share", "least_share", "least_own_gain"):
        del card["balance"][name]
    (tmp_path / CARD).write_text(json.dumps(card | {"format_version": 2}))
    drops = snapshots("8x6x2", 2)
    for old, new in zip(DeployedAllocator.load(tmp_path).many(drops), current.many(drops), strict=True):
        assert old.power.tolist() == new.power.tolist()


def test_a_graph_that_onnxruntime_cannot_open_is_refused(tmp_path):
    import hashlib

    card = json.loads((BUNDLE / CARD).read_text())
    (tmp_path / ONNX).write_bytes(b"garbage")
    card["sha256"][ONNX] = hashlib.sha256(b"garbage").hexdigest()
    (tmp_path / CARD).write_text(json.dumps(card))
    with pytest.raises(BundleError, match="onnxruntime cannot open it"):
        DeployedAllocator.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"balance": {"sensing_cap": "5"}}, "constants are missing"),
        ({"balance.sensing_cap": "5"}, "sensing_cap='5' is no finite number"),
        ({"balance.sensing_cap": float("nan")}, "NaN"),
        ({"balance.sensing_cap": True}, "no finite number"),
        ({"balance": []}, "balance is a list"),
        ({"ranges.sir_min": None}, "the range of sir_min is missing"),
        ({"ranges.sir_min.least": "-5"}, "the range of sir_min is not two finite numbers"),
        ({"ranges.sir_min.most": -1e9}, "the range of sir_min is not two finite numbers"),
        ({"ranges.ues": 3}, "the range of ues"),
        ({"inputs": {"signal": "float32"}}, "inputs are signal, not"),
        ({"outputs": {}}, "outputs are missing"),
        ({"sha256": {ONNX: "abc"}}, "no SHA-256"),
        ({"ranges.antennas": {"least": 1, "most": 2, "unit": ""}}, "the range of 'antennas' is of no known quantity"),
        ({"surprise": 1}, "'surprise' is not a name of a card"),
    ],
)
def test_a_card_with_one_wrong_value_is_refused_in_one_line(tmp_path, change, words):
    card = json.loads((BUNDLE / CARD).read_text())
    for place, value in change.items():
        *folders, last = place.split(".")
        part = card
        for name in folders:
            part = part[name]
        part[last] = value
    shutil.copy(BUNDLE / ONNX, tmp_path / ONNX)
    (tmp_path / CARD).write_text(json.dumps(card))
    with pytest.raises(BundleError, match=words) as error:
        DeployedAllocator.load(tmp_path)
    assert "\n" not in str(error.value)


def hostile_graph(kind):
    """A graph with the right names and axes that no runtime should be brought down by."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load_from_string(graph(RANKS, OUTPUTS))
    if kind == "opset":
        model.opset_import[0].version = 999
    elif kind == "operator":
        model.graph.node[0].op_type = "NoSuchOperator"
    elif kind == "outside":  # an array in another file
        made = helper.make_tensor("far", TensorProto.FLOAT, [1, 1, 1], [0.0])
        made.ClearField("float_data")
        made.data_location = TensorProto.EXTERNAL
        made.external_data.add(key="location", value="/etc/hostname")
        model.graph.initializer.append(made)
        model.graph.node.append(helper.make_node("Identity", ["far"], ["unused"]))
    else:
        again = [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["x", "x"], ["more"])]
        named = helper.make_tensor_value_info
        inside = [named("i", TensorProto.INT64, []), named("go", TensorProto.BOOL, []), named("x", TensorProto.FLOAT, None)]
        after = [named("on", TensorProto.BOOL, []), named("more", TensorProto.FLOAT, None)]
        yes = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
        del model.graph.node[0]
        model.graph.node.extend(
            [
                helper.make_node("Constant", [], ["yes"], value=yes),
                helper.make_node(
                    "Loop", ["", "yes", "signal"], [OUTPUTS[0]], body=helper.make_graph(again, "again", inside, after)
                ),
            ]
        )
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("kind", "words"),
    [("opset", "cannot open"), ("operator", "cannot open"), ("outside", "cannot open"), ("endless", "none in 0.5 s")],
)
def test_a_hostile_graph_is_refused_when_it_is_loaded(tmp_path, monkeypatch, kind, words):
    import hashlib

    monkeypatch.setattr("isac_torch.deployment.allocator._FIRST_ANSWER", 0.5)
    card, content = json.loads((BUNDLE / CARD).read_text()), hostile_graph(kind)
    (tmp_path / ONNX).write_bytes(content)
    card["sha256"][ONNX] = hashlib.sha256(content).hexdigest()
    card["sha256"].pop(WEIGHTS, None)
    (tmp_path / CARD).write_text(json.dumps(card))
    with pytest.raises(BundleError, match=words) as error:
        DeployedAllocator.load(tmp_path)
    assert "\n" not in str(error.value)


def graph(inputs, outputs, value="zero"):
    """A graph with these names and numbers of axes, whose outputs are constants."""
    from onnx import TensorProto, helper

    kinds = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * axes) for name, axes in inputs.items()}
    zero = helper.make_tensor(value, TensorProto.FLOAT, [1, 1, 1], [0.0])
    nodes = [helper.make_node("Constant", [], [name], value=zero) for name in outputs]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 3) for name in outputs]
    made = helper.make_graph(nodes, "graph", list(kinds.values()), ends)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


RANKS = dict.fromkeys(INPUTS, 3) | {"owner": 2, "is_ue": 2}


@pytest.mark.parametrize(
    ("inputs", "outputs", "words"),
    [
        ({"image": 4}, OUTPUTS, "its inputs are not those of an allocator \\(image"),
        (RANKS | {"more": 1}, OUTPUTS, "its inputs are not"),
        (RANKS | {"owner": 3}, OUTPUTS, "its inputs are not"),
        (RANKS, OUTPUTS[:2], "its outputs are not those of an allocator"),
        (RANKS, OUTPUTS, "gives no powers"),
    ],
)
def test_another_graph_is_refused_when_it_is_loaded(tmp_path, inputs, outputs, words):
    import hashlib

    card = json.loads((BUNDLE / CARD).read_text())
    content = graph(inputs, outputs)
    (tmp_path / ONNX).write_bytes(content)
    shutil.copy(BUNDLE / WEIGHTS, tmp_path / WEIGHTS)
    card["sha256"][ONNX] = hashlib.sha256(content).hexdigest()
    (tmp_path / CARD).write_text(json.dumps(card))
    with pytest.raises(BundleError, match=words) as error:
        DeployedAllocator.load(tmp_path)
    assert "\n" not in str(error.value)


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
