"""Powers under requirements that ask for watts: expected SICNR, scan cells, position information, relative or absolute.

Newton steps of an interior-point method (`deployment.interior`) find powers that meet every constraint, from any start; where
they leave a shortfall, the guard of learned powers (`tracking.restoration`) takes it away, if need be by mixing with the
reference powers. Under `dominate` at factors of at most one the reference itself meets everything.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from isac_torch.deployment.interior import ascend
from isac_torch.tensors import at_rows
from isac_torch.tracking.fractional import reference_power
from isac_torch.tracking.restoration import TOLERANCE, restored

if TYPE_CHECKING:
    from isac_torch.deployment.statistics import Coefficients

BEST_EFFORT_SHARE = 0.98
"""Share of the largest common factor found that is asked for where a requirement is out of reach: the rest serves the UEs."""
MOST_LINKS = 512
"""Networks of more links keep their start, restored: a Newton step costs constraints^2 x links."""
_ROOM = 1e-7
"""Room (relative) that constraints are given, so that rounding cannot break them."""
_GAP, _STEPS = 0.005, 30
"""Where the Newton steps end: SINR left to gain, relative, as dual variables tell, or this many steps; 15 on average."""

_SPARE = 1e-2
"""Shortfall that Newton steps may leave for the guard: they come near the end from where constraints are missed a little."""


def met_by_steps(
    problem: Coefficients, power: Float[ndarray, "drop link"]
) -> tuple[Float[ndarray, "drop link"], Float[ndarray, " drop"]]:
    """Powers (W) that meet every constraint, with a smallest SINR near the largest; and the share of the requirement met, 1.

    Where no such powers are found, all constraints are lowered by one common factor, to BEST_EFFORT_SHARE of the largest found,
    which is the share then.

    Args:
        problem: any requirement.
        power: W, not negative, within the budgets, some for every UE; need not meet anything.
    """
    found = _stepped(problem, power)
    short = problem.violations(found).sensing
    share = np.where(short > TOLERANCE, BEST_EFFORT_SHARE * np.clip(1.0 - short, 0.0, 1.0), 1.0)
    poor = np.flatnonzero(share < 1.0)
    if len(poor):
        eased = asking(problem.select(poor), share[poor])
        found[poor] = _stepped(eased, found[poor])
    return found, share


def asking(problem: Coefficients, share: Float[ndarray, " drop"]) -> Coefficients:
    """The same problem with every requirement times `share`."""
    position = problem.position
    return replace(
        problem,
        sir_min=problem.sir_min * share[:, None],
        position=None if position is None else replace(position, required=position.required * share[:, None]),
    )


def _stepped(problem: Coefficients, power: ndarray) -> ndarray:
    """Newton steps, then the guard; the reference, or the start, where that is better."""
    found = power
    with np.errstate(all="ignore"):  # drops where numbers overflow keep their powers
        if problem.num_links <= MOST_LINKS:
            room = asking(problem, np.full(len(power), 1.0 + _ROOM))
            found = _within(problem, ascend(room, power, _GAP, _STEPS, _SPARE))
            found = np.where(np.isfinite(found).all(-1, keepdims=True), found, power)
        found = restored(problem, found).power
        for other in (reference_power(problem), power):
            better = _score(problem, other) > _score(problem, found)
            found = np.where(better[:, None], other, found)
    return found


def _within(problem: Coefficients, power: ndarray) -> ndarray:
    return power / at_rows(np.maximum(problem.ap_load(power) / problem.budget, 1.0), problem.link_ap)


def _score(problem: Coefficients, power: ndarray) -> Float[ndarray, " drop"]:
    """Smallest SINR where every constraint is met, else what is missing, negative; -inf where not finite."""
    short = problem.violations(power).sensing
    value = np.where(short > TOLERANCE, -short, problem.objective(power))
    return np.where(np.isfinite(value), value, -np.inf)
