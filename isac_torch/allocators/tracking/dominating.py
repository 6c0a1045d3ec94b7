"""Allocations that sense no worse than a reference policy does, and serve the weakest UE as well as that allows."""

from __future__ import annotations

from dataclasses import dataclass

from isac_torch.allocation import Proposal
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.errors import AllocationError
from isac_torch.tracking.problem import MaxMinSinrProblem

_FAIR_GAP = 0.03
"""Share of the smallest SINR that proportional fairness may give away."""


@dataclass(frozen=True)
class Dominating:
    """The engine on problems whose requirement is `dominate`: at factors of at most one, a drop always has an answer.

    Attributes:
        fair: give up 3 % of the smallest SINR for the largest mean log rate. Else powers beyond what the requirement asks for
            are kept, because they help the radar.
    """

    fair: bool = False

    @property
    def engine(self) -> BatchedOptimal:
        """Who solves the drops."""
        return BatchedOptimal(gap=_FAIR_GAP, tie="fair") if self.fair else BatchedOptimal(tie="none")

    @property
    def name(self) -> str:
        """opc_dominate, or opc_dominate_fair."""
        return "opc_dominate_fair" if self.fair else "opc_dominate"

    @property
    def gap(self) -> float:
        """Certified relative gap at which a drop counts as optimal."""
        return self.engine.gap

    def propose(self, problem: MaxMinSinrProblem) -> Proposal:
        """Powers (W), bound, proven infeasibility, and there the largest common factor of all requirements.

        Raises:
            AllocationError: the problem's requirement compares with no reference powers.
        """
        if problem.reference is None:
            raise AllocationError(f"{self.name} needs a problem that says whom to dominate; set requirement.kind to dominate")
        return self.engine.propose(problem)
