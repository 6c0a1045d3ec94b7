"""One road at one time, as plain numpy arrays: what the deployed allocator of the downlink-pilot system is asked about."""

from __future__ import annotations

import difflib
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy import float64, int64
from numpy.typing import NDArray

from isac_torch.deployment.field_specs import attributes_section, reals, specs_of, wholes, words
from isac_torch.deployment.numbers import as_floats, as_indices, as_number, to_numpy, within
from isac_torch.downlink_pilots.drop import strongest
from isac_torch.downlink_pilots.scenario import RECEIVERS, DownlinkPilotScenario
from isac_torch.errors import DropError, ScenarioError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    Reals: TypeAlias = NDArray[float64]
    Indices: TypeAlias = NDArray[int64]
    Number: TypeAlias = float
    Whole: TypeAlias = int
    Word: TypeAlias = str
else:
    # anything may be given: it is converted, or refused in one line
    Reals = Indices = Number = Whole = Word = Any

NO_PATH_GAIN = 1e-20
"""Gain of a pair that no path connects, linear: positive as a large-scale gain must be."""
NEAREST = 0.1
"""Least distance of a UE from an AP, m: at none at all an echo would be infinitely strong."""
MOST_APS, MOST_UES = 1024, 256
"""Largest road: the engine that answers for missed bounds inverts one matrix of the APs per UE."""
_MEAN_POWER_ONLY = (
    "the deployed allocator limits the bound at the mean beam power only, as other readings need torch; "
    "give the scenario to `isac_torch.allocate`"
)
_D = DownlinkPilotScenario()
_METRES: dict[str, Any] = {"least": -1e7, "most": 1e7, "unit": "metres"}
_ROUNDED = 1e-6
"""By how much products of pilots may leave their range, as those of normalised sequences do by rounding."""
_CORRELATION: dict[str, Any] = {
    "least": -1.0 - _ROUNDED, "most": 1.0 + _ROUNDED, "unit": "products of pilots of unit norm"
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class RoadSnapshot:
    """One road at one time. Field names and units are those of `DownlinkPilotDrop` and `DownlinkPilotScenario`.

    Wrong types and shapes raise DropError here, values out of range in `check`. What is None is derived as the scenario does.

    Example:
        >>> from isac_torch import RoadSnapshot
        >>> road = RoadSnapshot(
        ...     ap_position=[[50, 0], [150, 0], [50, 100], [150, 100]],      # m
        ...     ue_position=[[80, 40], [120, 60]],
        ... )
        >>> road.check()                                                      # DropError where a value is out of range
        >>> road.num_aps, road.num_ues
        (4, 2)
    """

    ap_position: Reals = field(metadata=reals("of the APs, which all transmit, m", "ap", 2, **_METRES))
    ue_position: Reals = field(metadata=reals("of the UEs, which are the targets, m", "ue", 2, **_METRES))
    gain: Reals | None = field(
        default=None,
        metadata=reals(
            "large-scale fading between UE and AP, linear, 0..1, 0 where no path connects the two; default the three-slope "
            "model without shadowing",
            "ue", "ap", least=0.0, most=1.0, unit="a linear power gain, not dB",
        ),
    )  # fmt: skip
    pilot: Indices | None = field(
        default=None, metadata=wholes("which of the uplink_symbols uplink pilots each UE sends; default round robin", "ue")
    )
    gram_real: Reals | None = field(
        default=None,
        metadata=reals(
            "real part of psi_k^H psi_j of the downlink pilots; default by downlink_correlation", "ue", "ue", **_CORRELATION
        ),
    )
    gram_imag: Reals | None = field(default=None, metadata=reals("its imaginary part; default 0", "ue", "ue", **_CORRELATION))
    receive_ap: Indices | None = field(default=None, metadata=wholes("APs that receive echoes; default all", "rx"))
    serves: Reals | None = field(
        default=None,
        metadata=reals("1 where the AP sends to the UE, else 0; default all", "ue", "ap", least=0.0, most=1.0, unit="0 or 1"),
    )
    path_cross_section: Reals | None = field(
        default=None,
        metadata=reals(
            "radar cross-section of each path AP - UE - AP, m2: sender, then receiver; default cross_section",
            "ue", "ap", "ap", least=0.0, most=1e6, unit="m2",
        ),
    )  # fmt: skip
    ap_power: Reals | None = field(
        default=None,
        metadata=reals("budget of each AP, W; default pilot_power", "ap", least=1e-9, most=1e4, unit="W, not dBm"),
    )
    crb_max: Reals | None = field(
        default=None,
        metadata=reals(
            "Gamma, largest allowed localisation bound of each UE, m2; default 1", "ue", least=1e-9, most=1e12, unit="m2"
        ),
    )  # fmt: skip
    weight: Reals | None = field(
        default=None, metadata=reals("of each UE's NMSE; default 1", "ue", least=1e-6, most=1e6, unit="a factor")
    )
    uplink_symbols: Whole = field(
        default=_D.uplink_symbols, metadata=wholes("of an uplink pilot", least=1, most=100_000, unit="symbols")
    )
    downlink_symbols: Whole = field(
        default=_D.downlink_symbols, metadata=wholes("of a downlink pilot", least=1, most=100_000, unit="symbols")
    )
    downlink_correlation: Number = field(
        default=0.0, metadata=reals("of different UEs' downlink pilots, amplitude", least=0.0, most=1.0, unit="an amplitude")
    )
    pilot_power: Number = field(
        default=_D.pilot_power, metadata=reals("of each UE's uplink pilot, W", least=1e-9, most=1e4, unit="W, not dBm")
    )
    noise_density_dbm_hz: Number = field(
        default=_D.noise_density_dbm_hz,
        metadata=reals("noise density at UEs and APs, dBm/Hz", least=-250.0, most=-50.0, unit="dBm/Hz"),
    )
    bandwidth: Number = field(
        default=_D.bandwidth, metadata=reals("sets the noise power, Hz", least=1e3, most=1e12, unit="Hz, not MHz")
    )
    rms_bandwidth: Number = field(
        default=_D.rms_bandwidth, metadata=reals("of the pilot's waveform, Hz", least=1e3, most=1e12, unit="Hz, not MHz")
    )
    carrier_frequency: Number = field(
        default=_D.carrier_frequency, metadata=reals("Hz", least=1e6, most=1e12, unit="Hz, not GHz")
    )
    cross_section: Number = field(default=_D.cross_section, metadata=reals("of every UE, m2", least=1e-9, most=1e6, unit="m2"))
    ap_height: Number = field(
        default=_D.ap_height, metadata=reals("enters the path loss only, m", least=0.1, most=1e4, unit="m")
    )
    ue_height: Number = field(
        default=_D.ue_height, metadata=reals("enters the path loss only, m", least=0.1, most=10.0, unit="m")
    )
    receiver: Word = field(default="lmmse", metadata=words("how a UE estimates its channel", *RECEIVERS))

    SYSTEM: ClassVar[str] = "downlink_pilots"
    """Name of the system in shards."""
    GENERATE: ClassVar[str] = "downlink-pilots generate"
    """Command of `isac-torch` that writes shards."""
    LEADING: ClassVar[tuple[str, int]] = ("ap_position", 3)
    """The array that tells how many networks an npz file holds, and its axes where there are many."""
    num_antennas: ClassVar[int] = 1
    """Of each AP."""

    def __post_init__(self) -> None:
        """Convert what was given to arrays and numbers; refuse what is none, or has another shape, in one line."""
        size: dict[str, tuple[int, str]] = {}
        for name, spec in SPECS.items():
            given = getattr(self, name)
            if spec.words:
                if given not in spec.words:
                    raise DropError(f"{name}={str(given)[:40]!r} must be {' or '.join(map(repr, spec.words))}")
            elif not spec.axes:
                object.__setattr__(self, name, as_number(name, given, whole=spec.whole))
            elif given is not None or not _OPTIONAL[name]:
                array = (as_indices if spec.whole else as_floats)(name, given, spec.axes)
                for axis, length in zip(spec.axes, array.shape, strict=True):
                    if isinstance(axis, str) and size.setdefault(axis, (length, name))[0] != length:
                        raise DropError(
                            f"{name} has {length} entries along its {axis} axis, but {size[axis][1]} has {size[axis][0]}; "
                            "give every array of one road the same sizes"
                        )
                object.__setattr__(self, name, array)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> RoadSnapshot:
        """From names and values, as a JSON object or an npz file holds them. Raises DropError for a name it does not know."""
        unknown = [name for name in values if name not in _OPTIONAL]
        if unknown:
            name = str(unknown[0])[:40]
            if "tx_position" in values:
                raise DropError("tx_position: a network of the tracking system; give it to `isac-torch allocate`")
            if name in ("crb", "crb_outage_percent"):
                raise DropError(f"{name}: {_MEAN_POWER_ONLY}, or leave it out")
            near = difflib.get_close_matches(name, _OPTIONAL, n=3)
            remedy = f"call it {' or '.join(near)}" if near else "leave it out; docs/downlink_pilots.md lists the fields"
            raise DropError(f"{name!r} is no field of a road; {remedy}")
        missing = [name for name in ("ap_position", "ue_position") if values.get(name) is None]
        if missing:
            raise DropError(f"{missing[0]} is missing; a road needs ap_position and ue_position")
        return cls(**values)

    @staticmethod
    def scenario_of(values: Mapping[str, Any]) -> DownlinkPilotScenario:
        """The scenario of a shard from its description."""
        return DownlinkPilotScenario(**values)

    @classmethod
    def from_drop(cls, drop: Any, index: int, scenario: DownlinkPilotScenario) -> RoadSnapshot:
        """Drop `index` of a batch (a `DownlinkPilotDrop`) of a scenario."""
        arrays = {name: getattr(drop, name)[index] for name in _OF_DROP}
        known: dict[str, Any] = {name: getattr(scenario, name) for name, spec in SPECS.items() if not spec.axes}
        if scenario.crb != "mean_power":
            raise DropError(f"crb={scenario.crb!r}: {_MEAN_POWER_ONLY}")
        receives, section = getattr(drop, "receives", None), getattr(drop, "path_cross_section", None)
        if receives is not None:
            known["receive_ap"] = np.flatnonzero(to_numpy(receives[index]))
        serves = getattr(drop, "serves", None)
        serves = strongest(drop.gain, scenario) if serves is None else serves
        if serves is not None:
            known["serves"] = to_numpy(serves[index])
        if section is not None:
            known["path_cross_section"] = to_numpy(section[index])
        ues = len(arrays["ue_position"])
        return cls(**{n: to_numpy(a) for n, a in arrays.items()}, crb_max=np.full(ues, scenario.crb_max), **known)  # type: ignore[arg-type]  # converted

    @property
    def num_aps(self) -> int:
        """APs."""
        return len(self.ap_position)

    @property
    def num_ues(self) -> int:
        """UEs."""
        return len(self.ue_position)

    def check(self) -> None:
        """Raise DropError, naming the field, its unit and the remedy, where a value describes no road."""
        if self.num_aps < 2 or self.num_ues < 1:
            raise DropError(
                f"a road of {self.num_aps} APs and {self.num_ues} UEs cannot be located on; give 2 APs and 1 UE or more"
            )
        if self.num_aps > MOST_APS or self.num_ues > MOST_UES:
            raise DropError(
                f"{self.num_aps} APs and {self.num_ues} UEs are more than {MOST_APS} and {MOST_UES}; split the road"
            )
        for name, spec in SPECS.items():
            value = getattr(self, name)
            if value is not None and spec.most is not None:
                within(name, value, spec.least, spec.most, spec.unit)
        for name, count in (("pilot", self.uplink_symbols), ("receive_ap", self.num_aps)):
            value = getattr(self, name)
            if value is not None:
                within(name, value, 0, count - 1, "indices that start at 0")
        if self.receive_ap is not None and len(set(self.receive_ap.tolist())) != len(self.receive_ap):
            raise DropError("receive_ap names an AP twice; name each AP once")
        if self.receive_ap is not None and not len(self.receive_ap):
            raise DropError("receive_ap names no AP; name one, or leave it out for all")
        if self.serves is not None and (np.any((self.serves != 0.0) & (self.serves != 1.0)) or not self.serves.any(1).all()):
            raise DropError("serves must hold 0 and 1, and a 1 for each UE; give two APs or more to a UE that is to be located")
        apart = np.linalg.norm(self.ue_position[:, None] - self.ap_position, axis=-1)
        if apart.min() < NEAREST:
            ue, ap = np.unravel_index(apart.argmin(), apart.shape)
            raise DropError(f"UE {ue} is {apart.min():.3g} m from AP {ap}; give positions at least {NEAREST} m apart")
        if self.gram_imag is not None and self.gram_real is None:
            raise DropError("gram_imag is given without gram_real; give both or gram_real alone")
        self._check_gram()
        try:
            _ = self.scenario
        except ScenarioError as error:
            raise DropError(str(error)) from None

    def _check_gram(self) -> None:
        if self.gram_real is None:
            return
        gram = self.gram_real + 1j * (0.0 if self.gram_imag is None else self.gram_imag)
        if np.abs(gram - gram.conj().T).max() > _ROUNDED or np.abs(np.diagonal(gram) - 1.0).max() > _ROUNDED:
            raise DropError(
                "gram_real and gram_imag are no products of pilots of unit norm; give psi_k^H psi_j, 1 on the diagonal"
            )
        if np.linalg.eigvalsh(gram).min() < -_ROUNDED:
            raise DropError("gram_real and gram_imag have a negative eigenvalue; no pilots have such products")

    @cached_property
    def scenario(self) -> DownlinkPilotScenario:
        """What the physics needs to know besides the drop."""
        shared = {name: getattr(self, name) for name, spec in SPECS.items() if not spec.axes}
        length = self.uplink_symbols + self.downlink_symbols + 1
        return DownlinkPilotScenario(num_aps=self.num_aps, num_ues=self.num_ues, frame_symbols=length, **shared)

    @property
    def memory(self) -> float:
        """Bytes that allocating this road takes at its peak, at most."""
        ues, aps = self.num_ues, self.num_aps
        return 8.0 * (8 * ues * aps * aps + 12 * ues * ues * aps + 10 * ues**3 + 4 * (ues + aps) ** 2) + 2**21


SPECS = specs_of(RoadSnapshot)
"""What each field means: unit, axes, range."""
_OPTIONAL = {item.name: (item.default, item.default_factory) != (MISSING, MISSING) for item in fields(RoadSnapshot)}
_OF_DROP = ("ap_position", "ue_position", "gain", "pilot", "gram_real", "gram_imag")
RoadSnapshot.__doc__ = f"{(RoadSnapshot.__doc__ or '').rstrip()}\n\n{attributes_section(SPECS)}\n    "
EXAMPLE: dict[str, Any] = {
    "ap_position": [[37.5, 0], [112.5, 0], [187.5, 0], [262.5, 0], [37.5, 100], [112.5, 100], [187.5, 100], [262.5, 100]],
    "ue_position": [[60, 35], [140, 65], [250, 45]],
    "crb_max": [1.0, 1.0, 1.0],
}
"""A small road: eight APs along both sides, three UEs; everything else by default."""
