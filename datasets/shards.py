"""Shards: some hundred drops of one size class in one HDF5 file, with problem tensors, labels and provenance.

A shard's bytes follow from what it holds alone (no time stamps, fixed HDF5 options), so two runs that compute the same
drops write the same file. Arrays are dense, one per field, with their unit and axes as attributes; complex arrays are
stored as `name.real` and `name.imag`. Nothing is ever unpickled.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isac_torch.datasets.files import sha256
from isac_torch.datasets.schema import FORMAT_VERSION, LABELS, MAY_BE_INFINITE, SHARD_FORMAT
from isac_torch.errors import DatasetError, ProblemError
from isac_torch.fields import Field
from isac_torch.systems import SYSTEMS, AnySystem, Problem, system_called, system_of
from isac_torch.tensors import tensor_fields

_KINDS = "fiu"  # real and integer arrays; anything else in a file is not ours
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
        data = path.read_bytes()
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such shard; run the same `isac-torch generate` again to make it") from None
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    if digest is not None and sha256(data) != digest:
        raise DatasetError(f"{path}: does not match its checksum, it is truncated or changed; run the same `generate` again")
    return decode_shard(data, path)


def decode_shard(data: bytes, path: Path) -> Shard:
    """The shard in the bytes of an HDF5 file; `path` only names it in errors. Raises DatasetError as `read_shard` does."""
    import h5py

    try:
        with h5py.File.in_memory(file_image=data) as file:
            attributes = {name: _python(value) for name, value in file.attrs.items()}
            system = _checked_system(attributes, path)
            groups = {group: _read_group(file[group]) for group in ("drop", "problem", "label")}
            others = {name: _python(value) for name, value in file["problem"].attrs.items()}
            arguments: dict[str, Any] = groups["problem"] | others
        header = Header(**{field.name: attributes[field.name] for field in fields(Header)})
        problem = system.problem(**_with_members(arguments, system))
        label = {name: groups["label"][name] for name in LABELS}
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, DatasetError):
            raise
        reason = (str(error).splitlines() or ["?"])[0].strip("'\"")[:120]
        raise DatasetError(f"{path}: not a whole shard ({reason}); run the same `generate` again or fetch it anew") from None
    shard = Shard(header, _join_complex(groups["drop"]), problem, label)
    _check_content(shard, path)
    return shard


def _python(value: Any) -> Any:
    plain = value.item() if isinstance(value, np.generic) else value
    return plain.decode() if isinstance(plain, bytes) else plain


def _checked_system(attributes: dict[str, Any], path: Path) -> AnySystem:
    if attributes.get("format") != SHARD_FORMAT:
        raise DatasetError(f"{path}: an HDF5 file, but not a shard of isac-torch; give the folder that `generate` wrote")
    version, system = int(attributes["format_version"]), system_called(attributes["system"])
    if version != FORMAT_VERSION or system is None:
        raise DatasetError(
            f"{path}: shard format {version} of system {attributes['system']!r}, this version reads format {FORMAT_VERSION} of "
            f"{' and '.join(SYSTEMS)}; generate it anew"
        )
    return system


def _read_group(group: Any) -> dict[str, Tensor]:
    import h5py

    tensors = {}
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{name} is a link to elsewhere")
        dataset = group[name]
        if dataset.is_virtual or dataset.external or dataset.dtype.kind not in _KINDS:
            raise ValueError(f"{name} is not a plain array of numbers")
        tensors[name] = torch.from_numpy(dataset[()])
    return tensors


def _join_complex(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    plain = {name: value for name, value in tensors.items() if not name.endswith((".real", ".imag"))}
    names = sorted({name.removesuffix(".real") for name in tensors if name.endswith(".real")})
    return plain | {name: torch.complex(tensors[f"{name}.real"], tensors[f"{name}.imag"]) for name in names}


def _with_members(arguments: dict[str, Any], system: AnySystem) -> dict[str, Any]:
    """Arguments of a problem; what is named `member.name` goes into that member."""
    found = {name: value for name, value in arguments.items() if "." not in name}
    for member, kind in system.members.items():
        parts = {name.removeprefix(f"{member}."): value for name, value in arguments.items() if name.startswith(f"{member}.")}
        found |= {member: kind(**parts)} if parts else {}
    return found


def _check_content(shard: Shard, path: Path) -> None:
    """Finite numbers, and as many of them along each axis as the sizes say."""
    sizes: dict[str, int] = {"serving": shard.problem.serving}
    for group, tensors in (("drop", shard.drop), ("problem", tensor_fields(shard.problem)), ("label", shard.label)):
        for name, value in tensors.items():
            axes = shard.system.fields[f"{group}/{name}"].axes
            expected = [sizes.setdefault(axis, size) for axis, size in zip(axes, value.shape, strict=False)]
            if len(axes) != value.ndim or expected != list(value.shape):
                raise DatasetError(
                    f"{path}: {group}/{name} has shape {tuple(value.shape)}, its axes are {axes}; generate it anew"
                )
            if value.is_floating_point() and f"{group}/{name}" not in MAY_BE_INFINITE and not bool(value.isfinite().all()):
                raise DatasetError(f"{path}: {group}/{name} holds NaN or inf; mend the file or generate it anew")
    if shard.problem.link_ap.numel() and int(shard.problem.link_ap.max()) >= shard.problem.num_aps:
        raise DatasetError(f"{path}: problem/link_ap names AP {int(shard.problem.link_ap.max())} of {shard.problem.num_aps}")
    try:
        shard.problem.check()
    except ProblemError as error:
        raise DatasetError(f"{path}: problem/{error}") from None
