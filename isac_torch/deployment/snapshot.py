"""One network at one time, as plain numpy arrays: what a deployed allocator is asked about."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy import ndarray

from isac_torch.deployment.field_specs import attributes_section
from isac_torch.deployment.numbers import as_floats, as_indices, as_number, to_numpy, within
from isac_torch.deployment.radar_fields import NESTED, check_radar
from isac_torch.deployment.snapshot_fields import SHAPES, SPECS, SnapshotFields
from isac_torch.errors import DropError
from isac_torch.tracking.beam_setup import BeamSetup
from isac_torch.units import db_to_linear

NO_PATH_GAIN = 1e-20
"""Gain of a pair that no path connects, linear (-200 dB): far below the noise, yet positive as a large-scale gain must be."""
MOST_OPEN_APS = 64
"""APs among which `weakest_ue` chooses: the swaps that it tries grow with their square."""


@dataclass(frozen=True, eq=False)
class Snapshot(SnapshotFields):
    """One network at one time. Field names and units are those of `TrackingDrop` and `TrackingScenario`; no batch axis.

    Nested lists and arrays of any real number type become float64 and int64 arrays. Wrong types and shapes raise DropError
    here, values out of range in `check`. What is None is derived by `completed`, by the rules of `TrackingScenario`.

    Example:
        >>> from isac_torch import Snapshot
        >>> snapshot = Snapshot(
        ...     tx_position=[[0, 0, 10], [400, 0, 10]],
        ...     tx_orientation=[0.8, 2.4],
        ...     rx_position=[[200, 120, 10]],
        ...     ue_position=[[120, 60, 1.65]],
        ...     target_position=[[90, 180, 60]],
        ... )
        >>> snapshot.check()                                           # DropError where a value is out of range
        >>> snapshot.num_aps, snapshot.num_ues, snapshot.num_targets
        (2, 1, 1)
    """

    SYSTEM: ClassVar[str] = "tracking"
    """Name of the system in shards."""
    GENERATE: ClassVar[str] = "generate"
    """Command of `isac-torch` that writes shards."""
    LEADING: ClassVar[tuple[str, int]] = ("tx_position", 3)
    """The array that tells how many networks an npz file holds, and its axes where there are many."""

    def __post_init__(self) -> None:
        """Convert what was given to arrays and numbers; refuse what is none, or has another shape, in one line."""
        size: dict[str, tuple[int, str]] = {}
        for name, shape in SHAPES.items():
            given = getattr(self, name)
            if given is None and _OPTIONAL[name]:
                continue
            array = (as_indices if SPECS[name].whole else as_floats)(name, given, shape)
            for axis, length in zip(shape, array.shape, strict=True):
                if isinstance(axis, str) and size.setdefault(axis, (length, name))[0] != length:
                    raise DropError(
                        f"{name} has {length} entries along its {axis} axis, but {size[axis][1]} has {size[axis][0]}; "
                        "give every array of one network the same sizes"
                    )
            object.__setattr__(self, name, array)
        for name in _SCALARS:
            given = getattr(self, name)
            if not (given is None and getattr(type(self), name) is None):
                object.__setattr__(self, name, as_number(name, given, whole=SPECS[name].whole))
        for name, nested in NESTED.items():
            given = getattr(self, name)
            object.__setattr__(self, name, nested.kind() if given is None else nested.of(name, given))
        for name in _WORDS:
            if getattr(self, name) not in SPECS[name].words:
                raise DropError(f"{name}={getattr(self, name)!r} must be {' or '.join(map(repr, SPECS[name].words))}")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Snapshot:
        """From names and values, as a JSON object or an npz file holds them. Raises DropError for a name it does not know."""
        unknown = [name for name in values if name not in _OPTIONAL]
        if unknown:
            name = str(unknown[0])[:40]
            if "ap_position" in values:
                raise DropError(
                    "ap_position: a road of the downlink-pilot system; give it to `isac-torch downlink-pilots allocate`"
                )
            near = difflib.get_close_matches(name, _OPTIONAL, n=3)
            remedy = f"call it {' or '.join(near)}" if near else "leave it out; docs/deployment.md lists the fields"
            raise DropError(f"{name!r} is no field of a drop; {remedy}")
        missing = [name for name, optional in _OPTIONAL.items() if not optional and values.get(name) is None]
        if missing:
            raise DropError(f"{missing[0]} is missing; a drop needs {', '.join(n for n, o in _OPTIONAL.items() if not o)}")
        return cls(**values)

    @staticmethod
    def scenario_of(values: Mapping[str, Any]) -> Any:
        """The scenario of a shard from its description."""
        from isac_torch.tracking.scenario import TrackingScenario

        return TrackingScenario.from_mapping(values)

    @classmethod
    def from_drop(cls, drop: Any, index: int, scenario: Any) -> Snapshot:
        """Drop `index` of a batch (a `TrackingDrop`) of a `TrackingScenario`. Raises DropError for beams other than MRT."""
        if scenario.beams.kind != "mrt":
            raise DropError(
                f"beams.kind={scenario.beams.kind}: deployed networks send MRT beams; ask allocate() with a power problem"
            )
        arrays = {name: to_numpy(getattr(drop, name)[index]) for name in SHAPES if hasattr(drop, name)}
        scalars = {name: getattr(scenario, name) for name in (*_SCALARS, *NESTED, "echo_gain") if name not in _OPEN}
        ap_power = [scenario.ap_power] * len(arrays["tx_position"])
        return cls(**arrays, **scalars, ap_power=ap_power, scan_area=scenario.scanned_area)  # type: ignore[arg-type]  # lists are converted

    @property
    def num_aps(self) -> int:
        """Transmit APs."""
        return len(self.tx_position)

    @property
    def num_ues(self) -> int:
        """UEs; 0 where neither positions nor gains are given."""
        known = self.ue_gain if self.ue_position is None else self.ue_position
        return 0 if known is None else len(known)

    @property
    def num_targets(self) -> int:
        """Tracked targets."""
        return len(self.target_position)

    @property
    def beams(self) -> BeamSetup:
        """How APs form the beams of their UEs: MRT."""
        return BeamSetup()

    @property
    def sir_min(self) -> float:
        """SIR0, linear."""
        return db_to_linear(self.sir_min_db)

    @property
    def block_length(self) -> int:
        """Symbols of a coherence block, by the rule of `TrackingScenario` where none are given."""
        return (50 if self.num_ues <= 24 else 200) if self.coherence_length is None else self.coherence_length

    @property
    def scanned_area(self) -> tuple[float, float, float, float]:
        """What is scanned for targets: least x and y, then largest x and y, m."""
        if self.scan_area is not None:
            ends = self.scan_area
        else:
            aps = np.concatenate([self.tx_position, self.rx_position])[:, :2]
            ends = np.concatenate([aps.min(0), aps.max(0)])
        west, south, east, north = ends.tolist()
        return west, south, east, north

    def check(self) -> None:
        """Raise DropError, naming the field, its unit and the remedy, where a value describes no network."""
        for name, (least, most, unit) in RANGE.items():
            value = getattr(self, name)
            # Numbers in their range, which is what nearly all are, need no further look; NaN is in none.
            if value is not None and (isinstance(value, ndarray) or not least <= value <= most):
                within(name, value, least, most, unit)
        self._check_sizes()
        check_radar(self)
        for name, count in self.index_counts().items():
            value = getattr(self, name)
            if value is not None and value.size:
                within(name, value, 0, count - 1, "indices that start at 0")
                if value.ndim == 2 and twice_in_a_row(value):
                    raise DropError(f"{name} names an AP twice in one row; name each AP once")

    def index_counts(self) -> dict[str, int]:
        """By arrays of indices: of how many pilots or APs they name some."""
        pilots = self.num_ues if self.pilot_symbols is None else self.pilot_symbols
        aps, listening = self.num_aps, len(self.rx_position)
        return {"pilot": pilots, "serving_ap": aps, "sensing_ap": aps, "listening_ap": listening}

    def _check_sizes(self) -> None:
        if self.num_aps == 0 or self.num_ues == 0:
            raise DropError(
                f"a network of {self.num_aps} transmit APs and {self.num_ues} UEs has no links; give at least one of each, "
                "UEs by ue_position or by ue_gain, ue_azimuth and ue_elevation"
            )
        if self.receive_selection != "given":
            self._check_open()
        elif self.num_targets and not len(self.rx_position):
            raise DropError(f"{self.num_targets} targets need a receive AP that listens; give rx_position at least one row")
        angles = self.ue_azimuth is not None and self.ue_elevation is not None
        if self.ue_position is None and not (angles and self.ue_gain is not None):
            raise DropError("ue_position is missing; leave it out only where ue_gain, ue_azimuth and ue_elevation are given")
        if (self.ue_azimuth is None) != (self.ue_elevation is None):
            raise DropError("ue_azimuth and ue_elevation belong together; give both or neither")
        for name in _SETS:
            value = getattr(self, name)
            if value is not None and value.ndim == 2 and len(value) and not value.shape[1]:
                raise DropError(f"{name} has no AP in its rows; give each row at least one, or leave {name} out")

    @property
    def listeners(self) -> int:
        """APs that listen where a rule chooses them."""
        return max(1, round(self.num_aps / 4)) if self.num_receive_aps is None else self.num_receive_aps

    def _check_open(self) -> None:
        """Where a rule chooses who listens, all APs are those of tx_position, and no set can name an AP yet."""
        rule = f"receive_selection={self.receive_selection!r} chooses who listens"
        if len(self.rx_position):
            raise DropError(f"{rule}, but rx_position names some; put all APs into tx_position, or take 'given'")
        named = [name for name in ("serving_ap", "sensing_ap", "listening_ap") if getattr(self, name) is not None]
        if named:
            raise DropError(f"{rule} and so the sets of APs; leave {named[0]} out, or take 'given'")
        if self.receive_selection == "weakest_ue" and self.num_aps > MOST_OPEN_APS:
            raise DropError(
                f"{rule} among at most {MOST_OPEN_APS} APs, not {self.num_aps}; take 'least_used', or give the roles"
            )
        if not 1 <= self.listeners < self.num_aps:
            raise DropError(f"{rule}: {self.listeners} of {self.num_aps} APs; let at least one listen and one transmit")


_OPTIONAL = {item.name: (item.default, item.default_factory) != (MISSING, MISSING) for item in fields(Snapshot)}
_SCALARS = tuple(name for name, spec in SPECS.items() if not spec.axes and not spec.words and not spec.members)
_OPEN = ("num_receive_aps", "receive_reach")
"""What only matters where a rule chooses who listens."""
_WORDS = tuple(name for name, spec in SPECS.items() if spec.words)
RANGE = {name: (spec.least, spec.most, spec.unit) for name, spec in SPECS.items() if spec.most is not None}
"""Least and largest value of every field whose range does not depend on the network, and its unit in words."""
_SETS = tuple(name for name, spec in SPECS.items() if spec.axes and spec.whole)
Snapshot.__doc__ = f"{(Snapshot.__doc__ or '').rstrip()}\n\n{attributes_section(SPECS)}\n    "


def twice_in_a_row(sets: ndarray) -> bool:
    """Whether a row of `sets`, along its last axis, holds a value twice."""
    ordered = np.sort(sets, axis=-1)
    return bool(np.count_nonzero(ordered[..., 1:] == ordered[..., :-1]))
