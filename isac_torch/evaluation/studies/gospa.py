"""How far estimates are from targets: the GOSPA metric of Rahmathullah, Garcia-Fernandez and Svensson (2017)."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Gospa:
    """GOSPA with p = 2 and alpha = 2, and what it is made of.

    Attributes:
        distance: sqrt(squared errors + cutoff^2 / 2 for each missed target and each false estimate), m.
        squared_error: sum over the matched pairs, m2.
        matched: pairs of a target and an estimate within the cutoff.
        missed: targets without an estimate.
        false: estimates without a target.
    """

    distance: float
    squared_error: float
    matched: int
    missed: int
    false: int


def gospa(
    targets: Float[Tensor, "target 3"], estimates: Float[Tensor, "estimate 3"], cutoff: float
) -> tuple[Gospa, list[tuple[int, int]]]:
    """The metric and its matched pairs (target, estimate).

    Args:
        targets: true positions, m.
        estimates: m.
        cutoff: largest distance of a pair, m.
    """
    from scipy.optimize import linear_sum_assignment

    squared = (targets.unsqueeze(1) - estimates.unsqueeze(0)).square().sum(-1)
    cost = squared.clamp_max(cutoff**2)
    rows, columns = linear_sum_assignment(cost.numpy())
    pairs = [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if float(squared[i, j]) < cutoff**2]
    error = float(sum(float(squared[i, j]) for i, j in pairs))
    missed, false = len(targets) - len(pairs), len(estimates) - len(pairs)
    distance = (error + 0.5 * cutoff**2 * (missed + false)) ** 0.5
    return Gospa(distance, error, len(pairs), missed, false), pairs
