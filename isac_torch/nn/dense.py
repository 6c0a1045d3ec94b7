"""A power problem with one axis a kind of thing (UE, target, AP, link) and matrices that say which link belongs to whom.

The layout that `MaxMinSinrProblem` has for reading splits the link axis into UEs times serving links and targets times
sensing links. Here nothing is split: an exporter can leave every size open, and none, one or many targets are the same
graph. Vectors are rows [drop, 1, n], so that products with a matrix on the right pass them from links to owners and back. Sums
and maxima name their axis from the front: onnxruntime miscounts a negative one where another axis is empty.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from isac_torch.tracking.owners import spread_to_links
from isac_torch.tracking.problem import MaxMinSinrProblem

TINY = 1e-20
"""Far below every meaningful value; its square root is still safe in single precision."""


@dataclass(frozen=True)
class DenseProblem:
    """Coefficients of `MaxMinSinrProblem` on one link axis. A target without a sensing row has zero echoes.

    Attributes:
        signal: a of each serving link, 1/sqrt(W); 0 on sensing links.
        leakage: N, 1/W.
        coherent: c of each serving link at each UE, 1/sqrt(W); 0 on sensing links.
        echo: S; any scale per row, zeros where the target has no row.
        cross_echo: I; same scale as S.
        sir_min: SIR0 of each target, linear; any positive number where the target has no row.
        budget: W.
        link_ap: AP of each link.
        ue_of: 1 where the UE owns the link.
        target_of: 1 where the target owns the link.
    """

    signal: Float[Tensor, "drop link"]
    leakage: Float[Tensor, "drop ue link"]
    coherent: Float[Tensor, "drop ue link"]
    echo: Float[Tensor, "drop target link"]
    cross_echo: Float[Tensor, "drop target link"]
    sir_min: Float[Tensor, "drop target"]
    budget: Float[Tensor, "drop ap"]
    link_ap: Int[Tensor, "drop link"]
    ue_of: Float[Tensor, "ue link"]
    target_of: Float[Tensor, "target link"]

    @classmethod
    def of(cls, problem: MaxMinSinrProblem) -> DenseProblem:
        """The same problems; `isac_torch.deployment.directions` does this for a deployed network."""
        sensing = (0, problem.num_links - problem.num_comm_links)
        owners = torch.eye(problem.num_ues + problem.num_targets, dtype=problem.budget.dtype, device=problem.budget.device)
        owner_of = spread_to_links(problem, owners.unsqueeze(0)).squeeze(0).mT
        empty = problem.leakage.new_zeros(problem.num_drops, problem.num_targets, problem.num_links)
        rows = problem.num_rows > 0
        return cls(
            signal=pad(problem.signal.flatten(1), sensing),
            leakage=problem.leakage,
            coherent=pad(problem.coherent.flatten(2), sensing),
            echo=problem.echo if rows else empty,
            cross_echo=problem.cross_echo if rows else empty,
            sir_min=problem.sir_min if rows else torch.ones_like(empty[..., 0]),
            budget=problem.budget,
            link_ap=problem.link_ap,
            ue_of=owner_of[: problem.num_ues],
            target_of=owner_of[problem.num_ues :],
        )


@dataclass(frozen=True)
class Matrices:
    """What does not depend on the directions.

    Attributes:
        owner: 1 where the owner (UEs, then targets) owns the link.
        ap: 1 where the AP sends the link.
        row: S - SIR0 I over the row's largest echo.
        echo: S over the same.
        answers: columns for each UE (leakage), target (row) and AP (1 / budget), to be summed over links.
        is_ue: 1 for each UE, 0 for each target.
        own: 1 where owner and target are the same.
    """

    owner: Float[Tensor, "owner link"]
    ap: Float[Tensor, "drop ap link"]
    row: Float[Tensor, "drop target link"]
    echo: Float[Tensor, "drop target link"]
    answers: Float[Tensor, "drop link answer"]
    is_ue: Float[Tensor, "1 owner"]
    own: Float[Tensor, "owner target"]

    @classmethod
    def of(cls, problem: DenseProblem) -> Matrices:
        """Of every drop."""
        aps = torch.arange(problem.budget.shape[1], device=problem.link_ap.device)
        at_ap = (problem.link_ap.unsqueeze(1) == aps.unsqueeze(1)).to(problem.budget.dtype)
        size = problem.echo.amax(2, keepdim=True).clamp_min(TINY)
        echo, cross = problem.echo / size, problem.sir_min.unsqueeze(-1) * problem.cross_echo / size
        row = echo - cross
        answers = torch.cat([problem.leakage, row, at_ap / problem.budget.unsqueeze(-1)], 1).mT.contiguous()
        eye = torch.eye(problem.target_of.shape[0], dtype=row.dtype, device=row.device)
        ue, target = problem.ue_of[:, :1], problem.target_of[:, :1]
        is_ue = torch.cat([torch.ones_like(ue), torch.zeros_like(target)]).mT
        own = pad(eye, (0, 0, problem.ue_of.shape[0], 0))
        return cls(torch.cat([problem.ue_of, problem.target_of]), at_ap, row, echo, answers, is_ue, own)
