"""Allocated powers in JSON, npz, HDF5 and CSV: every format says the same."""

import csv
import io
import json

import numpy as np
import pytest

from isac_torch.deployment.answers import answer_tables, answers_csv, answers_json, answers_npz, check_output, write_answers
from isac_torch.errors import AllocationError
from tests.deployment.stand_in import Answer

ANSWERS = [
    Answer(
        np.array([0.1, 1.0 / 3.0, 1e-12]),
        np.array([2, 0, 1]),
        ("ue", "ue", "target"),
        np.array([0, 1, 0]),
        np.array([1.5, 2.5]),
        np.array([np.inf, 0.25]),
        "network",
        "",
        (),
        0.5,
    ),
    Answer(
        np.array([2.0]),
        np.array([0]),
        ("ue",),
        np.array([0]),
        np.array([7.0]),
        np.zeros(0),
        "fallback_fpc",
        "a SINR of \u22125 dB",
        ("num_ues", "gain"),
        1.5,
    ),
]


def test_json_nests_and_has_no_infinity():
    first, second = json.loads(answers_json(ANSWERS), parse_constant=pytest.fail)["drops"]
    assert first["power"] == ANSWERS[0].power.tolist()
    assert (first["ap"], first["owner_kind"], first["owner_index"]) == ([2, 0, 1], ["ue", "ue", "target"], [0, 1, 0])
    assert first["sir"] == [None, 0.25]
    assert (second["path"], second["reason"]) == ("fallback_fpc", "a SINR of \u22125 dB")
    assert second["out_of_distribution"] == ["num_ues", "gain"]


def test_csv_has_a_row_a_link():
    rows = list(csv.DictReader(io.StringIO(answers_csv(ANSWERS).decode())))
    assert [int(row["drop"]) for row in rows] == [0, 0, 0, 1]
    assert [float(row["power_w"]) for row in rows] == [*ANSWERS[0].power.tolist(), 2.0]
    assert rows[2] == {
        "drop": "0",
        "ap": "1",
        "owner_kind": "target",
        "owner_index": "0",
        "power_w": "1e-12",
        "path": "network",
    }


def test_tables_say_which_drop_a_row_belongs_to(tmp_path):
    import h5py

    tables = answer_tables(ANSWERS)
    assert tables["link"]["drop"].tolist() == [0, 0, 0, 1]
    assert tables["ue"]["drop"].tolist() == [0, 0, 1]
    assert tables["target"]["drop"].tolist() == [0, 0]
    packed = np.load(io.BytesIO(answers_npz(ANSWERS)), allow_pickle=False)
    write_answers(ANSWERS, tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["link/power"].attrs["unit"] == b"W"
        for table, columns in tables.items():
            for name, column in columns.items():
                np.testing.assert_array_equal(file[table][name][()], column)
                np.testing.assert_array_equal(packed[f"{table}_{name}"], column)


def test_no_answers_are_tables_without_rows():
    assert json.loads(answers_json([])) == {"drops": []}
    assert all(len(column) == 0 for columns in answer_tables([]).values() for column in columns.values())


def test_files_by_suffix(tmp_path):
    for suffix in (".json", ".csv", ".npz", ".hdf5"):
        write_answers(ANSWERS, tmp_path / f"a{suffix}")
        assert (tmp_path / f"a{suffix}").stat().st_size > 100
    with pytest.raises(AllocationError, match=r"a\.txt"):
        check_output(tmp_path / "a.txt")
