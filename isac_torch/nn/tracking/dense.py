"""A power problem with one axis a kind of thing (owner, AP, link) and matrices that say which link belongs to whom.

The layout that `MaxMinSinrProblem` has for reading splits the link axis into UEs times serving links and targets times
sensing links. Here nothing is split, and UEs and targets are rows of the same matrices: an exporter can leave every size
open, none, one or many targets are the same graph, and each step of the algorithm is one product for all owners. Vectors are
rows [drop, 1, n], so that products with a matrix on the right pass them from links to owners and back. Sums and maxima name
their axis from the front: onnxruntime miscounts a negative one where another axis is empty.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from isac_torch.links import spread_to_links
from isac_torch.nn.tracking.balance import SENSING_CAP
from isac_torch.tracking.problem import MaxMinSinrProblem

TINY = 1e-20
"""Far below every meaningful value; its square root is still safe in single precision."""
_UNBOUNDED = 1e12


@dataclass(frozen=True)
class DenseProblem:
    """Coefficients of `MaxMinSinrProblem`. Owners are the UEs, then the targets; a target without a row hears nothing.

    Attributes:
        signal: a of each serving link, 1/sqrt(W); 0 on sensing links.
        heard: N of each UE, 1/W; S of each target over the largest in its row.
        required: 0 at UEs; SIR0 I of each target over the same.
        coherent: c of each serving link at each UE, 1/sqrt(W); 0 on sensing links and at targets.
        budget: W.
        sent: 1 where the AP sends the link.
        owner: 1 where the owner owns the link.
        is_ue: 1 for each UE, 0 for each target.
    """

    signal: Float[Tensor, "drop 1 link"]
    heard: Float[Tensor, "drop owner link"]
    required: Float[Tensor, "drop owner link"]
    coherent: Float[Tensor, "drop owner link"]
    budget: Float[Tensor, "drop 1 ap"]
    sent: Float[Tensor, "drop ap link"]
    owner: Float[Tensor, "owner link"]
    is_ue: Float[Tensor, "1 owner"]

    @classmethod
    def of(cls, problem: MaxMinSinrProblem) -> DenseProblem:
        """The same problems; `isac_torch.deployment.directions` does this for a deployed network."""
        ues, targets, links = problem.num_ues, problem.num_targets, problem.num_links
        like = problem.budget
        eye = torch.eye(ues + targets, dtype=like.dtype, device=like.device)
        echo, required = problem.leakage.new_zeros(2, problem.num_drops, targets, links)
        if problem.num_constraints:
            size = problem.echo.amax(-1, keepdim=True).clamp_min(TINY)
            echo, required = problem.echo / size, problem.sir_min.unsqueeze(-1) * problem.cross_echo / size
        aps = torch.arange(problem.num_aps, device=like.device)
        return cls(
            signal=pad(problem.signal.flatten(1), (0, links - problem.num_comm_links)).unsqueeze(1),
            heard=torch.cat([problem.leakage, echo], 1),
            required=torch.cat([torch.zeros_like(problem.leakage), required], 1),
            coherent=pad(problem.coherent.flatten(2), (0, links - problem.num_comm_links, 0, targets)),
            budget=problem.budget.unsqueeze(1),
            sent=(problem.link_ap.unsqueeze(1) == aps.unsqueeze(1)).to(like.dtype),
            owner=spread_to_links(problem, eye.unsqueeze(0)).squeeze(0).mT,
            is_ue=pad(like.new_ones(1, ues), (0, targets)),
        )


@dataclass(frozen=True)
class Matrices:
    """What does not depend on the directions.

    Attributes:
        is_target: 1 for each target, 0 for each UE.
        row: N of each UE, S - SIR0 I of each target.
        load: 1 / budget where the AP sends the link.
        limit: budget of each link's AP, W.
        itself: 1 where both are the same target.
        others: 1 but there.
        most: largest scale of each target over the UEs' sum; without bound for UEs.
        count: UEs.
    """

    is_target: Float[Tensor, "1 owner"]
    row: Float[Tensor, "drop owner link"]
    load: Float[Tensor, "drop ap link"]
    limit: Float[Tensor, "drop 1 link"]
    itself: Float[Tensor, "owner owner"]
    others: Float[Tensor, "owner owner"]
    most: Float[Tensor, "1 owner"]
    count: Float[Tensor, "1 1"]

    @classmethod
    def of(cls, problem: DenseProblem) -> Matrices:
        """Of every drop."""
        is_target = 1.0 - problem.is_ue
        itself = (problem.owner @ problem.owner.mT).clamp_max(1.0) * is_target
        return cls(
            is_target=is_target,
            row=problem.heard - problem.required,
            load=problem.sent / problem.budget.mT,
            limit=problem.budget @ problem.sent,
            itself=itself,
            others=1.0 - itself,
            most=SENSING_CAP + _UNBOUNDED * problem.is_ue,
            count=problem.is_ue.sum(1, keepdim=True),
        )
