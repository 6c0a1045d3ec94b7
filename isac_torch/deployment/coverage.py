"""Answers for networks with UEs out of everybody's reach: the others are allocated without them, and the answer says so."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from isac_torch.deployment.guard import Guarded, PathTaken
from isac_torch.deployment.snapshot import NO_PATH_GAIN
from isac_torch.outage import any_outage, by_coverage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from isac_torch.deployment.statistics import Coefficients

_ROUNDING = 1.0 + 1e-9
_LISTED = 5
"""UEs that a reason names; of more only the number is said."""


def covered_first(problem: Coefficients, answer: Callable[[Coefficients], Guarded]) -> Guarded:
    """The guarded powers of every drop, with UEs in outage (`isac_torch.outage`) left out of what `answer` is asked.

    Args:
        problem: drops of one size class.
        answer: guarded powers of a problem.
    """
    outage = any_outage(problem)
    if outage is None:
        return answer(problem)
    parts = list(by_coverage(problem, outage))
    found = [_answered(part, answer) for part in parts]
    place = np.argsort(np.concatenate([part.index for part in parts]))
    return _joined(found, place)


def without_unheard(problem: Coefficients, found: Guarded) -> Guarded:
    """The same answers without power on links over which nothing of their UE's signal arrives, where that costs nothing.

    A UE that hears fewer APs than are to serve it has such links. Their power may still illuminate targets: where a sensing
    constraint would be missed without it, it stays. Links of UEs that hear no AP at all are those of UEs out of reach.
    """
    comm = problem.num_comm_links
    silent = (problem.link_gain[:, :comm] <= NO_PATH_GAIN * _ROUNDING).reshape(problem.signal.shape)
    idle = (silent & ~silent.all(-1, keepdims=True)).reshape(-1, comm)
    if not idle.any():
        return found
    power = found.power.copy()
    power[:, :comm] = np.where(idle, 0.0, power[:, :comm])
    with np.errstate(all="ignore"):
        sinr, sir = problem.sinr(power), problem.sir(power)
        same = (sir >= np.minimum(found.sir, problem.sir_min)).all(-1) & (sinr.min(-1) >= found.sinr.min(-1) / _ROUNDING)
        if problem.position is not None:
            known = np.minimum(problem.position.h(found.power), problem.position.required)
            same &= (problem.position.h(power) >= known).all(-1)
    kept = same[:, None]
    return replace(
        found,
        power=np.where(kept, power, found.power),
        sinr=np.where(kept, sinr, found.sinr),
        sir=np.where(kept, sir, found.sir),
    )


def _answered(part: Any, answer: Callable[[Coefficients], Guarded]) -> Guarded:
    """The drops of one `outage.Covered`, whose arrays are numpy's here."""
    if part.problem is None:
        found = answer(part.whole)
        return _with_reason(found, part.outage, "at full power, as that of every UE") if part.outage.any() else found
    found = answer(part.problem)
    power = part.with_outage(found.power)
    with np.errstate(all="ignore"):  # the SIR of a constraint that no other target disturbs is infinite
        whole = replace(found, power=power, sinr=part.whole.sinr(power), sir=part.whole.sir(power))
    whole = _with_reason(whole, part.outage, "at full power, left out of the smallest SINR")
    short = [drop for drop, path in enumerate(found.path) if path == "best_effort"]
    if short:  # the beams of the UEs in outage illuminate the targets as well
        kept = [drop for drop in range(len(found.path)) if drop not in set(short)]
        again = answer(part.whole.select(np.array(short)))
        whole = _joined([_chosen(whole, kept), again], np.argsort(np.array([*kept, *short])))
    return whole


def _with_reason(found: Guarded, outage: Bool[ndarray, "drop ue"], what: str) -> Guarded:
    reason = []
    for text, mask in zip(found.reason, outage, strict=True):
        ues = np.flatnonzero(mask).tolist()
        who = f"UE {', '.join(map(str, ues))}" if len(ues) <= _LISTED else f"{len(ues)} UEs, the first of them UE {ues[0]},"
        said = f"{who} out of reach: SINR below -30 dB even {what}" if ues else ""
        reason.append("; ".join(filter(None, (text, said))))
    return replace(found, reason=reason)


def _chosen(found: Guarded, drops: Sequence[int]) -> Guarded:
    index = np.array(drops, dtype=np.int64)
    return Guarded(
        found.power[index],
        [found.path[drop] for drop in drops],
        [found.reason[drop] for drop in drops],
        found.sinr[index],
        found.sir[index],
    )


def _joined(parts: Sequence[Guarded], place: ndarray) -> Guarded:
    """Drops of several answers, then in the order `place`."""
    path: list[PathTaken] = [value for part in parts for value in part.path]
    reason = [value for part in parts for value in part.reason]
    power, sinr, sir = (np.concatenate([getattr(part, name) for part in parts])[place] for name in ("power", "sinr", "sir"))
    return Guarded(power, [path[index] for index in place], [reason[index] for index in place], sinr, sir)
