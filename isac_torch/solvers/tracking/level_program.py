"""The family of problems that the interior-point method solves: rows that rise with one common level.

With powers x relative to their AP's budget, u_k(x) = (sum_e a_e sqrt x_e)^2 (concave) and v_k(x) = N_k^T x + 1,

    maximise   t - cost^T x
    subject to u_k(x) >= (w_k t + f_k) v_k(x),   S_l x >= (w_l t + f_l) (I_l x + n_l),   A x <= 1,   x >= 0 .

UEs with w = 1, f = 0 and rows with w = 0, f = SIR0 make max-min SINR, a quasi-concave problem; w = 0 everywhere with targets f
and a cost the cheapest powers, a convex problem; mixed w and f the steps of lexicographic max-min. Shared pilots add
sum_j (c_kj^T sqrt x_j)^2 to v_k.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isac_torch.tracking.problem import MaxMinSinrProblem


@dataclass(frozen=True)
class LevelProgram:
    """Coefficients of the module's problem in relative powers, dimensionless.

    Attributes:
        amplitude: a_e of each UE's serving links.
        leakage: N_ke, interference over noise that link e makes at UE k.
        coherent: c_kjs, amplitude of the s-th link of UE j at k, for UEs on one pilot; None where no pilot is shared.
        echo: S_le of the sensing rows, any scale per row.
        cross_echo: I_le, same scale as S_l.
        constraint_noise: n_l, same scale.
        link_ap: AP of each link; UE 0's serving links come first, then UE 1's, ..., then the sensing links.
        weight: w of the UEs, then of the sensing rows: 1 where the level rises with t, else 0.
        floor: f of the UEs, then of the sensing rows: the fixed part of the level.
        cost: price of each link's relative power in the objective.
        num_aps: transmitting APs.
    """

    amplitude: Float[Tensor, "drop ue serving"]
    leakage: Float[Tensor, "drop ue link"]
    coherent: Float[Tensor, "drop ue ue serving"] | None
    echo: Float[Tensor, "drop constraint link"]
    cross_echo: Float[Tensor, "drop constraint link"]
    constraint_noise: Float[Tensor, "drop constraint"]
    link_ap: Int[Tensor, "drop link"]
    weight: Float[Tensor, "drop ratio"]
    floor: Float[Tensor, "drop ratio"]
    cost: Float[Tensor, "drop link"]
    num_aps: int

    @property
    def num_ratios(self) -> int:
        """UEs and sensing rows."""
        return self.weight.shape[1]

    def goal(self, level: Tensor) -> Tensor:
        """w t + f of every UE and sensing row."""
        return self.weight * level.unsqueeze(-1) + self.floor

    def signal(self, power: Tensor) -> tuple[Tensor, Tensor]:
        """u_k and its slope over each serving link's power, du_k / dx_e."""
        own = power[:, : self.amplitude[0].numel()].reshape(self.amplitude.shape)
        part = self.amplitude * own.sqrt()
        total = part.sum(-1)
        return total.square(), total.unsqueeze(-1) * part / own

    def tangent_leakage(self, power: Tensor) -> Tensor:
        """Slope of v_k over each link's power; times the power it gives v_k - 1, as every part of v_k - 1 is homogeneous."""
        if self.coherent is None:
            return self.leakage
        amplitude = power[:, : self.amplitude[0].numel()].reshape(self.amplitude.shape).sqrt()
        received = torch.einsum("dkjs,djs->dkj", self.coherent, amplitude)
        slope = (self.coherent * received.unsqueeze(-1) / amplitude.unsqueeze(1)).flatten(2)
        comm = slope.shape[2]
        return torch.cat([self.leakage[..., :comm] + slope, self.leakage[..., comm:]], -1)

    def wanted(self, power: Tensor) -> Tensor:
        """u_k of the UEs and S_l x of the sensing rows."""
        return torch.cat([self.signal(power)[0], torch.einsum("dle,de->dl", self.echo, power)], 1)

    def unwanted(self, power: Tensor) -> Tensor:
        """v_k of the UEs and I_l x + n_l of the sensing rows."""
        ue = torch.einsum("dke,de->dk", self.tangent_leakage(power), power) + 1.0
        return torch.cat([ue, torch.einsum("dle,de->dl", self.cross_echo, power) + self.constraint_noise], 1)


def max_min_program(problem: MaxMinSinrProblem, scale: Float[Tensor, " drop"]) -> LevelProgram:
    """The max-min SINR problem in powers relative to the budgets, with levels in units of `scale` (linear SINR)."""
    limit = problem.link_budget
    reach = problem.serving_power(limit).sqrt()
    ones = torch.ones_like(problem.signal[..., 0])
    return LevelProgram(
        amplitude=problem.signal * reach / scale[:, None, None].sqrt(),
        leakage=problem.leakage * limit.unsqueeze(1),
        coherent=problem.coherent * reach.unsqueeze(1) if problem.has_pilot_reuse else None,
        echo=problem.echo * limit.unsqueeze(1),
        cross_echo=problem.cross_echo * limit.unsqueeze(1),
        constraint_noise=problem.constraint_noise,
        link_ap=problem.link_ap,
        weight=torch.cat([ones, torch.zeros_like(problem.sir_min)], 1),
        floor=torch.cat([torch.zeros_like(ones), problem.sir_min], 1),
        cost=torch.zeros_like(limit),
        num_aps=problem.num_aps,
    )
