"""Downlink pilots: problem as the graph that the message layers read: links and UEs, which are targets too, and APs."""

from __future__ import annotations

import torch
from torch import Tensor

from isac_torch.allocation import equal_split
from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
from isac_torch.graph import LinkGraph, standardised

FEATURE_VERSION = 2
"""Raised with every change of meaning, order or scaling of the features: weights of another version are refused."""
LINK_FEATURES = 6
UE_FEATURES = 4
AP_FEATURES = 2

_LEVEL = (30.0, 15.0)
"""Mean and spread, dB, of a pilot's energy over the noise."""
_RATIO = (0.0, 10.0)
"""Mean and spread, dB, of a ratio."""
_NOTHING = 1e-30
"""Mean energy or information of an AP that serves no UE counts as this."""


def link_graph(problem: MinMaxNmseProblem) -> LinkGraph:
    """Graph of every drop, without gradients; targets have no tokens of their own.

    link: coherent pilot energy; the same over the UE's mean and over the AP's mean; energy that is not coherent over it; trace
    of the position's information over the UE's mean; the same times Gamma, halved: how far the link alone would locate.
    ue: coherent energy of all APs at full power; bound over Gamma at an equal split; weight; number of UEs.
    ap: number of UEs; spread of its coherent energies, largest over mean.
    disturbance: contamination |psi_k^H psi_j|^2 E / (1 + ...) that link e of UE j makes at UE k at full power.
    """
    with torch.no_grad():
        budget = problem.budget.unsqueeze(1)
        energy = problem.estimate * budget
        trace = (problem.fisher_xx + problem.fisher_yy) * budget
        links = [
            standardised(energy, _LEVEL),
            standardised(energy / energy.mean(2, keepdim=True).clamp_min(_NOTHING), _RATIO),
            standardised(energy / energy.mean(1, keepdim=True).clamp_min(_NOTHING), _RATIO),
            standardised(problem.gain / problem.estimate - 1.0, _RATIO),
            standardised(trace / trace.mean(2, keepdim=True).clamp_min(_NOTHING), _RATIO),
            standardised(0.5 * trace * problem.crb_max.unsqueeze(-1), _RATIO),
        ]
        crowd = torch.full_like(problem.weight, problem.num_ues / 4.0)
        bound = problem.crb(equal_split(problem)) / problem.crb_max
        ues = [
            standardised(energy.sum(-1), _LEVEL),
            standardised(bound, (0.0, 5.0)),
            standardised(problem.weight, _RATIO),
            crowd,
        ]
        peak = energy.amax(1) / energy.mean(1).clamp_min(_NOTHING)
        aps = [torch.full_like(peak, problem.num_ues / 4.0), standardised(peak, _RATIO)]
        leak = _contamination(problem)
        none = leak[:, :0]
        share = leak / leak.sum(-1, keepdim=True).clamp_min(1e-30)
        return LinkGraph(
            link=torch.stack([part.flatten(1) for part in links], -1),
            ue=torch.stack(ues, -1),
            target=energy.new_zeros(problem.num_drops, 0, 1),
            ap=torch.stack(aps, -1),
            disturbance=leak / (1.0 + leak),
            disturbance_share=share,
            illumination=none,
            clutter=none,
        )


def _contamination(problem: MinMaxNmseProblem) -> Tensor:
    """Pilot energy over noise at UE k [drop, k, link] of other UEs' links at full power."""
    squared = problem.gram_real.square() + problem.gram_imag.square()
    squared = squared - torch.diag_embed(squared.diagonal(dim1=1, dim2=2))
    at_full = problem.gain * problem.budget.unsqueeze(1)
    return torch.einsum("dkj,dkm->dkjm", squared, at_full).flatten(2)
