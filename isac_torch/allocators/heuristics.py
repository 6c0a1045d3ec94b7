"""Closed-form power rules: what an AP can do by itself, from the large-scale fading of its own links."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isac_torch.allocation import Proposal
from isac_torch.tracking.problem import MaxMinSinrProblem


@dataclass(frozen=True)
class Fractional:
    """Fractional power control: every AP shares its whole budget by powers of the large-scale fading.

    AP m gives UE link k the weight rho_km^comm_exponent over the largest such weight among its UEs, target link l the
    weight lambda_lm^sensing_exponent over the largest among its targets, and scales the weights to its budget
    (Liesegang et al. 2025, eqs. 55-59; "Fractional power control" in docs/physics.md). An AP without UEs gives all to its
    targets, one without targets all to its UEs, one without either stays silent.

    (0, 0) is uniform power control, an equal split of each budget; (1, 1) is proportional power control.

    Attributes:
        comm_exponent: kappa_c; larger favours the UEs that an AP hears well.
        sensing_exponent: kappa_s; larger favours the targets that an AP illuminates well.
    """

    comm_exponent: float = 0.0
    sensing_exponent: float = 0.0

    @property
    def name(self) -> str:
        """upc for (0, 0), ppc for (1, 1), else fpc_<comm>_<sensing>."""
        exponents = (self.comm_exponent, self.sensing_exponent)
        named = {(0.0, 0.0): "upc", (1.0, 1.0): "ppc"}
        return named.get(exponents, f"fpc_{self.comm_exponent:g}_{self.sensing_exponent:g}")

    @property
    def gap(self) -> float:
        """No certificate is offered."""
        return 0.0

    def propose(self, problem: MaxMinSinrProblem) -> Proposal:
        """Powers (W) of every link; each AP that has links sends its whole budget."""
        sensing = torch.arange(problem.num_links, device=problem.link_ap.device) >= problem.num_comm_links
        weight = _weight(problem, ~sensing, self.comm_exponent) + _weight(problem, sensing, self.sensing_exponent)
        total = torch.zeros_like(problem.budget).scatter_add(1, problem.link_ap, weight)
        price = problem.budget / total.clamp_min(_floor(total))
        return Proposal(weight * price.gather(1, problem.link_ap))


def _weight(problem: MaxMinSinrProblem, kind: Bool[Tensor, " link"], exponent: float) -> Float[Tensor, "drop link"]:
    """gain^exponent over its maximum at the same AP among links of one kind; 0 on links of the other kind.

    Taken in logarithms, so that large exponents of tiny gains neither underflow nor overflow.
    """
    gain = problem.link_gain
    log_weight = torch.where(kind, exponent * gain.clamp_min(_floor(gain)).log(), torch.full_like(gain, -torch.inf))
    largest = torch.full_like(problem.budget, -torch.inf).scatter_reduce(1, problem.link_ap, log_weight, "amax")
    return torch.where(kind, (log_weight - largest.gather(1, problem.link_ap)).exp(), torch.zeros_like(gain))


def _floor(like: Tensor) -> float:
    """Smallest positive normal number of the tensor's type."""
    return torch.finfo(like.dtype).tiny
