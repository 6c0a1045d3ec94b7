"""The last word on powers before they leave: finite, within every budget, rows met wherever any powers can meet them.

Whatever proposes powers, `guard` judges them by the problem itself and says what it did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from isac_torch.deployment.mixture import best_ratio, cheapest
from isac_torch.deployment.statistics import Coefficients
from isac_torch.tracking.fractional import fractional_power

PathTaken = Literal["network", "repaired", "fallback_fpc", "best_effort"]

ROW_TOLERANCE = 1e-6
"""Largest relative shortfall of a sensing row that still counts as met, as everywhere in the package."""
FALLBACK = (0.0, 1.0)
"""Exponents of fractional power control where an answer cannot be used: those that do best of the rules that need no solver."""
ROOM = 1e-7
"""Room (relative) that repaired rows are given, so that rounding cannot break them."""
BEST_EFFORT_SHARE = 0.98
"""Share of the largest reachable sensing quality that is asked for where SIR0 is out of reach: the rest serves the UEs."""


@dataclass(frozen=True)
class Guarded:
    """Powers that may be sent, and how each drop came by them.

    Attributes:
        power: W; finite, not negative, no AP above its budget.
        path: "network": as proposed, but for scaling into the budgets; "repaired": beams added until every row is met;
            "fallback_fpc": fractional power control, repaired where needed, because the proposal was unusable;
            "best_effort": no powers meet every row, these come close to the best that any reach.
        reason: what was wrong with the proposal, in words; empty where nothing was.
    """

    power: Float[ndarray, "drop link"]
    path: list[PathTaken]
    reason: list[str]


def guard(problem: Coefficients, power: Float[ndarray, "drop link"]) -> Guarded:
    """Judge and, where needed, repair or replace proposed powers (W) of every drop. Never raises for any numbers."""
    with np.errstate(over="ignore", under="ignore"):  # the SIR of a row that no other target disturbs may be infinite
        return _guard(problem, power)


def _guard(problem: Coefficients, power: ndarray) -> Guarded:
    usable = _usable(problem, power)
    kept = np.where(usable[:, None], power, 0.0)
    if not usable.all():
        kept[~usable] = fractional_power(problem.select(np.flatnonzero(~usable)), *FALLBACK)
    kept = within_budget(problem, np.maximum(kept, 0.0))
    path: list[PathTaken] = ["network" if good else "fallback_fpc" for good in usable]
    reason = ["" if good else "the network's powers are not finite or leave a UE without power" for good in usable]
    if problem.num_rows:
        for drop in np.flatnonzero(shortfall(problem, kept) > ROW_TOLERANCE):
            one = problem.select(np.array([drop]))
            words = _worst_row(one, kept[drop : drop + 1])
            kept[drop], met = repair(one, kept[drop])
            if not met:
                path[drop], words = "best_effort", f"{words}, and no powers meet every row"
            elif path[drop] == "network":
                path[drop] = "repaired"
            reason[drop] = "; ".join(filter(None, (reason[drop], words)))
    return Guarded(kept, path, reason)


def within_budget(problem: Coefficients, power: Float[ndarray, "drop link"]) -> Float[ndarray, "drop link"]:
    """Powers (W, not negative) with the links of every overloaded AP scaled down to its budget."""
    load = problem.ap_load(power)
    factor = problem.budget / np.maximum(load, problem.budget)
    return power * np.take_along_axis(factor, problem.link_ap, axis=1)


def shortfall(problem: Coefficients, power: Float[ndarray, "drop link"]) -> Float[ndarray, " drop"]:
    """Worst relative shortfall of any sensing row, 1 where nothing is sent; 0 in drops without rows."""
    return problem.violations(power).sensing


def repair(problem: Coefficients, power: Float[ndarray, " link"]) -> tuple[Float[ndarray, " link"], bool]:
    """Powers (W) near `power` of one drop that meet every row, and True; or the best effort, and False.

    Adds the cheapest powers that meet the rows, then scales all of them into the budgets, which leaves the rows as they are.
    `problem` holds one drop whose rows have no noise; `power` keeps the budgets.
    """
    echo, required = problem.echo[0], problem.sir_min[0][:, None] * problem.cross_echo[0]
    repaired = _with_rows(problem, power, echo - (1.0 + ROOM) * required)
    if repaired is not None and shortfall(problem, repaired[None])[0] <= ROW_TOLERANCE:
        return repaired, True
    mixture, ratio = best_ratio(echo, required)
    asked = BEST_EFFORT_SHARE * min(ratio, 1.0)
    repaired = _with_rows(problem, power, echo - asked * required)
    if repaired is None or not np.isfinite(repaired).all():
        repaired = _to_budget(problem, mixture)
    return repaired, bool(shortfall(problem, repaired[None])[0] <= ROW_TOLERANCE)


def _with_rows(problem: Coefficients, power: ndarray, row: ndarray) -> ndarray | None:
    """`power` and the cheapest addition that makes row.p >= 0, scaled into the budgets; None where nothing does.

    A watt costs its share of the AP's budget and what it takes from the SINR of the weakest UEs.
    """
    interference, sinr = problem.interference(power[None])[0], problem.sinr(power[None])[0]
    weak = (sinr.min() / np.maximum(sinr, 1e-30)) ** 2
    harm = (weak / weak.sum() / interference) @ problem.leakage[0]
    added = cheapest(row, -(row @ power), 1.0 / problem.budget[0][problem.link_ap[0]] + harm)
    return None if added is None else _to_budget(problem, power + added)


def _to_budget(problem: Coefficients, power: ndarray) -> ndarray:
    """All powers by one factor, so that the busiest AP sends its budget."""
    fullest = (problem.ap_load(power[None]) / problem.budget).max()
    return within_budget(problem, power[None] / fullest)[0]


def _usable(problem: Coefficients, power: ndarray) -> ndarray:
    """Drops whose powers are finite and give every UE some."""
    finite = np.isfinite(power).all(-1) & (np.abs(power).max(-1) < 1e30)
    safe = np.where(finite[:, None], np.maximum(power, 0.0), 0.0)
    return finite & (problem.serving_power(safe).sum(-1) > 0.0).all(-1)


def _worst_row(problem: Coefficients, power: ndarray) -> str:
    ratio = problem.sir(power)[0] / problem.sir_min[0]
    target = int(ratio.argmin())
    return f"sensing SIR of target {target} at {max(float(ratio[target]), 0.0):.3g} of SIR0"
