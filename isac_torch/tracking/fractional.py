"""Fractional power control: what an AP can do by itself, from the large-scale fading of its own links. Eq. (22) of
docs/physics.md.
"""

from __future__ import annotations

import math

from jaxtyping import Bool, Float

from isac_torch.tensors import Array, at_least, counting, max_at, namespace, sum_at, tiniest
from isac_torch.tracking.problem import MaxMinSinrProblem


def fractional_power(
    problem: MaxMinSinrProblem, comm_exponent: float = 0.0, sensing_exponent: float = 0.0
) -> Float[Array, "drop link"]:
    """Powers (W): every AP shares its whole budget by powers of the large-scale fading of its links.

    AP m gives UE link k the weight rho_km^comm_exponent over the largest such weight among its UEs, target link l the
    weight lambda_lm^sensing_exponent over the largest among its targets, and scales the weights to its budget. An AP
    without UEs gives all to its targets, one without targets all to its UEs, one without either stays silent.
    """
    xp = namespace(problem.link_gain)
    sensing = counting(problem.num_links, problem.link_gain) >= problem.num_comm_links
    weight = _weight(problem, ~sensing, comm_exponent) + _weight(problem, sensing, sensing_exponent)
    total = sum_at(weight, problem.link_ap, problem.num_aps)
    price = problem.budget / at_least(total, tiniest(total))
    return weight * xp.take_along_axis(price, problem.link_ap, axis=1)


def _weight(problem: MaxMinSinrProblem, kind: Bool[Array, " link"], exponent: float) -> Float[Array, "drop link"]:
    """gain^exponent over its maximum at the same AP among links of one kind; 0 on links of the other kind.

    Taken in logarithms, so that large exponents of tiny gains neither underflow nor overflow.
    """
    gain = problem.link_gain
    xp = namespace(gain)
    log_weight = xp.where(kind, exponent * xp.log(at_least(gain, tiniest(gain))), -math.inf)
    largest = xp.take_along_axis(max_at(log_weight, problem.link_ap, problem.num_aps), problem.link_ap, axis=1)
    # Zeros first: minus infinity less itself would be NaN where an AP has no link of this kind.
    relative = xp.where(kind, log_weight, 0.0) - xp.where(kind, largest, 0.0)
    return xp.where(kind, xp.exp(relative), 0.0)
