"""Networks from files: every format says the same, and hostile bytes end in one clear line before memory is taken."""

import contextlib
import io
import json
import struct
import time
import tracemalloc
import zipfile
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from isac_torch.deployment.files import decode_json, decode_npz, decode_snapshots, encode_json, read_snapshots
from isac_torch.deployment.snapshot import Snapshot
from isac_torch.errors import DropError
from isac_torch.tracking.scenario import TrackingScenario
from tests.paths import ROOT

SCENARIO = TrackingScenario.of_size("4x3x2")
EXAMPLE = ROOT / "examples" / "drop.json"


@pytest.fixture(scope="module")
def snapshots() -> list[Snapshot]:
    drop = SCENARIO.sample(3, generator=torch.Generator().manual_seed(900_001))
    return [Snapshot.from_drop(drop, index, SCENARIO) for index in range(3)]


def assert_same(first: list[Snapshot], second: list[Snapshot]) -> None:
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        for field in fields(Snapshot):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


def tables(snapshots: list[Snapshot]) -> list[dict[str, object]]:
    found = [{field.name: getattr(one, field.name) for field in fields(Snapshot)} for one in snapshots]
    whole = [{name: value for name, value in one.items() if value is not None} for one in found]
    return [{name: json.dumps(asdict(value)) if is_dataclass(value) else value for name, value in one.items()} for one in whole]


def npz(**arrays: object) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def batched(snapshots: list[Snapshot]) -> dict[str, object]:
    found = tables(snapshots)
    return {name: np.stack([one[name] for one in found]) for name in found[0]}


def test_json_keeps_every_number(snapshots):
    assert_same(decode_json(encode_json(snapshots)), snapshots)
    assert_same(decode_json(encode_json(snapshots[:1])), snapshots[:1])
    assert_same(decode_json(b'{"drops": ' + encode_json(snapshots) + b"}"), snapshots)


def test_npz_of_one_and_of_many(snapshots):
    assert_same(decode_npz(npz(**tables(snapshots)[0])), snapshots[:1])
    assert_same(decode_npz(npz(**batched(snapshots))), snapshots)
    shared = batched(snapshots) | {"sir_min_db": SCENARIO.sir_min_db, "echo_gain": "radar"}  # single numbers are shared
    assert_same(decode_npz(npz(**shared)), snapshots)
    turned = {name: np.asfortranarray(value) if np.ndim(value) > 1 else value for name, value in tables(snapshots)[0].items()}
    assert_same(decode_npz(npz(**turned)), snapshots[:1])


def test_hdf5_of_one_and_of_many(snapshots, tmp_path):
    import h5py

    for name, table, expected in (("one", tables(snapshots)[0], snapshots[:1]), ("many", batched(snapshots), snapshots)):
        with h5py.File(tmp_path / name, "w") as file:
            for key, value in table.items():
                file[key] = value.astype("S") if isinstance(value, np.ndarray) and value.dtype.kind == "U" else value
        assert_same(read_snapshots(tmp_path / name), expected)


def test_shards_of_generate_are_read(snapshots):
    from isac_torch.allocators.tracking.heuristics import Fractional
    from isac_torch.datasets.labelling import Labeller
    from isac_torch.datasets.recipe import Recipe, software_versions

    recipe = Recipe((SCENARIO,), num_drops=3, seed=900_001, shard_size=3, allocator="upc")
    made = Labeller(Fractional(), recipe, software_versions("tracking"))(recipe.tasks[0])
    assert_same(decode_snapshots(made.data, name="shard"), snapshots)


def test_example_and_standard_input(monkeypatch):
    class Input:
        buffer = io.BytesIO(EXAMPLE.read_bytes())

    monkeypatch.setattr("sys.stdin", Input)
    (snapshot,) = read_snapshots(Path("-"))
    snapshot.check()
    assert (snapshot.num_aps, snapshot.num_ues, snapshot.num_targets) == (3, 2, 2)
    assert_same(read_snapshots(EXAMPLE), [snapshot])


HOSTILE_JSON = {
    "empty": (b"", "not JSON"),
    "text": (b"hello", "not JSON"),
    "not utf-8": (b"\xff\xfe\x00\x01", "not JSON"),
    "number": (b"3", "a int where"),
    "no drop": (b"[]", "no drop"),
    "list of numbers": (b"[1, 2]", "drop 0: a int"),
    "deep": (b"[" * 1_000_000, "too deep"),
    "deep field": (b'{"tx_position": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "too deep"),
    "NaN": (b'{"tx_position": [[NaN, 0, 0]]}', "NaN"),
    "Infinity": (b'{"tx_position": [[-Infinity, 0, 0]]}', "Infinity"),
    "twice": (b'{"tx_position": 1, "tx_position": 2}', "twice"),
    "unknown": (b'{"tx_positions": []}', "tx_positions"),
    "unknown with line break": (b'{"a\\nb\\u0000": []}', "no field"),
    "missing": (b'{"tx_position": [[0, 0, 0]]}', "missing"),
    "long integer": (b'{"sir_min_db": ' + b"1" * 100_000 + b"}", "fewer digits"),
    "long float": (EXAMPLE.read_bytes().replace(b"-5", b"1e999"), "sir_min_db"),
    "ragged": (EXAMPLE.read_bytes().replace(b"[400, 0, 10]", b"[400, 0]"), "tx_position"),
    "text number": (EXAMPLE.read_bytes().replace(b"[400, 0, 10]", b'["400", 0, 10]'), "tx_position"),
    "object": (EXAMPLE.read_bytes().replace(b"[400, 0, 10]", b"{}"), "tx_position"),
    "truncated": (EXAMPLE.read_bytes()[:-20], "not JSON"),
}


@pytest.mark.parametrize("name", HOSTILE_JSON)
def test_hostile_json_is_refused_in_one_line(name):
    data, says = HOSTILE_JSON[name]
    with pytest.raises(DropError, match=says) as error:
        decode_json(data)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def archive(name: str, data: bytes, **changes: int) -> bytes:
    """A zip file of one entry, some fields of whose directory are falsified."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, data)
    raw = bytearray(buffer.getvalue())
    entry, end = raw.rindex(b"PK\x01\x02"), raw.rindex(b"PK\x05\x06")
    places = {
        "unpacked": (entry + 24, "<L"),
        "method": (entry + 10, "<H"),
        "directory": (end + 12, "<L"),
        "flags": (entry + 8, "<H"),
    }
    for key, value in changes.items():
        struct.pack_into(places[key][1], raw, places[key][0], value)
    return bytes(raw)


def npy(header: bytes, body: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


GOOD = b"{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }\n"
HOSTILE_NPZ = {
    "empty": b"PK",
    "no archive": b"PK\x03\x04" + bytes(100),
    "huge array": archive("tx_position.npy", npy(GOOD.replace(b"(2,)", b"(99999999999,)"))),
    "huge product": archive("tx_position.npy", npy(GOOD.replace(b"(2,)", b"(4294967296, 4294967296)"))),
    "negative": archive("tx_position.npy", npy(GOOD.replace(b"(2,)", b"(-2,)"), bytes(16))),
    "nine axes": archive("tx_position.npy", npy(GOOD.replace(b"(2,)", b"(1, 1, 1, 1, 1, 1, 1, 1, 2)"), bytes(16))),
    "object": archive("tx_position.npy", npy(GOOD.replace(b"<f8", b"|O"), bytes(16))),
    "fields": archive("tx_position.npy", npy(GOOD.replace(b"'<f8'", b"[('a', '<f8')]"), bytes(16))),
    "deep header": archive("tx_position.npy", npy(b"(" * 60_000, bytes(16))),
    "no header": archive("tx_position.npy", b"\x93NUMPY"),
    "other version": archive("tx_position.npy", b"\x93NUMPY\x09\x00" + bytes(100)),
    "pickle": archive("tx_position.npy", b"\x80\x04cos\nsystem\n."),
    "declares too much": archive("tx_position.npy", npy(GOOD, bytes(16)), unpacked=2**31),
    "declares too little": archive("tx_position.npy", npy(GOOD, bytes(16)), unpacked=9),
    "odd packing": archive("tx_position.npy", npy(GOOD, bytes(16)), method=12),
    "locked": archive("tx_position.npy", npy(GOOD, bytes(16)), flags=1),
    "huge directory": archive("tx_position.npy", npy(GOOD, bytes(16)), directory=2**30),
    "wrong shape": archive("tx_position.npy", npy(GOOD, bytes(16))),
    "complex": npz(tx_position=np.zeros((2, 3), complex)),
    "text": npz(tx_position=np.array(["a", "b"])),
    "uneven batch": npz(tx_position=np.zeros((2, 1, 3)), rx_position=np.zeros((3, 1, 3))),
    "empty batch": npz(tx_position=np.zeros((0, 1, 3))),
    "odd name": npz(**{"a\nb": np.zeros(3)}),
}


@pytest.mark.parametrize("name", HOSTILE_NPZ)
def test_hostile_npz_is_refused_in_one_line(name):
    with pytest.raises(DropError) as error:
        decode_npz(HOSTILE_NPZ[name], 2**20)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_every_truncation_and_many_flips_are_refused_or_read(snapshots):
    whole = npz(**tables(snapshots)[0])
    rng = np.random.default_rng(4)
    for cut in [*rng.integers(0, len(whole), 60).tolist(), len(whole) - 1]:
        with pytest.raises(DropError):
            decode_npz(whole[:cut], 2**20)
    for _ in range(200):
        broken = bytearray(whole)
        broken[rng.integers(len(whole))] ^= int(rng.integers(1, 256))
        with contextlib.suppress(DropError):  # nothing else may come out
            decode_npz(bytes(broken), 2**20)


def test_a_bomb_takes_neither_memory_nor_time():
    bomb = npz(tx_position=np.zeros((2**22, 3)))  # 96 MiB in 94 KiB
    assert len(bomb) < 2**18
    tracemalloc.start()
    begin = time.process_time()
    with pytest.raises(DropError, match="unpack to"):
        decode_npz(bomb, 2**20)
    with pytest.raises(DropError):
        decode_npz(archive("tx_position.npy", bytes(2**22), unpacked=1000), 2**20)
    assert time.process_time() - begin < 2.0
    assert tracemalloc.get_traced_memory()[1] < 2**22 + 2**20
    tracemalloc.stop()


def test_more_drops_than_allowed(snapshots):
    with pytest.raises(DropError, match="3 drops, at most 2"):
        decode_json(encode_json(snapshots), 2)
    with pytest.raises(DropError, match="3 drops, at most 2"):
        decode_npz(npz(**batched(snapshots)), max_drops=2)


def test_files_say_their_name(tmp_path):
    with pytest.raises(DropError, match=r"none\.json: No such file"):
        read_snapshots(tmp_path / "none.json")
    (tmp_path / "bad.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(50))
    with pytest.raises(DropError, match=r"bad\.h5: not a whole HDF5"):
        read_snapshots(tmp_path / "bad.h5")
    with pytest.raises(DropError, match="more than 10 bytes"):
        read_snapshots(EXAMPLE, max_bytes=10)
    with pytest.raises(DropError, match=r"x: drop 1: "):
        decode_snapshots(json.dumps([json.loads(EXAMPLE.read_text()), {}]).encode(), name="x")


def test_hdf5_links_are_not_followed(tmp_path):
    import h5py

    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["tx_position"] = h5py.ExternalLink("/etc/passwd", "/")
    with pytest.raises(DropError, match="link"):
        read_snapshots(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("tx_position", shape=(2**30, 3), dtype="f8", chunks=(2**10, 3), compression="gzip")
    with pytest.raises(DropError, match="take more than"):
        read_snapshots(tmp_path / "b.h5")
