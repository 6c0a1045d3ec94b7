"""Closed-form power rules: what an AP can do by itself, from the large-scale fading of its own links."""

from __future__ import annotations

from dataclasses import dataclass

from isac_torch.allocation import Proposal
from isac_torch.tracking.fractional import fractional_power
from isac_torch.tracking.problem import MaxMinSinrProblem


@dataclass(frozen=True)
class Fractional:
    """Fractional power control: every AP shares its whole budget by powers of the large-scale fading.

    `isac_torch.tracking.fractional` says how (Liesegang et al. 2025, eqs. 55-59; eq. (22) of docs/physics.md).

    (0, 0) is uniform power control, an equal split of each budget; (1, 1) is proportional power control.

    Attributes:
        comm_exponent: kappa_c; larger favours the UEs that an AP hears well.
        sensing_exponent: kappa_s; larger favours the targets that an AP illuminates well.

    Example:
        >>> import torch
        >>> from isac_torch import Fractional, TrackingScenario, allocate, power_problem
        >>> scenario = TrackingScenario.of_size("8x6x2")
        >>> problem = power_problem(scenario.sample(5, generator=torch.Generator().manual_seed(1)), scenario)
        >>> uniform = allocate(problem, Fractional(0.0, 0.0))
        >>> bool(torch.allclose(problem.ap_load(uniform.power), problem.budget))   # every AP sends its whole budget, W
        True
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
        return Proposal(fractional_power(problem, self.comm_exponent, self.sensing_exponent))
