"""From snapshots to the coefficients of their power problems, in numpy, by the functions that torch uses as well."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from isac_torch.deployment.completion import completed
from isac_torch.deployment.patience import still_wanted
from isac_torch.deployment.radar_fields import scan_cells
from isac_torch.errors import DropError
from isac_torch.tensors import cat_tensors
from isac_torch.tracking.build import network_problem
from isac_torch.tracking.channel import channel_statistics
from isac_torch.tracking.drop import TrackingDrop
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.requirement import PLAIN
from isac_torch.tracking.requirements import require

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from isac_torch.deployment.snapshot import Snapshot

Coefficients: TypeAlias = MaxMinSinrProblem[NDArray[Any]]
"""The power problems of a batch as float64 numpy arrays; `sinr`, `sir`, `ap_load` and `violations` take and give numpy."""

_STACKED = (
    "tx_position", "tx_orientation", "rx_position", "rx_orientation", "target_position", "ue_gain", "pilot_power", "pilot",
    "serving_ap", "sensing_ap", "listening_ap",
)  # fmt: skip
_SHAPES = attrgetter("rx_position.shape", "ue_gain.shape", "serving_ap.shape", "sensing_ap.shape", "listening_ap.shape")
_SHARED = attrgetter(
    "num_antennas", "carrier_frequency", "noise_power", "pilot_symbols", "azimuth_spread_deg", "angle_error", "echo_gain"
)
_RADAR = attrgetter("requirement", "sensing", "block_length", "listening_aps", "scanned_area", "scan_height")
"""What networks of one batch have in common besides, where the requirement reads it."""
_CACHE = 50_000
"""Largest number of lag values per chunk, so that it fits in the processor's cache."""


def size_class(snapshot: Snapshot) -> Hashable:
    """What snapshots must have in common to be worked off in one batch: sizes, physics, requirement; not budgets or SIR0."""
    full = completed(snapshot)
    radar = () if full.requirement.kind in PLAIN else _RADAR(full)
    return full.ue_azimuth is None, _SHAPES(full), full.requirement.kind, _SHARED(full), radar


def coefficients(snapshots: Sequence[Snapshot]) -> Coefficients:
    """The max-min SINR problems of snapshots of one size class (that have passed `check`), in their order.

    Raises DropError where there is none or where `size_class` differs.
    """
    if not snapshots:
        raise DropError("there is no snapshot; give at least one")
    full = [completed(snapshot) for snapshot in snapshots]
    if len(full) > 1 and len({size_class(snapshot) for snapshot in full}) > 1:
        raise DropError("snapshots of one batch must have the same sizes and physics; sort them by size_class first")
    numbers = full[0].num_aps * (full[0].num_ues + full[0].num_targets) * (2 * full[0].num_antennas - 1)
    numbers = max(numbers, scan_cells(full[0]) * full[0].listening_aps * full[0].num_antennas * full[0].num_aps)
    part = max(1, _CACHE // numbers)
    parts = []
    for start in range(0, len(full), part):
        still_wanted()
        parts.append(_coefficients(full[start : start + part]))
    return parts[0] if len(parts) == 1 else cat_tensors(parts)


def _coefficients(full: Sequence[Snapshot]) -> Coefficients:
    def stacked(name: str) -> NDArray[Any]:
        values = [getattr(snapshot, name) for snapshot in full]
        return np.stack(values) if len(values) > 1 else values[0][None]

    first = full[0]
    arrays = {name: stacked(name) for name in _STACKED}
    by_angles = first.ue_azimuth is not None
    drop = TrackingDrop(
        **arrays,
        ue_position=np.zeros((len(full), first.num_ues, 3)) if by_angles else stacked("ue_position"),
    )
    angles = tuple(stacked(name).swapaxes(1, 2) for name in ("ue_azimuth", "ue_elevation")) if by_angles else None
    sir_min = np.array([snapshot.sir_min for snapshot in full])
    statistics = channel_statistics(drop, first, angles)  # type: ignore[arg-type]  # pilot_symbols is known
    problem = network_problem(drop, first, statistics, stacked("ap_power"), sir_min)  # type: ignore[arg-type]  # the same
    return require(problem, drop, first, statistics=statistics)  # type: ignore[arg-type]  # the same
