"""A requirement that powers keep together with a share of the reference powers. Eqs. (74)-(75) of docs/sensing.md.

Mixing brings back sequences that an optimum leaves out. With the share s and the reference u, (1 - s) p + s u meets

    S^T ((1 - s) p + s u) >= q (I^T ((1 - s) p + s u) + n)

exactly where p meets S^T p >= q (I^T p + n') with n' = n + s / (1 - s) (n + I^T u - S^T u / q). And h((1 - s) p + s u) >= b
wherever h(p) >= (b - s h(u)) / (1 - s), since h is concave. The reference's part helps some UEs and disturbs others: p is
sought for the SINRs that the mixture had in the turn before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from jaxtyping import Float

from isac_torch.allocation import FEASIBILITY_TOLERANCE
from isac_torch.errors import ProblemError
from isac_torch.tensors import Array, at_least, namespace, tiniest
from isac_torch.tracking.problem import MaxMinSinrProblem

_LEAST = 1e-3
"""Share of the required position information that is asked for even where the reference alone gives all of it: it is a unit."""
_TURNS = 3
"""Of seeking p: at a share of 0.2 the second and the third bring back half of the rate that mixing costs, a fourth 0.6 %."""


def beside_reference(problem: MaxMinSinrProblem[Array], share: float) -> MaxMinSinrProblem[Array]:
    """The problem whose answers p keep the requirement of `problem` as (1 - share) p + share u, u its reference powers (W).

    A constraint that the share of the reference alone meets asks for nothing any more. Budgets hold for the mixture because
    they hold for both.

    Args:
        problem: with reference powers.
        share: of the reference, 0 <= share < 1.

    Raises:
        ProblemError: no reference powers, or a share that leaves nothing to decide.
    """
    if not 0.0 <= share < 1.0:
        raise ProblemError(f"share={share} must lie in 0..1, below 1; at 1 the powers are the reference's")
    uniform, weight = _reference(problem), share / (1.0 - share)
    xp = namespace(uniform)
    if problem.num_constraints:
        own, other = ((part @ uniform[..., None])[..., 0] for part in (problem.echo, problem.cross_echo))
        asked = problem.sir_min > 0.0
        gives = xp.where(asked, own / xp.where(asked, problem.sir_min, 1.0), 0.0)
        noise = problem.constraint_noise + weight * (problem.constraint_noise + other - gives)
        problem = replace(problem, echo_noise=at_least(noise, 0.0))
    if problem.position is not None:
        position = problem.position
        needed = (position.required - share * position.h(uniform)) / (1.0 - share)
        problem = replace(problem, position=replace(position, required=xp.maximum(needed, _LEAST * position.required)))
    return problem


def mixed_with_reference(
    problem: MaxMinSinrProblem[Array], share: float, powers: Callable[[MaxMinSinrProblem[Array]], Float[Array, "drop link"]]
) -> Float[Array, "drop link"]:
    """(1 - share) p + share u, W, which keeps the requirement wherever some p of its kind can.

    Of the turns the one with the largest smallest SINR is taken.

    Args:
        problem: with reference powers u.
        share: of the reference, 0 <= share < 1.
        powers: who decides p (W): largest smallest SINR of the problem that it is given.
    """
    rest, uniform = beside_reference(problem, share), _reference(problem)

    def mixture(own: Array) -> Array:
        return (1.0 - share) * own + share * uniform

    own = powers(rest)
    best = mixture(own)
    for _ in range(_TURNS - 1):
        gain = problem.sinr(mixture(own)) / at_least(rest.sinr(own), tiniest(uniform))
        gain = gain / at_least(namespace(gain).min(gain, axis=-1), tiniest(uniform))[:, None]
        own = powers(replace(rest, signal=rest.signal * (gain**0.5)[..., None]))
        best = _better(problem, best, mixture(own))
    return best


def _better(problem: MaxMinSinrProblem[Array], best: Array, other: Array) -> Array:
    """`other` in drops where it has the larger smallest SINR and misses no more, else `best`; W."""
    least = at_least(problem.violations(best).worst, FEASIBILITY_TOLERANCE)
    wins = (problem.objective(other) > problem.objective(best)) & (problem.violations(other).worst <= least)
    return namespace(best).where(wins[:, None], other, best)


def _reference(problem: MaxMinSinrProblem[Array]) -> Array:
    if problem.reference is None:
        raise ProblemError("reference is None: nobody to mix with; take a requirement of kind dominate")
    return problem.reference
