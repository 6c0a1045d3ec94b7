"""Arrays of an HDF5 file: plain files, shards of `isac-torch generate`, and what MATLAB's `save -v7.3` writes.

MATLAB stores every array with its axes in reverse order, single numbers as 1 x 1, vectors as 1 x n or n x 1, texts as character
codes and an array without entries as its size; it says so in the attributes of each array. Axes are put back in order here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from isac_torch.deployment.bounded_json import parse_json
from isac_torch.errors import DropError
from isac_torch.fields import FORMER_NAMES

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MAX_TEXT = 1000
_MAX_ARRAYS = 100
Shapes: TypeAlias = Mapping[str, tuple[str | int, ...]]
"""Axes of every field that is an array: a name, or a length that never changes."""


@dataclass(frozen=True)
class Hdf5Content:
    """What a file holds.

    Attributes:
        arrays: by the names of the fields of a drop.
        scenario: parameters of the scenario that a shard was drawn from; None for other files.
        of_matlab: whether some array bears the mark of MATLAB (the attribute MATLAB_class).
    """

    arrays: dict[str, NDArray[Any]]
    scenario: dict[str, Any] | None
    of_matlab: bool = False


def is_hdf5(data: bytes) -> bool:
    r"""Whether the signature of HDF5 stands at the beginning, or behind a user block of 512, 1024, 2048, ... bytes.

    Example:
        >>> is_hdf5(bytes(512) + b"\x89HDF\r\n\x1a\n"), is_hdf5(b"{}")
        (True, False)
    """
    start = 0
    while start < len(data):
        if data.startswith(_SIGNATURE, start):
            return True
        start = max(512, 2 * start)
    return data.startswith(_SIGNATURE[:4])


def read_hdf5(data: bytes, max_bytes: int, system: str, shapes: Shapes, leading: tuple[str, int]) -> Hdf5Content:
    """The arrays in the bytes of an HDF5 file.

    Args:
        data: the file.
        max_bytes: refuses files whose arrays take more.
        system: of which a shard must be.
        shapes: axes of the fields of one drop of the system.
        leading: the array that tells whether there are many drops, and its number of axes then.

    Raises:
        DropError: in one line.
    """
    try:
        import h5py
    except ImportError:
        raise DropError("reading HDF5 needs h5py; pip install h5py, or give JSON or npz") from None
    try:
        with h5py.File.in_memory(file_image=data) as file:
            if "drop" not in file:
                arrays = _arrays(file, max_bytes, shapes, leading)
                return Hdf5Content(arrays, None, any("MATLAB_class" in file[name].attrs for name in arrays))
            named = file.attrs.get("system")
            found = named.decode() if isinstance(named, bytes) else named
            if FORMER_NAMES.get(found, found) != system:
                raise DropError(f"a shard of another system; give one of the {system} system")
            config = file.attrs["config"]
            scenario = parse_json(config.encode() if isinstance(config, str) else bytes(config))["scenario"]
            return Hdf5Content(_arrays(file["drop"], max_bytes, shapes, leading), dict(scenario))
    except DropError:
        raise
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0].strip("'\"")[:100]
        raise DropError(f"not a whole HDF5 file of drops ({said}); write or fetch it again") from None


def order_of_matlab(content: Hdf5Content, shapes: Shapes) -> str:
    """What to do about axes in an order that MATLAB's functions leave behind; empty where the arrays do not look like that.

    `shapes`: axes of the fields of one drop.
    """
    found = {name: array.shape for name, array in content.arrays.items()}
    known = {name: (found[name], wanted) for name, wanted in shapes.items() if name in found}
    turned = any(shape[:1] == wanted[-1:] != shape[-1:] for shape, wanted in known.values())
    lines = any(len(wanted) == 1 and len(shape) == 2 for shape, wanted in known.values())
    if content.of_matlab and (turned or lines):
        return (
            "; the arrays bear MATLAB's mark but not its order of axes: delete their attribute MATLAB_class, "
            "or save them with MATLAB"
        )
    if turned or lines or any(shape == (1, 1) for name, shape in found.items() if name not in shapes):
        return (
            "; this looks like the layout of MATLAB's h5write (axes reversed): save with save(FILE, ..., '-v7.3'), "
            "whose axes are put in order"
        )
    return ""


def _arrays(group: Any, max_bytes: int, shapes: Shapes, leading: tuple[str, int]) -> dict[str, NDArray[Any]]:
    """Every array of a group, after its kind and size are known to be those of a drop."""
    import h5py

    if len(group) > _MAX_ARRAYS:
        raise DropError(f"holds {len(group)} arrays, more than a drop has fields; keep one file a drop or a batch of drops")
    found, total = {}, 0
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink) or not isinstance(group[name], h5py.Dataset):
            raise DropError(f"{name[:40]!r} is a link or a group; a file of drops holds plain arrays")
        dataset = group[name]
        total += dataset.nbytes
        if total > max_bytes:
            raise DropError(f"its arrays take more than {max_bytes} bytes; split the file")
        text = dataset.shape == () and h5py.check_string_dtype(dataset.dtype) is not None
        if dataset.is_virtual or dataset.external or not (text or dataset.dtype.kind in "biufSU"):
            raise DropError(f"{name[:40]!r} is not an array of plain numbers; store it as such")
        found[name] = dataset
    batch = leading[0] in found and found[leading[0]].ndim == leading[1]
    return {name: _array(name, dataset, shapes.get(name), batch) for name, dataset in found.items()}


def _array(name: str, dataset: Any, axes: tuple[str | int, ...] | None, batch: bool) -> NDArray[Any]:
    kind = dataset.attrs.get("MATLAB_class")
    if kind is None:
        text = dataset.dtype.kind == "O"
        return np.asarray(dataset.asstr()[()] if text else dataset[()])
    if kind in (b"char", "char"):
        if dataset.size > _MAX_TEXT:
            raise DropError(f"{name[:40]!r} is a text of {dataset.size} characters; give a field of a drop")
        return np.asarray("".join(map(chr, np.asarray(dataset[()]).ravel())))
    if dataset.attrs.get("MATLAB_empty", 0):
        shape = tuple(int(length) for length in np.asarray(dataset[()]).ravel())
        if not 0 < len(shape) <= 4 or 0 not in shape:
            raise DropError(f"{name[:40]!r} claims to be without entries but has the size {shape[:4]}; save it again")
        return _fitted(np.zeros(shape), axes, batch)
    return _fitted(np.asarray(dataset[()]).T, axes, batch)


def _fitted(array: NDArray[Any], axes: tuple[str | int, ...] | None, batch: bool) -> NDArray[Any]:
    """An array of MATLAB, which has two axes at least and drops last ones of length one, with as many axes as the field has."""
    if axes is None:  # a single number, or one per drop
        return array.reshape(-1) if batch and array.size > 1 else array.reshape(()) if array.size == 1 else array
    wanted = len(axes) + batch
    if wanted == 1 and 1 in array.shape:
        return array.reshape(-1)
    return array.reshape(array.shape + (1,) * max(wanted - array.ndim, 0))
