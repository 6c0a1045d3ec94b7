"""Parameters of echoes, clutter and detection, validated; plain Python, as the scenario is."""

import math
from dataclasses import dataclass, fields
from typing import Literal, Protocol, runtime_checkable

from isac_torch.errors import ScenarioError
from isac_torch.units import db_to_linear


@runtime_checkable
class HasBlocks(Protocol):
    """Anything with a coherence block, such as a scenario."""

    @property
    def block_length(self) -> int:
        """Symbols of a coherence block."""
        ...


@dataclass(frozen=True)
class SensingSetup:
    """What the echoes of a network depend on beyond the network itself. Section "Setup" of docs/sensing.md.

    The SIR of power control does not see these; requirements of all other kinds do.

    Attributes:
        rcs_variance_dbsm: variance of a target's complex reflectivity, dB over 1 m2.
        rcs_correlation_deg: angle of view over which reflectivities decorrelate (w), degrees; 0 makes them independent.
        clutter_factor: share of the clutter power that is left after what is known of it has been cancelled (varsigma).
        clutter_path: path gain of the AP-AP clutter, urban micro without (`nlos`) or with (`los`) line of sight.
        sensing_samples: samples that a test looks at (tau_s); default the whole coherence block.
        num_regions: sensing regions of the detection phase (S), a square number.
        cell_size: side of the cube that is searched in each region at a time, m.
        false_alarm: probability of false alarm that every detector's threshold is set for.
    """

    rcs_variance_dbsm: float = 10.0
    rcs_correlation_deg: float = 10.0
    clutter_factor: float = 1e-2
    clutter_path: Literal["nlos", "los"] = "nlos"
    sensing_samples: int | None = None
    num_regions: int = 9
    cell_size: float = 10.0
    false_alarm: float = 1e-2

    def __post_init__(self) -> None:
        """Refuse, in one line each, parameters that describe no test."""
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise ScenarioError(f"{item.name}={value} must be a finite number")
        for name in ("rcs_correlation_deg", "clutter_factor", "cell_size"):
            if getattr(self, name) < 0:
                raise ScenarioError(f"{name}={getattr(self, name)} must not be negative")
        if self.clutter_path not in ("nlos", "los"):
            raise ScenarioError(f"clutter_path={self.clutter_path!r} must be 'nlos' or 'los'")
        if self.sensing_samples is not None and self.sensing_samples < 1:
            raise ScenarioError(f"sensing_samples={self.sensing_samples} must be at least 1")
        if self.num_regions < 1 or math.isqrt(self.num_regions) ** 2 != self.num_regions:
            raise ScenarioError(f"num_regions={self.num_regions} must be a square number, such as 1, 4 or 9")
        if not 1e-6 <= self.false_alarm <= 0.5:
            raise ScenarioError(f"false_alarm={self.false_alarm} must lie in 1e-6..0.5")

    def samples(self, scenario: HasBlocks) -> int:
        """Samples that a test looks at (tau_s). Raises ScenarioError if the coherence block is shorter."""
        count = scenario.block_length if self.sensing_samples is None else self.sensing_samples
        if count > scenario.block_length:
            raise ScenarioError(
                f"sensing_samples={count} must not exceed coherence_length={scenario.block_length}: reflectivities change then"
            )
        return count

    @property
    def rcs_variance(self) -> float:
        """Variance of the reflectivity, m2."""
        return db_to_linear(self.rcs_variance_dbsm)
