"""Fractional power control of a large network: the baseline that needs no coefficients. Eq. (22) of docs/physics.md."""

from __future__ import annotations

from jaxtyping import Float
from numpy import ndarray

from isac_torch.large.problem import LargeProblem
from isac_torch.tracking.fractional import shared_budgets


def fractional_powers(
    problem: LargeProblem, comm_exponent: float = 0.0, sensing_exponent: float = 0.0
) -> Float[ndarray, " link"]:
    """Powers (W): each AP's budget by powers of the gains of its UEs and of its targets over the largest of either kind."""
    gain, link_ap, budget = problem.link_gain[None], problem.link_ap[None], problem.budget[None]
    return shared_budgets(gain, link_ap, budget, problem.num_comm_links, comm_exponent, sensing_exponent)[0]
