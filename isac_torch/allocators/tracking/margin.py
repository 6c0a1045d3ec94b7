"""Requirements that not every drop can meet, eased where they cannot be met: section "Margin" of docs/requirements.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from isac_torch.allocation import FEASIBILITY_TOLERANCE, Allocation, allocate
from isac_torch.allocators.first_met import first_met
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.tracking.problem import MaxMinSinrProblem

_STEPS = (1.0, 0.75, 0.5, 0.25, 0.0)
"""Parts of the way from what can be met to what is wanted that are tried, largest first."""


def eased(wanted: MaxMinSinrProblem, least: MaxMinSinrProblem, most_cost: float = 0.05) -> MaxMinSinrProblem:
    """The problem `wanted`, but with requirements on the way to those of `least` in drops where it asks too much.

    Every drop gets the largest of the steps 1, 3/4, 1/2, 1/4 and 0 at which the batched engine meets all constraints and keeps
    all but `most_cost` of the smallest SINR under `least`. Only the required qualities of the linear constraints differ
    between the two problems.

    Args:
        wanted: the requirement with its margin.
        least: the same drops under a requirement that can be met, such as `dominate` with factors of 1 and no margin.
        most_cost: share of the smallest SINR that the margin may cost.

    Example:
        >>> from dataclasses import replace
        >>> import torch
        >>> from isac_torch import Requirement, TrackingScenario, power_problem
        >>> scenario = TrackingScenario.of_size("8x6x2", requirement=Requirement("dominate"))
        >>> drop = scenario.sample(4, generator=torch.Generator().manual_seed(1))
        >>> least = power_problem(drop, scenario)
        >>> high = replace(scenario, requirement=Requirement("dominate", margin=9.0))     # more than most drops can meet
        >>> problem = eased(power_problem(drop, high), least)
        >>> bool((allocate(problem, BatchedOptimal(tie="none")).violation <= 1e-6).all())
        True
    """
    base = allocate(least, BatchedOptimal(tie="none"))
    enough = (1.0 - most_cost) * base.value
    steps = least.sir_min.new_tensor(_STEPS)

    def ask(step: Tensor) -> Callable[[Tensor], Allocation]:
        return lambda some: allocate(_between(least.select(some), wanted.select(some), step), BatchedOptimal(tie="none"))

    found = first_met(
        least.num_drops,
        [*(ask(step) for step in steps[:-1]), lambda _: base],
        lambda answer, some: (answer.violation <= FEASIBILITY_TOLERANCE) & (answer.value >= enough[some]),
    )
    return _between(least, wanted, steps[found.taken][:, None])


def without_margin(problem: MaxMinSinrProblem, sicnr: float) -> MaxMinSinrProblem:
    """The problem of the same requirement `dominate` without its margin.

    Args:
        problem: of a requirement that compares with uniform power in the same drops.
        sicnr: factor of R2 in the requirement.
    """
    if problem.reference is None:
        return problem
    targets = problem.num_constraints - problem.num_cells
    reached = problem.sir(problem.reference)[:, :targets]
    return replace(problem, sir_min=torch.cat([sicnr * reached, problem.sir_min[:, targets:]], 1))


def _between(least: MaxMinSinrProblem, wanted: MaxMinSinrProblem, step: Tensor) -> MaxMinSinrProblem:
    required = least.sir_min + step * (wanted.sir_min - least.sir_min)
    return replace(wanted, sir_min=torch.where(step == 1.0, wanted.sir_min, required))
