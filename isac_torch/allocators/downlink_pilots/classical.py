"""Allocators of the downlink-pilot system: full power, the paper's Algorithm 1, and the certified optimum."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.allocation import FEASIBILITY_TOLERANCE, Proposal, equal_split
from isac_torch.allocators.parts import in_parts
from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
from isac_torch.solvers.downlink_pilots.ascent import descend, least_power
from isac_torch.solvers.downlink_pilots.certificate import upper_bound
from isac_torch.solvers.downlink_pilots.feasibility import best_localisation
from isac_torch.solvers.downlink_pilots.paper import sequential_taylor

_OUTAGE_STEPS = 12
_OUTAGE_CLOSE = 0.995
"""How much of Gamma the outage CRB is to use."""


@dataclass(frozen=True)
class FullPower:
    """Every AP spends its whole budget, without looking at errors or localisation.

    Attributes:
        split: `equal` parts for every UE (eta gamma = 1/K), or in proportion to the estimates' strength gamma (equal eta, as
            in Ngo et al. 2017).
    """

    split: Literal["equal", "estimate"] = "equal"

    @property
    def name(self) -> str:
        """full, or full_ngo."""
        return "full" if self.split == "equal" else "full_ngo"

    @property
    def gap(self) -> float:
        """No certificate is offered."""
        return 0.0

    def propose(self, problem: MinMaxNmseProblem) -> Proposal:
        """Powers (W) of every link."""
        if self.split == "equal":
            return Proposal(equal_split(problem))
        total = problem.estimate.sum(1, keepdim=True)
        share = torch.where(total > 0.0, problem.estimate / total, 1.0 / problem.num_ues)  # nothing known: equal parts
        return Proposal(problem.served((share * problem.budget.unsqueeze(1)).flatten(1)))


@dataclass(frozen=True)
class PaperSca:
    """Algorithm 1 of Liao et al. as printed, with its fallback to full power. See `solvers.pilot.paper`.

    Attributes:
        tolerance: eps of the bisection, relative to the largest NMSE without downlink pilots.
        passes: I, outer iterations; all but the first are idle as printed.
        reset: reopen the bracket for every pass.
    """

    tolerance: float = 1e-4
    passes: int = 5
    reset: bool = False

    @property
    def name(self) -> str:
        """sca_paper, or sca_paper_reset."""
        return "sca_paper_reset" if self.reset else "sca_paper"

    @property
    def gap(self) -> float:
        """No certificate is offered."""
        return 0.0

    def propose(self, problem: MinMaxNmseProblem) -> Proposal:
        """Powers (W) of every link."""

        def answer(drop: MinMaxNmseProblem, _: Tensor) -> Proposal:
            exact = drop.cast(torch.float64)
            return Proposal(sequential_taylor(exact, tolerance=self.tolerance, passes=self.passes, reset=self.reset))

        return in_parts(problem, 1, answer)


@dataclass(frozen=True)
class MinMaxNmse:
    """Smallest largest NMSE with a certificate, then, if wanted, the least power that keeps it up to a slack.

    A drop whose localisation bounds are proven out of reach gets the powers that locate the worst UE best. Shared uplink pilots
    and the sum of NMSE get a stationary point without certificate. The expected CRB keeps the certificate, the outage CRB is
    held by an inner approximation whose bound comes from a relaxation.

    Attributes:
        gap: certified relative distance to aim at; less certain drops say how far they got.
        slack: NMSE given up to save power, relative to the optimum; 0 skips the second stage.
        keep: `optimum`: save power at the slack; `full`: at the NMSE of a full-power equal split, where that is worse.
        max_boxes: boxes of the certificate's search; 0 asks for none.
    """

    gap: float = 1e-3
    slack: float = 0.0
    keep: Literal["optimum", "full"] = "optimum"
    max_boxes: int = 400

    @property
    def name(self) -> str:
        """nmse_optimal, nmse_slack_<slack>, or nmse_as_full."""
        if self.keep == "full":
            return "nmse_as_full"
        return f"nmse_slack_{self.slack:g}" if self.slack else "nmse_optimal"

    def propose(self, problem: MinMaxNmseProblem) -> Proposal:
        """Powers (W) of every link, with bounds, proofs of infeasibility, and the best reachable 1 / CRB (1/m2)."""
        return in_parts(problem, 1, self._solve)

    def _solve(self, problem: MinMaxNmseProblem, _: Tensor) -> Proposal:
        """Powers, bound, proven infeasible, best reachable smallest 1 / CRB of one drop."""
        problem = problem.cast(torch.float64)
        if problem.fading == "outage":
            return self._within_outage(problem)
        limit = best_localisation(problem)
        quality = problem.crb(limit.power).amax(-1).reciprocal()
        unknown = torch.full_like(quality, torch.inf)
        infeasible = torch.full_like(quality, limit.infeasible, dtype=torch.bool)
        if limit.infeasible:
            return Proposal(limit.power, unknown, infeasible, quality)
        power = descend(problem, equal_split(problem), limit.power, cuts=limit.cuts)
        bound = unknown
        if self.max_boxes and problem.merit == "worst":
            bound = torch.full_like(unknown, upper_bound(problem, power, gap=self.gap, max_boxes=self.max_boxes))
        return Proposal(second_stage(problem, power, slack=self.slack, keep=self.keep), bound, infeasible, quality)

    def _within_outage(self, problem: MinMaxNmseProblem) -> Proposal:
        """The outage CRB from inside: an expected CRB so tight that the quantile holds; its bound from outside, by the mean
        power.

        The mean of the concave 1 / CRB over the blocks is at least (1 - outage) / Gamma where the outage holds, and at most
        that of the mean power (Jensen): a mean-power CRB of Gamma / (1 - outage) is necessary.
        """
        relaxed = replace(problem, fading="mean_power", crb_max=problem.crb_max / (1.0 - 0.01 * problem.outage_percent))
        outer = self._solve(relaxed, problem.budget)
        if bool(outer.infeasible) or bool((problem.crb(outer.power) <= problem.crb_max).all()):
            return replace(outer, best_quality=problem.crb(outer.power).amax(-1).reciprocal())
        inner = replace(self, max_boxes=0)
        best, factor = outer.power, torch.ones_like(problem.crb_max)
        for _ in range(_OUTAGE_STEPS):
            tight = replace(problem, fading="expected", crb_max=problem.crb_max * factor)
            power = inner._solve(tight, problem.budget).power
            missed = problem.crb(power) / problem.crb_max
            best = power if _better(problem, power, best) else best
            spent = (tight.crb(power) / tight.crb_max >= 0.999) | (missed > 1.0)
            if bool((((missed <= 1.0) & (missed > _OUTAGE_CLOSE)) | ~spent).all()):
                break
            factor = torch.where(spent, factor * 0.5 * (1.0 + _OUTAGE_CLOSE) / missed, factor)
        return Proposal(best, outer.upper_bound, outer.infeasible, problem.crb(best).amax(-1).reciprocal())


def _better(problem: MinMaxNmseProblem, power: Tensor, best: Tensor) -> bool:
    """Whether one drop's `power` (W) misses less, or misses as little as `best` at a larger value."""
    missed, before = (float(problem.violations(one).worst) for one in (power, best))
    if max(missed, before) <= FEASIBILITY_TOLERANCE:
        return bool(problem.objective(power) > problem.objective(best))
    return missed < before


def second_stage(
    problem: MinMaxNmseProblem,
    power: Float[Tensor, "drop link"],
    *,
    slack: float = 0.0,
    keep: Literal["optimum", "full"] = "optimum",
) -> Float[Tensor, "drop link"]:
    """Least powers (W) that keep the largest weighted NMSE of feasible `power` (W) up to `slack`, or that of an equal split.

    Drops whose `power` breaks a constraint, and the sum of NMSE, keep their powers.
    """
    if problem.merit == "sum" or (slack == 0.0 and keep == "optimum"):
        return power
    loss = (problem.weight * problem.nmse(power)).amax(-1) * (1.0 + slack)
    if keep == "full":
        loss = torch.maximum(loss, (problem.weight * problem.nmse(equal_split(problem))).amax(-1))
    feasible = problem.violations(power).worst <= FEASIBILITY_TOLERANCE
    saved = [
        least_power(drop, power[index, None].double(), float(loss[index])) if feasible[index] else power[index, None]
        for index, drop in enumerate(_drops(problem))
    ]
    return torch.cat([part.to(power) for part in saved])


def _drops(problem: MinMaxNmseProblem) -> list[MinMaxNmseProblem]:
    """The drops one by one, in float64: float32 leaves an interior-point solver too few digits."""
    return [problem.select(torch.tensor([index])).cast(torch.float64) for index in range(problem.num_drops)]
