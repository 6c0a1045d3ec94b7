"""What the statistics of a network depend on beyond its drop: fields that a scenario and a deployed snapshot share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from isac_torch.tracking.beam_setup import BeamSetup
    from isac_torch.tracking.requirement import Requirement
    from isac_torch.tracking.setup import SensingSetup


@runtime_checkable
class Physics(Protocol):
    """Numbers that hold in every drop of a batch."""

    @property
    def num_antennas(self) -> int:
        """Antennas of each AP's uniform linear array."""
        ...

    @property
    def carrier_frequency(self) -> float:
        """Hz."""
        ...

    @property
    def noise_power(self) -> float:
        """Thermal noise power in the band, W."""
        ...

    @property
    def pilot_symbols(self) -> int:
        """Uplink pilot symbols of a coherence block."""
        ...

    @property
    def azimuth_spread_deg(self) -> float:
        """Standard deviation of the scatterers' azimuth, degrees."""
        ...

    @property
    def angle_error(self) -> float:
        """Standard deviation of the tracked azimuth and elevation, rad."""
        ...

    @property
    def beams(self) -> BeamSetup:
        """How APs form the beams of their UEs."""
        ...

    @property
    def echo_gain(self) -> Literal["radar", "product"]:
        """How echoes weaken."""
        ...


@runtime_checkable
class RadarPhysics(Physics, Protocol):
    """What requirements on the radar depend on besides."""

    @property
    def requirement(self) -> Requirement:
        """What is asked of the radar."""
        ...

    @property
    def sensing(self) -> SensingSetup:
        """What echoes depend on beyond the network."""
        ...

    @property
    def block_length(self) -> int:
        """Symbols of a coherence block."""
        ...

    @property
    def listening_aps(self) -> int:
        """Receive APs that listen for each target and each scan cell; all of them where there are fewer."""
        ...

    @property
    def scanned_area(self) -> tuple[float, float, float, float]:
        """Least x and y, then largest x and y, of the rectangle that is scanned, m."""
        ...

    @property
    def scan_height(self) -> float:
        """Height that is scanned, m."""
        ...
