"""How transmit APs form the beams of their UEs, validated; plain Python, as the scenario is."""

import math
from dataclasses import dataclass
from typing import Literal

from isac_torch.errors import ScenarioError

KINDS = ("mrt", "zf", "pmmse")
"""Kinds of beams."""


@dataclass(frozen=True)
class BeamSetup:
    """The beams of UEs, which every AP forms from its own channel estimates.

    Equations (87) and (88), section "Zero-forcing and partial-MMSE beams" of docs/physics.md.

    Attributes:
        kind: along the estimate (`mrt`), along what is left of it beside the estimates of other UEs of the AP (`zf`, zero
            forcing), or what an MMSE receiver at the AP would listen with (`pmmse`, partial MMSE: the UEs of the AP only).
        nulls: other UEs of its AP that a `zf` beam avoids, those of largest mean estimate; less than antennas. Every null
            takes a direction from the beam: one less than antennas is the zero forcing of text books.
        loading: uplink power with which `pmmse` counts every UE of the AP, W. Default: that of its pilot.
        samples: drawn estimates from which the statistics of `pmmse` are computed, and those of `zf` with several nulls or
            where UEs share the pilot of the avoided one. Default: 1,000 for `zf`, 10,000 for `pmmse`.
        seed: of these draws, the same for all networks and APs.

    Example:
        >>> from isac_torch import TrackingScenario
        >>> from isac_torch.tracking.beam_setup import BeamSetup
        >>> TrackingScenario.of_size("8x6x2", beams=BeamSetup("zf")).name
        '8x6x2_tau6_sir-5_zf'
    """

    kind: Literal["mrt", "zf", "pmmse"] = "mrt"
    nulls: int = 1
    loading: float | None = None
    samples: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse, in one line each, what describes no beams."""
        if self.kind not in KINDS:
            raise ScenarioError(f"beams.kind={self.kind!r} must be one of {', '.join(map(repr, KINDS))}")
        if self.nulls < 0:
            raise ScenarioError(f"beams.nulls={self.nulls} must not be negative")
        if self.loading is not None and not (math.isfinite(self.loading) and self.loading > 0.0):
            raise ScenarioError(f"beams.loading={self.loading} must be positive and finite (W)")
        if self.samples is not None and not 100 <= self.samples <= 1_000_000:
            raise ScenarioError(f"beams.samples={self.samples} must lie in 100..1000000")
        if self.seed < 0:
            raise ScenarioError(f"beams.seed={self.seed} must not be negative")

    @property
    def draws(self) -> int:
        """Drawn estimates: `samples` where given."""
        return (10_000 if self.kind == "pmmse" else 1000) if self.samples is None else self.samples

    @property
    def suffix(self) -> str:
        """What a scenario's name says about its beams: nothing for MRT."""
        return "" if self.kind == "mrt" else f"_{self.kind}"

    def check(self, num_antennas: int, pilots: int) -> None:
        """Refuse, in one line, what a scenario with so many antennas and pilots cannot have."""
        if self.kind == "zf" and self.nulls >= num_antennas:
            raise ScenarioError(f"beams.nulls={self.nulls} must be less than num_antennas={num_antennas}")
        if self.kind != "mrt" and self.draws < 2 * num_antennas * pilots:
            raise ScenarioError(
                f"beams.samples={self.draws} is too few for {pilots} pilots of {num_antennas} antennas; "
                f"take {2 * num_antennas * pilots} or more"
            )
