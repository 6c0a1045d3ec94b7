"""Files that are no shards of `generate`, or damaged ones, are refused in one line before any array is read."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from isac_torch.allocation import Status
from isac_torch.datasets.shards import read_shard
from isac_torch.errors import DatasetError
from isac_torch.tracking.fields import FIELDS
from tests.datasets.shard import refused


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_truncated_file_is_refused(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    refused(path, "generate")


def test_flipped_byte_in_an_array_is_caught_without_the_manifest(path):
    with h5py.File(path) as file:
        offset = file["label/power"].id.get_chunk_info(0).byte_offset
    data = bytearray(path.read_bytes())
    data[offset + 20] ^= 1
    path.write_bytes(data)
    refused(path, "generate")


def test_checksum_of_the_manifest_is_checked(path):
    with pytest.raises(DatasetError, match="checksum"):
        read_shard(path, digest="0" * 64)


def test_missing_file_is_refused(tmp_path):
    refused(tmp_path / "shard-00000.h5", "no such shard")


def edit(path: Path, name: str, value: float) -> None:
    with h5py.File(path, "a") as file:
        array = file[name][()]
        array.flat[0] = value
        file[name][...] = array


@pytest.mark.parametrize("name", ["problem/signal", "problem/budget", "label/power", "drop/ue_position"])
def test_nan_is_refused_by_name(path, name):
    edit(path, name, np.nan)
    refused(path, name, "NaN")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("label/status", 99, "no status"),
        ("label/status", -1, "no status"),
        ("drop/serving_ap", 4, "0..3"),
        ("drop/sensing_ap", -1, "0..3"),
        ("drop/pilot", -2, "drop/pilot holds -2"),
    ],
)
def test_numbers_that_name_nothing_are_refused(path, name, value, says):
    edit(path, name, value)
    refused(path, name, says)


@pytest.mark.parametrize("count", [-1, 0, 1, 3, 10**9])
def test_a_wrong_number_of_targets_is_refused(path, count):
    with h5py.File(path, "a") as file:
        file["problem"].attrs["num_targets"] = count
    refused(path, "num_targets", str(count))


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("problem/link_ap", np.float64),
        ("problem/link_ap", np.uint64),
        ("problem/signal", np.int64),
        ("problem/signal", np.dtype(">f8")),
        ("problem/signal", np.complex128),
        ("label/status", np.uint8),
        ("drop/ue_gain", bool),
    ],
)
def test_arrays_of_another_type_are_refused(path, name, dtype):
    with h5py.File(path, "a") as file:
        array = file[name][()].astype(dtype)
        del file[name]
        file[name] = array
    refused(path, name, "type")


@pytest.mark.parametrize("name", ["drop/tx_position", "drop/pilot", "problem/budget", "label/status"])
def test_every_array_must_be_there(path, name):
    with h5py.File(path, "a") as file:
        del file[name]
    refused(path, f"{name} is missing")


@pytest.mark.parametrize("name", ["drop/ue_gain", "problem/link_ap", "label/power"])
def test_arrays_that_do_not_fit_together_are_refused(path, name):
    with h5py.File(path, "a") as file:
        array = file[name][:, :-1]
        del file[name]
        file[name] = array
    refused(path, name, "does not fit")


def test_links_follow_from_aps_ues_and_targets(path):
    with h5py.File(path, "a") as file:
        for group in ("problem", "label"):
            for name in list(file[group]):
                if file[group][name].attrs["axes"].decode().endswith("link"):
                    array = file[group][name][..., :-1]
                    axes = file[group][name].attrs["axes"]
                    del file[group][name]
                    file[group][name] = array
                    file[group][name].attrs["axes"] = axes
    refused(path, "links")


def foreign_group(file):
    file["problem"].create_group("more")["x"] = np.zeros(3)


def array_for_a_group(file):
    del file["problem"]
    file["problem"] = np.zeros(3)


def group_for_an_array(file):
    del file["problem/signal"]
    file.create_group("problem/signal")


def loop(file):
    del file["label"]
    file["label"] = file["/"]


def loop_inside(file):
    file["problem/again"] = file["problem"]


def external_group(file):
    del file["problem"]
    file["problem"] = h5py.ExternalLink("elsewhere.h5", "/problem")


def soft_group(file):
    file.move("problem", "elsewhere")
    file["problem"] = h5py.SoftLink("/elsewhere")


def unwritten(file):
    del file["problem/leakage"]
    file["problem"].create_dataset("leakage", shape=(5, 4, 2**33), dtype="f8", chunks=(1, 1, 2**16))


def unwritten_and_small(file):
    shape = file["problem/leakage"].shape
    del file["problem/leakage"]
    file["problem"].create_dataset("leakage", shape=shape, dtype="f8", chunks=shape)


def empty(file):
    del file["problem/leakage"]
    file["problem/leakage"] = h5py.Empty("f8")


def inflated(file):
    """One number written, 64 GiB stated."""
    unwritten(file)
    file["problem/leakage"][0, 0, 0] = 1.0


def many_targets_text(file):
    file["problem"].attrs["num_targets"] = "2"


def array_for_a_number(file):
    file.attrs["index"] = np.zeros(1000, dtype=np.int64)


def no_seed(file):
    del file.attrs["drop_seed"]


def config_is_no_json(file):
    file.attrs["config"] = np.bytes_(b"[" * 30_000)


@pytest.mark.parametrize(
    "change",
    [
        foreign_group, array_for_a_group, group_for_an_array, loop, loop_inside, external_group, soft_group, unwritten,
        unwritten_and_small, empty, inflated, many_targets_text, array_for_a_number, no_seed, config_is_no_json,
    ],
    ids=lambda change: change.__name__,
)  # fmt: skip
def test_files_of_another_structure_are_refused_before_any_array_is_read(path, change, monkeypatch):
    with h5py.File(path, "a") as file:
        change(file)
    monkeypatch.setattr("isac_torch.datasets.shards.check_values", lambda *_, **__: pytest.fail("an array was read"))
    refused(path)


def test_a_small_file_that_unpacks_to_gigabytes_is_refused(path):
    """Zeros compress a thousandfold: consistent shapes alone do not bound the memory."""
    drops = 400_000
    with h5py.File(path, "a") as file:
        for group in ("drop", "problem", "label"):
            for name in list(file[group]):
                shape, dtype = (drops, *file[group][name].shape[1:]), file[group][name].dtype
                del file[group][name]
                made = file[group].create_dataset(name, shape=shape, dtype=dtype, chunks=(drops, *shape[1:]), compression=9)
                made.id.write_direct_chunk((0,) * len(shape), b"x\x9c\x03\x00\x00\x00\x00\x01")
    assert path.stat().st_size < 300_000
    refused(path, "MiB")


def test_folders_devices_and_large_files_are_not_read(path, tmp_path, monkeypatch):
    refused(tmp_path, "not a file")
    monkeypatch.setattr("isac_torch.datasets.shards._MOST_BYTES", 100)
    refused(path, "larger than")


def test_impossible_numbers_are_refused(path):
    edit(path, "problem/leakage", -1.0)
    refused(path, "leakage", "negative")


def test_link_to_an_ap_that_is_not_there_is_refused(path):
    edit(path, "problem/link_ap", 99)
    refused(path, "problem/link_ap", "99", "0..3")


def test_missing_field_and_foreign_files_are_refused(path, tmp_path):
    with h5py.File(path, "a") as file:
        del file["label/upper_bound"]
    refused(path, "upper_bound")
    with h5py.File(path, "a") as file:
        file.attrs["format_version"] = 99
    refused(path, "99")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.zeros(3)
    refused(tmp_path / "other.h5", "not a shard")


def test_links_to_other_files_and_odd_types_are_refused(path):
    with h5py.File(path, "a") as file:
        del file["problem/budget"]
        file["problem/budget"] = h5py.ExternalLink("elsewhere.h5", "/x")
    refused(path, "link")
    with h5py.File(path, "a") as file:
        del file["problem/budget"]
        file["problem"].create_dataset("budget", data=np.array([b"text"]))
    refused(path, "budget")


def test_statuses_keep_the_numbers_that_shards_explain():
    said = FIELDS["label/status"].unit.split(", ")
    assert said == [f"{status.value} {status.name.lower()}" for status in Status]
