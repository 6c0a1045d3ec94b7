"""Many snapshots of the same sizes looked at together: their numbers as rows of one matrix."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray
from numpy.typing import NDArray

from isac_torch.deployment.radar_fields import check_radar
from isac_torch.deployment.snapshot import RANGE, twice_in_a_row
from isac_torch.deployment.snapshot_fields import SHAPES, SPECS
from isac_torch.deployment.statistics import size_class
from isac_torch.errors import DropError
from isac_torch.tracking.requirement import PLAIN

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from isac_torch.deployment.snapshot import Snapshot

_ARRAYS = attrgetter(*SHAPES)
_REST = attrgetter(*(name for name, spec in SPECS.items() if not spec.axes and not spec.members))
"""Single numbers and words of a snapshot."""


def rows_of(snapshots: Sequence[Snapshot], names: Sequence[str]) -> NDArray[Any]:
    """All entries of the named arrays, [snapshot, entry]; the snapshots have the same sizes, the arrays one type of number."""
    return np.concatenate([getattr(one, name) for one in snapshots for name in names], axis=None).reshape(len(snapshots), -1)


def alike(snapshots: Sequence[Snapshot]) -> list[list[int]]:
    """Indices of snapshots that differ only in the entries of their arrays and in their requirement, group by group."""
    groups: dict[Hashable, list[int]] = {}
    for index, snapshot in enumerate(snapshots):
        shapes = tuple([None if array is None else array.shape for array in _ARRAYS(snapshot)])
        groups.setdefault((shapes, _REST(snapshot)), []).append(index)
    return list(groups.values())


def all_sound(snapshots: Sequence[Snapshot], groups: Sequence[Sequence[int]]) -> bool:
    """Whether every snapshot passes its `check`: the same question for all arrays of each group of `alike` at once.

    Where it is False, the `check` of each says which one is wrong and why.

    Example:
        >>> from isac_torch import Snapshot
        >>> from isac_torch.deployment.schema import EXAMPLE
        >>> both = [Snapshot.from_mapping(EXAMPLE), Snapshot.from_mapping({**EXAMPLE, "sir_min_db": -3.0})]
        >>> alike(both), all_sound(both, alike(both))
        ([[0], [1]], True)
    """
    try:
        return all(_group_is_sound([snapshots[index] for index in group]) for group in groups)
    except DropError:
        return False


def size_classes(full: Sequence[Snapshot], groups: Sequence[Sequence[int]]) -> list[list[int]]:
    """Indices of completed snapshots of each `size_class`; one look is enough for a group of `alike` without such a
    requirement as reads more.
    """
    classes: dict[Hashable, list[int]] = {}
    for group in groups:
        kinds = {full[index].requirement.kind for index in group}
        if len(kinds) == 1 and kinds <= set(PLAIN):
            classes.setdefault(size_class(full[group[0]]), []).extend(group)
        else:
            for index in group:
                classes.setdefault(size_class(full[index]), []).append(index)
    return list(classes.values())


def _group_is_sound(group: Sequence[Snapshot]) -> bool:
    """The same for snapshots that differ only in the entries of their arrays, and in what check_radar reads."""
    first = group[0]
    first.check()
    if len(group) == 1:
        return True
    for snapshot in group[1:]:
        check_radar(snapshot)
    known = [name for name in SHAPES if getattr(first, name) is not None]
    reals = [name for name in known if name in RANGE]
    ranges = [(getattr(first, name), *RANGE[name][:2]) for name in reals]
    counts = first.index_counts()
    wholes = [name for name in known if name in counts]
    indices = [(getattr(first, name), 0, counts[name] - 1) for name in wholes]
    if not _all_within(rows_of(group, reals), ranges):
        return False
    if not wholes:
        return True
    rows = rows_of(group, wholes)
    ends = np.cumsum([array.size for array, _, _ in indices])[:-1]
    sets = zip(wholes, np.split(rows, ends, axis=1), indices, strict=True)
    return _all_within(rows, indices) and not any(
        twice_in_a_row(part.reshape(len(group), *array.shape)) for name, part, (array, _, _) in sets if name != "pilot"
    )


def _all_within(rows: NDArray[Any], ranges: Sequence[tuple[ndarray, float, float]]) -> bool:
    """Whether the entries of every row are in the ranges of the arrays that they belong to; NaN is in none."""
    sizes = [array.size for array, _, _ in ranges]
    least, most = (np.repeat([each[end] for each in ranges], sizes) for end in (1, 2))
    return bool(((rows >= least) & (rows <= most)).all())
