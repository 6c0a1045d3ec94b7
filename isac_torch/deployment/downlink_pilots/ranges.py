"""By what roads are told from those seen in training: quantities with their units, and which of them lie outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from isac_torch.deployment.downlink_pilots.problem import RoadProblem

UNITS = {
    "aps": "APs",
    "ues": "UEs",
    "weakest_ue": "dB",
    "strongest_ue": "dB",
    "contamination": "dB",
    "worst_estimate": "dB",
    "least_accuracy": "dB",
    "most_accuracy": "dB",
}
"""Quantities and their units."""
_SLACK = 0.01
"""Of a range's width: what lies so little outside is not called unlike."""


def quantities(problem: RoadProblem) -> dict[str, float]:
    """Each of `UNITS`.

    weakest_ue, strongest_ue: coherent pilot energy over noise from all APs at full power. contamination: 1 plus the energy over
    noise that other UEs' correlated pilots bring at full power, of the most disturbed UE. worst_estimate: least part of a UE's
    channels that the APs' estimates hold. least_accuracy, most_accuracy: Gamma over the bound at even powers.
    """
    ues, aps = problem.gain.shape
    energy = (problem.estimate * problem.budget).sum(-1)
    crossed = (problem.gram**2).sum(0) * (1.0 - np.eye(ues))
    leak = 1.0 + crossed.sum(-1) * (problem.gain * problem.budget).sum(-1)
    known = problem.estimate.sum(-1) / problem.gain.sum(-1)
    with np.errstate(all="ignore"):
        accuracy = problem.quality(problem.even).value * (10.0 / np.log(10.0))
        linear = [energy.min(), energy.max(), leak.max(), known.min()]
        decibels = [float(value) for value in 10.0 * np.log10(np.maximum(linear, 1e-30))]
    limited = np.clip(accuracy, -300.0, 300.0)
    return dict(zip(UNITS, [float(aps), float(ues), *decibels, float(limited.min()), float(limited.max())], strict=True))


def unlike(problem: RoadProblem, ranges: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """What about a road lies outside the ranges of the card, in words; empty where nothing does."""
    strange = []
    for name, value in quantities(problem).items():
        low, high = float(ranges[name]["least"]), float(ranges[name]["most"])
        slack = _SLACK * max(high - low, 1.0)
        if not low - slack <= value <= high + slack:
            strange.append(f"{name} {value:.4g} {UNITS[name]}, seen {low:.4g} to {high:.4g}")
    return tuple(strange)
