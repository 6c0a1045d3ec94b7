"""Loop oracles of who transmits, receives, serves, senses and listens. NumPy only: nothing here may import isac_torch."""

import itertools
import math

from tests.oracles.geometry import Array, Point, distance


def farthest_points(positions: Array, centre: Point, count: int) -> list[int]:
    """Indices of `count` APs: the one nearest `centre`, then always the one farthest from those chosen (horizontal plane)."""

    def flat(first: Point, second: Point) -> float:
        return math.hypot(float(first[0]) - float(second[0]), float(first[1]) - float(second[1]))

    chosen = [min(range(len(positions)), key=lambda i: flat(positions[i], centre))]
    while len(chosen) < count:
        rest = [i for i in range(len(positions)) if i not in chosen]
        chosen.append(max(rest, key=lambda i: min(flat(positions[i], positions[c]) for c in chosen)))
    return chosen


def strongest(gains: Array, count: int) -> list[int]:
    """Indices of the `count` largest gains, largest first."""
    return sorted(range(len(gains)), key=lambda i: -float(gains[i]))[:count]


def closest(point: Point, positions: Array, count: int) -> list[int]:
    """Indices of the `count` positions closest to `point` in space, closest first."""
    return sorted(range(len(positions)), key=lambda i: distance(point, positions[i]))[:count]


def balanced_assignment(targets: Array, receivers: Array) -> list[int]:
    """Least total distance from targets to receive APs with at most ceil(L / R) targets each, by trying every assignment."""
    capacity = math.ceil(len(targets) / len(receivers))
    best: tuple[int, ...] = ()
    best_cost = math.inf
    for choice in itertools.product(range(len(receivers)), repeat=len(targets)):
        if max(choice.count(r) for r in set(choice)) > capacity:
            continue
        cost = sum(distance(targets[i], receivers[r]) for i, r in enumerate(choice))
        if cost < best_cost:
            best, best_cost = choice, cost
    return list(best)
