"""Fractional power control of a large network: the baseline that needs no coefficients. Eq. (22) of docs/physics.md."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from isac_torch.deployment.large.problem import LargeProblem


def fractional_powers(
    problem: LargeProblem, comm_exponent: float = 0.0, sensing_exponent: float = 0.0
) -> Float[ndarray, " link"]:
    """Powers (W): each AP's budget by powers of the gains of its UEs and of its targets over the largest of either kind."""
    ap, comm = problem.link_ap, problem.num_comm_links
    weight = np.zeros(len(ap))
    for links, exponent in ((slice(0, comm), comm_exponent), (slice(comm, None), sensing_exponent)):
        logarithm = exponent * np.log(problem.link_gain[links])
        largest = np.full(problem.num_aps, -np.inf)
        np.maximum.at(largest, ap[links], logarithm)
        weight[links] = np.exp(logarithm - largest[ap[links]])
    total = np.bincount(ap, weight, problem.num_aps)
    return weight * (problem.budget / np.maximum(total, np.finfo(float).tiny))[ap]
