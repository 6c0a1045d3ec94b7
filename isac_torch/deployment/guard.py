"""The last word on powers before they leave: finite, within every budget, sensing constraints met where any powers can.

Whatever proposes powers, `guard` judges them by the problem itself and says what it did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from isac_torch.deployment.repair import ROW_TOLERANCE, improved, repair, within_budget
from isac_torch.deployment.statistics import Coefficients
from isac_torch.tracking.fractional import fractional_power

PathTaken = Literal["network", "refined", "repaired", "fallback_fpc", "best_effort", "distributed"]

FALLBACK = (0.0, 1.0)
"""Exponents of fractional power control where an answer cannot be used: those that do best of the rules that need no solver."""
OUT_OF_REACH = ", and no powers meet every sensing constraint"
"""What a reason says of best efforts."""
_TIE = 1e-3
"""Targets whose SIR differs by less, relative, count as missed alike, and the first is named: balanced powers give several
the same SIR."""
_LARGEST = 1e30
"""Powers (W) from here on are no powers."""


@dataclass(frozen=True)
class Guarded:
    """Powers that may be sent, and how each drop came by them.

    Attributes:
        power: W; finite, not negative, no AP above its budget.
        path: "network": as proposed, but for scaling into the budgets; "refined": the same, improved; "repaired": changed until
            every sensing constraint is met; "fallback_fpc": fractional power control, repaired where needed, because the
            proposal was unusable; "best_effort": no powers meet all of them, these come close to the best that any reach;
            "distributed": as the APs' own programs found them, unrepaired.
        reason: what was wrong with the proposal, in words; empty where nothing was.
        sinr: of each UE at these powers, linear.
        sir: of each sensing constraint at these powers, linear; may be infinite.
    """

    power: Float[ndarray, "drop link"]
    path: list[PathTaken]
    reason: list[str]
    sinr: Float[ndarray, "drop ue"]
    sir: Float[ndarray, "drop constraint"]


def guard(problem: Coefficients, power: Float[ndarray, "drop link"], refine: bool | Bool[ndarray, " drop"] = False) -> Guarded:
    """Judge and, where needed, repair or replace proposed powers (W) of every drop. Never raises for any numbers.

    With `refine`, of all drops or of each, powers that are good as proposed are improved too: milliseconds for some per cent
    of the rate.
    """
    # Proposals may hold anything; the SIR of a target that no other target disturbs is infinite.
    with np.errstate(all="ignore"):
        return _guard(problem, power, np.broadcast_to(refine, len(power)))


def _guard(problem: Coefficients, power: ndarray, refine: Bool[ndarray, " drop"]) -> Guarded:
    load = problem.ap_load(power)
    kept = within_budget(problem, power, load)
    sinr, sir = problem.sinr(kept), problem.sir(kept)
    # a number that is not finite makes some load or SINR so, and comparisons with that are false
    good = (kept.min(-1) >= 0.0) & (load.max(-1) < _LARGEST) & (sinr.min(-1) > 0.0)
    if problem.asks_for_watts:
        good &= problem.violations(kept).sensing <= ROW_TOLERANCE
    elif problem.num_constraints:
        good &= (sir / problem.sir_min).min(-1) >= 1.0 - ROW_TOLERANCE
    path: list[PathTaken] = ["refined" if better else "network" for better in refine]
    reason = [""] * problem.num_drops
    index = np.flatnonzero(good & refine)
    if len(index):
        some = problem.select(index)
        kept[index] = improved(some, kept[index])
        sinr[index], sir[index] = some.sinr(kept[index]), some.sir(kept[index])
    if not good.all():
        poor = np.flatnonzero(~good)
        some = problem.select(poor)
        kept[poor], paths, reasons = _mended(some, power[poor])
        sinr[poor], sir[poor] = some.sinr(kept[poor]), some.sir(kept[poor])
        for drop, new_path, new_reason in zip(poor, paths, reasons, strict=True):
            path[drop], reason[drop] = new_path, new_reason
    return Guarded(kept, path, reason, sinr, sir)


def _mended(problem: Coefficients, power: ndarray) -> tuple[ndarray, list[PathTaken], list[str]]:
    """Powers, path and reason of drops that are not good as proposed."""
    usable = _usable(problem, power)
    kept = np.where(usable[:, None], power, 0.0)
    if not usable.all():
        kept[~usable] = fractional_power(problem.select(np.flatnonzero(~usable)), *FALLBACK)
    kept = within_budget(problem, np.maximum(kept, 0.0))
    path: list[PathTaken] = ["network" if good else "fallback_fpc" for good in usable]
    reason = ["" if good else "the network's powers are not finite or leave a UE without power" for good in usable]
    missed = np.flatnonzero(problem.violations(kept).sensing > ROW_TOLERANCE)
    if len(missed):
        some = problem.select(missed)
        words = _worst_rows(some, kept[missed])
        kept[missed], share = repair(some, kept[missed])
        for drop, text, met in zip(missed, words, share >= 1.0, strict=True):
            if not met:
                path[drop], text = "best_effort", text + OUT_OF_REACH
            elif path[drop] == "network":
                path[drop] = "repaired"
            reason[drop] = "; ".join(filter(None, (reason[drop], text)))
    return kept, path, reason


def _usable(problem: Coefficients, power: ndarray) -> Bool[ndarray, " drop"]:
    """Drops whose powers are finite and give every UE some."""
    finite = np.isfinite(power).all(-1) & (np.abs(power).max(-1) < _LARGEST)
    safe = np.where(finite[:, None], np.maximum(power, 0.0), 0.0)
    return finite & (problem.serving_power(safe).sum(-1) > 0.0).all(-1)


def _worst_rows(problem: Coefficients, power: ndarray) -> list[str]:
    """In words, the constraint of each drop that is missed most."""
    ratio = problem.sir(power) / np.maximum(problem.sir_min, np.finfo(np.float64).tiny)
    if not problem.asks_for_watts:
        least = ratio.min(-1)
        first = (ratio <= least[:, None] * (1.0 + _TIE)).argmax(-1)
        return [missed_words(int(target), value) for target, value in zip(first, least, strict=True)]
    names = [f"sensing SICNR of target {target}" for target in range(problem.num_target_constraints)]
    names += [f"echo of scan cell {cell}" for cell in range(problem.num_cells)]
    if problem.position is not None:
        ratio = np.concatenate([ratio, problem.position.h(power) / problem.position.required], axis=1)
        names += [f"position information of target {target}" for target in range(problem.num_targets)]
    return [
        f"{names[worst]} at {max(float(row[worst]), 0.0):.3g} of what is required"
        for row, worst in zip(ratio, ratio.argmin(-1), strict=True)
    ]


def missed_words(target: int, ratio: float) -> str:
    """In words, that a target has a SIR of `ratio` times SIR0."""
    return f"sensing SIR of target {target} at {max(float(ratio), 0.0):.3g} of SIR0"
