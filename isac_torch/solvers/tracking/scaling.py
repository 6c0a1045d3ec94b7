"""Problems in units in which a solver's numbers are of order one, whatever the drop's gains are.

Gains that span decades, subnormal ones included, make products underflow inside a solver although the problem is harmless. Two
changes of units leave the powers as they are: every sensing constraint may be divided by a number, and the amplitudes of all
UEs of a drop together, which divides each SINR by the square of it. Both are powers of two, so that nothing is rounded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isac_torch.allocation import Proposal, equal_split
from isac_torch.tracking.problem import MaxMinSinrProblem

_NEXT_TO_NOTHING = 1e-100
"""Share of its echo below which what a constraint asks for is met by any powers, and would underflow in a solver."""


@dataclass(frozen=True)
class Scaled:
    """A problem in the module's units.

    Attributes:
        problem: float64. Its SINRs are those of the original over `unit` squared; its powers in W and its SIRs are the same.
        unit: power of two, of each drop.
        unreachable: drops with a sensing constraint that no powers meet because no link has an echo in it. In `problem` such
            constraints, and those that ask for nothing, are replaced by one that every powers meet.
    """

    problem: MaxMinSinrProblem
    unit: Float[Tensor, " drop"]
    unreachable: Bool[Tensor, " drop"]

    def restored(self, answer: Proposal) -> Proposal:
        """The answer to the scaled problem as one to the original. Bounds are never rounded to less than they are."""
        found = answer.upper_bound
        if found is not None:
            bound = found * self.unit * self.unit
            lost = (bound < torch.finfo(bound.dtype).smallest_normal) & (found > 0.0)
            found = torch.where(lost, torch.nextafter(bound, torch.full_like(bound, torch.inf)), bound)
        infeasible, quality = answer.infeasible, answer.best_quality
        return Proposal(
            answer.power,
            found,
            self.unreachable if infeasible is None else infeasible | self.unreachable,
            None if quality is None else quality.masked_fill(self.unreachable, 0.0),
        )


def own_sinrs(problem: MaxMinSinrProblem, unit: Float[Tensor, " drop"]) -> MaxMinSinrProblem:
    """A scaled problem whose SINRs are those of the original again: for objectives that are no matter of order alone."""
    return replace(problem, signal=problem.signal * unit[:, None, None])


def scaled(problem: MaxMinSinrProblem) -> Scaled:
    """`problem` in units in which an equal split reaches a smallest SINR near one and every constraint's largest term is one.

    A UE without any signal does not count, and a constraint without any terms stays as it is.
    """
    exact = problem.cast(torch.float64)
    limit = exact.link_budget
    interference = exact.interference(equal_split(exact))
    strongest = (exact.signal * exact.serving_power(limit).sqrt()).amax(-1) / interference.sqrt()
    heard = strongest > 0.0
    unit = torch.where(heard.any(-1), torch.where(heard, strongest, torch.inf).amin(-1), 1.0)
    unit = _power_of_two(unit)
    exact = replace(exact, signal=exact.signal / unit[:, None, None])
    if problem.num_constraints == 0:
        return Scaled(exact, unit, torch.zeros_like(unit, dtype=torch.bool))
    echo = exact.echo * limit.unsqueeze(1)
    required = exact.sir_min.unsqueeze(-1) * exact.cross_echo * limit.unsqueeze(1)
    asked = torch.maximum(required.amax(-1), exact.sir_min * exact.constraint_noise)
    unreachable = (echo.amax(-1) <= 0.0) & (exact.sir_min > 0.0)
    deaf = unreachable | (asked <= _NEXT_TO_NOTHING * echo.amax(-1))
    largest = torch.maximum(echo.amax(-1), asked)
    size = _power_of_two(torch.where(largest > 0.0, largest, 1.0)).unsqueeze(-1)
    exact = replace(
        exact,
        echo=torch.where(deaf.unsqueeze(-1), 1.0 / limit.unsqueeze(1), exact.echo / size),
        cross_echo=torch.where(deaf.unsqueeze(-1), 0.0, exact.cross_echo / size),
        sir_min=torch.where(deaf, 0.0, exact.sir_min),
        echo_noise=None if exact.echo_noise is None else exact.echo_noise / size[..., 0],
    )
    return Scaled(exact, unit, unreachable.any(-1))


def _power_of_two(value: Tensor) -> Tensor:
    """The largest power of two that is at most `value`, kept where dividing by it stays finite."""
    return torch.ldexp(torch.ones_like(value), (torch.frexp(value).exponent - 1).clamp(-1000, 1000))
