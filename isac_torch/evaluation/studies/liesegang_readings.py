"""Optimal against fractional power control in tracking (Figure 9), under several readings of the claim.

The printed designs hold an expected SIR that knows neither noise nor clutter. Others hold the SICNR itself, or SICNR, position
information and the echo of every scan cell at no less than those of uniform power; eq. (70) of docs/sensing.md.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from isac_torch.evaluation.studies.liesegang_cases import Policy
from isac_torch.files import written_whole
from isac_torch.tracking.requirement import Requirement

if TYPE_CHECKING:
    from pathlib import Path

    from isac_torch.evaluation.studies.claims import Verdict
    from isac_torch.evaluation.studies.liesegang_cases import Case
    from isac_torch.evaluation.studies.liesegang_study import Study

PILOT_POWERS = (1e-4, 1e-3, 1e-2, 1e-1)
"""W; the paper prints the first, at which UEs far from all APs have no channel estimate."""
ESTIMABLE_PILOT = 1e-2


@dataclass(frozen=True)
class Design:
    """Optimal power control of one kind.

    Attributes:
        label: what tables call it.
        allocator: by its name.
        requirement: asked of the radar; None: that of the scenario, a smallest SIR.
    """

    label: str
    allocator: str
    requirement: Requirement | None = None

    def case(self, study: Study) -> Case:
        """The tracking phase with this design."""
        scenario = study.reading.scenario
        if self.requirement is not None:
            scenario = replace(scenario, requirement=self.requirement)
        return study.reading.tracked(scenario=scenario, policy=self.allocator)


COMMUNICATION = Design("OPC, communication p.", "opc_communication")
SENSING = Design("OPC, sensing p.", "opc_sensing")
MOST_POWER = Design("OPC, communication p., most power", "opc_batched_most_power_0.05")
SENSING_SICNR = Design("OPC, sensing p. on the SICNR", "opc_batched_sensing", Requirement("sicnr", sicnr_min_db=0.0))
DOMINATING = Design("OPC, senses as UPC, SICNR x 1.2", "opc_dominate", Requirement("dominate", sicnr=1.2))
PAPER = (
    Design("Algorithm 1, communication p.", "opc_paper"),
    Design("Algorithm 1, sensing p.", "opc_paper_sensing"),
)
SECOND_STAGES = (
    COMMUNICATION,
    Design("OPC, communication p., first stage alone", "opc_batched_none"),
    Design("OPC, communication p., lexicographic", "opc_batched_lexicographic"),
    Design("OPC, communication p., fair", "opc_batched_fair_0.05"),
    MOST_POWER,
    Design("OPC, communication p., most power, 0.82 of the SINR", "opc_batched_most_power_0.2"),
)
ALL_DESIGNS = (*SECOND_STAGES, SENSING, SENSING_SICNR, DOMINATING, *PAPER)


def optimal_beats_fractional(study: Study, designs: tuple[Design, ...] = (COMMUNICATION, SENSING)) -> Verdict:
    """Whether all designs lie above every fractional tuple in the 10th percentile of the rate and in the median SICNR."""
    policies = [Policy(*pair) for pair in study.reading.sweeps.fair_tuples]
    fractional = {policy.label: study.run(study.reading.tracked(policy=policy)) for policy in policies}
    optimal = {design.label: study.run(design.case(study)) for design in designs}
    found = fractional | optimal
    low = {name: float(result.rate.flatten().quantile(0.1)) / 1e6 for name, result in found.items()}
    middle = {name: float(result.rate.flatten().quantile(0.5)) / 1e6 for name, result in found.items()}
    ratio = {name: float(result.ratio_db.flatten().quantile(0.5)) for name, result in found.items()}
    margin = min(low[name] for name in optimal) / max(low[name] for name in fractional) - 1.0
    sensed = min(ratio[name] for name in optimal) - max(ratio[name] for name in fractional)
    words = "; ".join(f"{name}: {low[name]:.2f} and {middle[name]:.2f} Mbit/s, {ratio[name]:.2f} dB" for name in found)
    words = f"10th percentile and median of the rate, median SICNR: {words}; SICNR above the best tuple's by {sensed:+.2f} dB"
    return (margin if sensed >= 0 or margin <= 0 else sensed), margin > 0 and sensed >= 0, words


def priorities(study: Study, designs: tuple[Design, Design] = (COMMUNICATION, SENSING)) -> Verdict:
    """B-9-2: of two designs that trade rate for sensing, the first gains a larger factor of rate than it loses of SICNR."""
    comm, sensing = (study.run(design.case(study)) for design in designs)
    gain = float(comm.rate.flatten().quantile(0.5) / sensing.rate.flatten().quantile(0.5))
    lost = float(sensing.ratio_db.flatten().quantile(0.5) - comm.ratio_db.flatten().quantile(0.5))
    loss = 10 ** (lost / 10)
    words = f"{designs[0].label} over {designs[1].label}: median rate x {gain:.3f}, median SICNR / {loss:.3f}"
    return gain / loss - 1.0, loss > 1.0 and gain > loss, words


def tabulate_readings(path: Path, study: Study) -> None:
    """Write what fractional and optimal power control reach at every pilot power, as CSV.

    Rates are in Mbit/s: percentiles over the UEs of all drops, and the smallest rate of every drop, averaged. Standard errors
    are those of the means over drops.
    """
    header = ("pilot_power_w", "design", "rate_p10", "rate_median", "smallest_rate", "smallest_rate_error")
    with written_whole(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*header, "sicnr_median_db", "sicnr_mean_db", "sicnr_mean_error"))
        for power in PILOT_POWERS:
            here = study.under(study.reading.with_pilots(power))
            policies = [Policy(*pair) for pair in here.reading.sweeps.fair_tuples]
            cases = {policy.label: here.reading.tracked(policy=policy) for policy in policies}
            cases |= {design.label: design.case(here) for design in ALL_DESIGNS}
            for label, case in cases.items():
                result = here.run(case)
                rates, worst, sensed = result.rate.flatten() / 1e6, result.rate.amin(1) / 1e6, result.ratio_db.mean(1)
                numbers = [*rates.quantile(rates.new_tensor([0.1, 0.5])).tolist()]
                for of_drops in (worst, sensed):
                    numbers += [float(of_drops.mean()), float(of_drops.std(correction=0)) / len(of_drops) ** 0.5]
                numbers.insert(4, float(result.ratio_db.flatten().quantile(0.5)))
                writer.writerow((f"{power:g}", label, *(f"{number:.4g}" for number in numbers)))
