"""What an AP can tell of its own links: before any message, and once UEs and targets have announced themselves."""

from __future__ import annotations

import math
from typing import Any

from jaxtyping import Float

from isac_torch.links import own_constraints, split_by_node
from isac_torch.tensors import Array, all_but_own, at_least, at_rows, counting, max_at, namespace, within
from isac_torch.tracking.local.rounds import Channel, Neighbourhoods, clear, logarithm, number, own_gain, own_leakage
from isac_torch.tracking.problem import MaxMinSinrProblem

ALONE = 11
"""Features of a link before any message: what fractional power control knows."""
NEAR = 14
"""Features that need the coefficients of the neighbourhood."""


def scaled(value: Array, mean: float = 0.0, spread: float = 1.0) -> Array:
    """(value - mean) / spread, between -5 and 5."""
    return within((value - mean) / spread, -5.0, 5.0)


def alone(problem: MaxMinSinrProblem[Array], known: Neighbourhoods[Array]) -> Float[Array, "drop link feature"]:
    """Kind of the link; its gain, absolute and relative to the AP's best and worst of that kind; links of the AP; SIR0; whether
    there are sensing constraints, and whether they have noise.
    """
    xp, comm, nothing = namespace(known.limit), problem.num_comm_links, known.limit * 0.0
    serves = number(counting(problem.num_links, known.limit) < comm, known.limit) + nothing
    serving = logarithm(own_gain(problem))
    lighting = logarithm(problem.link_gain[:, comm:] * known.limit[:, comm:])
    gain = xp.concat([scaled(serving, 3.5, 3.5), scaled(lighting, -25.0, 3.0)], axis=1)
    parts = ((serving, problem.link_ap[:, :comm]), (lighting, problem.link_ap[:, comm:]))
    relative = [
        xp.concat([block - sign * _best(sign * block, index, problem.num_aps) for block, index in parts], axis=1)
        for sign in (1.0, -1.0)
    ]
    sensing = at_rows(known.at_ap[:, :, comm:].sum(-1), problem.link_ap)
    counts = at_rows(known.links, problem.link_ap)
    required = nothing
    if problem.num_constraints:
        required = required + logarithm(problem.sir_min).mean(1)[:, None]
    columns = [serves, 1.0 - serves, gain * serves, gain * (1.0 - serves)]
    columns += [scaled(relative[0], 0.0, 2.5), scaled(relative[1], 0.0, 2.5)]
    columns += [scaled(counts - sensing, 5.0, 3.0), scaled(sensing, 2.0, 2.0), scaled(required, -1.15, 0.5)]
    constrained = problem.num_constraints > 0
    noisy = constrained and problem.echo_noise is not None
    columns += [nothing + float(constrained), nothing + float(noisy)]
    return xp.stack(columns, axis=-1)


def _best(value: Array, index: Any, aps: int) -> Array:
    """Largest value among the links of the same AP."""
    largest = max_at(value, index, aps)
    return at_rows(namespace(value).where(largest > -math.inf, largest, 0.0), index)


def near(
    problem: MaxMinSinrProblem[Array], known: Neighbourhoods[Array], channel: Channel = clear
) -> Float[Array, "drop link feature"]:
    """Disturbance of the link at full budget: at its own UE, at all other UEs heard, at the worst one; the gain over it. What
    the link brings and costs at sensing constraints, relative to each constraint's largest echo, which the target announces;
    what the noise of the constraints asks for beside that echo, which it announces as well.
    """
    xp, comm = namespace(known.limit), problem.num_comm_links
    nothing: Any = known.limit * 0.0
    leak = known.leakage * known.limit[:, None]
    own = own_leakage(problem, known)
    other = leak.sum(1)
    other = xp.concat([other[:, :comm] - own, other[:, comm:]], axis=1)
    worst = xp.max(_others(problem, leak), axis=1)
    own_log = xp.concat([logarithm(own), nothing[:, comm:]], axis=1)
    over = xp.concat([logarithm(own_gain(problem)) - logarithm(other[:, :comm]), nothing[:, comm:]], axis=1)
    columns: list[Any] = [scaled(own_log, 3.0, 3.0), scaled(logarithm(other), 8.0, 3.0), scaled(logarithm(worst), 7.0, 3.0)]
    columns += [scaled(over, -3.0, 3.0)]
    if not problem.num_constraints:
        return xp.stack([*columns, *[nothing] * (NEAR - len(columns))], axis=-1)
    largest = xp.max(known.echo[:, None] * known.at_ap[:, :, None], axis=-1)
    words = [xp.max(channel("largest echo", largest), axis=1)]
    if problem.echo_noise is not None:
        words.append(problem.sir_min * problem.echo_noise)
    heard = channel("scale of targets", xp.stack(words, axis=-1))
    top = at_least(heard[..., :1], 1e-30)
    light, dim = logarithm(known.echo / top), logarithm(known.cross_echo / top)
    gain = within(light - dim - logarithm(problem.sir_min)[..., None], -8.0, 8.0)
    columns += [scaled(xp.max(gain, axis=1), 0.0, 2.0), scaled(xp.min(gain, axis=1), 0.0, 2.0)]
    columns += [scaled(xp.max(light, axis=1), -2.0, 3.0), scaled(xp.max(dim, axis=1), -3.0, 3.0)]
    has_own = problem.num_target_constraints == problem.num_targets and problem.num_links > comm
    for table, mean in ((gain, 0.0), (light, -2.0), (dim, -4.0)):
        mine = own_constraints(problem, table).reshape(nothing[:, comm:].shape) if has_own else nothing[:, comm:]
        columns.append(xp.concat([nothing[:, :comm], scaled(mine, mean, 2.0)], axis=1))
    columns.append(scaled(xp.max(logarithm(problem.sir_min), axis=1)[:, None] + nothing, -1.15, 0.5))
    noise = light * 0.0
    if problem.echo_noise is not None:
        noise = scaled(xp.log(1.0 + heard[..., 1:] / (top * known.limit[:, None])), 0.0, 0.2)
    mine = own_constraints(problem, noise).reshape(nothing[:, comm:].shape) if has_own else nothing[:, comm:]
    columns += [xp.max(noise, axis=1), xp.concat([nothing[:, :comm], mine], axis=1)]
    return xp.stack(columns, axis=-1)


def _others(problem: MaxMinSinrProblem[Array], leak: Float[Array, "drop ue link"]) -> Float[Array, "drop ue link"]:
    """Zero where a link meets its own UE."""
    by_ue, _ = split_by_node(problem, leak)
    comm = (by_ue * all_but_own(problem.num_ues, leak)[..., None]).reshape(len(leak), problem.num_ues, problem.num_comm_links)
    return namespace(leak).concat([comm, leak[:, :, problem.num_comm_links :]], axis=-1)
