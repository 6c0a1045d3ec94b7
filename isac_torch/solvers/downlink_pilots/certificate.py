"""How far a drop's largest NMSE is from the smallest possible: a computed proof by branching, for orthogonal uplink pilots.

With e_k the pilot energy that UE k receives from its own beams and I_k noise plus the contamination by others, the error is
V_k = I_k f(omega_k), f(x) = x / (1 + x), omega_k = e_k / I_k, and f is concave. On l <= omega_k <= h, V_k lies above its
chord (e_k + l h I_k) / ((1 + l) (1 + h)), which is linear in the powers. With the chord for V_k the set of powers with all
w_k NMSE_k <= t is convex; where it is empty in every box of a partition, no powers reach t. A box is discarded only by weak
duality, computed here from the solver's multipliers whatever they are worth: for lambda_k >= 0 and theta_km > 0 summing to 1
over the APs,

    (sum_m sqrt(est_km x_km))^2 <= sum_m est_km x_km / theta_km                                  (Cauchy)

makes the weighted sum of all rows linear in the shares, and each AP spends its budget on its largest coefficient at best: a
negative maximum proves emptiness. Eq. (P22) of docs/downlink_pilots.md. That is the projection's error; for other receivers
`relaxed` gives a problem of this kind that bounds theirs.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
from isac_torch.solvers.downlink_pilots.ascent import descend
from isac_torch.solvers.downlink_pilots.cones import Solution
from isac_torch.solvers.downlink_pilots.cuts import tangents
from isac_torch.solvers.downlink_pilots.feasibility import cone_slope, into_cone
from isac_torch.solvers.downlink_pilots.model import Array, DropArrays, Layout, common_constraints, drop_arrays, strength_rows
from isac_torch.solvers.downlink_pilots.relaxed import is_relaxed, relaxed

_ROUNDING = 1e-11
"""A proof's negative maximum has to exceed this share of the terms it is made of."""


def upper_bound(
    problem: MinMaxNmseProblem,
    power: Float[Tensor, "1 link"],
    *,
    gap: float = 1e-3,
    max_boxes: int = 400,
) -> float:
    """A value that no powers exceed in 1 / max_k w_k NMSE_k of one drop: value / (1 - gap) where that can be proven.

    Args:
        problem: one drop with merit "worst".
        power: W; the best that is known, whose value the bound is to be close to. The tangents there stand for the expected
            CRB.
        gap: relative distance to prove first; ten times as much where `max_boxes` are not enough, and so on.
        max_boxes: boxes to look at for each gap.

    Returns:
        The bound, which is that of the relaxation where the receiver needs one; inf where uplink pilots are shared, for the sum
        of NMSE, or where nothing could be proven.
    """
    if problem.has_shared_uplink or problem.merit == "sum":
        return float("inf")
    value = float(problem.objective(power))
    gap *= 0.99  # so that the stated gap is met after rounding
    if is_relaxed(problem):
        problem = relaxed(problem, power)
        power = descend(problem, power, power)
        value = max(value, float(problem.objective(power)))
    drop = drop_arrays(problem, tangents(problem, power))
    while gap < 0.9:
        if _Branching(drop, problem, power, value / (1.0 - gap)).proves_empty(max_boxes):
            return value / (1.0 - gap)
        gap *= 10.0 if gap < 0.05 else 1.6
    return float("inf")


@dataclass(frozen=True)
class _Box:
    """Ranges of omega_k = e_k / I_k."""

    low: Array
    high: Array


class _Branching:
    """The search for powers of one drop whose objective reaches `target`."""

    def __init__(self, drop: DropArrays, problem: MinMaxNmseProblem, power: Tensor, target: float) -> None:
        self._drop = drop
        self._layout = Layout(drop, num_extra=1)
        self._level = drop.weight * target
        self._strength = strength_rows(drop, self._layout)
        self._programme, self._first_cone = common_constraints(drop, self._layout)
        zeros = np.zeros(drop.num_ues)
        self._error_block = self._programme.nonnegative(self._strength, zeros)
        self._box_block = self._programme.nonnegative(np.tile(self._strength, (2, 1)), np.tile(zeros, 2))
        self._share = drop.share(power)
        self._own, self._other = self._received()

    def proves_empty(self, max_boxes: int) -> bool:
        """Whether `max_boxes` boxes are enough to prove that the target is out of reach."""
        order = itertools.count()
        queue = [(0.0, next(order), self._root())]
        for _ in range(max_boxes):
            if not queue:
                return True
            _, _, box = heapq.heappop(queue)
            answer = self._solve(box)
            if self._empty(box, answer):
                continue
            # Loosest boxes last: the proof needs them all, but the first failure to converge ends it sooner.
            priority = -float(answer.point[self._layout.extra.start]) if answer.solved else 0.0
            for child in self._halves(box, answer):
                heapq.heappush(queue, (priority, next(order), child))
        return not queue

    def _received(self) -> tuple[Array, Array]:
        """Coefficients [k, link] of the shares in e_k and in I_k - 1."""
        drop = self._drop
        ues, links = drop.num_ues, drop.num_links
        own = np.einsum("kj,km->kjm", np.eye(ues), drop.own).reshape(ues, links)
        squared = drop.squared_gram * (1.0 - np.eye(ues))
        return own, (np.einsum("kj,km->kjm", squared, drop.gain) * drop.serves).reshape(ues, links)

    def _root(self) -> _Box:
        """All omega that the target allows: e_k (1 + sum est / gain) >= E|a_k|^2 bounds it from below."""
        drop = self._drop
        high = drop.gain.sum(1)
        ratio = 1.0 + (drop.root**2 * drop.scale[:, None] / drop.gain).sum(1)
        # V = e / (1 + omega) <= E|a|^2 / nmse <= e ratio / nmse; a little wider, against rounding.
        low = np.maximum(self._level / ratio * (1.0 - 1e-9) - 1.0, 0.0)
        return _Box(np.minimum(low, high), high * (1.0 + 1e-9))

    def _chord(self, box: _Box) -> tuple[Array, Array]:
        """The chord's coefficients: V_k >= a_k e_k + b_k I_k in the box."""
        inverse = 1.0 / ((1.0 + box.low) * (1.0 + box.high))
        return inverse, inverse * box.low * box.high

    def _box_rows(self, box: _Box) -> tuple[Array, Array]:
        """h I - e >= 0 and e - l I >= 0 over the shares, divided by h and by (1 + l) so that they stay of order one."""
        high, low = box.high[:, None], box.low[:, None]
        above = (high * self._other - self._own) / high
        below = (self._own - low * self._other) / (1.0 + low)
        return np.concatenate([above, below]), np.concatenate([np.ones_like(box.high), -box.low / (1.0 + box.low)])

    def _error_rows(self, box: _Box) -> tuple[Array, Array]:
        """- nmse V_k / S_k^2 by the chord, over the shares, and its constant."""
        own, contaminated = self._chord(box)
        factor = self._level / self._drop.scale
        rows = -factor[:, None] * (own[:, None] * self._own + contaminated[:, None] * self._other)
        return rows, -factor * contaminated

    def _solve(self, box: _Box) -> Solution:
        """Largest margin d by which every error constraint of the box can be kept, d <= 1."""
        layout, drop = self._layout, self._drop
        rows, offset = self._error_rows(box)
        full = self._strength.copy()
        full[:, layout.shares] += rows
        full[:, layout.extra.start] = -1.0
        self._programme.replace(self._error_block, full, offset)
        rows, offset = self._box_rows(box)
        full = np.zeros((2 * drop.num_ues, layout.size))
        full[:, layout.shares] = rows
        self._programme.replace(self._box_block, full, offset)
        weight = np.zeros(layout.size)
        weight[layout.extra] = 1.0
        return self._programme.maximise(weight)

    def _empty(self, box: _Box, answer: Solution) -> bool:
        """Whether the multipliers prove that no powers in the box reach the target."""
        if not np.isfinite(answer.dual).all():
            return False
        drop = self._drop
        dual = np.maximum(answer.dual[self._programme.span(self._error_block)], 0.0)
        inside = np.maximum(answer.dual[self._programme.span(self._box_block)], 0.0)
        cones = np.stack([answer.dual[self._programme.span(self._first_cone + k)] for k in range(drop.num_ues)])
        cones = into_cone(cones)
        cuts = np.maximum(answer.dual[self._programme.span(self._first_cone - 1)], 0.0)
        spread = drop.own / drop.scale[:, None]
        rows, offset = self._error_rows(box)
        fences, fence_offset = self._box_rows(box)
        linear = dual[:, None] * spread + (dual @ rows + inside @ fences).reshape(drop.num_ues, -1)
        linear = linear + cone_slope(drop, cones) + np.einsum("c,ckm->km", cuts, drop.cuts)
        constants = [dual @ offset, inside @ fence_offset, (drop.quality * (cones[:, 3] - cones[:, 0])).sum(), -cuts.sum()]
        size = np.abs(linear).sum() + sum(abs(float(c)) for c in constants)
        for theta in self._shares_of_gain(answer, dual):
            coherent = dual[:, None] * drop.root**2 / theta
            largest = np.maximum((linear + coherent).max(0), 0.0).sum() + sum(constants)
            if largest < -_ROUNDING * (size + coherent.sum()):
                return True
        return False

    def _shares_of_gain(self, answer: Solution, dual: Array) -> list[Array]:
        """Candidates for theta [k, m]: from the multipliers of the links' cones, and from the amplitudes at the solution.

        At the optimum both are the same; the first stays accurate on links that get next to nothing.
        """
        drop = self._drop
        first = self._first_cone + drop.num_ues + 1
        cones = np.stack([answer.dual[self._programme.span(first + link)] for link in range(drop.num_links)])
        slope = np.maximum(cones[:, 0] + cones[:, 1], 1e-300).reshape(drop.num_ues, -1)
        share = answer.point[self._layout.shares].reshape(drop.num_ues, -1) if answer.solved else self._share
        candidates = (np.maximum(dual[:, None], 1e-300) * drop.root**2 / slope, drop.root * np.sqrt(np.maximum(share, 0)))
        return [c / c.sum(1, keepdims=True) for c in (np.maximum(c, 1e-12 * c.sum(1, keepdims=True)) for c in candidates)]

    def _halves(self, box: _Box, answer: Solution) -> list[_Box]:
        """The box cut at the geometric mean of the omega whose chord is farthest from the truth."""
        share = answer.point[self._layout.shares] if answer.solved else self._share.reshape(-1)
        own, noise = self._own @ share, 1.0 + self._other @ share
        a, b = self._chord(box)
        loose = self._level * (own * noise / (own + noise) - a * own - b * noise) / self._drop.scale
        if not answer.solved or loose.max() <= 1e-14:
            loose = np.log((1.0 + box.high) / (1.0 + box.low))
        k = int(loose.argmax())
        middle = np.sqrt((1.0 + box.low[k]) * (1.0 + box.high[k])) - 1.0
        low, high = box.low.copy(), box.high.copy()
        high[k], low[k] = middle, middle
        return [_Box(box.low, high), _Box(low, box.high)]
