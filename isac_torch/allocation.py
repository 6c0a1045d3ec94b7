"""One entry point for every allocator, and the one result type that it returns.

    allocation = allocate(problem, GlobalOptimal(gap=1e-3))
    allocation.power, allocation.status, allocation.value, allocation.upper_bound

An allocator proposes powers; `allocate` judges them by the problem itself, whatever the allocator believes of them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isac_torch.errors import AllocationError
from isac_torch.links import power_of_used
from isac_torch.outage import any_outage, by_coverage
from isac_torch.problem import PowerProblem
from isac_torch.tensors import cat_tensors, map_tensors, tensor_fields

ProblemT = TypeVar("ProblemT", bound=PowerProblem)
ProblemContraT = TypeVar("ProblemContraT", bound=PowerProblem, contravariant=True)

FEASIBILITY_TOLERANCE = 1e-6
"""Largest relative violation of any constraint that still counts as met."""


class Status(IntEnum):
    """What is known of an allocation, decided by `allocate` from the problem's own constraints.

    Example:
        >>> from isac_torch import Status
        >>> Status(0).name, [status.name for status in Status if status <= Status.FEASIBLE]   # the powers can be used
        ('OPTIMAL', ['OPTIMAL', 'FEASIBLE'])
    """

    OPTIMAL = 0
    """Meets every constraint; its certified gap is within the allocator's tolerance."""
    FEASIBLE = 1
    """Meets every constraint; no tight certificate."""
    VIOLATING = 2
    """Breaks a sensing constraint or a budget on a drop that is not proven infeasible."""
    INFEASIBLE = 3
    """The drop is proven infeasible; the powers are the best effort."""
    FAILED = 4
    """The allocator gave no finite powers; an equal split of each budget stands in."""


@dataclass(frozen=True)
class Proposal:
    """What an allocator answers, before it is judged.

    Attributes:
        power: W, of each link.
        upper_bound: certified bound on the objective of each drop; inf where none is known.
        infeasible: drops that are proven to have no feasible point.
        best_quality: largest sensing quality that the worst target of each drop can reach, linear; NaN where not computed.

    Example:
        >>> import torch
        >>> from isac_torch import Proposal
        >>> proposal = Proposal(torch.full((2, 8), 0.25))   # 2 drops of 8 links, W; nothing is certified
        >>> proposal.upper_bound is None
        True
    """

    power: Float[Tensor, "drop link"]
    upper_bound: Float[Tensor, " drop"] | None = None
    infeasible: Tensor | None = None
    best_quality: Float[Tensor, " drop"] | None = None


@dataclass(frozen=True)
class Allocation:
    """Powers with what is known of them. Made by `allocate` only.

    Attributes:
        power: W, of each link.
        status: a `Status` value per drop.
        value: objective (smallest SINR, linear, for the tracking system) per drop.
        upper_bound: no feasible powers exceed this objective; inf where unknown.
        violation: worst relative constraint violation per drop.
        best_quality: largest sensing quality of the worst target that any powers reach, linear; NaN where not computed.
        seconds: wall time of the allocator for the whole batch, s.

    Example:
        >>> import torch
        >>> from isac_torch import Fractional, TrackingScenario, allocate, power_problem
        >>> scenario = TrackingScenario.of_size("8x6x2")
        >>> problem = power_problem(scenario.sample(5, generator=torch.Generator().manual_seed(1)), scenario)
        >>> allocation = allocate(problem, Fractional())
        >>> tuple(allocation.power.shape), tuple(allocation.value.shape)   # W [drop, link]; smallest SINR [drop], linear
        ((5, 32), (5,))
        >>> bool(((0 <= allocation.gap) & (allocation.gap <= 1)).all())
        True
    """

    power: Float[Tensor, "drop link"]
    status: Int[Tensor, " drop"]
    value: Float[Tensor, " drop"]
    upper_bound: Float[Tensor, " drop"]
    violation: Float[Tensor, " drop"]
    best_quality: Float[Tensor, " drop"]
    seconds: float

    @property
    def gap(self) -> Float[Tensor, " drop"]:
        """Certified relative distance to the optimum, (upper_bound - value) / upper_bound; 1 where no bound is known."""
        gap = (self.upper_bound - self.value) / self.upper_bound
        return torch.where(self.upper_bound.isfinite(), gap, torch.ones_like(gap)).nan_to_num(0.0)


@runtime_checkable
class Allocator(Protocol[ProblemContraT]):
    """Anything that turns a batch of problems into powers.

    Attributes:
        name: short name for tables.
        gap: certified relative gap at which the allocator calls a drop optimal.

    Example:
        >>> from isac_torch import Allocator, Proposal
        >>> from isac_torch.allocation import equal_split
        >>> class EqualSplit:
        ...     name, gap = "equal", 0.0
        ...     def propose(self, problem):
        ...         return Proposal(equal_split(problem))       # W, [drop, link]
        >>> isinstance(EqualSplit(), Allocator)
        True
    """

    @property
    def name(self) -> str:
        """Short name for tables."""
        ...

    @property
    def gap(self) -> float:
        """Certified relative gap at which a drop counts as optimal."""
        ...

    def propose(self, problem: ProblemContraT) -> Proposal:
        """Powers (W) for every drop of the batch; never raises for a drop that cannot be solved."""
        ...


def equal_split(problem: PowerProblem) -> Float[Tensor, "drop link"]:
    """Each AP's whole budget in equal parts over its links, W; over those of the UEs that it serves where a problem says so."""
    serves = getattr(problem, "serves", None)
    ones = torch.ones_like(problem.link_ap, dtype=problem.budget.dtype) if serves is None else serves.flatten(1)
    count = torch.zeros_like(problem.budget).scatter_add(1, problem.link_ap, ones)
    return ones * (problem.budget / count.clamp_min(1.0)).gather(1, problem.link_ap)


def allocate(problem: ProblemT, allocator: Allocator[ProblemT], *, throw: bool = False) -> Allocation:
    """Ask `allocator` for powers and judge them by the problem's own constraints and objective.

    Links that the problem says may not be used get nothing, whatever the allocator says.

    UEs out of everybody's reach (`outage.outage_ues`) are left out of the problem that the allocator is asked, and served with
    what costs the others least: the value of such a drop is theirs, the powers of all others are as if they were not there.

    Args:
        problem: a batch of drops of one size class.
        allocator: who answers.
        throw: raise AllocationError instead of returning a FAILED, VIOLATING or INFEASIBLE drop.

    Returns:
        Finite powers in W for every drop, with status, value and bound.

    Example:
        >>> import torch
        >>> from isac_torch import BatchedOptimal, Status, TrackingScenario, allocate, power_problem
        >>> scenario = TrackingScenario.of_size("8x6x2")
        >>> problem = power_problem(scenario.sample(5, generator=torch.Generator().manual_seed(1)), scenario)
        >>> allocation = allocate(problem, BatchedOptimal(gap=1e-3))
        >>> bool((allocation.status == Status.OPTIMAL).all()), bool((allocation.gap <= 1e-3).all())
        (True, True)
        >>> bool((problem.ap_load(allocation.power) <= problem.budget * (1 + 1e-6)).all())   # W of each AP
        True
    """
    start = time.perf_counter()
    proposal = _proposed(problem, allocator)
    seconds = time.perf_counter() - start
    failed = ~proposal.power.isfinite().all(-1)
    power = torch.where(failed[:, None], equal_split(problem), proposal.power)
    power = power_of_used(problem, power)
    value, violation = problem.objective(power), problem.violations(power).worst
    inf, nan = torch.full_like(value, torch.inf), torch.full_like(value, torch.nan)
    upper = inf if proposal.upper_bound is None else torch.where(proposal.upper_bound.isnan(), inf, proposal.upper_bound)
    infeasible = torch.zeros_like(failed) if proposal.infeasible is None else proposal.infeasible
    upper = _judged(upper, value, violation, allocator.gap)
    certified = (upper - value) <= allocator.gap * upper
    status = torch.full_like(failed, Status.FEASIBLE, dtype=torch.int64)
    status[certified & upper.isfinite()] = Status.OPTIMAL
    status[violation > FEASIBILITY_TOLERANCE] = Status.VIOLATING
    status[infeasible] = Status.INFEASIBLE
    status[failed] = Status.FAILED
    if throw and bool((status > Status.FEASIBLE).any()):
        bad = int((status > Status.FEASIBLE).nonzero()[0].item())
        raise AllocationError(
            f"{allocator.name}: drop {bad} is {Status(int(status[bad])).name} (violation {float(violation[bad]):.2e}); "
            "pass throw=False to get the best effort"
        )
    best = nan if proposal.best_quality is None else proposal.best_quality
    return Allocation(power, status, value, upper, violation, best, seconds)


def _judged(upper: Tensor, value: Tensor, violation: Tensor, gap: float) -> Tensor:
    """Bounds that the values at hand do not contradict.

    Allowed powers that pass a bound by no more than constraints may be missed show that it is as good as reached: the value is
    the bound then. Those that pass it by more prove it wrong, as can happen where the numbers are too small for their type.
    """
    passed = (value > upper) & (violation <= FEASIBILITY_TOLERANCE)
    reached = value <= upper * (1.0 + max(gap, FEASIBILITY_TOLERANCE))
    return torch.where(passed, torch.where(reached, value, torch.inf), upper)


def _proposed(problem: ProblemT, allocator: Allocator[ProblemT]) -> Proposal:
    """The allocator's proposal, with UEs in outage (`isac_torch.outage`) left out of the problem that it is asked."""
    outage = any_outage(problem)
    if outage is None:
        return allocator.propose(problem)
    parts, order = [], []
    for part in by_coverage(problem, outage):
        found = allocator.propose(part.whole if part.problem is None else part.problem)
        if part.problem is not None and found.infeasible is not None and bool(found.infeasible.any()):
            found = allocator.propose(part.whole)  # the beams of the UEs in outage may illuminate the targets as well
        elif part.problem is not None:
            limit = part.whole.best_sinr().amin(-1)
            found = Proposal(part.with_outage(found.power), limit, None, found.best_quality)
        parts.append(_filled(found, part.whole))
        order.append(part.index)
    place = torch.argsort(torch.cat(order))
    return map_tensors(cat_tensors(parts), lambda t: t[place])


def _filled(proposal: Proposal, problem: PowerProblem) -> Proposal:
    """The proposal with a tensor in every field, so that several can be joined."""
    like = problem.budget[:, 0]
    return Proposal(
        power=proposal.power,
        upper_bound=torch.full_like(like, torch.inf) if proposal.upper_bound is None else proposal.upper_bound,
        infeasible=torch.zeros_like(like, dtype=torch.bool) if proposal.infeasible is None else proposal.infeasible,
        best_quality=torch.full_like(like, torch.nan) if proposal.best_quality is None else proposal.best_quality,
    )


def allocate_many(problems: Sequence[ProblemT], allocator: Allocator[ProblemT]) -> list[Allocation]:
    """`allocate` for batches of any sizes: those of one size class go to the allocator together.

    Args:
        problems: batches, each of one size class.
        allocator: who answers.

    Returns:
        The allocation of every batch, in the order given; `seconds` is the group's time, shared out by drops.

    Example:
        >>> import torch
        >>> from isac_torch import Fractional, TrackingScenario, allocate_many, power_problem
        >>> sizes = [TrackingScenario.of_size(size) for size in ("8x6x2", "6x4x1")]
        >>> generator = torch.Generator().manual_seed(1)
        >>> problems = [power_problem(size.sample(2, generator=generator), size) for size in sizes]
        >>> [tuple(allocation.power.shape) for allocation in allocate_many(problems, Fractional())]   # W
        [(2, 32), (2, 20)]
    """
    groups: dict[tuple[object, ...], list[int]] = {}
    for index, problem in enumerate(problems):
        groups.setdefault(_size_class(problem), []).append(index)
    answers: dict[int, Allocation] = {}
    for members in groups.values():
        whole = allocate(cat_tensors([problems[index] for index in members]), allocator)
        counts = [problems[index].num_drops for index in members]
        for index, part in zip(members, torch.arange(sum(counts)).split(counts), strict=True):
            share = whole.seconds * len(part) / sum(counts)
            answers[index] = replace(map_tensors(whole, lambda t, part=part: t[part.to(t.device)]), seconds=share)  # type: ignore[misc]
    return [answers[index] for index in range(len(problems))]


def _size_class(problem: PowerProblem) -> tuple[object, ...]:
    """What batches must share to be joined: every tensor's shape but for the drops, its dtype, and the other fields."""
    tensors = tensor_fields(problem)
    shapes = ((name, value.shape[1:], value.dtype, value.device) for name, value in tensors.items())
    others = ((item.name, getattr(problem, item.name)) for item in fields(problem) if item.name not in tensors)  # type: ignore[arg-type]
    return (type(problem), *shapes, *others)
