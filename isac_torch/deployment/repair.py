"""Powers that miss sensing constraints: an exact linear program meets these, Newton steps then raise the UEs again.

`with_rows` decides whether any powers meet the constraints, and if so adds the cheapest ones that do. That may drown the UEs.
`improved` then trades all powers against each other at fixed constraints, up to a few per cent of the largest smallest SINR.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from isac_torch.deployment.interior import ascend
from isac_torch.deployment.mixture import best_ratio, cheapest
from isac_torch.deployment.patience import still_wanted
from isac_torch.deployment.radar_repair import met_by_steps
from isac_torch.tensors import at_rows

if TYPE_CHECKING:
    from isac_torch.deployment.statistics import Coefficients

ROW_TOLERANCE = 1e-6
"""Largest relative shortfall of a sensing constraint that still counts as met, as everywhere in the package."""
BEST_EFFORT_SHARE = 0.98
"""Share of the largest reachable sensing quality that is asked for where SIR0 is out of reach: the rest serves the UEs."""
MOST_LINKS = 512
"""Networks of more links keep the linear program's answer: a Newton step costs targets^2 x links, seconds at 400x400x20."""
_ROOM = 1e-7
"""Room (relative) that repaired constraints are given, so that rounding cannot break them."""
_GAP, _STEPS = 0.02, 24
"""Where the Newton steps end: 2 % of the SINR left to gain at most, or this many steps; ten on average."""


def repair(
    problem: Coefficients, power: Float[ndarray, "drop link"]
) -> tuple[Float[ndarray, "drop link"], Float[ndarray, " drop"]]:
    """Powers (W) that meet every sensing constraint where any powers can, with a good smallest SINR; and the share of SIR0 met.

    The share is 1 there. Elsewhere SIR0 is lowered to BEST_EFFORT_SHARE of the best that any powers reach, and the share of
    it is returned. Each drop's answer is the same in any batch.

    Args:
        problem: at least one sensing constraint.
        power: W, not negative, within the budgets, some for every UE.
    """
    if problem.asks_for_watts:
        return met_by_steps(problem, power)
    found, share = with_rows(problem, power)
    asked = replace(problem, sir_min=problem.sir_min * share[:, None])
    return improved(asked, found), share


def with_rows(
    problem: Coefficients, power: Float[ndarray, "drop link"]
) -> tuple[Float[ndarray, "drop link"], Float[ndarray, " drop"]]:
    """`power` plus the cheapest powers that meet every constraint, as far as any can; and the share of SIR0 met.

    A watt costs its share of the AP's budget and what it takes from the SINR of the weakest UEs. In the end all powers are
    scaled into the budgets, which leaves the constraints as they are. Arguments as in `repair`.
    """
    interference, sinr = problem.interference(power), problem.sinr(power)
    weak = (sinr.min(-1, keepdims=True) / np.maximum(sinr, 1e-30)) ** 2
    harm = weak / np.maximum(weak.sum(-1, keepdims=True), 1e-30) / interference  # none where a UE hears nothing at all
    cost = 1.0 / problem.link_budget + (harm[:, None] @ problem.leakage)[:, 0]
    required = problem.sir_min[..., None] * problem.cross_echo
    found, share = power.copy(), np.ones(len(power))
    for drop in range(len(power)):
        still_wanted()
        found[drop], share[drop] = _with_rows(power[drop], problem.echo[drop], required[drop], cost[drop])
    return full_power(problem, found), share


def _with_rows(power: ndarray, echo: ndarray, required: ndarray, cost: ndarray) -> tuple[ndarray, float]:
    """Powers of one drop before they are scaled into the budgets, and the share of SIR0 that they meet."""
    repaired = _cheapest_addition(power, echo - (1.0 + _ROOM) * required, cost)
    if repaired is not None and _short(repaired, echo, required) <= ROW_TOLERANCE:
        return repaired, 1.0
    mixture, ratio = best_ratio(echo, required)
    share = BEST_EFFORT_SHARE * min(ratio, 1.0)
    repaired = _cheapest_addition(power, echo - share * required, cost)
    if repaired is None or not np.isfinite(repaired).all():
        repaired = mixture
    return repaired, 1.0 if _short(repaired, echo, required) <= ROW_TOLERANCE else share


def _cheapest_addition(power: ndarray, row: ndarray, cost: ndarray) -> ndarray | None:
    added = cheapest(row, -(row @ power), cost)
    return None if added is None else power + added


def _short(power: ndarray, echo: ndarray, required: ndarray) -> float:
    """Largest relative shortfall of any constraint."""
    return float(np.max(1.0 - (echo @ power) / np.maximum(required @ power, np.finfo(np.float64).tiny)))


def improved(problem: Coefficients, power: Float[ndarray, "drop link"]) -> Float[ndarray, "drop link"]:
    """Powers (W) that meet the constraints, with at least the given smallest SINR, mostly near the largest there is.

    Args:
        problem: see `repair`; constraints that some powers meet.
        power: W, within the budgets; meets the constraints. Returned as they are for more than MOST_LINKS links.
    """
    if problem.asks_for_watts:
        return met_by_steps(problem, power)[0]
    if problem.num_links > MOST_LINKS:
        return power
    room = replace(problem, sir_min=problem.sir_min * (1.0 + _ROOM))
    with np.errstate(all="ignore"):  # drops where numbers overflow keep their powers
        found = full_power(problem, ascend(room, power, _GAP, _STEPS))
        missed = np.flatnonzero(_shortfall(problem, found) > ROW_TOLERANCE)
        if len(missed):
            found[missed] = with_rows(problem.select(missed), found[missed])[0]
        better = (problem.objective(found) > problem.objective(power)) & (_shortfall(problem, found) <= ROW_TOLERANCE)
    return np.where(better[:, None], found, power)


def full_power(problem: Coefficients, power: Float[ndarray, "drop link"]) -> Float[ndarray, "drop link"]:
    """All powers (W) of a drop by one factor, so that the busiest AP sends its budget and none sends more."""
    power = power / (problem.ap_load(power) / problem.budget).max(-1, keepdims=True)
    return within_budget(problem, power)


def within_budget(
    problem: Coefficients, power: Float[ndarray, "drop link"], load: Float[ndarray, "drop ap"] | None = None
) -> Float[ndarray, "drop link"]:
    """Powers (W, not negative) with the links of every overloaded AP scaled down to its budget.

    `load` is what each AP sends (W), where that is known.
    """
    load = problem.ap_load(power) if load is None else load
    return power * at_rows(problem.budget / np.maximum(load, problem.budget), problem.link_ap)


def _shortfall(problem: Coefficients, power: ndarray) -> ndarray:
    return problem.violations(power).sensing
