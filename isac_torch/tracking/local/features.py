"""What an AP can tell of its own links: before any message, and once UEs and targets have announced themselves."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.links import own_constraints, split_by_node
from isac_torch.nn.tracking.local_rounds import Channel, Neighbourhoods, clear, logarithm, own_gain, own_leakage
from isac_torch.tensors import max_at
from isac_torch.tracking.problem import MaxMinSinrProblem

ALONE = 10
"""Features of a link before any message: what fractional power control knows."""
NEAR = 12
"""Features that need the coefficients of the neighbourhood."""


def scaled(value: Tensor, mean: float = 0.0, spread: float = 1.0) -> Tensor:
    """(value - mean) / spread, between -5 and 5."""
    return ((value - mean) / spread).clamp(-5.0, 5.0)


def alone(problem: MaxMinSinrProblem, known: Neighbourhoods) -> Float[Tensor, "drop link feature"]:
    """Kind of the link; its gain, absolute and relative to the AP's best and worst of that kind; links of the AP; SIR0."""
    comm = problem.num_comm_links
    serves = torch.zeros_like(known.limit)
    serves[:, :comm] = 1.0
    serving = logarithm(own_gain(problem))
    lighting = logarithm(problem.link_gain[:, comm:] * known.limit[:, comm:])
    gain = torch.cat([scaled(serving, 3.5, 3.5), scaled(lighting, -25.0, 3.0)], 1)
    relative = [
        torch.cat([block - sign * _best(problem, sign * block, part) for block, part in ((serving, 0), (lighting, 1))], 1)
        for sign in (1.0, -1.0)
    ]
    sensing = (known.at_ap[:, :, comm:]).sum(-1).gather(1, problem.link_ap)
    counts = known.links.gather(1, problem.link_ap)
    required = torch.zeros_like(known.limit)
    if problem.num_constraints:
        required = required + logarithm(problem.sir_min).mean(1, keepdim=True)
    columns = [serves, 1.0 - serves, gain * serves, gain * (1.0 - serves)]
    columns += [scaled(relative[0], 0.0, 2.5), scaled(relative[1], 0.0, 2.5)]
    columns += [scaled(counts - sensing, 5.0, 3.0), scaled(sensing, 2.0, 2.0), scaled(required, -1.15, 0.5)]
    columns += [torch.full_like(serves, float(problem.num_constraints > 0))]
    return torch.stack(columns, -1)


def _best(problem: MaxMinSinrProblem, value: Tensor, part: int) -> Tensor:
    """Largest value among the links of the same AP: of serving links (part 0) or of sensing links (part 1)."""
    comm = problem.num_comm_links
    index = problem.link_ap[:, :comm] if part == 0 else problem.link_ap[:, comm:]
    return max_at(value, index, problem.num_aps).nan_to_num(neginf=0.0).gather(1, index)


def near(problem: MaxMinSinrProblem, known: Neighbourhoods, channel: Channel = clear) -> Float[Tensor, "drop link feature"]:
    """Disturbance of the link at full budget: at its own UE, at all other UEs heard, at the worst one; the gain over it. What
    the link brings and costs at sensing constraints, relative to each constraint's largest echo, which the target announces.
    """
    comm, links = problem.num_comm_links, problem.num_links
    nothing = torch.zeros_like(known.limit)
    leak = known.leakage * known.limit[:, None]
    own = own_leakage(problem, known)
    other = leak.sum(1)
    other = torch.cat([other[:, :comm] - own, other[:, comm:]], 1)
    worst = _others(problem, leak).amax(1)
    own_log = torch.cat([logarithm(own), nothing[:, comm:]], 1)
    over = torch.cat([logarithm(own_gain(problem)) - logarithm(other[:, :comm]), nothing[:, comm:]], 1)
    columns = [scaled(own_log, 3.0, 3.0), scaled(logarithm(other), 8.0, 3.0), scaled(logarithm(worst), 7.0, 3.0)]
    columns += [scaled(over, -3.0, 3.0)]
    if not problem.num_constraints:
        return torch.stack([*columns, *[nothing] * (NEAR - len(columns))], -1)
    largest = (known.echo[:, None] * known.at_ap[:, :, None]).amax(-1)
    top = channel("scale of targets", channel("largest echo", largest).amax(1)[..., None]).clamp_min(1e-30)
    light, dim = logarithm(known.echo / top), logarithm(known.cross_echo / top)
    gain = (light - dim - logarithm(problem.sir_min)[..., None]).clamp(-8.0, 8.0)
    columns += [scaled(gain.amax(1), 0.0, 2.0), scaled(gain.amin(1), 0.0, 2.0)]
    columns += [scaled(light.amax(1), -2.0, 3.0), scaled(dim.amax(1), -3.0, 3.0)]
    target = problem.num_target_constraints == problem.num_targets and links > comm
    for table, mean in ((gain, 0.0), (light, -2.0), (dim, -4.0)):
        mine = own_constraints(problem, table).flatten(1) if target else nothing[:, comm:]
        columns.append(torch.cat([nothing[:, :comm], scaled(mine, mean, 2.0)], 1))
    columns.append(scaled(logarithm(problem.sir_min).amax(1, keepdim=True) + nothing, -1.15, 0.5))
    return torch.stack(columns, -1)


def _others(problem: MaxMinSinrProblem, leak: Float[Tensor, "drop ue link"]) -> Float[Tensor, "drop ue link"]:
    """Zero where a link meets its own UE."""
    by_ue, _ = split_by_node(problem, leak)
    keep = 1.0 - torch.eye(problem.num_ues).to(leak)
    comm = (by_ue * keep[..., None]).flatten(2)
    return torch.cat([comm, leak[:, :, problem.num_comm_links :]], -1)
