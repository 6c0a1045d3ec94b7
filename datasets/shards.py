"""Shards: some hundred drops of one size class in one HDF5 file, with problem tensors, labels and provenance.

A shard's bytes follow from what it holds alone (no time stamps, fixed HDF5 options), so two runs that compute the same
drops write the same file. Arrays are dense, one per field, with their unit and axes as attributes; complex arrays are
stored as `name.real` and `name.imag`. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isac_torch.datasets.files import sha256
from isac_torch.datasets.layout import Layout, check_layouts, check_values
from isac_torch.datasets.schema import FORMAT_VERSION, LABELS, MAY_BE_INFINITE, SHARD_FORMAT
from isac_torch.errors import DatasetError, ProblemError
from isac_torch.fields import Field
from isac_torch.systems import SYSTEMS, AnySystem, Problem, system_called, system_of
from isac_torch.tensors import tensor_fields

_GROUPS = ("drop", "problem", "label")
_HEADER: dict[str, type[str] | type[int]] = {"fingerprint": str, "config": str, "index": int, "drop_seed": int, "size": str}
_MOST_BYTES = 2**32
"""Of a shard: a thousand times what `generate` writes by default; a larger file is not read at all."""
_COMPRESSION = 1  # the pilot-sharing block is mostly zeros; higher levels gain little on the rest


@dataclass(frozen=True)
class Header:
    """Where a shard comes from.

    Attributes:
        fingerprint: SHA-256 of the recipe of the whole data set.
        config: what made this shard, as JSON: scenario, counts, seed, allocator, software.
        index: place of the shard in the data set.
        drop_seed: seed of the generator that drew its drops.
        size: size class, 'aps x ues x targets' or 'aps x ues'.
    """

    fingerprint: str
    config: str
    index: int
    drop_seed: int
    size: str


@dataclass(frozen=True)
class Shard:
    """Drops of one size class with their problems and labels.

    Attributes:
        header: provenance.
        drop: tensors of the drawn network (positions, orientations, ...), as sampled.
        problem: the power problems.
        label: `LABELS` of the labelling allocation: power (W), status, value, upper_bound, violation, best_quality.
    """

    header: Header
    drop: dict[str, Tensor]
    problem: Problem
    label: dict[str, Tensor]

    @property
    def system(self) -> AnySystem:
        """The system that the drops belong to."""
        return system_of(self.problem)

    @property
    def num_drops(self) -> int:
        """Drops in the shard."""
        return self.problem.num_drops


def encode_shard(shard: Shard) -> bytes:
    """The HDF5 file of a shard, as bytes that depend on the shard's content only."""
    import h5py

    with h5py.File.in_memory(libver=("earliest", "v110"), track_order=False) as file:
        facts = {"format": SHARD_FORMAT, "format_version": FORMAT_VERSION, "system": shard.system.name}
        facts |= {"num_drops": shard.num_drops}
        for key, value in (facts | asdict(shard.header)).items():
            file.attrs[key] = _attribute(value)
        for group, tensors in (("drop", shard.drop), ("problem", tensor_fields(shard.problem)), ("label", shard.label)):
            file.create_group(group, track_order=False)
            for name, value in sorted(tensors.items()):
                for part, array in _parts(name, value):
                    _write_array(file, f"{group}/{part}", array, shard.system.fields.get(f"{group}/{name}"))
        for item in fields(shard.problem):  # what no tensor shows
            if isinstance(value := getattr(shard.problem, item.name), int | str):
                file["problem"].attrs[item.name] = _attribute(value)
        file.flush()
        return bytes(file.id.get_file_image())


def _parts(name: str, value: Tensor) -> list[tuple[str, NDArray[Any]]]:
    if value.is_complex():
        return [(f"{name}.real", value.real.contiguous().numpy()), (f"{name}.imag", value.imag.contiguous().numpy())]
    return [(name, (value.to(torch.uint8) if value.dtype == torch.bool else value).contiguous().numpy())]


def _write_array(file: Any, path: str, array: NDArray[Any], field: Field | None) -> None:
    checks = {"chunks": array.shape, "fletcher32": True, "shuffle": True, "compression": _COMPRESSION} if array.size else {}
    dataset = file.create_dataset(path, data=array, track_times=False, **checks)
    if field is not None:
        dataset.attrs["unit"] = _attribute(field.unit)
        dataset.attrs["axes"] = _attribute(" ".join(field.axes))
    dataset.flush()  # takes its place in the file now, not whenever Python closes the array


def _attribute(value: Any) -> Any:
    """Text of fixed length, the kind that every HDF5 reader understands."""
    return np.bytes_(value.encode()) if isinstance(value, str) else value


def read_shard(path: Path, *, digest: str | None = None) -> Shard:
    """Load and check a whole shard.

    Args:
        path: the file.
        digest: SHA-256 that the manifest promises; None to trust the file's own checksums only.

    Raises:
        DatasetError: naming the file and the remedy, where it is missing, truncated, changed, of another format or holds a NaN.
    """
    try:
        if path.exists() and (not path.is_file() or path.stat().st_size > _MOST_BYTES):
            raise DatasetError(f"{path}: not a file, or larger than {_MOST_BYTES >> 30} GiB; give a shard of `generate`")
        data = path.read_bytes()
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such shard; run the same `isac-torch generate` again to make it") from None
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    if digest is not None and sha256(data) != digest:
        raise DatasetError(f"{path}: does not match its checksum, it is truncated or changed; run the same `generate` again")
    return decode_shard(data, path)


def decode_shard(data: bytes, path: Path) -> Shard:
    """The shard in the bytes of an HDF5 file; `path` only names it in errors. Raises DatasetError as `read_shard` does.

    Names, types, shapes and sizes of all arrays are checked before the first of them is read.
    """
    import h5py

    try:
        with h5py.File.in_memory(file_image=data) as file:
            return _decode(file, path, len(data))
    except ProblemError as error:
        raise DatasetError(f"{path}: problem/{error}") from None
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, RecursionError, OverflowError) as error:
        if isinstance(error, DatasetError):
            raise
        reason = (str(error).splitlines() or ["?"])[0].strip("'\"")[:160]
        raise DatasetError(f"{path}: not a whole shard ({reason}); run the same `generate` again or fetch it anew") from None


def _decode(file: Any, path: Path, file_bytes: int) -> Shard:
    system = _checked_system(file, path)
    header = Header(**{field.name: _attribute_of(file, field.name, _HEADER[field.name]) for field in fields(Header)})
    if not isinstance(json.loads(header.config), dict):
        raise ValueError("its header does not say how it was made")
    stored = {name: item for group in _GROUPS for name, item in _datasets(file, group).items()}
    layouts = {name: Layout(item.dtype, item.shape) for name, item in stored.items()}
    wanted = _with_parts(system.fields, layouts)
    sizes = check_layouts(layouts, wanted, file_bytes)
    others = _plain_fields(file["problem"], system)
    if others.get("num_targets", sizes.get("target")) != sizes.get("target"):
        raise ValueError(f"num_targets is {others['num_targets']}, but positions of {sizes.get('target')} are stored")
    if sizes["link"] != (links := _links(sizes)):
        raise ValueError(f"its arrays have {sizes['link']} links, but their APs, UEs and targets make {links}")
    tensors = {}
    for name, item in stored.items():
        array = item[()]
        check_values(name, array, wanted[name], sizes, may_be_infinite=name in MAY_BE_INFINITE)
        tensors[name] = torch.from_numpy(array)
    groups = {group: _of_group(tensors, group) for group in _GROUPS}
    problem = system.problem(**_with_members(groups["problem"], system), **others)
    problem.check()
    return Shard(header, _join_complex(groups["drop"]), problem, {name: groups["label"][name] for name in LABELS})


def _checked_system(file: Any, path: Path) -> AnySystem:
    if "format" not in file.attrs or _attribute_of(file, "format", str) != SHARD_FORMAT:
        raise DatasetError(f"{path}: an HDF5 file, but not a shard of isac-torch; give the folder that `generate` wrote")
    version, name = _attribute_of(file, "format_version", int), _attribute_of(file, "system", str)
    system = system_called(name)
    if version != FORMAT_VERSION or system is None:
        raise DatasetError(
            f"{path}: shard format {version} of system {name!r:.40}, this version reads format {FORMAT_VERSION} of "
            f"{' and '.join(SYSTEMS)}; generate it anew"
        )
    return system


def _attribute_of(item: Any, name: str, kind: type[str] | type[int]) -> Any:
    """A single text or whole number among the attributes of a file or group. ValueError where it is anything else."""
    import h5py

    if name not in item.attrs:
        raise ValueError(f"attribute {name} is missing")
    stored = item.attrs.get_id(name)
    text = stored.dtype.kind == "S" or h5py.check_string_dtype(stored.dtype) is not None
    if stored.shape != () or not (text if kind is str else stored.dtype.kind in "iu"):
        raise ValueError(f"attribute {name} is not a single {'text' if kind is str else 'whole number'}")
    value = item.attrs[name]
    return value.decode() if isinstance(value, bytes) else kind(value)


def _datasets(file: Any, group: str) -> dict[str, Any]:
    """The arrays of a group, unread, under "group/name"; links to elsewhere and anything but plain arrays are refused."""
    import h5py

    if not isinstance(file.get(group, getlink=True), h5py.HardLink) or not isinstance(file[group], h5py.Group):
        raise ValueError(f"{group} is missing, a link to elsewhere, or not a group of arrays")
    found = {}
    for name in file[group]:
        path = f"{group}/{name}"
        if not isinstance(file[group].get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{path:.80} is a link to elsewhere")
        item = file[path]
        if not isinstance(item, h5py.Dataset) or item.is_virtual or item.external or item.shape is None:
            raise ValueError(f"{path:.80} is not a plain array of numbers")
        if item.size and not item.id.get_storage_size():
            raise ValueError(f"{path:.80} has a shape but was never written")
        found[path] = item
    return found


def _plain_fields(group: Any, system: AnySystem) -> dict[str, Any]:
    """The numbers and texts of a problem that are stored as attributes."""
    plain = {}
    for item in fields(system.problem):
        kind = int if item.type == "int" else str
        array = f"problem/{item.name}" in system.fields or item.name in system.members
        if not array and (item.name in group.attrs or item.default is MISSING):
            plain[item.name] = _attribute_of(group, item.name, kind)
    return plain


def _links(sizes: dict[str, int]) -> int:
    """Links of a drop: one an (AP, UE) pair of a road; serving and sensing links in the tracking system."""
    if "serving" not in sizes:
        return sizes["ue"] * sizes["ap"]
    return sizes["ue"] * sizes["serving"] + sizes["target"] * sizes["sensing"]


def _with_parts(known: dict[str, Field], found: Collection[str]) -> dict[str, Field]:
    """`known` with the two real parts in place of each array that is stored as such."""
    parts: dict[str, Field] = {}
    for name, field in known.items():
        names = [f"{name}.real", f"{name}.imag"]
        parts |= dict.fromkeys(names if names[0] in found else [name], field)
    return parts


def _of_group(tensors: dict[str, Tensor], group: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{group}/"): value for name, value in tensors.items() if name.startswith(f"{group}/")}


def _with_members(tensors: dict[str, Tensor], system: AnySystem) -> dict[str, Any]:
    """Arguments of a problem; what is named `member.name` goes into that member."""
    found: dict[str, Any] = {name: value for name, value in tensors.items() if "." not in name}
    for member, kind in system.members.items():
        parts = {name.removeprefix(f"{member}."): value for name, value in tensors.items() if name.startswith(f"{member}.")}
        found |= {member: kind(**parts)} if parts else {}
    return found


def _join_complex(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    plain = {name: value for name, value in tensors.items() if not name.endswith((".real", ".imag"))}
    names = sorted({name.removesuffix(".real") for name in tensors if name.endswith(".real")})
    return plain | {name: torch.complex(tensors[f"{name}.real"], tensors[f"{name}.imag"]) for name in names}
