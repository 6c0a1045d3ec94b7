"""Least largest NMSE of many drops at once, certified: the batched engine of the downlink-pilot system.

Three passes of `isac_torch.solvers.downlink_pilots.interior`: the best localisation, which proves drops infeasible and lends a
start; the powers themselves; and the certificate, whose boxes of all drops are solved together. UEs take their turn in being
held to the left, to the right of, and then near omega_k = F_k / I_k at the powers found: 2 K + 1 boxes per drop, all but the
last far from them. Drops that a pass does not settle are left to the drop-by-drop solver, which needs no luck.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isac_torch.allocation import Proposal, equal_split
from isac_torch.allocators.downlink_pilots.classical import MinMaxNmse
from isac_torch.allocators.parts import in_parts
from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
from isac_torch.solvers.downlink_pilots.ascent import descend, linearised
from isac_torch.solvers.downlink_pilots.certificate import upper_bound
from isac_torch.solvers.downlink_pilots.feasibility import MARGIN, best_localisation, restore
from isac_torch.solvers.downlink_pilots.interior import Point, solve
from isac_torch.solvers.downlink_pilots.programmes import Drops, LeastNmse, Localisation, drops_of, quality_bound
from isac_torch.solvers.downlink_pilots.relaxed import is_relaxed, relaxed

_MOST_DROPS, _MOST_SLOPES = 256, 2_000_000
"""Drops that go through at once, and slopes of the constraints of all of their boxes, at most: more leave the cache."""
_ROUNDING = 1e-11
"""A proof's negative maximum has to exceed this share of the terms it is made of."""
_TIGHTER = 1.0 + 1e-7
"""Localisation is asked for a little more, so that the engine's tolerance breaks no bound."""
_WIDEST = 3.0
"""Largest factor between omega_k and the ends of its narrow range."""
_OPEN = 1.4
"""A range that may begin this factor below omega_k, although it has no end above, gets none: one box less."""


@dataclass(frozen=True)
class BatchedMinMaxNmse:
    """Smallest largest NMSE of all drops at once with a certificate. Powers (W) as those of the drop-by-drop `MinMaxNmse`.

    Drops whose localisation bounds are proven out of reach get the powers that locate the worst UE best. Correlated pilots
    under the LMMSE receiver are certified by a relaxation, whose gap is shown. Problems with shared uplink pilots or the sum of
    NMSE are solved drop by drop, without certificate; those with the expected or outage CRB and those of the ignorant receiver
    drop by drop, as `MinMaxNmse` does.

    Attributes:
        gap: certified relative distance to aim at; less certain drops say how far they got.
        max_boxes: boxes of the drop-by-drop search for what the batch leaves open; 0 asks for no certificate at all.

    Example:
        >>> import torch
        >>> from isac_torch import BatchedMinMaxNmse, DownlinkPilotScenario, allocate, power_problem
        >>> scenario = DownlinkPilotScenario(num_aps=8, num_ues=3)
        >>> problem = power_problem(scenario.sample(5, generator=torch.Generator().manual_seed(1)), scenario)
        >>> best = allocate(problem, BatchedMinMaxNmse(gap=1e-2))
        >>> tuple(best.power.shape), bool((problem.nmse(best.power) < 1.0).all())   # W; NMSE of each UE, linear
        ((5, 24), True)
    """

    gap: float = 1e-3
    max_boxes: int = 400
    name = "nmse_batched"

    def propose(self, problem: MinMaxNmseProblem) -> Proposal:
        """Powers (W), bounds, proofs of infeasibility, and the best reachable smallest 1 / CRB (1/m2)."""
        if problem.fading not in ("mean_power", "per_block"):
            return MinMaxNmse(gap=self.gap, max_boxes=self.max_boxes).propose(problem)
        size = _boxes_at_once(problem) // (2 * problem.num_ues + 1)
        return in_parts(problem, min(max(size, 1), _MOST_DROPS), self._answer)

    def _answer(self, problem: MinMaxNmseProblem, _: Tensor) -> Proposal:
        problem = problem.cast(torch.float64)
        located, infeasible = _locate(problem)
        quality = problem.crb(located).amax(-1).reciprocal()
        power, bound = located.clone(), torch.full_like(quality, torch.inf)
        todo = (~infeasible).nonzero()[:, 0]
        if len(todo):
            chosen = problem.select(todo)
            power[todo] = found = _descend(chosen, located[todo])
            if self.max_boxes and problem.merit == "worst" and not problem.has_shared_uplink:
                bound[todo] = _certify(chosen, found, self.gap, self.max_boxes)
        return Proposal(power, bound, infeasible, quality)


def _boxes_at_once(problem: MinMaxNmseProblem) -> int:
    constraints = 4 * problem.num_ues + problem.num_aps
    return max(_MOST_SLOPES // (constraints * problem.num_links), 1)


def _powers(problem: MinMaxNmseProblem, share: Float[Tensor, "drop ue ap"]) -> Float[Tensor, "drop link"]:
    """Powers (W) of shares, no AP above its budget, none on links that carry none."""
    inside = share / share.sum(1, keepdim=True).clamp_min(1.0)
    return problem.served((inside * problem.budget.unsqueeze(1)).flatten(1))


def _locate(problem: MinMaxNmseProblem) -> tuple[Float[Tensor, "drop link"], Bool[Tensor, " drop"]]:
    """Powers (W) that locate the worst UE best, relative to its Gamma, and the drops on which that is proven not enough."""
    drops = drops_of(problem)
    start = torch.full_like(drops.gain, 1.0 / problem.num_ues)
    found = solve(Localisation(drops), start, torch.full_like(start[:, 0, 0], -1.2), tolerance=1e-9)
    share = found.point.share
    power = _powers(problem, share / share.sum(1).amax(-1)[:, None, None])
    bound = quality_bound(drops, share, found.point.dual[:, : problem.num_ues])
    infeasible = bound < 1.0 - MARGIN
    # Neither proven out of reach nor shown to be met: ask the drop-by-drop solver.
    unsure = ~infeasible & ~(found.converged & ((problem.crb_max / problem.crb(power)).amin(-1) >= _TIGHTER**2))
    for index in unsure.nonzero()[:, 0].tolist():
        limit = best_localisation(problem.select(torch.tensor([index])))
        power[index], infeasible[index] = limit.power[0], limit.infeasible
    return power, infeasible


def _descend(problem: MinMaxNmseProblem, located: Float[Tensor, "drop link"]) -> Float[Tensor, "drop link"]:
    """Powers (W) at which the largest NMSE is stationary, meeting every bound; `located` (W) meets them."""
    power = torch.full_like(located, torch.nan)
    if problem.merit == "worst" and not problem.has_shared_uplink and not linearised(problem):
        drops = drops_of(problem)
        drops = replace(drops, quality=drops.quality * _TIGHTER)
        share = problem.per_ue(0.45 * (located + equal_split(problem))) / problem.budget.unsqueeze(1)
        share = share.clamp_min(1e-4 / problem.num_ues)
        none = share[:, 0, :0]
        programme = LeastNmse(drops, problem.objective(_powers(problem, share)), none, none)
        found = solve(programme, share, torch.ones_like(share[:, 0, 0]))
        power = restore(problem, _powers(problem, found.point.share), located)
        power[~found.converged] = torch.nan
    sound = power.isfinite().all(-1) & (problem.violations(power.nan_to_num(1.0)).worst <= MARGIN)
    for index in (~sound).nonzero()[:, 0].tolist():
        one = problem.select(torch.tensor([index]))
        power[index] = descend(one, equal_split(one), located[index, None])[0]
    return power


def _certify(
    problem: MinMaxNmseProblem, power: Float[Tensor, "drop link"], gap: float, max_boxes: int
) -> Float[Tensor, " drop"]:
    """A value that no powers exceed: value / (1 - gap) where all boxes are proven empty, else what the search finds."""
    value = problem.objective(power)
    wider, best = problem, power
    if is_relaxed(problem):
        wider = relaxed(problem, power)
        best = _descend(wider, power)
        value = torch.maximum(value, wider.objective(best))
    target = value / (1.0 - 0.99 * gap)  # so that the stated gap is met after rounding
    drops = drops_of(wider)
    share = problem.per_ue(best) / problem.budget.unsqueeze(1)
    drop_of, low, high = _boxes(drops, share, target, gap)
    empty = []
    for part in torch.arange(len(drop_of)).split(_boxes_at_once(problem)):
        chosen = drop_of[part]
        boxes = LeastNmse(drops.select(chosen), target[chosen], low[part], high[part])
        start = 0.98 * share[chosen] + 0.01 / problem.num_ues
        found = solve(boxes, start, torch.zeros_like(target[chosen]), tolerance=1e-9, max_iterations=40, leave=_decided)
        empty.append(_proven(boxes, found.point))
    missing = torch.zeros_like(target).index_add(0, drop_of, (~torch.cat(empty)).to(target))
    bound = torch.where(missing == 0, target, torch.inf)
    for index in (missing > 0).nonzero()[:, 0].tolist():
        chosen = torch.tensor([index])
        bound[index] = upper_bound(problem.select(chosen), power[chosen], gap=gap, max_boxes=max_boxes)
    return bound


def _boxes(drops: Drops, share: Tensor, target: Tensor, gap: float) -> tuple[Tensor, Tensor, Tensor]:
    """Drop, low and high ends of every box; together a drop's boxes cover all omega that the target allows."""
    own, noise = drops.received(share)
    centre = own / noise
    top = drops.gain.sum(-1)
    ratio = 1.0 + (drops.root.square() * drops.scale.unsqueeze(-1) / drops.gain).sum(-1)
    # V = F / (1 + omega) <= E|a|^2 / nmse <= F ratio / nmse; a little wider, against rounding.
    bottom = (target.unsqueeze(-1) * drops.weight / ratio * (1.0 - 1e-9) - 1.0).clamp_min(0.0).minimum(top)
    top = top * (1.0 + 1e-9)
    # The chord between omega / f and omega f exceeds the error by (sqrt f - 1 / sqrt f)^2 / (1 + omega) of it, about.
    slack = (0.3 * gap * (1.0 + centre)).sqrt()
    factor = (0.5 * (slack + (slack.square() + 4.0).sqrt())).square().clamp_max(_WIDEST)
    left, right = (centre / factor).maximum(bottom).minimum(top), (centre * factor).minimum(top).maximum(bottom)
    # Where omega is large, the chord up to the top exceeds the error by (omega - l) / ((1 + omega) (1 + l)) of it at most.
    loose = 0.4 * gap * (1.0 + centre)
    low_open = ((centre - loose) / (1.0 + loose)).maximum(bottom).minimum(top)
    is_open = low_open * _OPEN <= centre
    left, right = torch.where(is_open, low_open, left), torch.where(is_open, top, right)
    lows, highs = [], []
    low, high = bottom.clone(), top.clone()
    for k in range(centre.shape[1]):
        before, after = high.clone(), low.clone()
        before[:, k], after[:, k] = left[:, k], right[:, k]
        lows += [low.clone(), after]
        highs += [before, high.clone()]
        low[:, k], high[:, k] = left[:, k], right[:, k]
    low, high = torch.stack([*lows, low], 1), torch.stack([*highs, high], 1)
    index = ((high > low).all(-1) | (torch.arange(low.shape[1], device=low.device) == low.shape[1] - 1)).nonzero()
    return index[:, 0], low[index[:, 0], index[:, 1]], high[index[:, 0], index[:, 1]]


def _proven(boxes: LeastNmse, point: Point) -> Bool[Tensor, " drop"]:
    """Boxes in which the dual variables prove that no shares meet the target."""
    bound, size = boxes.bound(point.share, point.dual)
    return bound < -_ROUNDING * size


def _decided(boxes: LeastNmse, point: Point) -> Bool[Tensor, " drop"]:
    """Boxes proven empty, and those with powers that meet the relaxed target: these must be split."""
    found = boxes.constraints(point.share, point.epigraph)
    met = (found.value - found.raising * point.epigraph.unsqueeze(-1) >= 0).all(-1)
    return met | _proven(boxes, point)
