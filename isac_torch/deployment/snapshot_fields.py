"""What a snapshot of a network holds: each field with its meaning, unit, axes, range and default."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from numpy import float64, int64
from numpy.typing import NDArray

from isac_torch.deployment.field_specs import objects, reals, specs_of, wholes, words
from isac_torch.deployment.radar_fields import NESTED
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.roles import RULES
from isac_torch.tracking.setup import SensingSetup
from isac_torch.units import dbm_to_watt

if TYPE_CHECKING:
    from typing import TypeAlias

    Reals: TypeAlias = NDArray[float64]
    Indices: TypeAlias = NDArray[int64]
    Number: TypeAlias = float
    Whole: TypeAlias = int
    Echo: TypeAlias = Literal["radar", "product"]
    Roles: TypeAlias = Literal["given", "farthest_point", "nearest_to_target", "least_used", "weakest_ue"]
    Asked: TypeAlias = Requirement
    Echoes: TypeAlias = SensingSetup
else:
    # anything may be given: it is converted, or refused in one line
    Reals = Indices = Number = Whole = Echo = Roles = Asked = Echoes = Any


@dataclass(frozen=True, eq=False)
class SnapshotFields:
    """The fields of a `Snapshot`, which adds the conversion and the checks. SPECS says what each of them means."""

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
    rx_orientation: Reals | None = field(
        default=None,
        metadata=reals(
            "azimuth of the broadside of the arrays that listen, rad; only requirements other than `sir` and `none` need it",
            "rx", least=-12.6, most=12.6, unit="radians, not degrees",
        ),
    )  # fmt: skip
    coherence_length: Whole | None = field(
        default=None,
        metadata=wholes(
            "symbols of a coherence block; default 50 up to 24 UEs, 200 above", least=1, most=100_000, unit="symbols"
        ),
    )
    requirement: Asked = field(
        default_factory=Requirement,
        metadata=objects("what is asked of the radar, docs/requirements.md", NESTED["requirement"].specs),
    )
    sensing: Echoes = field(
        default_factory=SensingSetup,
        metadata=objects("what echoes depend on beyond the network, docs/sensing.md", NESTED["sensing"].specs),
    )
    scan_area: Reals | None = field(
        default=None,
        metadata=reals(
            "least x and y, then largest x and y of what `dominate` scans for targets, m; default the rectangle of all APs",
            4, least=-1e7, most=1e7, unit="metres",
        ),
    )  # fmt: skip
    scan_height: Number = field(default=60.0, metadata=reals("height that is scanned, m", least=-1e7, most=1e7, unit="metres"))


SPECS = specs_of(SnapshotFields)
"""Meaning, unit, axes and range of every field."""
SHAPES = {name: spec.axes for name, spec in SPECS.items() if spec.axes}
"""Axes of every field that is an array."""
