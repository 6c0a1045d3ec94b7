"""One network at one time, as plain numpy arrays: what a deployed allocator is asked about."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy import float64, int64, ndarray
from numpy.typing import NDArray

from isac_torch.deployment.field_specs import attributes_section, reals, specs_of, wholes, words
from isac_torch.deployment.numbers import as_floats, as_indices, as_number, within
from isac_torch.errors import DropError
from isac_torch.tracking.roles import RULES
from isac_torch.units import db_to_linear, dbm_to_watt

if TYPE_CHECKING:
    from typing import TypeAlias

    Reals: TypeAlias = NDArray[float64]
    Indices: TypeAlias = NDArray[int64]
    Number: TypeAlias = float
    Whole: TypeAlias = int
    Echo: TypeAlias = Literal["radar", "product"]
    Roles: TypeAlias = Literal["given", "farthest_point", "nearest_to_target", "least_used", "weakest_ue"]
else:
    Reals = Indices = Number = Whole = Echo = Roles = Any  # anything may be given: it is converted, or refused in one line

NO_PATH_GAIN = 1e-20
"""Gain of a pair that no path connects, linear (-200 dB): far below the noise, yet positive as a large-scale gain must be."""
MOST_OPEN_APS = 64
"""APs among which `weakest_ue` chooses: the swaps that it tries grow with their square."""


@dataclass(frozen=True, eq=False)
class Snapshot:
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

    tx_position: Reals = field(
        metadata=reals("of the transmit APs, m; the z axis points up", "ap", 3, least=-1e7, most=1e7, unit="metres")
    )
    tx_orientation: Reals = field(
        metadata=reals("azimuth of their arrays' broadside, rad", "ap", least=-12.6, most=12.6, unit="radians, not degrees")
    )
    rx_position: Reals = field(
        metadata=reals("of the receive APs, which listen for echoes, m", "rx", 3, least=-1e7, most=1e7, unit="metres")
    )
    target_position: Reals = field(
        metadata=reals("of the tracked targets, m; zero targets are allowed", "target", 3, least=-1e7, most=1e7, unit="metres")
    )
    ue_position: Reals | None = field(
        default=None,
        metadata=reals(
            "m; may be left out where ue_gain, ue_azimuth and ue_elevation are all given",
            "ue", 3, least=-1e7, most=1e7, unit="metres",
        ),
    )  # fmt: skip
    ue_gain: Reals | None = field(
        default=None,
        metadata=reals(
            "large-scale fading between UE and transmit AP with shadowing, linear, 0..1, where 0 means that no path connects "
            "the two (smaller values than NO_PATH_GAIN count as that); default urban micro without line of sight and without "
            "shadowing",
            "ue", "ap", least=0.0, most=1.0, unit="a linear power gain, not dB",
        ),
    )  # fmt: skip
    ue_azimuth: Reals | None = field(
        default=None,
        metadata=reals(
            "at which each transmit AP sees each UE, from its broadside, rad; default from the positions",
            "ue", "ap", least=-12.6, most=12.6, unit="radians, not degrees",
        ),
    )  # fmt: skip
    ue_elevation: Reals | None = field(
        default=None,
        metadata=reals(
            "above the horizon, rad; default from the positions",
            "ue", "ap", least=-1.6, most=1.6, unit="radians, not degrees",
        ),
    )  # fmt: skip
    pilot_power: Reals | None = field(
        default=None,
        metadata=reals("uplink pilot power of each UE, W; default 0.1 mW", "ue", least=1e-9, most=1e2, unit="W, not dBm"),
    )
    pilot: Indices | None = field(
        default=None, metadata=wholes("which of the pilot_symbols pilots each UE sends; default round robin", "ue")
    )
    serving_ap: Indices | None = field(
        default=None,
        metadata=wholes(
            "transmit APs that serve each UE, strongest first; default the serving_aps of largest ue_gain", "ue", "serving"
        ),
    )
    sensing_ap: Indices | None = field(
        default=None,
        metadata=wholes(
            "transmit APs with a beam at each target, closest first; default the sensing_aps closest", "target", "sensing"
        ),
    )
    listening_ap: Indices | None = field(
        default=None,
        metadata=wholes(
            "receive APs that listen for each target; default the listening_aps closest, above four targets balanced",
            "target", "listening",
        ),
    )  # fmt: skip
    ap_power: Reals | None = field(
        default=None,
        metadata=reals("power budget of each transmit AP, W; default 2 W", "ap", least=1e-6, most=1e5, unit="W, not dBm"),
    )
    num_antennas: Whole = field(
        default=4,
        metadata=wholes("antennas of each AP's uniform linear array", least=1, most=64, unit="antennas of each AP"),
    )
    carrier_frequency: Number = field(default=2e9, metadata=reals("Hz", least=1e8, most=1e12, unit="Hz"))
    noise_power: Number = field(
        default=dbm_to_watt(-174.0) * 20e6,
        metadata=reals(
            "thermal noise power in the band, W; default -174 dBm/Hz over 20 MHz",
            least=1e-22, most=1e-3, unit="W over the whole band, not dBm",
        ),
    )  # fmt: skip
    pilot_symbols: Whole | None = field(
        default=None,
        metadata=wholes(
            "uplink pilot symbols, also the number of orthogonal pilots; default one pilot per UE",
            least=1, most=1_000_000, unit="symbols",
        ),
    )  # fmt: skip
    azimuth_spread_deg: Number = field(
        default=15.0,
        metadata=reals("standard deviation of the scatterers' azimuth, degrees", least=0.0, most=180.0, unit="degrees"),
    )
    angle_error: Number = field(
        default=1e-2,
        metadata=reals("standard deviation of the tracked azimuth and elevation, rad", least=0.0, most=1.0, unit="radians"),
    )
    echo_gain: Echo = field(
        default="radar",
        metadata=words("`radar` equation, or `product` of the two one-way path gains", "radar", "product"),
    )
    sir_min_db: Number = field(
        default=-5.0,
        metadata=reals("sensing SIR that every target must reach (SIR0), dB", least=-100.0, most=100.0, unit="dB"),
    )
    serving_aps: Whole = field(
        default=4,
        metadata=wholes("transmit APs that serve each UE where serving_ap is derived", least=1, most=1_000_000, unit="APs"),
    )
    sensing_aps: Whole = field(
        default=4,
        metadata=wholes(
            "transmit APs with a beam at each target where sensing_ap is derived", least=1, most=1_000_000, unit="APs"
        ),
    )
    listening_aps: Whole = field(
        default=1,
        metadata=wholes(
            "receive APs that listen for each target where listening_ap is derived",
            least=1, most=1_000_000, unit="receive APs",
        ),
    )  # fmt: skip
    receive_selection: Roles = field(
        default="given",
        metadata=words(
            "who listens: the APs of rx_position (`given`), or APs of tx_position by a rule, which also hands out the sets "
            "(docs/roles.md); rx_position is empty then",
            "given", *RULES,
        ),
    )  # fmt: skip
    num_receive_aps: Whole | None = field(
        default=None,
        metadata=wholes(
            "APs that listen where a rule chooses them; default a quarter, at least one", least=1, most=1_000_000, unit="APs"
        ),
    )
    receive_reach: Number = field(
        default=1.0,
        metadata=reals(
            "`weakest_ue` lets no target be farther from its nearest receive AP than this times the distance under "
            "`farthest_point`",
            least=0.0, most=1e9, unit="a multiple of a distance",
        ),
    )  # fmt: skip

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
        for name in _WORDS:
            if getattr(self, name) not in SPECS[name].words:
                raise DropError(f"{name}={getattr(self, name)!r} must be {' or '.join(map(repr, SPECS[name].words))}")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Snapshot:
        """From names and values, as a JSON object or an npz file holds them. Raises DropError for a name it does not know."""
        unknown = [name for name in values if name not in _OPTIONAL]
        if unknown:
            name = str(unknown[0])[:40]
            near = difflib.get_close_matches(name, _OPTIONAL, n=3)
            remedy = f"call it {' or '.join(near)}" if near else "leave it out; docs/deployment.md lists the fields"
            raise DropError(f"{name!r} is no field of a drop; {remedy}")
        missing = [name for name, optional in _OPTIONAL.items() if not optional and values.get(name) is None]
        if missing:
            raise DropError(f"{missing[0]} is missing; a drop needs {', '.join(n for n, o in _OPTIONAL.items() if not o)}")
        return cls(**values)

    @classmethod
    def from_drop(cls, drop: Any, index: int, scenario: Any) -> Snapshot:
        """Drop `index` of a batch (a `TrackingDrop`) of a `TrackingScenario`."""
        arrays = {name: _to_numpy(getattr(drop, name)[index]) for name in SHAPES if hasattr(drop, name)}
        scalars = {name: getattr(scenario, name) for name in (*_SCALARS, "echo_gain") if name not in _OPEN}
        ap_power = [scenario.ap_power] * len(arrays["tx_position"])
        return cls(**arrays, **scalars, ap_power=ap_power)  # type: ignore[arg-type]  # lists are converted

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
    def sir_min(self) -> float:
        """SIR0, linear."""
        return db_to_linear(self.sir_min_db)

    def check(self) -> None:
        """Raise DropError, naming the field, its unit and the remedy, where a value describes no network."""
        for name, (least, most, unit) in _RANGE.items():
            value = getattr(self, name)
            # Numbers in their range, which is what nearly all are, need no further look; NaN is in none.
            if value is not None and (isinstance(value, ndarray) or not least <= value <= most):
                within(name, value, least, most, unit)
        self._check_sizes()
        pilots = self.num_ues if self.pilot_symbols is None else self.pilot_symbols
        for name, count in (
            ("pilot", pilots),
            ("serving_ap", self.num_aps),
            ("sensing_ap", self.num_aps),
            ("listening_ap", len(self.rx_position)),
        ):
            value = getattr(self, name)
            if value is not None and value.size:
                within(name, value, 0, count - 1, "indices that start at 0")
                _check_distinct(name, value)

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


_OPTIONAL = {item.name: item.default is not MISSING for item in fields(Snapshot)}
SPECS = specs_of(Snapshot)
"""Meaning, unit, axes and range of every field."""
SHAPES = {name: spec.axes for name, spec in SPECS.items() if spec.axes}
"""Axes of every field that is an array."""
_SCALARS = tuple(name for name, spec in SPECS.items() if not spec.axes and not spec.words)
_OPEN = ("num_receive_aps", "receive_reach")
"""What only matters where a rule chooses who listens."""
_WORDS = tuple(name for name, spec in SPECS.items() if spec.words)
_RANGE = {name: (spec.least, spec.most, spec.unit) for name, spec in SPECS.items() if spec.most is not None}
_SETS = tuple(name for name, spec in SPECS.items() if spec.axes and spec.whole)
Snapshot.__doc__ = f"{(Snapshot.__doc__ or '').rstrip()}\n\n{attributes_section(SPECS)}\n    "


def _check_distinct(name: str, sets: ndarray) -> None:
    if sets.ndim == 2 and sets.shape[1] > 1:
        ordered = np.sort(sets, axis=1)
        if np.count_nonzero(ordered[:, 1:] == ordered[:, :-1]):
            raise DropError(f"{name} names an AP twice in one row; name each AP once")


def _to_numpy(value: Any) -> ndarray:
    """An array of any library on the CPU; tensors offer `detach` and `cpu`."""
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value
