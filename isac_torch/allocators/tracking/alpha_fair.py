"""Alpha-fair powers: the UEs' mean utility in place of the smallest SINR, under the same budgets and sensing constraints."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from isac_torch.allocation import Proposal
from isac_torch.allocators.parts import in_parts
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.errors import AllocationError
from isac_torch.solvers.tracking.fair_powers import fair_powers
from isac_torch.solvers.tracking.scaling import own_sinrs, scaled
from isac_torch.tracking.problem import MaxMinSinrProblem

LARGEST_ALPHA = 20.0
"""Beyond this utilities of weak and strong UEs differ by more than double precision holds; max-min is the limit."""
_START_GAP = 0.1


@dataclass(frozen=True)
class AlphaFair:
    """A local optimum of sum_k U(R_k), U(R) = R^(1 - alpha) / (1 - alpha), log R for alpha = 1; `fair_powers`.

    R_k = log2(1 + SINR_k). The value that `allocate` reports is the smallest SINR as for every allocator, without a bound: it
    is not what is maximised. In drops whose sensing constraints are out of reach the answer is the best effort of
    `BatchedOptimal`; where the method does not converge, a max-min point is.

    Attributes:
        alpha: 0 for the sum rate, 1 for proportional fairness, 2 for the least mean delay; towards max-min as it grows.
        chunk: drops solved together; only speed depends on it.

    Raises:
        AllocationError: alpha is not a number in 0..20.

    Example:
        >>> import torch
        >>> from isac_torch import TrackingScenario, allocate, named_allocator, power_problem
        >>> scenario = TrackingScenario.of_size("8x6x2")
        >>> problem = power_problem(scenario.sample(2, generator=torch.Generator().manual_seed(1)), scenario)
        >>> proportional, strict = (allocate(problem, named_allocator(name)) for name in ("fair_1", "opc_batched"))
        >>> log_rate = lambda found: torch.log1p(problem.sinr(found.power)).log().mean(-1)   # of each drop
        >>> bool((log_rate(proportional) > log_rate(strict)).all())
        True
    """

    alpha: float = 1.0
    chunk: int = 256

    def __post_init__(self) -> None:
        """Refuse exponents that are none."""
        if not 0.0 <= self.alpha <= LARGEST_ALPHA:
            raise AllocationError(f"alpha={self.alpha} must lie in 0..{LARGEST_ALPHA:g}; for max-min take opc_batched")

    @property
    def name(self) -> str:
        """fair_ALPHA."""
        return f"fair_{self.alpha:g}"

    @property
    def gap(self) -> float:
        """No bound comes with the powers."""
        return math.inf

    def propose(self, problem: MaxMinSinrProblem) -> Proposal:
        """Powers (W) and proven infeasibility; never raises for a drop."""
        return in_parts(problem, self.chunk, self._answer)

    def _answer(self, part: MaxMinSinrProblem, _: Tensor) -> Proposal:
        found = BatchedOptimal(gap=_START_GAP, tie="none").propose(part)
        lost = torch.zeros_like(part.budget[:, 0], dtype=torch.bool) if found.infeasible is None else found.infeasible
        reachable = (~lost).nonzero()[:, 0]
        power = found.power.clone()
        if len(reachable):
            units = scaled(part.select(reachable))
            fair = fair_powers(
                own_sinrs(units.problem, units.unit), None, power[reachable].to(units.unit), alpha=self.alpha
            ).power
            usable = fair.isfinite().all(-1, keepdim=True)
            power[reachable] = torch.where(usable, fair.to(power), power[reachable])
        return replace(found, power=power, upper_bound=None)
