"""Arrays of npz files: what numpy writes is read, nothing is unpickled, nothing large is unpacked."""

import io
import zipfile

import numpy as np
import pytest

from isac_torch.errors import NpzError
from isac_torch.npz import npz_arrays, read_npz


def packed(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def test_what_numpy_writes_is_read():
    wanted = {
        "a": np.arange(6.0).reshape(2, 3),
        "b": np.array([True, False]),
        "c": np.asfortranarray(np.arange(6, dtype=np.int32).reshape(3, 2)),
        "d": np.zeros((0, 4), dtype=np.float32),
        "e": np.array("text"),
    }
    found = npz_arrays(packed(**wanted), 10_000)
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value)
        assert found[name].dtype == value.dtype


def many_names():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for index in range(2000):
            archive.writestr(f"{index:040d}.npy", b"")
    return file.getvalue()


BAD = {
    "nothing": (b"", "not a whole npz file"),
    "text": (b"hello", "not a whole npz file"),
    "cut": (packed(a=np.arange(1000.0))[:-30], "npz"),
    "objects": (packed(a=np.array([{}], dtype=object)), "not an array of plain numbers"),
    "complex": (packed(a=np.array([1j])), "not an array of plain numbers"),
    "bomb": (packed(a=np.zeros(1_000_000)), "at most 1000000 are allowed"),
    "names": (many_names(), "directory"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_file_of_arrays_is_refused_in_one_line(name, tmp_path):
    data, words = BAD[name]
    (tmp_path / "file.npz").write_bytes(data)
    for read in (lambda: npz_arrays(data, 1_000_000), lambda: read_npz(tmp_path / "file.npz", 1_000_000)):
        with pytest.raises(NpzError, match=words) as caught:
            read()
        assert "\n" not in str(caught.value)


def test_a_long_file_is_refused_before_it_is_read(tmp_path):
    (tmp_path / "file.npz").write_bytes(bytes(2000))
    with pytest.raises(NpzError, match="more than 1000 bytes"):
        read_npz(tmp_path / "file.npz", 1000)
    with pytest.raises(FileNotFoundError):
        read_npz(tmp_path / "other.npz", 1000)
    with pytest.raises(NpzError, match="cannot be read"):
        read_npz(tmp_path, 1000)
