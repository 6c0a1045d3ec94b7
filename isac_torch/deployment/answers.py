"""Allocated powers for machines and people: JSON, npz, HDF5 and CSV.

JSON nests, a network at a time; npz and HDF5 hold flat tables (one row a link, a UE, a target, a network) in which `drop` says
which network a row belongs to, so that networks of any sizes share a file; CSV is the table of links.
"""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from isac_torch.errors import AllocationError
from isac_torch.files import writable_file, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from isac_torch.deployment.allocated import Allocated
    from isac_torch.deployment.downlink_pilots.allocator import RoadAllocated

    Answer: TypeAlias = Allocated | RoadAllocated

UNITS = {
    "power": "W", "sinr": "1", "sir": "1", "sicnr": "1", "position_error": "m", "nmse": "1", "crb": "m2", "quality": "1",
    "milliseconds": "ms",
}  # fmt: skip
"""Units of the columns that have one; the others are indices, which count from 0, and words."""


def check_output(path: Path) -> None:
    """Raise, before any work, where `write_answers` could not write.

    Raises:
        AllocationError: it knows no such format.
        OutputError: the file or its folder cannot be written.
    """
    if path.suffix.lower() not in _WRITERS:
        raise AllocationError(f"output={str(path)!r} must end in {', '.join(_WRITERS)}")
    writable_file(path)


def write_answers(answers: Sequence[Answer], path: Path) -> None:
    """Write powers to a file by its suffix: .json, .npz, .h5 or .hdf5, .csv. Raises AllocationError for any other."""
    check_output(path)
    write_whole(path, _WRITERS[path.suffix.lower()](answers))


def answers_json(answers: Sequence[Answer]) -> bytes:
    """{"drops": [...]}, each with its links, power (W), SINR, what the radar reaches (linear, m), path, reason."""
    drops = [json.dumps(_nested(answer), allow_nan=False) for answer in answers]  # one by one: other threads get their turn
    return f'{{"drops": [{", ".join(drops)}]}}\n'.encode()


_OF_NETWORKS = {"sinr": "ue", "sir": "target", "sicnr": "sicnr", "position_error": "position"}
_OF_ROADS = {"nmse": "ue", "crb": "ue"}
"""What is reached, of each system: the names of an answer's arrays, and the table that each belongs to."""


def _reached(answer: Answer | None) -> dict[str, str]:
    return _OF_ROADS if hasattr(answer, "crb") else _OF_NETWORKS


def _nested(answer: Answer) -> dict[str, Any]:
    listens = {"receive_ap": answer.receive_ap.tolist()} if hasattr(answer, "receive_ap") else {}
    return {
        "power": answer.power.tolist(),
        "ap": answer.link_ap.tolist(),
        **listens,
        "owner_kind": list(answer.owner_kind),
        "owner_index": answer.owner_index.tolist(),
        **{name: _finite(getattr(answer, name)) for name in _reached(answer)},
        "quality": answer.quality if math.isfinite(answer.quality) else None,
        "path": answer.path,
        "reason": answer.reason,
        "out_of_distribution": list(answer.out_of_distribution),
        "milliseconds": answer.milliseconds,
    }


def _finite(values: NDArray[Any]) -> list[float | None]:
    """Numbers for JSON, which has no infinity: null where a row's other echoes are exactly 0."""
    return [value if math.isfinite(value) else None for value in values.tolist()]


def answer_tables(answers: Sequence[Answer]) -> dict[str, dict[str, NDArray[Any]]]:
    """Columns of the tables `link`, `ue`, `drop`, and of networks `target`, `sicnr`, `position` and `receive_ap`."""
    tables: dict[str, dict[str, NDArray[Any]]] = {
        "link": {
            "drop": _counts(answer.power for answer in answers),
            "ap": _joined([answer.link_ap for answer in answers], np.int64),
            "owner_kind": np.array([kind for answer in answers for kind in answer.owner_kind], dtype="S6"),
            "owner_index": _joined([answer.owner_index for answer in answers], np.int64),
            "power": _joined([answer.power for answer in answers], np.float64),
        },
    }
    for name, table in _reached(answers[0] if answers else None).items():
        parts = [getattr(answer, name) for answer in answers]
        tables.setdefault(table, {"drop": _counts(parts)})[name] = _joined(parts, np.float64)
    listening = [answer.receive_ap for answer in answers if hasattr(answer, "receive_ap")]
    if len(listening) == len(answers):
        tables["receive_ap"] = {"drop": _counts(listening), "ap": _joined(listening, np.int64)}
    return tables | {
        "drop": {
            "path": np.array([answer.path for answer in answers], dtype="S16"),
            "reason": np.array([answer.reason.encode() for answer in answers], dtype="S"),
            "out_of_distribution": np.array(["; ".join(answer.out_of_distribution).encode() for answer in answers], dtype="S"),
            "quality": np.array([answer.quality for answer in answers], dtype=np.float64),
            "milliseconds": np.array([answer.milliseconds for answer in answers], dtype=np.float64),
        },
    }


def _joined(parts: Sequence[NDArray[Any]], dtype: type) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype)


def _counts(parts: Iterable[NDArray[Any]]) -> NDArray[np.int64]:
    """The index of each part, as often as the part has rows."""
    lengths = [len(part) for part in parts]
    return np.repeat(np.arange(len(lengths)), lengths)


def answers_npz(answers: Sequence[Answer]) -> bytes:
    """npz of the tables, a column an array: link_power, link_ap, ..., ue_sinr, target_sir, drop_path, ..."""
    buffer = io.BytesIO()
    columns = {f"{table}_{name}": column for table, rows in answer_tables(answers).items() for name, column in rows.items()}
    np.savez(buffer, **columns)  # type: ignore[arg-type]  # it takes arrays by any name
    return buffer.getvalue()


def answers_hdf5(answers: Sequence[Answer]) -> bytes:
    """HDF5 of the tables, a group a table, a column an array with its unit."""
    try:
        import h5py
    except ImportError:
        raise AllocationError("writing HDF5 needs h5py; pip install h5py, or write .json, .npz or .csv") from None
    with h5py.File.in_memory() as file:
        for table, rows in answer_tables(answers).items():
            for name, column in rows.items():
                dataset = file.create_dataset(f"{table}/{name}", data=column)
                if name in UNITS:
                    dataset.attrs["unit"] = np.bytes_(UNITS[name])
        file.flush()
        return bytes(file.id.get_file_image())


def answers_csv(answers: Sequence[Answer]) -> bytes:
    """The table of links: drop, ap, owner_kind, owner_index, power_w, and the path taken."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["drop", "ap", "owner_kind", "owner_index", "power_w", "path"])
    for index, answer in enumerate(answers):
        rows = zip(answer.link_ap.tolist(), answer.owner_kind, answer.owner_index.tolist(), answer.power.tolist(), strict=True)
        writer.writerows([index, *row, answer.path] for row in rows)
    return buffer.getvalue().encode()


_WRITERS = {".json": answers_json, ".npz": answers_npz, ".h5": answers_hdf5, ".hdf5": answers_hdf5, ".csv": answers_csv}
