"""What the compiled core answers, told as the guard tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from isac_torch.deployment.card import REFINED, UNITS, Seen
from isac_torch.deployment.guard import OUT_OF_REACH, Guarded, PathTaken, missed_words
from isac_torch.deployment.native import IMPROVED, LEFT, NEARLY, SETTLED, NativeCore, Solved

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isac_torch.deployment.snapshot import Snapshot


def by_core(
    core: NativeCore, batch: Sequence[Snapshot], seen: Seen, refine: bool
) -> tuple[Guarded, list[tuple[str, ...]], list[int]]:
    """Powers of completed snapshots of one size class, what about each is unlike those of the training, and the drops left.

    The rows of drops that are left hold nothing of use.

    Args:
        core: computes.
        batch: snapshots with a sensing SIR.
        seen: ranges of the training.
        refine: improve all powers, not only those that the network is known to choose badly.
    """
    solved = core.solve(batch, refine)
    strange = seen.of_table(solved.quantity, UNITS)
    found = Guarded(solved.power, *_told(solved), solved.sinr, solved.sir)
    if any(strange) and not refine:
        _improve(core, batch, seen, solved, found)
    return found, strange, np.flatnonzero(solved.outcome == LEFT).tolist()


def put(found: Guarded, drop: int, other: Guarded, row: int) -> None:
    """Replace the answer to a drop by a row of another batch."""
    found.power[drop], found.sinr[drop], found.sir[drop] = other.power[row], other.sinr[row], other.sir[row]
    found.path[drop], found.reason[drop] = other.path[row], other.reason[row]


def _improve(core: NativeCore, batch: Sequence[Snapshot], seen: Seen, solved: Solved, found: Guarded) -> None:
    """Improve the powers of networks that the trained one is known to do badly."""
    words = seen.of_table(solved.quantity, REFINED)
    poor = [drop for drop, known in enumerate(words) if known and solved.outcome[drop] == SETTLED]
    if not poor:
        return
    better = core.solve([batch[drop] for drop in poor], refine=True)
    rest = Guarded(better.power, *_told(better), better.sinr, better.sir)
    for row, drop in enumerate(poor):
        put(found, drop, rest, row)
        found.reason[drop] = f"improved, because {words[drop][0]}"
    solved.outcome[poor] = better.outcome


def _told(solved: Solved) -> tuple[list[PathTaken], list[str]]:
    """Path and reason of each drop."""
    path: list[PathTaken] = ["network"] * len(solved.outcome)
    reason = [""] * len(path)
    for drop in np.flatnonzero(solved.outcome).tolist():
        outcome = solved.outcome[drop]
        if outcome == IMPROVED:
            path[drop] = "refined"
        elif outcome != LEFT:
            path[drop] = "best_effort" if outcome == NEARLY else "repaired"
            reason[drop] = missed_words(int(solved.missed[drop, 0]), solved.missed[drop, 1])
            reason[drop] += OUT_OF_REACH if outcome == NEARLY else ""
    return path, reason
