"""Fractional power control of a large network: the baseline that needs no coefficients. Eq. (22) of docs/physics.md."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from isac_torch.large.problem import LargeProblem
from isac_torch.tracking.fractional import fractional_power
from isac_torch.tracking.problem import MaxMinSinrProblem


def fractional_powers(
    problem: LargeProblem, comm_exponent: float = 0.0, sensing_exponent: float = 0.0
) -> Float[ndarray, " link"]:
    """Powers (W): each AP's budget by powers of the gains of its UEs and of its targets over the largest of either kind."""
    return cast(ndarray, fractional_power(_gains_only(problem), comm_exponent, sensing_exponent)[0])


def _gains_only(problem: LargeProblem) -> MaxMinSinrProblem:
    """The dense problem with zeros, which share one number's memory, for all that the rule does not look at."""
    (ues, serving), links = problem.users.signal.shape, len(problem.link_ap)

    def zeros(*shape: int) -> Any:
        return np.broadcast_to(np.float64(0.0), (1, *shape))

    def batch(value: ndarray) -> Any:
        return value[None]

    return MaxMinSinrProblem(
        signal=zeros(ues, serving),
        leakage=zeros(ues, links),
        coherent=zeros(ues, ues, serving),
        echo=zeros(0, links),
        cross_echo=zeros(0, links),
        sir_min=zeros(0),
        budget=batch(problem.budget),
        link_ap=batch(problem.link_ap),
        link_gain=batch(problem.link_gain),
        num_targets=problem.network.num_targets,
    )
