"""Shards say what they hold, give it back to the last bit, and refuse whatever is not whole."""

from dataclasses import fields, replace

import h5py
import pytest
import torch

from isac_torch.datasets.shards import encode_shard, read_shard
from isac_torch.tensors import tensor_fields
from isac_torch.tracking.drop import TrackingDrop
from isac_torch.tracking.fields import FIELDS
from isac_torch.tracking.position import PositionInformation
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.requirement import KINDS, Requirement
from tests.datasets.shard import make_shard


@pytest.mark.parametrize("requirement", [Requirement(kind) for kind in KINDS], ids=lambda asked: asked.kind)
def test_what_is_read_is_what_was_written(requirement, tmp_path):
    shard = make_shard(requirement=requirement)
    path = tmp_path / "shard-00007.h5"
    path.write_bytes(encode_shard(shard))
    read = read_shard(path)
    assert read.header == shard.header
    for mine, theirs in (
        (shard.drop, read.drop),
        (tensor_fields(shard.problem), tensor_fields(read.problem)),
        (shard.label, read.label),
    ):
        assert mine.keys() == theirs.keys()
        for name, value in mine.items():
            assert value.dtype == theirs[name].dtype
            assert torch.equal(value.nan_to_num(-1.0), theirs[name].nan_to_num(-1.0)), name
    assert isinstance(read.problem, MaxMinSinrProblem)
    assert isinstance(shard.problem, MaxMinSinrProblem)
    assert (read.problem.num_targets, read.problem.num_cells) == (shard.problem.num_targets, shard.problem.num_cells)


def test_bytes_depend_on_the_content_alone(shard):
    assert encode_shard(shard) == encode_shard(make_shard())
    changed = replace(shard, label=shard.label | {"power": shard.label["power"] * (1 + 1e-15)})
    assert encode_shard(changed) != encode_shard(shard)


def test_bytes_do_not_depend_on_when_python_closes_an_array(shard, monkeypatch):
    before, create, alive = encode_shard(shard), h5py.Group.create_dataset, []

    def keep(*args, **kwargs):
        alive.append(create(*args, **kwargs))
        return alive[-1]

    monkeypatch.setattr(h5py.Group, "create_dataset", keep)
    assert encode_shard(shard) == before


@pytest.mark.parametrize("size", ["4x2x0", "4x1x1", "6x5x2"])
def test_every_size_goes_through_a_file(size, tmp_path):
    shard = make_shard(size, num_drops=2)
    (tmp_path / "x.h5").write_bytes(encode_shard(shard))
    read = tensor_fields(read_shard(tmp_path / "x.h5").problem)
    assert torch.equal(read["signal"], tensor_fields(shard.problem)["signal"])


def test_complex_tensors_are_stored_as_two_real_ones(shard, tmp_path, monkeypatch):
    monkeypatch.setitem(FIELDS, "drop/response", FIELDS["drop/ue_gain"])
    response = torch.complex(shard.drop["ue_gain"], -shard.drop["ue_gain"])
    (tmp_path / "x.h5").write_bytes(encode_shard(replace(shard, drop=shard.drop | {"response": response})))
    with h5py.File(tmp_path / "x.h5") as file:
        assert {"response.real", "response.imag"} <= set(file["drop"])
    assert torch.equal(read_shard(tmp_path / "x.h5").drop["response"], response)


def test_every_array_says_its_unit_and_axes(path):
    with h5py.File(path) as file:
        for group in ("drop", "problem", "label"):
            for name, dataset in file[group].items():
                assert len(dataset.attrs["axes"].decode().split()) == dataset.ndim, name
                assert dataset.attrs["unit"], name
                assert dataset.fletcher32, name


def test_schema_covers_every_tensor_of_drop_and_problem():
    for group, kind in (("drop", TrackingDrop), ("problem", MaxMinSinrProblem)):
        names = {item.name for item in fields(kind)} - {"num_targets", "num_cells", "position"}
        if kind is MaxMinSinrProblem:
            names |= {f"position.{item.name}" for item in fields(PositionInformation)}
        assert {f"{group}/{name}" for name in names} == {name for name in FIELDS if name.startswith(f"{group}/")}
