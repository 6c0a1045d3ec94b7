"""Bundles: damaged, hostile and old ones are refused in one line or read as they were meant."""

import json
import shutil
from pathlib import Path

import pytest

import isac_torch
from isac_torch.deployment.allocator import DeployedAllocator
from isac_torch.deployment.card import CARD, ONNX, OUTPUTS, WEIGHTS
from isac_torch.errors import BundleError
from isac_torch.tracking.nodes import INPUTS
from tests.deployment.drawn import snapshots

BUNDLE = Path(isac_torch.__file__).parent / "weights" / "one_shot"


@pytest.fixture(scope="module")
def allocator():
    return DeployedAllocator.load(BUNDLE)


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
