"""Any allocator's answer made safe, or made certified: the batched engine behind a network.

Both wrap an allocator that may miss sensing constraints, such as a trained network, and answer what it cannot: a drop whose
SIR0 is proven out of reach is flagged and gets the best effort of `BatchedOptimal`, with the largest reachable SIR.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from isac_torch.allocation import FEASIBILITY_TOLERANCE, Allocator, Proposal
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.tracking.problem import MaxMinSinrProblem


@dataclass(frozen=True)
class Repaired:
    """The inner allocator's powers; drops where they break a constraint or are not finite are solved by the engine instead.

    Attributes:
        inner: whose powers are kept wherever they are valid. They come without a bound.
        engine: solves the others.

    Example:
        >>> import torch
        >>> from isac_torch import Fractional, Repaired, Status, TrackingScenario, allocate, power_problem
        >>> scenario = TrackingScenario.of_size("8x6x2")
        >>> problem = power_problem(scenario.sample(5, generator=torch.Generator().manual_seed(1)), scenario)
        >>> repaired = allocate(problem, Repaired(Fractional()))
        >>> bool((repaired.status != Status.VIOLATING).all())
        True
    """

    inner: Allocator[MaxMinSinrProblem]
    engine: BatchedOptimal = field(default_factory=lambda: BatchedOptimal(gap=1e-3, tie="none"))

    @property
    def name(self) -> str:
        """The inner allocator's name and `_repaired`."""
        return f"{self.inner.name}_repaired"

    @property
    def gap(self) -> float:
        """Certified relative gap of the drops that the engine solved."""
        return self.engine.gap

    def propose(self, problem: MaxMinSinrProblem) -> Proposal:
        """Powers (W); bound, infeasibility and largest reachable SIR of the drops that were repaired."""
        power = self.inner.propose(problem).power
        valid = power.isfinite().all(-1) & (problem.violations(power).worst <= FEASIBILITY_TOLERANCE)
        bound = torch.full_like(power[:, 0], torch.inf)
        infeasible, best_sir = torch.zeros_like(valid), torch.full_like(bound, torch.nan)
        broken = (~valid).nonzero()[:, 0]
        if len(broken):
            solved = self.engine.propose(problem.select(broken))
            power = power.index_copy(0, broken, solved.power)
            bound, infeasible, best_sir = (
                old if new is None else old.index_copy(0, broken, new)
                for old, new in (
                    (bound, solved.upper_bound),
                    (infeasible, solved.infeasible),
                    (best_sir, solved.best_quality),
                )
            )
        return Proposal(power, bound, infeasible, best_sir)


@dataclass(frozen=True)
class Refined:
    """The engine started from the inner allocator's powers: a certified answer that is never worse than they are.

    With a network inside, the start saves about a third of the Newton steps (docs/optimal.md).

    Attributes:
        inner: whose powers to start from.
        engine: its gap is where refinement stops.

    Example:
        >>> import torch
        >>> from isac_torch import Refined, TrackingScenario, allocate, named_allocator, power_problem
        >>> scenario = TrackingScenario.of_size("8x6x2")
        >>> problem = power_problem(scenario.sample(5, generator=torch.Generator().manual_seed(1)), scenario)
        >>> refined = allocate(problem, Refined(named_allocator("gnn")))
        >>> bool((refined.gap <= 3e-3).all())
        True
    """

    inner: Allocator[MaxMinSinrProblem]
    engine: BatchedOptimal = field(default_factory=lambda: BatchedOptimal(gap=3e-3, tie="none"))

    @property
    def name(self) -> str:
        """The inner allocator's name and `_refined`."""
        return f"{self.inner.name}_refined"

    @property
    def gap(self) -> float:
        """Certified relative gap at which refinement stops."""
        return self.engine.gap

    def propose(self, problem: MaxMinSinrProblem) -> Proposal:
        """Powers (W), bound, proven infeasibility and, where SIR0 is out of reach, the largest reachable SIR."""
        return self.engine.improve(problem, self.inner.propose(problem).power)
