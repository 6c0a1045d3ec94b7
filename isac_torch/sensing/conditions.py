"""What the tracking paper leaves open about beams and clutter, as plain settings: no torch is imported here."""

from dataclasses import dataclass
from typing import Literal

from isac_torch.errors import ScenarioError


@dataclass(frozen=True)
class Pointing:
    """How tracked angles err, and over which positions the interference of sensing beams is averaged.

    The deviation of an angle, rad, is the scenario's `angle_error`; equation (12) of Liesegang et al. leaves the density open.

    Attributes:
        density: of azimuth and elevation errors, which are independent: `normal`, `uniform` or `laplace`, of equal deviation.
        errs: whether every AP errs on its own (`ap`), or one error of the target is seen by all of its APs (`target`).
        elevation_ratio: deviation of the elevation's error over that of the azimuth.
        positions: random positions over which the beams' interference to UEs is averaged, the paper's (20) and (21);
            0: only the position that the beam points at.
    """

    density: Literal["normal", "uniform", "laplace"] = "normal"
    errs: Literal["ap", "target"] = "ap"
    elevation_ratio: float = 1.0
    positions: int = 0

    def __post_init__(self) -> None:
        """Refuse, in one line each, settings that describe no error."""
        if self.density not in ("normal", "uniform", "laplace"):
            raise ScenarioError(f"density={self.density!r} must be 'normal', 'uniform' or 'laplace'")
        if self.errs not in ("ap", "target"):
            raise ScenarioError(f"errs={self.errs!r} must be 'ap' or 'target'")
        if not 0.0 <= self.elevation_ratio <= 1e3:
            raise ScenarioError(f"elevation_ratio={self.elevation_ratio} must lie in 0..1000")
        if not 0 <= self.positions <= 10_000:
            raise ScenarioError(f"positions={self.positions} must lie in 0..10000")

    @property
    def is_normal(self) -> bool:
        """Whether both angles have normal errors of the same deviation: what `channel_statistics` assumes."""
        return self.density == "normal" and self.elevation_ratio == 1.0


@dataclass(frozen=True)
class AntennaCorrelation:
    """Correlation of the clutter between the antennas of an AP: Q_t and Q_r have the entries coefficient^|i - j|.

    Attributes:
        transmit: coefficient between neighbouring antennas of the transmit AP.
        receive: coefficient between neighbouring antennas of the receive AP.
    """

    transmit: float = 0.0
    receive: float = 0.0

    def __post_init__(self) -> None:
        """Refuse coefficients that are none."""
        for name in ("transmit", "receive"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ScenarioError(f"{name}={getattr(self, name)} is a correlation and must lie in 0..1, without 1")
