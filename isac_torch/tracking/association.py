"""Who does what: receive APs, serving sets, sensing sets, listening APs. Every rule ignores the numbering of nodes."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def farthest_point(position: Float[Tensor, "drop ap 3"], centre: Float[Tensor, " 3"], count: int) -> Int[Tensor, "drop chosen"]:
    """Well-spread APs: the one nearest to the centre, then each time the one farthest from those already chosen."""
    drop = torch.arange(position.shape[0], device=position.device)
    chosen = [(position - centre).square().sum(-1).argmin(-1)]
    nearest = torch.full(position.shape[:2], torch.inf, dtype=position.dtype, device=position.device)
    for _ in range(count - 1):
        latest = position[drop, chosen[-1]].unsqueeze(1)
        nearest = torch.minimum(nearest, (position - latest).square().sum(-1))
        chosen.append(nearest.argmax(-1))
    return torch.stack(chosen, dim=1)


def nearest_to_target(gap: Float[Tensor, "drop target ap"], count: int) -> Int[Tensor, "drop chosen"]:
    """The AP nearest to each target, closest pairs first; once every target has one, the targets take turns again.

    Args: gap, distance of every target to every AP, m.
    """
    num_drops, num_targets, num_aps = gap.shape
    drop = torch.arange(num_drops, device=gap.device)
    taken = torch.zeros(num_drops, num_aps, dtype=torch.bool, device=gap.device)
    covered = torch.zeros(num_drops, num_targets, dtype=torch.bool, device=gap.device)
    chosen = []
    for _ in range(count):
        covered = covered & ~covered.all(-1, keepdim=True)
        blocked = covered.unsqueeze(-1) | taken.unsqueeze(1)
        pair = gap.masked_fill(blocked, torch.inf).flatten(1).argmin(-1)
        covered[drop, pair // num_aps] = True
        taken[drop, pair % num_aps] = True
        chosen.append(pair % num_aps)
    return torch.stack(chosen, dim=1)


def closest(gap: Float[Tensor, "drop point ap"], count: int) -> Int[Tensor, "drop point chosen"]:
    """The `count` smallest entries of each row, best first."""
    return gap.topk(count, dim=-1, largest=False).indices


def balanced(gap: Float[Tensor, "drop target ap"], count: int) -> Int[Tensor, "drop target chosen"]:
    """Least total distance with at most ceil(targets / APs) targets an AP; `count` rounds give `count` APs a target.

    Args: gap, distance of every target to every receive AP, m.
    """
    from scipy.optimize import linear_sum_assignment

    num_drops, num_targets, num_aps = gap.shape
    seats = -(-num_targets // num_aps)
    cost = gap.detach().cpu().double().repeat_interleave(seats, dim=-1)
    chosen = torch.empty(num_drops, num_targets, count, dtype=torch.int64)
    far = 1e3 * float(cost.max()) + 1.0 if cost.numel() else 1.0
    for d in range(num_drops):
        for c in range(count):
            row, seat = linear_sum_assignment(cost[d].numpy())
            ap = torch.as_tensor(seat) // seats
            chosen[d, row, c] = ap
            cost[d].view(num_targets, num_aps, seats)[torch.as_tensor(row), ap] += far
    return chosen.to(gap.device)
