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
from isac_torch.links import own_constraints, own_entries
from isac_torch.tracking.problem import MaxMinSinrProblem

FEATURE_VERSION = 1
"""Raised with every change of meaning, order or scaling of the features: weights of another version are refused."""
LINK_FEATURES = 9
UE_FEATURES = 3
TARGET_FEATURES = 3
AP_FEATURES = 2

_LEVEL = (15.0, 15.0)
"""Mean and spread, dB, of a gain times the AP's budget over the noise."""
_DISTURBANCE = (35.0, 12.0)
"""Mean and spread, dB, of disturbances that are summed or maximal over UEs or links."""


def link_graph(problem: MaxMinSinrProblem) -> LinkGraph:
    """Graph of every drop, without gradients.

    link: serving link (1) or sensing link (0); own gain a^2 P (serving), or own echo over the other targets' echoes and SIR0
    (sensing); the same relative to the node's best link; total and worst disturbance N P at the other UEs; best and worst
    S / (SIR0 I) over the targets; share of self-made noise in what the UE receives over it; number of links of its AP.
    ue: best gain; sum of all N P; interference of shared pilots.
    target: best and worst S / (SIR0 I) of its own beams; best of the UEs' streams.
    ap: number of its serving and of its sensing links, over five.
    """
    with torch.no_grad():
        limit = problem.link_budget
        leak = problem.leakage * limit[:, None]
        advantage = _advantage(problem)
        return LinkGraph(
            link=_link_features(problem, leak, advantage, limit),
            ue=_ue_features(problem, leak, limit),
            target=_target_features(problem, advantage),
            ap=_ap_features(problem),
            disturbance=leak / (1.0 + leak),
            disturbance_share=_row_share(leak),
            illumination=_padded(problem, _row_share(problem.echo * limit[:, None])),
            clutter=_padded(problem, _row_share(problem.cross_echo * limit[:, None])),
        )


def _advantage(problem: MaxMinSinrProblem) -> Tensor:
    """S / (SIR0 I) of every (target, link): above one where the link helps the row; ones where there are no rows."""
    if not problem.num_constraints:
        return problem.leakage.new_ones(problem.num_drops, problem.num_targets, problem.num_links)
    tiny = 1e-30
    return problem.echo.clamp_min(tiny) / (problem.sir_min[..., None] * problem.cross_echo).clamp_min(tiny)


def _row_share(value: Tensor) -> Tensor:
    return value / value.sum(-1, keepdim=True).clamp_min(1e-30)


def _padded(problem: MaxMinSinrProblem, row: Tensor) -> Tensor:
    """Rows as one block per target, zeros where the problem has none."""
    return row if problem.num_constraints else row.new_zeros(problem.num_drops, problem.num_targets, problem.num_links)


def _link_features(problem: MaxMinSinrProblem, leak: Tensor, advantage: Tensor, limit: Tensor) -> Tensor:
    comm = problem.num_comm_links
    power_gain = problem.signal.square()
    gain = (power_gain * problem.serving_power(limit)).flatten(1)
    own = own_constraints(problem, advantage)
    at_own = own_entries(problem, leak).flatten(1)
    total, worst = leak.sum(1), _without_own(problem, leak).amax(1)
    total = torch.cat([total[:, :comm] - at_own, total[:, comm:]], 1)
    kind = torch.zeros_like(total)
    kind[:, :comm] = 1.0
    best, least = (advantage.amax(1), advantage.amin(1)) if problem.num_targets else (torch.ones_like(total),) * 2
    self_noise = torch.zeros_like(total)
    self_noise[:, :comm] = at_own / (at_own + gain).clamp_min(1e-30)
    strength = torch.cat([standardised(gain, _LEVEL), standardised(own.flatten(1))], 1)
    relative = torch.cat([_to_best(power_gain), _to_best(own)], 1)
    busy = torch.zeros_like(problem.budget).scatter_add(1, problem.link_ap, torch.ones_like(total)).gather(1, problem.link_ap)
    columns = [kind, strength, relative, standardised(total, _DISTURBANCE), standardised(worst, _DISTURBANCE)]
    columns += [standardised(best), standardised(least), self_noise, standardised(busy)]
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
        [standardised(gain, _LEVEL), standardised(leak.sum(-1), (25.0, 15.0)), standardised(1.0 + pilot, _LEVEL)], -1
    )


def _target_features(problem: MaxMinSinrProblem, advantage: Tensor) -> Tensor:
    own = own_constraints(problem, advantage)
    streams = advantage[..., : problem.num_comm_links]
    if not problem.num_targets:
        return advantage.new_zeros(problem.num_drops, 0, TARGET_FEATURES)
    return torch.stack([standardised(own.amax(-1)), standardised(own.amin(-1)), standardised(streams.amax(-1))], -1)


def _ap_features(problem: MaxMinSinrProblem) -> Tensor:
    count = problem.budget.new_zeros(problem.num_drops, problem.num_aps)
    comm, sensing = problem.link_ap.split([problem.num_comm_links, problem.num_links - problem.num_comm_links], 1)
    counts = [count.scatter_add(1, part, part.new_ones(part.shape).to(count.dtype)) for part in (comm, sensing)]
    return torch.stack(counts, -1) / 5.0
