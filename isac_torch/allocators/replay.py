"""An answer that was stored before, given again so that `allocate` judges it anew."""

from __future__ import annotations

from dataclasses import dataclass

from isac_torch.allocation import Proposal
from isac_torch.problem import PowerProblem


@dataclass(frozen=True)
class Replay:
    """An allocator that repeats a stored answer to the one problem that it belongs to.

    Attributes:
        answer: powers (W), bounds and proofs of infeasibility, as stored.
        name: of the allocator that gave the answer.
        gap: certified relative gap at which that allocator calls a drop optimal.
    """

    answer: Proposal
    name: str
    gap: float

    def propose(self, problem: PowerProblem) -> Proposal:
        """The stored answer, whatever the problem."""
        return self.answer
