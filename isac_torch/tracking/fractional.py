"""Fractional power control: what an AP can do by itself, from the large-scale fading of its own links. Eq. (22) of
docs/physics.md.
"""

from __future__ import annotations

import math

from jaxtyping import Bool, Float, Int

from isac_torch.tensors import Array, at_least, counting, max_at, namespace, sum_at, tiniest
from isac_torch.tracking.problem import MaxMinSinrProblem


def fractional_power(
    problem: MaxMinSinrProblem[Array], comm_exponent: float = 0.0, sensing_exponent: float = 0.0
) -> Float[Array, "drop link"]:
    """Powers (W) of a problem's links by `shared_budgets`."""
    return shared_budgets(
        problem.link_gain,
        problem.link_ap,
        problem.budget,
        problem.num_comm_links,
        comm_exponent,
        sensing_exponent,
        problem.used,
    )


def reference_power(problem: MaxMinSinrProblem[Array]) -> Float[Array, "drop link"]:
    """Powers (W) that the requirement compares with, else uniform ones: always within the budgets, for lack of better ones."""
    return fractional_power(problem) if problem.reference is None else problem.reference


def shared_budgets(
    link_gain: Float[Array, "drop link"],
    link_ap: Int[Array, "drop link"],
    budget: Float[Array, "drop ap"],
    num_comm_links: int,
    comm_exponent: float,
    sensing_exponent: float,
    used: Float[Array, "drop ue serving"] | None = None,
) -> Float[Array, "drop link"]:
    """Powers (W): every AP shares its whole budget (W) by powers of the large-scale fading (linear) of its links.

    The first `num_comm_links` links serve UEs, the others targets. AP m gives UE link k the weight rho_km^comm_exponent over
    the largest such weight among its UEs, target link l the weight lambda_lm^sensing_exponent over the largest among its
    targets, and scales the weights to its budget. An AP without UEs gives all to its targets, one without targets all to its
    UEs, one without either stays silent. UE links where `used` is 0 count as not there.
    """
    xp, num_aps = namespace(link_gain), budget.shape[1]
    sensing = counting(link_gain.shape[1], link_gain) >= num_comm_links
    comm = ~sensing
    if used is not None:
        comm = comm & (xp.concat([used.reshape(len(used), -1), link_gain[:, num_comm_links:]], axis=1) > 0)
    weight = _weight(link_gain, link_ap, num_aps, comm, comm_exponent)
    weight = weight + _weight(link_gain, link_ap, num_aps, sensing, sensing_exponent)
    total = sum_at(weight, link_ap, num_aps)
    unit = budget / at_least(total, tiniest(total))
    return weight * xp.take_along_axis(unit, link_ap, axis=1)


def _weight(
    gain: Float[Array, "drop link"],
    link_ap: Int[Array, "drop link"],
    num_aps: int,
    kind: Bool[Array, "*drop link"],
    exponent: float,
) -> Float[Array, "drop link"]:
    """gain^exponent over its maximum at the same AP among links of one kind; 0 on links of the other kind.

    Taken in logarithms, so that large exponents of tiny gains neither underflow nor overflow.
    """
    xp = namespace(gain)
    log_weight = xp.where(kind, exponent * xp.log(at_least(gain, tiniest(gain))), -math.inf)
    largest = xp.take_along_axis(max_at(log_weight, link_ap, num_aps), link_ap, axis=1)
    # Zeros first: minus infinity less itself would be NaN where an AP has no link of this kind.
    relative = xp.where(kind, log_weight, 0.0) - xp.where(kind, largest, 0.0)
    return xp.where(kind, xp.exp(relative), 0.0)
