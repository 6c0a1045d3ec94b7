"""How well every UE of a drop can be located at once: one conic programme, and a proof that needs no trust in the solver."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
from isac_torch.solvers.downlink_pilots.cuts import Cuts, no_cuts, tangents
from isac_torch.solvers.downlink_pilots.model import Array, DropArrays, Layout, common_constraints, drop_arrays

MARGIN = 1e-9
"""How far a computed bound must miss before a drop is called infeasible; rounding is far below."""


_CLOSE = 1e-3
_MAX_CUTS = 40
"""Rounds of tangents of the expected CRB."""


@dataclass(frozen=True)
class LocalisationLimit:
    """The point of a drop at which the worst localisation bound, relative to what is asked, is smallest.

    Attributes:
        power: W, of each link.
        quality: smallest Gamma_k / CRB_k at `power`; at least 1 means feasible.
        bound: no powers within the budgets reach a larger smallest Gamma_k / CRB_k.
        cuts: tangents that were needed.
    """

    power: Float[Tensor, "1 link"]
    quality: float
    bound: float
    cuts: Cuts

    @property
    def infeasible(self) -> bool:
        """Whether the localisation bounds are proven out of reach."""
        return self.bound < 1.0 - MARGIN


def best_localisation(problem: MinMaxNmseProblem) -> LocalisationLimit:
    """Largest q with CRB_k <= Gamma_k / q for every UE of one drop, eq. (P18): jointly convex in powers and q.

    The expected CRB is approached from outside by its tangents (P18a), until the powers found reach q to _CLOSE and
    1 is not between. Where the solver fails, an equal split with no bound.
    """
    cuts = no_cuts(problem)
    best = found = _best_of(problem, cuts)
    for _ in range(_MAX_CUTS if problem.fading == "expected" else 0):
        settled = best.infeasible or best.quality >= 1.0
        if best.quality >= best.bound * (1.0 - (_CLOSE if settled else MARGIN)):
            break
        cuts = cuts.joined(tangents(problem, found.power))
        found = _best_of(problem, cuts)
        kept = found if found.quality > best.quality else best
        best = LocalisationLimit(kept.power, kept.quality, max(min(best.bound, found.bound), kept.quality), cuts)
    return best


def _best_of(problem: MinMaxNmseProblem, cuts: Cuts) -> LocalisationLimit:
    drop = drop_arrays(problem, cuts)
    layout = Layout(drop, num_extra=1, shares_only=True)
    index = layout.extra.start
    programme, first_cone = common_constraints(drop, layout, quality=index)
    weight = np.zeros(layout.size)
    weight[index] = 1.0
    answer = programme.maximise(weight)
    share = answer.point[layout.shares] if answer.solved else np.full(drop.num_links, 1.0 / drop.num_ues)
    power = drop.power(share, problem.gain)
    bound = float("inf")
    if answer.solved:
        cones = np.stack([answer.dual[programme.span(first_cone + k)] for k in range(drop.num_ues)])
        bound = quality_bound(drop, cones, answer.dual[programme.span(first_cone - 1)])
    quality = float((problem.crb_max / problem.crb(power)).amin())
    return LocalisationLimit(power, quality, max(bound, quality), cuts)


def quality_bound(drop: DropArrays, dual: Array, cut_dual: Array) -> float:
    """Bound on the reachable q from any dual variables [ue, 4] of the cones and [cut] of the tangents, by weak duality.

    A dual variable y in the cone makes y^T (cone constraint) >= 0, which is linear in the shares and q; each AP spends its
    budget on its largest coefficient at best.
    """
    dual, cut_dual = into_cone(dual), np.maximum(cut_dual, 0.0)
    slope = cone_slope(drop, dual) + np.einsum("c,ckm->km", cut_dual, drop.cuts)
    cost = float((drop.quality * (dual[:, 0] - dual[:, 3])).sum() + cut_dual.sum())
    return float(np.maximum(slope.max(0), 0.0).sum()) / cost if cost > 0 else float("inf")


def into_cone(dual: Array) -> Array:
    """Multipliers with their heads raised until each lies in the second-order cone."""
    raised = dual.copy()
    raised[:, 0] = np.maximum(dual[:, 0], np.linalg.norm(dual[:, 1:], axis=1) * (1.0 + 1e-15))
    return raised


def cone_slope(drop: DropArrays, dual: Array) -> Array:
    """Coefficients [ue, ap] of the shares in sum_k y_k^T (localisation cone row of k)."""
    xx, yy, xy = drop.information
    head, difference, cross = (dual[:, i, None] for i in range(3))
    return np.asarray(head * (xx + yy) + difference * (xx - yy) + 2.0 * cross * xy)


def restore(problem: MinMaxNmseProblem, power: Float[Tensor, "drop link"], inside: Float[Tensor, "drop link"]) -> Tensor:
    """`power` (W) moved towards `inside` (W) just far enough that every localisation bound holds.

    1 / CRB, of the mean power or expected, is concave along the segment, so the step read off its ends is enough.
    """
    now, there = (problem.crb_max / problem.crb(candidate) - 1.0 for candidate in (power, inside))
    short = now < 0
    if not bool(short.any()):
        return power
    step = torch.where(short, -now / (there - now), torch.zeros_like(now)).amax(-1, keepdim=True).clamp(0.0, 1.0)
    step = torch.where(short.any(-1, keepdim=True), (step * (1.0 + 1e-9) + 1e-12).clamp(max=1.0), torch.zeros_like(step))
    return power + step * (inside - power)
