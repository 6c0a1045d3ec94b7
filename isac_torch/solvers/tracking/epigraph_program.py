"""The family of problems that the interior-point method solves: maximise an epigraph variable t that constraints rise with.

With powers x relative to their AP's budget, u_k(x) = (sum_e a_e sqrt x_e)^2 (concave) and v_k(x) = N_k^T x + 1,

    maximise   t - cost^T x
    subject to u_k(x) >= (w_k t + f_k) v_k(x),   S_l x + o_l >= (w_l t + f_l) (I_l x + n_l),   A x <= 1,   x >= 0 .

A requirement on positions adds h_l(x) >= w_l t + f_l, concave in x; its tangents at a point are constraints of the form of S_l,
with o_l for what h_l has without powers, and `at` puts them there.

UEs with w = 1, f = 0 and sensing constraints with w = 0, f = SIR0 make max-min SINR, a quasi-concave problem; w = 0 everywhere
with targets f and a cost the cheapest powers, a convex problem; mixed w and f the steps of lexicographic max-min; w of the
sensing constraints alone the largest common factor of all requirements. Shared pilots add
sum_j (c_kj^T sqrt x_j)^2 to v_k. `fairness` adds the sum of the UEs' utilities, or of the targets', to the objective.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isac_torch.solvers.tracking.fairness import Fairness, Merit, merit
from isac_torch.solvers.tracking.position_rows import Shape, scaled_information, shape
from isac_torch.solvers.tracking.target_merit import TargetMerit
from isac_torch.tracking.position import PositionInformation
from isac_torch.tracking.problem import MaxMinSinrProblem


@dataclass(frozen=True)
class Curves:
    """Position information and utilities at a point; None for what a program does not have."""

    position: Shape | None
    merit: Merit | None


@dataclass(frozen=True)
class EpigraphProgram:
    """Coefficients of the module's problem in relative powers, dimensionless.

    Attributes:
        amplitude: a_e of each UE's serving links.
        leakage: N_ke, interference over noise that link e makes at UE k.
        coherent: c_kjs, amplitude of the s-th link of UE j at k, for UEs on one pilot; None where no pilot is shared.
        echo: S_le of the linear sensing constraints, any scale per constraint.
        cross_echo: I_le, same scale as S_l.
        constraint_noise: n_l, same scale.
        offset: o_l, same scale.
        link_ap: AP of each link; UE 0's serving links come first, then UE 1's, ..., then the sensing links.
        weight: w of the UEs, then of the linear sensing constraints, then of the positions: 0 where t does not matter.
        floor: f of the same: what they ask for besides w t.
        cost: weight of each link's relative power in the objective.
        num_aps: transmitting APs.
        position: information on the targets' positions in units of what is required; None where nothing is.
        fairness: utility of the UEs, or of the targets, that the objective has besides t; None where it has none.
    """

    amplitude: Float[Tensor, "drop ue serving"]
    leakage: Float[Tensor, "drop ue link"]
    coherent: Float[Tensor, "drop ue ue serving"] | None
    echo: Float[Tensor, "drop constraint link"]
    cross_echo: Float[Tensor, "drop constraint link"]
    constraint_noise: Float[Tensor, "drop constraint"]
    offset: Float[Tensor, "drop constraint"]
    link_ap: Int[Tensor, "drop link"]
    weight: Float[Tensor, "drop ratio"]
    floor: Float[Tensor, "drop ratio"]
    cost: Float[Tensor, "drop link"]
    num_aps: int
    position: PositionInformation | None = None
    fairness: Fairness | TargetMerit | None = None

    @property
    def num_ratios(self) -> int:
        """UEs and sensing constraints, those on positions included."""
        return self.weight.shape[1]

    def curves(self, power: Float[Tensor, "drop link"]) -> Curves | None:
        """What is not linear besides u_k, at positive powers x; None where nothing is."""
        if self.position is None and self.fairness is None:
            return None
        found = None
        if self.fairness is not None:
            found = self._merit(self.fairness, power)
        return Curves(None if self.position is None else shape(self.position, power), found)

    def _merit(self, asked: Fairness | TargetMerit, power: Tensor) -> Merit:
        if isinstance(asked, TargetMerit):
            wanted = torch.einsum("dle,de->dl", self.echo, power) + self.offset
            unwanted = torch.einsum("dle,de->dl", self.cross_echo, power) + self.constraint_noise
            return asked.at(self.echo, self.cross_echo, wanted, unwanted)
        leakage = self.tangent_leakage(power)
        unwanted = torch.einsum("dke,de->dk", leakage, power) + 1.0
        return merit(asked, *self.signal(power), unwanted, leakage, power)

    def at(self, power: Float[Tensor, "drop link"], curves: Curves | None = None) -> EpigraphProgram:
        """The program with tangents at positive powers x in the place of every h, which allow no less than h does, and of the
        utilities.

        `curves` are `curves(power)` where they are known.
        """
        curves = self.curves(power) if curves is None else curves
        if curves is None:
            return self
        program = self
        if curves.merit is not None:
            program = replace(program, cost=self.cost - curves.merit.slope, fairness=None)
        return program if curves.position is None else program._tangents(curves.position, power)

    def _tangents(self, seen: Shape, power: Tensor) -> EpigraphProgram:
        none = torch.zeros_like(seen.value)
        return replace(
            self,
            echo=torch.cat([self.echo, seen.slope], 1),
            cross_echo=torch.cat([self.cross_echo, torch.zeros_like(seen.slope)], 1),
            constraint_noise=torch.cat([self.constraint_noise, none + 1.0], 1),
            offset=torch.cat([self.offset, seen.value - torch.einsum("dte,de->dt", seen.slope, power)], 1),
            position=None,
        )

    def goal(self, epigraph: Tensor) -> Tensor:
        """w t + f of every UE and sensing row."""
        return self.weight * epigraph.unsqueeze(-1) + self.floor

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
        """u_k of the UEs and S_l x + o_l of the sensing constraints; ask `at(power)` where there are positions."""
        return torch.cat([self.signal(power)[0], torch.einsum("dle,de->dl", self.echo, power) + self.offset], 1)

    def unwanted(self, power: Tensor) -> Tensor:
        """v_k of the UEs and I_l x + n_l of the sensing constraints; ask `at(power)` where there are positions."""
        ue = torch.einsum("dke,de->dk", self.tangent_leakage(power), power) + 1.0
        return torch.cat([ue, torch.einsum("dle,de->dl", self.cross_echo, power) + self.constraint_noise], 1)


def max_min_program(problem: MaxMinSinrProblem, scale: Float[Tensor, " drop"]) -> EpigraphProgram:
    """The max-min SINR problem in powers relative to the budgets, with t in units of `scale` (linear SINR)."""
    limit = problem.link_budget
    reach = problem.serving_power(limit).sqrt()
    ones = torch.ones_like(problem.signal[..., 0])
    required = problem.sir_min
    if problem.position is not None:
        required = torch.cat([required, torch.ones_like(problem.position.required)], 1)
    return EpigraphProgram(
        amplitude=problem.signal * reach / scale[:, None, None].sqrt(),
        leakage=problem.leakage * limit.unsqueeze(1),
        coherent=problem.coherent * reach.unsqueeze(1) if problem.has_pilot_reuse else None,
        echo=problem.echo * limit.unsqueeze(1),
        cross_echo=problem.cross_echo * limit.unsqueeze(1),
        constraint_noise=problem.constraint_noise,
        offset=torch.zeros_like(problem.sir_min),
        link_ap=problem.link_ap,
        weight=torch.cat([ones, torch.zeros_like(required)], 1),
        floor=torch.cat([torch.zeros_like(ones), required], 1),
        cost=torch.zeros_like(limit),
        num_aps=problem.num_aps,
        position=None if problem.position is None else scaled_information(problem.position, limit),
    )
