"""A problem as graph tensors for a network: what stands on each link, UE, target and AP, and who disturbs whom.

One token per link. A link knows its AP (`problem.link_ap`) and the node that it serves (links are ordered by node), so both
gathers are index lists; who disturbs or illuminates whom is dense within a drop and comes as blocks for a batched matrix
product. Every feature is a noise-normalised quantity in dB, or a count, standardised with the fixed constants below, so that
one set of weights serves every size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from isac_torch.graph import LinkGraph, standardised
from isac_torch.links import links_per_target, own_constraints, own_entries
from isac_torch.tracking.problem import MaxMinSinrProblem

FEATURE_VERSION = 2
"""Raised with every change of meaning, order or scaling of the features: weights of another version are refused."""
LINK_FEATURES = 5
UE_FEATURES = 3

_GAIN = (15.0, 15.0)
"""Mean and spread, dB, of a gain times the AP's budget over the noise."""
_DISTURBANCE = (35.0, 12.0)
"""Mean and spread, dB, of disturbances that are summed or maximal over UEs or links."""


def link_graph(problem: MaxMinSinrProblem) -> LinkGraph:
    """Graph of every drop, without gradients.

    link: serving link (1) or sensing link (0); own gain a^2 P (serving), or own echo over the other targets' echoes and SIR0
    (sensing); the same relative to the node's best link; total and worst disturbance N P at the other UEs.
    ue: best gain; sum of all N P; interference of shared pilots.
    Targets and APs have no features: what matters of them stands on their links.
    """
    with torch.no_grad():
        limit = problem.link_budget
        leak = problem.leakage * limit[:, None]
        return LinkGraph(
            link=_link_features(problem, leak, limit),
            ue=_ue_features(problem, leak, limit),
            target=limit.new_zeros(problem.num_drops, problem.num_targets, 0),
            ap=limit.new_zeros(problem.num_drops, problem.num_aps, 0),
            disturbance=leak / (1.0 + leak),
            disturbance_share=_shares(leak),
            illumination=_padded(problem, _shares(problem.echo * limit[:, None])),
            clutter=_padded(problem, _shares(problem.cross_echo * limit[:, None])),
        )


def _advantage(problem: MaxMinSinrProblem) -> Tensor:
    """S / (SIR0 I) of every target and each of its own links: above one where the link helps; ones without constraints."""
    if not problem.num_constraints:
        return problem.leakage.new_ones(problem.num_drops, problem.num_targets, links_per_target(problem))
    tiny = 1e-30
    ratio = problem.echo.clamp_min(tiny) / (problem.sir_min[..., None] * problem.cross_echo).clamp_min(tiny)
    return own_constraints(problem, ratio)


def _shares(value: Tensor) -> Tensor:
    return value / value.sum(-1, keepdim=True).clamp_min(1e-30)


def _padded(problem: MaxMinSinrProblem, block: Tensor) -> Tensor:
    """One row per target, zeros where the problem has no sensing constraints."""
    return block if problem.num_constraints else block.new_zeros(problem.num_drops, problem.num_targets, problem.num_links)


def _link_features(problem: MaxMinSinrProblem, leak: Tensor, limit: Tensor) -> Tensor:
    comm = problem.num_comm_links
    power_gain = problem.signal.square()
    gain = (power_gain * problem.serving_power(limit)).flatten(1)
    own = _advantage(problem)
    at_own = own_entries(problem, leak).flatten(1)
    total, worst = leak.sum(1), _without_own(problem, leak).amax(1)
    total = torch.cat([total[:, :comm] - at_own, total[:, comm:]], 1)
    kind = torch.zeros_like(total)
    kind[:, :comm] = 1.0
    strength = torch.cat([standardised(gain, _GAIN), standardised(own.flatten(1))], 1)
    relative = torch.cat([_to_best(power_gain), _to_best(own)], 1)
    columns = [kind, strength, relative, standardised(total, _DISTURBANCE), standardised(worst, _DISTURBANCE)]
    return torch.stack(columns, -1)


def _without_own(problem: MaxMinSinrProblem, leak: Tensor) -> Tensor:
    """Disturbance by each link, zero at the UE that the link serves."""
    node = torch.arange(problem.num_ues, device=leak.device).repeat_interleave(problem.serving)
    mine = torch.nn.functional.pad(node, (0, problem.num_links - problem.num_comm_links), value=-1)
    return leak * (mine != torch.arange(problem.num_ues, device=leak.device)[:, None])


def _to_best(block: Tensor) -> Tensor:
    """Each link relative to its node's best one."""
    if not block.numel():
        return block.flatten(1)
    return standardised(block / block.amax(-1, keepdim=True).clamp_min(1e-30)).flatten(1)


def _ue_features(problem: MaxMinSinrProblem, leak: Tensor, limit: Tensor) -> Tensor:
    gain = (problem.signal.square() * problem.serving_power(limit)).amax(-1)
    pilot = torch.einsum("dkjs,djs->dkj", problem.coherent, problem.serving_power(limit).sqrt()).square().sum(-1)
    return torch.stack(
        [standardised(gain, _GAIN), standardised(leak.sum(-1), (25.0, 15.0)), standardised(1.0 + pilot, _GAIN)], -1
    )
