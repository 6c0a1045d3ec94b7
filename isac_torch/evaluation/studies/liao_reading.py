"""What Liao et al. leave open and a reader may choose: one reading of the paper, under which its figures are computed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from isac_torch.errors import IsacError

if TYPE_CHECKING:
    from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario

_CHOICES = {"existing": ("sca", "full"), "receiver": ("projection", "ignorant")}


@dataclass(frozen=True)
class Reading:
    """One reading of the paper.

    Attributes:
        shadowing_db: standard deviation of the shadowing beyond 50 m, dB; the paper states none.
        eps: tolerance of Algorithm 1's bisection, relative to its first bracket; the paper states none.
        existing: whose radar SNR the scheme "Existing" has: that of SCA's powers ("sca") or of full power ("full").
        receiver: the UE weighs the projection on its own pilot with regard to the pilots' correlation ("projection", as
            printed) or as if all pilots were orthogonal ("ignorant"). The NMSE shown is the true error of either.
    """

    shadowing_db: float = 0.0
    eps: float = 1e-4
    existing: Literal["sca", "full"] = "sca"
    receiver: Literal["projection", "ignorant"] = "projection"

    def __post_init__(self) -> None:
        """Refuse what is no reading, in one line each."""
        if not (math.isfinite(self.shadowing_db) and self.shadowing_db >= 0.0):
            raise IsacError(f"shadowing_db={self.shadowing_db} is a standard deviation; give a number of at least 0")
        if not 1e-9 <= self.eps <= 0.5:
            raise IsacError(f"eps={self.eps} must lie in 1e-9 to 0.5 of the first bracket")
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise IsacError(f"{name}={getattr(self, name)!r} must be one of {', '.join(known)}")

    def of(self, scenario: DownlinkPilotScenario) -> DownlinkPilotScenario:
        """The scenario under this reading. Powers are always those for the projection, which the paper's formulas have."""
        return replace(scenario, shadowing_db=self.shadowing_db, receiver="projection")
