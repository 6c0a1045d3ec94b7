"""Optimal against fractional power control in tracking (Figure 9), under several readings of the claim.

The printed designs hold an expected SIR that knows neither noise nor clutter. The others hold SICNR, position information and
the echo of every scan cell at no less than those of uniform power; eq. (70) of docs/sensing.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from isac_torch.evaluation.studies.liesegang_figures import FAIR_TUPLES, tracked
from isac_torch.evaluation.studies.liesegang_study import Case, Policy
from isac_torch.tracking.requirement import Requirement

if TYPE_CHECKING:
    from isac_torch.evaluation.studies.claims import Verdict
    from isac_torch.evaluation.studies.liesegang_study import Study

ESTIMABLE_PILOT = 1e-2
"""Pilot power (W) at which UEs far from all APs still have a channel estimate; the paper prints 1e-4."""


@dataclass(frozen=True)
class Reading:
    """What "OPC lies above FPC" is judged with.

    Attributes:
        designs: allocators, all of which must lie above.
        pilot_power: of every UE, W; None: the printed one.
        sicnr: factor on uniform power's SICNR that designs with the requirement `dominate` are held to.
    """

    designs: tuple[str, ...]
    pilot_power: float | None = None
    sicnr: float = 1.0

    def cases(self) -> tuple[dict[str, Case], dict[str, Case]]:
        """Fractional tuples by their labels, and designs by their names."""
        scenario = Case().scenario
        if self.pilot_power is not None:
            scenario = replace(scenario, pilot_power=self.pilot_power)
        asked = replace(scenario, requirement=Requirement("dominate", sicnr=self.sicnr))
        fractional = {
            policy.label: tracked(Case(scenario=scenario, policy=policy)) for policy in (Policy(*pair) for pair in FAIR_TUPLES)
        }
        designs = {
            name: tracked(Case(scenario=asked if "_dominate" in name else scenario, policy=name)) for name in self.designs
        }
        return fractional, designs


PRINTED = Reading(("opc_communication", "opc_sensing"))
DOMINATING = Reading(("opc_dominate",), sicnr=1.1)
STRONG_PILOTS = replace(DOMINATING, pilot_power=ESTIMABLE_PILOT)


def optimal_beats_fractional(study: Study, reading: Reading) -> Verdict:
    """Whether all designs lie above every fractional tuple in the 10th percentile of the rate and in the median SICNR."""
    fractional, designs = reading.cases()
    found = {name: study.run(case) for name, case in (fractional | designs).items()}
    low = {name: float(result.rate.flatten().quantile(0.1)) / 1e6 for name, result in found.items()}
    middle = {name: float(result.rate.flatten().quantile(0.5)) / 1e6 for name, result in found.items()}
    ratio = {name: float(result.ratio_db.flatten().quantile(0.5)) for name, result in found.items()}
    margin = min(low[name] for name in designs) / max(low[name] for name in fractional) - 1.0
    sensed = min(ratio[name] for name in designs) - max(ratio[name] for name in fractional)
    words = "; ".join(f"{name}: {low[name]:.2f} and {middle[name]:.2f} Mbit/s, {ratio[name]:.2f} dB" for name in found)
    return margin, margin > 0 and sensed >= 0, f"10th percentile and median of the rate, median SICNR: {words}"
