"""What the tracking paper leaves open about beams, clutter and tests, as plain settings: no torch is imported here."""

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
        target_ratios: deviation of each target's errors over that of the scenario, in the order of the targets (or cells);
            empty: the same for all.
    """

    density: Literal["normal", "uniform", "laplace"] = "normal"
    errs: Literal["ap", "target"] = "ap"
    elevation_ratio: float = 1.0
    positions: int = 0
    target_ratios: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse, in one line each, settings that describe no error."""
        if self.density not in ("normal", "uniform", "laplace"):
            raise ScenarioError(f"density={self.density!r} must be 'normal', 'uniform' or 'laplace'")
        if self.errs not in ("ap", "target"):
            raise ScenarioError(f"errs={self.errs!r} must be 'ap' or 'target'")
        if not 0.0 <= self.elevation_ratio <= 1e3:
            raise ScenarioError(f"elevation_ratio={self.elevation_ratio} must lie in 0..1000")
        for ratio in self.target_ratios:
            if not 0.0 <= ratio <= 1e3:
                raise ScenarioError(f"target_ratios={list(self.target_ratios)} must lie in 0..1000")
        if not 0 <= self.positions <= 10_000:
            raise ScenarioError(f"positions={self.positions} must lie in 0..10000")

    @property
    def is_normal(self) -> bool:
        """Whether both angles have normal errors of the same deviation: what `channel_statistics` assumes."""
        return self.density == "normal" and self.elevation_ratio == 1.0 and not self.target_ratios

    def ratios(self, num_targets: int) -> tuple[float, ...]:
        """Deviation of each target's errors over that of the scenario."""
        found = self.target_ratios or (1.0,) * num_targets
        if len(found) != num_targets:
            raise ScenarioError(f"target_ratios has {len(found)} values for {num_targets} targets; give one for each, or none")
        return found


@dataclass(frozen=True)
class AntennaCorrelation:
    """Correlation of the clutter between the antennas of an AP: Q_t and Q_r have the entries coefficient^|i - j|.

    Attributes:
        transmit: coefficient between neighbouring antennas of the transmit AP.
        receive: coefficient between neighbouring antennas of the receive AP, or one for each receive AP in their order.
    """

    transmit: float = 0.0
    receive: float | tuple[float, ...] = 0.0

    def __post_init__(self) -> None:
        """Refuse coefficients that are none."""
        received = self.receive if isinstance(self.receive, tuple) else (self.receive,)
        for name, values in (("transmit", (self.transmit,)), ("receive", received)):
            for value in values:
                if not 0.0 <= value < 1.0:
                    raise ScenarioError(f"{name}={value} is a correlation and must lie in 0..1, without 1")

    def received(self, num_aps: int) -> tuple[float, ...]:
        """The coefficient of each receive AP."""
        found = self.receive if isinstance(self.receive, tuple) else (self.receive,) * num_aps
        if len(found) != num_aps:
            raise ScenarioError(f"receive has {len(found)} values for {num_aps} receive APs; give one for each, or one for all")
        return found


@dataclass(frozen=True)
class Nearby:
    """How much of the network a receive AP's test takes into account, eqs. (92) and (93) of docs/sensing.md; None: all.

    Attributes:
        aps: transmit APs whose clutter is whitened, those of the strongest, and echo columns of each target, those of the
            strongest paths.
        targets: other targets that a `joint` test knows of, those of the strongest echoes.
    """

    aps: int | None = None
    targets: int | None = None

    def __post_init__(self) -> None:
        """Refuse, in one line each, numbers that leave no test."""
        if self.aps is not None and self.aps < 1:
            raise ScenarioError(f"near.aps={self.aps} must be at least 1; leave it out for all transmit APs")
        if self.targets is not None and self.targets < 0:
            raise ScenarioError(f"near.targets={self.targets} must not be negative; leave it out for all targets")

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return self.aps is None and self.targets is None
