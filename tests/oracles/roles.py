"""Loop oracles of which APs listen. NumPy only: nothing here may import isac_torch."""

import itertools
import math

from tests.oracles.geometry import Array


def least_used(gains: Array, count: int) -> list[int]:
    """Indices of the `count` APs with the least sum over UEs of gain over the UE's largest gain. `gains`: [ue, ap]."""
    use = [sum(float(row[m]) / max(map(float, row)) for row in gains) for m in range(gains.shape[1])]
    return sorted(range(len(use)), key=lambda m: use[m])[:count]


def merit(gains: Array, chosen: tuple[int, ...], serving: int) -> float:
    """Least over UEs of the sum of sqrt(gain) over its strongest transmit APs; besides, a thousandth of the mean over all."""
    sums, everything = [], 0.0
    for row in gains:
        sends = sorted((math.sqrt(float(g)) for m, g in enumerate(row) if m not in chosen), reverse=True)
        sums.append(sum(sends[:serving]))
        everything += sum(sends) / len(gains)
    return min(sums) + 1e-3 * everything


def weakest_ue(gains: Array, gaps: Array, default: list[int], serving: int, reach: float | None) -> set[int]:
    """The set of largest merit, of all whose targets are no farther from it than `reach` times from the default set."""
    best, best_merit = tuple(default), -math.inf
    for chosen in itertools.combinations(range(gains.shape[1]), len(default)):
        near = [(min(row[list(chosen)]), min(row[default])) for row in gaps]
        if reach is not None and any(here > reach * there for here, there in near):
            continue
        value = merit(gains, chosen, serving)
        if value > best_merit:
            best, best_merit = chosen, value
    return set(best)
