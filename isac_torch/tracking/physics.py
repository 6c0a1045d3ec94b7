"""What the statistics of a network depend on beyond its drop: fields that a scenario and a deployed snapshot share."""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable


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
    def echo_gain(self) -> Literal["radar", "product"]:
        """How echoes weaken."""
        ...
