"""Parameters of the tracking system, validated, in plain Python so that the command line starts fast."""

# No postponed annotations here: the command line would import torch to read them, and take seconds to refuse a typo.
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from isac_torch.errors import ScenarioError
from isac_torch.tracking.beam_setup import BeamSetup
from isac_torch.tracking.requirement import PLAIN, Requirement
from isac_torch.tracking.setup import SensingSetup
from isac_torch.units import db_to_linear, dbm_to_watt

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float

    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.problem import MaxMinSinrProblem

_SIZE = re.compile(r"(\d+)x(\d+)x(\d+)")
_POSITIVE = ("ap_height", "ue_height", "ap_power", "pilot_power", "bandwidth", "carrier_frequency", "area_m2", "receive_reach")
_NESTED: dict[str, type] = {"requirement": Requirement, "sensing": SensingSetup, "beams": BeamSetup}


@dataclass(frozen=True)
class TrackingScenario:
    """A network of multi-antenna APs that serves UEs and tracks targets. Section "Scenario" of docs/physics.md.

    Values of None are derived from the size: `receive_aps`, `assignment`, `side`, `block_length` and `pilot_symbols` are used.

    Attributes:
        num_aps: APs, transmitting and receiving together (M).
        num_antennas: antennas of each AP's uniform linear array (N).
        num_ues: single-antenna UEs (K).
        num_targets: targets tracked at the same time (L); 0 is allowed.
        num_receive_aps: APs that listen for echoes instead of transmitting; default a quarter of the APs, at least one.
        serving_aps: transmit APs that serve each UE, those of largest large-scale fading; fewer where fewer transmit.
        sensing_aps: transmit APs that send a beam at each target, the closest ones; fewer where fewer transmit.
        listening_aps: receive APs that listen for each target, the closest ones.
        receive_selection: which APs listen: well-spread ones, those nearest to targets, the ones that UEs miss least
            (`least_used`), the set that leaves the weakest UE most (`weakest_ue`), or any (docs/roles.md).
        receive_reach: `weakest_ue` lets no target be farther from its nearest receive AP than this times the distance under
            `farthest_point`; None: any distance.
        receive_assignment: how targets choose a receive AP; default `nearest` up to four targets, `balanced` above.
        area_m2: area of the square, m2; default the density of 16 APs in 0.5 km2.
        ap_height: m.
        ue_height: m.
        target_height_min: m.
        target_height_max: m.
        ap_power: power budget of each AP, W.
        pilot_power: uplink pilot power of each UE, W.
        noise_density_dbm_hz: thermal noise density, dBm/Hz.
        noise_figure_db: dB.
        bandwidth: Hz.
        carrier_frequency: Hz.
        coherence_length: symbols of a coherence block; default 50 up to 24 UEs, 200 above.
        pilot_length: uplink pilot symbols, also the number of orthogonal pilots; default one pilot a UE.
        pilot_assignment: `round_robin`, or `greedy` against contamination.
        shadowing_db: standard deviation of log-normal shadowing between AP and UE, dB.
        azimuth_spread_deg: standard deviation of the scatterers' azimuth, degrees.
        angle_error: standard deviation of the tracked azimuth and elevation, rad.
        echo_gain: `radar` equation, or `product` of the two one-way path gains.
        sir_min_db: sensing SIR that every target must reach (SIR0) where the requirement is of kind `sir`, dB.
        requirement: what power control asks of the radar.
        sensing: what echoes depend on beyond the network: cross-sections, clutter, samples of a test.
        beams: of UEs: maximum ratio transmission, zero forcing or partial MMSE.

    Example:
        >>> import torch
        >>> from isac_torch import TrackingScenario
        >>> scenario = TrackingScenario.of_size("16x16x4", sir_min_db=-5.0)
        >>> f"{scenario.noise_power:.2e} W, SIR0 {scenario.sir_min:.3f}"   # linear
        '7.96e-14 W, SIR0 0.316'
        >>> drop = scenario.sample(2, generator=torch.Generator().manual_seed(1))
        >>> tuple(drop.tx_position.shape), tuple(drop.ue_gain.shape)   # m; linear
        ((2, 12, 3), (2, 16, 12))
    """

    num_aps: int = 16
    num_antennas: int = 4
    num_ues: int = 16
    num_targets: int = 4
    num_receive_aps: int | None = None
    serving_aps: int = 4
    sensing_aps: int = 4
    listening_aps: int = 1
    receive_selection: Literal["farthest_point", "nearest_to_target", "least_used", "weakest_ue", "random"] = "farthest_point"
    receive_reach: float | None = 1.0
    receive_assignment: Literal["nearest", "balanced"] | None = None
    area_m2: float | None = None
    ap_height: float = 10.0
    ue_height: float = 1.65
    target_height_min: float = 20.0
    target_height_max: float = 100.0
    ap_power: float = 2.0
    pilot_power: float = 1e-4
    noise_density_dbm_hz: float = -174.0
    noise_figure_db: float = 0.0
    bandwidth: float = 20e6
    carrier_frequency: float = 2e9
    coherence_length: int | None = None
    pilot_length: int | None = None
    pilot_assignment: Literal["round_robin", "greedy"] = "round_robin"
    shadowing_db: float = 4.0
    azimuth_spread_deg: float = 15.0
    angle_error: float = 1e-2
    echo_gain: Literal["radar", "product"] = "radar"
    sir_min_db: float = -5.0
    requirement: Requirement = field(default_factory=Requirement)
    sensing: SensingSetup = field(default_factory=SensingSetup)
    beams: BeamSetup = field(default_factory=BeamSetup)

    def __post_init__(self) -> None:
        """Refuse parameters that describe no network, in one line each."""
        self._check_finite()
        self._check_counts()
        for name in _POSITIVE:
            given = getattr(self, name)
            if given is not None and given <= 0:
                raise ScenarioError(f"{name}={given} must be positive")
        for name in ("shadowing_db", "azimuth_spread_deg", "angle_error"):
            if getattr(self, name) < 0:
                raise ScenarioError(f"{name}={getattr(self, name)} is a standard deviation and must not be negative")
        if not 0 < self.target_height_min <= self.target_height_max:
            raise ScenarioError(
                f"target_height_min={self.target_height_min} must be positive and at most "
                f"target_height_max={self.target_height_max}"
            )
        if self.pilot_symbols >= self.block_length:
            raise ScenarioError(
                f"pilot_length={self.pilot_symbols} leaves no data symbol in coherence_length={self.block_length}; "
                "shorten the pilots (they can be reused) or lengthen the block"
            )
        self.beams.check(self.num_antennas, self.pilot_symbols)
        if self.has_own_channel and self.requirement.kind not in PLAIN:
            raise ScenarioError(
                f"requirement.kind={self.requirement.kind} is computed by the package's channel model, "
                f"which {type(self).__name__} replaces; choose sir or none"
            )
        if self.has_own_channel and self.beams.kind != "mrt":
            raise ScenarioError(f"beams.kind={self.beams.kind}: {type(self).__name__} has beams of its own; leave beams out")

    @property
    def has_own_channel(self) -> bool:
        """Whether a subclass computes coefficients by a channel model of its own."""
        return type(self).own_coefficients is not TrackingScenario.own_coefficients

    def _check_finite(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise ScenarioError(f"{item.name}={value} must be a finite number")

    def _check_counts(self) -> None:
        least = {"num_aps": 2, "num_antennas": 1, "num_ues": 1, "num_targets": 0, "serving_aps": 1, "sensing_aps": 1}
        least |= {"listening_aps": 1, "num_receive_aps": 1, "pilot_length": 1}
        for name, value in least.items():
            given = getattr(self, name)
            if given is not None and given < value:
                raise ScenarioError(f"{name}={given} must be at least {value}")
        if self.transmit_aps < 1:
            raise ScenarioError(
                f"num_receive_aps={self.num_receive_aps} leaves no transmit AP of num_aps={self.num_aps}; lower it"
            )
        if self.listening_aps > self.receive_aps:
            raise ScenarioError(
                f"listening_aps={self.listening_aps} exceeds the {self.receive_aps} receive APs; raise num_receive_aps"
            )
        choices = {
            "receive_selection": ("farthest_point", "nearest_to_target", "least_used", "weakest_ue", "random"),
            "receive_assignment": (None, "nearest", "balanced"),
            "pilot_assignment": ("round_robin", "greedy"),
            "echo_gain": ("radar", "product"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ScenarioError(f"{name}={getattr(self, name)!r} must be one of {', '.join(map(repr, allowed))}")

    @classmethod
    def of_size(cls, size: str, **parameters: object) -> "TrackingScenario":
        """The scenario named by its size, 'MxKxL' such as '16x16x4'; other parameters by keyword."""
        match = _SIZE.fullmatch(size)
        if match is None:
            raise ScenarioError(f"size {size!r} must look like 16x16x4: APs x UEs x targets")
        aps, ues, targets = (int(group) for group in match.groups())
        return cls(num_aps=aps, num_ues=ues, num_targets=targets, **parameters)  # type: ignore[arg-type]

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "TrackingScenario":
        """The scenario that `dataclasses.asdict` turned into these values, for example in the header of a file."""
        if "class_path" in values:
            raise ScenarioError(
                f"scenario of the class {values['class_path']!s:.80}: its drops follow a model that is not here"
            )
        nested = {name: kind(**values[name]) for name, kind in _NESTED.items() if name in values}
        return cls(**{**values, **nested})

    @property
    def name(self) -> str:
        """Short name: APs x UEs x targets, pilots, requirement, such as '16x16x4_tau16_sir-5'."""
        asked = f"sir{self.sir_min_db:g}" if self.requirement.kind == "sir" else self.requirement.name
        return f"{self.num_aps}x{self.num_ues}x{self.num_targets}_tau{self.pilot_symbols}_{asked}{self.beams.suffix}"

    @property
    def receive_aps(self) -> int:
        """APs that listen for echoes."""
        return max(1, round(self.num_aps / 4)) if self.num_receive_aps is None else self.num_receive_aps

    @property
    def transmit_aps(self) -> int:
        """APs that transmit."""
        return self.num_aps - self.receive_aps

    @property
    def serving_links(self) -> int:
        """Transmit APs that serve each UE."""
        return min(self.serving_aps, self.transmit_aps)

    @property
    def sensing_links(self) -> int:
        """Transmit APs that send a beam at each target."""
        return min(self.sensing_aps, self.transmit_aps)

    @property
    def assignment(self) -> str:
        """How targets choose their receive APs."""
        return self.receive_assignment or ("nearest" if self.num_targets <= 4 else "balanced")

    @property
    def side(self) -> float:
        """Side of the square area, m."""
        return math.sqrt(0.5e6 * self.num_aps / 16 if self.area_m2 is None else self.area_m2)

    @property
    def scanned_area(self) -> tuple[float, float, float, float]:
        """Least x and y, then largest x and y, of what is scanned for targets: the whole area, m."""
        return 0.0, 0.0, self.side, self.side

    @property
    def scan_height(self) -> float:
        """Height that is scanned for targets: the mean of theirs, m."""
        return 0.5 * (self.target_height_min + self.target_height_max)

    @property
    def block_length(self) -> int:
        """Symbols of a coherence block (tau_c)."""
        return (50 if self.num_ues <= 24 else 200) if self.coherence_length is None else self.coherence_length

    @property
    def pilot_symbols(self) -> int:
        """Uplink pilot symbols of a coherence block (tau_p)."""
        return self.num_ues if self.pilot_length is None else self.pilot_length

    @property
    def data_share(self) -> float:
        """Share of the coherence block that carries downlink data."""
        return (self.block_length - self.pilot_symbols) / self.block_length

    @property
    def noise_power(self) -> float:
        """Thermal noise power in the bandwidth, W."""
        return dbm_to_watt(self.noise_density_dbm_hz + self.noise_figure_db) * self.bandwidth

    @property
    def sir_min(self) -> float:
        """SIR0, linear."""
        return db_to_linear(self.sir_min_db)

    def sample(self, num_drops: int, *, generator: "torch.Generator") -> "TrackingDrop":
        """Random drops: positions, shadowing, serving and sensing sets, pilots. Same generator state, same drops."""
        from isac_torch.tracking.drop import sample_drops

        return sample_drops(self, num_drops, generator)

    def ap_budgets(self, drop: "TrackingDrop[Any]") -> "Float[Any, 'drop ap']":
        """Power budget of each transmit AP, W: `ap_power`, unless a subclass says otherwise."""
        from isac_torch.tensors import namespace

        return namespace(drop.ue_gain).full_like(drop.ue_gain[:, 0], self.ap_power)

    def own_coefficients(
        self, drop: "TrackingDrop[Any]", budget: "Float[Any, 'drop ap']", sir_min: "Float[Any, ' drop']"
    ) -> "MaxMinSinrProblem[Any] | None":
        """The power problem by a channel model of a subclass; None: by that of docs/physics.md.

        Args:
            drop: networks.
            budget: of each transmit AP, W.
            sir_min: SIR0, linear.
        """
        return None
