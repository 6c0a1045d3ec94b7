"""Allocators that hand second-order cones to an established solver: Clarabel, Moreau."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from isac_torch.allocation import Proposal, equal_split
from isac_torch.allocators.parts import in_parts
from isac_torch.errors import AllocationError
from isac_torch.solvers.tracking.certificate import relaxed_leakage
from isac_torch.solvers.tracking.cones import Backend, dinkelbach
from isac_torch.solvers.tracking.feasibility import best_effort, largest_sir, repair
from isac_torch.solvers.tracking.scaling import scaled
from isac_torch.solvers.tracking.settling import settled
from isac_torch.tracking.problem import MaxMinSinrProblem

_CHUNK = 256
"""Drops of one call of Moreau, and of one part."""


@dataclass(frozen=True)
class ConicOptimal:
    """Largest minimum SINR by Dinkelbach rounds on cones, each drop by Clarabel or whole batches by Moreau.

    Slower than `BatchedOptimal`, and the yardstick that it is measured by: established solvers on the best known cone form.

    Attributes:
        backend: the conic solver; Moreau solves all drops of a round in one call, on its default device.
        gap: certified relative distance to the optimum at which a drop stops.
        sensing_slack: share of the reachable SIR left to communication where SIR0 is out of reach.
    """

    backend: Backend = "clarabel"
    gap: float = 1e-3
    sensing_slack: float = 0.05

    @property
    def name(self) -> str:
        """opc_clarabel or opc_moreau."""
        return f"opc_{self.backend}"

    def propose(self, problem: MaxMinSinrProblem) -> Proposal:
        """Powers (W), bound, proven infeasibility and largest reachable SIR of every drop."""
        if problem.position is not None:
            raise AllocationError(f"{self.name} knows no requirement on positions; use opc_batched")
        return in_parts(problem, _CHUNK, self._answer)

    def _answer(self, problem: MaxMinSinrProblem, _: Tensor) -> Proposal:
        units = scaled(problem.to("cpu"))
        limit = largest_sir(units.problem)
        exact = best_effort(units.problem, limit, slack=self.sensing_slack)
        start = repair(exact, equal_split(exact), limit.power)
        power, bound = dinkelbach(exact, start, limit.power, self.backend, self.gap)
        if exact.has_pilot_reuse:
            relaxed = replace(exact, leakage=relaxed_leakage(exact, power), coherent=torch.zeros_like(exact.coherent))
            bound = torch.minimum(bound, dinkelbach(relaxed, power, limit.power, self.backend, self.gap)[1])
        return units.restored(Proposal(settled(units.problem, power), bound, limit.infeasible, limit.best_sir))
