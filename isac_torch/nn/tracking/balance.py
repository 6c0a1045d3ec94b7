"""The balancing layer: from directions that anything may predict to powers that equalise the SINR and meet the rows.

Each UE k splits its own power by shares w (softmax of its links' logits), each target l by shares v. With the shares
held, every term of the problem is linear in the owners' scales x = (t_1..t_K, tau_1..tau_L):

    SINR_k = G_k t_k / (F_k t + H_k tau + 1),   G_k = (sum_s a_ks sqrt w_ks)^2,
    F_kj = sum_s N_kjs w_js + (sum_s c_kjs sqrt w_js)^2,   H_kl = sum_s N_kls v_ls,
    row l:  C_l x >= 0,   C = (S - SIR0 I) summed with the shares of each owner.

The layer finds the x for which SINR_k = level * (1 + excess_k), each tau_l is the least that meets its row and its floor,
and one AP sends exactly its budget: a fixed point of a monotone map, reached by a few iterations and finished by Newton
steps on the active set. Gradients come from the implicit function theorem: one more linear solve, no unrolling.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import softplus

from isac_torch.links import own_constraints, split_by_node, spread_to_links
from isac_torch.tracking.problem import MaxMinSinrProblem

SENSING_CAP = 5.0
"""Largest scale of a target's beams over the sum of the UEs' scales: keeps unmeetable rows from draining the network."""
LEAST_NET_GAIN = 0.02
"""Net gain of a target's beams in its own row over their echo, below which they are left at their floor: the row then
depends on the UEs' streams alone."""
EXCESS_AT_ZERO = -3.0
"""Offset of the excess and floor logits: at logit 0 a UE asks for 5 % more than the common level."""
EXCESS_CAP = 9.0
"""Nepers (39 dB) that a UE may ask for above the common level."""
FLOOR_SHARE = 0.01
"""Least scale of a target over the UEs' sum, for a floor of one."""
LEAST_SHARE = 1e-12
"""Least share of a link in the power of the UE or target that it serves."""
LEAST_OWN_GAIN = 1e-9
"""Least net gain, over the constraint's largest echo, by which a target's constraint is divided."""
_LEAST_EXCESS = 0.05
"""What a UE asks for at logit 0, in nepers."""


@dataclass(frozen=True)
class Balanced:
    """Powers of the balancing layer.

    Attributes:
        power: W, of each link; no AP above its budget, one at it.
        level: SINR (linear) that every UE reaches, UE k times its 1 + excess.
        scale: W, power of each UE and then of each target over its links: a start for the next call.
    """

    power: Float[Tensor, "drop link"]
    level: Float[Tensor, " drop"]
    scale: Float[Tensor, "drop owner"]


@dataclass(frozen=True)
class _Terms:
    """The problem at fixed shares: matrices over the owners (UEs, then targets)."""

    shares: Float[Tensor, "drop link"]
    disturbance: Float[Tensor, "drop ue owner"]  # (1+e_k)/G_k [F H], 1/W per W
    noise: Float[Tensor, "drop ue"]  # (1+e_k)/G_k
    floor: Float[Tensor, "drop target"]
    row: Float[Tensor, "drop row owner"]  # C over its own beam's gain; 1 on the own beam
    load: Float[Tensor, "drop ap owner"]  # share of the AP's budget per W
    useful: Bool[Tensor, "drop target"]  # own beams can meet the row: their net gain is clearly positive


def logit_size(problem: MaxMinSinrProblem) -> int:
    """Length of a drop's logit vector: links, then one excess a UE, then one floor a target."""
    return problem.num_links + problem.num_ues + problem.num_targets


def start_logits(problem: MaxMinSinrProblem, spread: float = 0.0) -> Float[Tensor, "drop logit"]:
    """Directions that need no training: shares of a UE in proportion to its amplitude gains, shares of a target in
    proportion to the squared ratio of its echo to the other targets'.

    Args:
        problem: any sizes.
        spread: nepers that a UE asks for above the common level, a neper of its gain (sum of a^2) above the weakest UE's.
    """
    comm = problem.signal.clamp_min(_tiny(problem.signal)).log().flatten(1)
    sensing = comm.new_zeros(problem.num_drops, problem.num_links - problem.num_comm_links)
    if problem.num_constraints:
        tiny = _tiny(problem.echo)
        ratio = problem.echo.clamp_min(tiny) / problem.cross_echo.clamp_min(tiny)
        sensing = 2.0 * own_constraints(problem, ratio).clamp(1e-6, 1e6).log().flatten(1)
    excess = comm.new_zeros(problem.num_drops, problem.num_ues)
    if spread:
        gain = problem.signal.square().sum(-1).clamp_min(_tiny(comm)).log()
        asked = (spread * (gain - gain.amin(-1, keepdim=True))).clamp_min(_LEAST_EXCESS)
        excess = asked.expm1().log() - EXCESS_AT_ZERO  # the inverse of softplus
    return torch.cat([comm, sensing, excess, comm.new_zeros(problem.num_drops, problem.num_targets)], 1)


def balance(
    problem: MaxMinSinrProblem,
    logits: Float[Tensor, "drop logit"],
    start: Float[Tensor, "drop owner"] | None = None,
    iterations: int = 16,
    newton: int = 1,
    least_net_gain: float = LEAST_NET_GAIN,
) -> Balanced:
    """Powers that give every UE the same SINR (times its own excess) and every target its SIR.

    Args:
        problem: any sizes, also without targets or rows; pilot reuse is exact, since coherent terms are linear in scales.
        logits: directions, as laid out by `logit_size`: shares of each owner's links by softmax; log(1 + excess)
            by softplus, so that no UE asks for less than the common level; floor by softplus, a target's least scale over
            the UEs' sum.
        start: scales (W) of an earlier call near these logits.
        iterations: steps of the fixed point; 16 from nothing, 4 from a near start.
        newton: refinement steps after them, each squaring the error; the gradient goes through the last one.
        least_net_gain: see LEAST_NET_GAIN.

    Returns:
        Powers, common level and scales, differentiable in `logits` (once). A row that these directions cannot meet stops
        at SENSING_CAP; `problem.violations` shows it.
    """
    terms = _terms(problem, logits, least_net_gain)
    frozen = _detach(terms)
    with torch.no_grad():
        scale = frozen.noise.new_ones(problem.num_drops, frozen.load.shape[2]) if start is None else start.detach()
        scale = _within_budget(frozen, scale)
        level = frozen.noise.new_ones(problem.num_drops)
        for _ in range(iterations):
            scale, level = _step(frozen, scale)
        for _ in range(newton - 1):
            scale, level = _newton(frozen, frozen, scale, level)
            scale, level = _step(frozen, scale)
    scale, level = _newton(terms, frozen, scale, level)
    power = terms.shares * spread_to_links(problem, scale)
    overload = problem.ap_load(power.detach()).div(problem.budget).amax(-1, keepdim=True)
    return Balanced(power / overload, level, scale.detach())


def beam_efficiency(problem: MaxMinSinrProblem, logits: Float[Tensor, "drop logit"]) -> Float[Tensor, "drop constraint"]:
    """Share of each target's own echo that its beams leave over after what they cost its own row; compare LEAST_NET_GAIN."""
    links = logits[:, : problem.num_links]
    _, sensing = (block.softmax(-1) for block in split_by_node(problem, links))
    echo, cross = (own_constraints(problem, rows) for rows in (problem.echo, problem.sir_min[..., None] * problem.cross_echo))
    own = (echo * sensing).sum(-1)
    return (own - (cross * sensing).sum(-1)) / own.clamp_min(_tiny(own))


def _terms(problem: MaxMinSinrProblem, logits: Tensor, least_net_gain: float) -> _Terms:
    """Shares and the matrices over owners that they make."""
    links, excess, floor = logits.split([problem.num_links, problem.num_ues, problem.num_targets], -1)
    comm, sensing = (block.softmax(-1).clamp_min(LEAST_SHARE) for block in split_by_node(problem, links))
    shares = torch.cat([comm.flatten(1), sensing.flatten(1)], 1)
    amplitude = comm.sqrt()
    gain = (problem.signal * amplitude).sum(-1).square().clamp_min(_tiny(comm))
    from_ue, from_target = _sum_by_owner(problem, problem.leakage, comm, sensing)
    if problem.has_pilot_reuse:
        from_ue = from_ue + torch.einsum("dkjs,djs->dkj", problem.coherent, amplitude).square()
    asked = softplus(excess + EXCESS_AT_ZERO).clamp_max(EXCESS_CAP).exp() / gain
    disturbance = torch.cat([from_ue, from_target], -1) * asked[..., None]
    floors = softplus(floor + EXCESS_AT_ZERO) * (FLOOR_SHARE if problem.num_constraints else 0.0)
    load = _load(problem, shares) / problem.budget[..., None]
    row, useful = _rows(problem, comm, sensing, least_net_gain)
    return _Terms(shares, disturbance, asked, floors, row, load, useful)


def _sum_by_owner(problem: MaxMinSinrProblem, weight: Tensor, comm: Tensor, sensing: Tensor) -> tuple[Tensor, Tensor]:
    """Rows over links, weighted with the shares and summed over each owner's links."""
    by_ue, by_target = split_by_node(problem, weight)
    return (by_ue * comm[:, None]).sum(-1), (by_target * sensing[:, None]).sum(-1)


def _rows(problem: MaxMinSinrProblem, comm: Tensor, sensing: Tensor, least_net_gain: float) -> tuple[Tensor, Tensor]:
    """Sensing rows over owners, each divided by the net gain of its own beam, and whether that gain is worth sending."""
    if not problem.num_constraints:
        none = comm.new_zeros(problem.num_drops, 0, problem.num_ues + problem.num_targets)
        return none, torch.zeros(problem.num_drops, problem.num_targets, dtype=torch.bool, device=comm.device)
    size = problem.echo.amax(-1, keepdim=True).clamp_min(_tiny(comm))
    echo, cross = problem.echo / size, problem.sir_min[..., None] * problem.cross_echo / size
    row = torch.cat(_sum_by_owner(problem, echo - cross, comm, sensing), -1)
    _, own_echo = _sum_by_owner(problem, echo, comm, sensing)
    gain = torch.diagonal(row[..., problem.num_ues :], dim1=1, dim2=2)
    least = (least_net_gain * torch.diagonal(own_echo, dim1=1, dim2=2).detach()).clamp_min(LEAST_OWN_GAIN)
    useful, gain = gain > least, torch.maximum(gain, least)
    off = 1.0 - torch.nn.functional.pad(
        torch.eye(problem.num_constraints, dtype=row.dtype, device=row.device), (problem.num_ues, 0)
    )
    return row / gain[..., None] * off + (1.0 - off), useful


def _load(problem: MaxMinSinrProblem, shares: Tensor) -> Tensor:
    """Power at each AP per W of each owner's scale."""
    owners = problem.num_ues + problem.num_targets
    owner = spread_to_links(problem, torch.arange(owners, device=shares.device).expand(problem.num_drops, -1))
    flat = shares.new_zeros(problem.num_drops, problem.num_aps * owners)
    return flat.scatter_add(1, problem.link_ap * owners + owner, shares).reshape(-1, problem.num_aps, owners)


def _detach(terms: _Terms) -> _Terms:
    return _Terms(**{name: value.detach() for name, value in vars(terms).items()})


def _apply(matrix: Tensor, vector: Tensor) -> Tensor:
    return torch.bmm(matrix, vector.unsqueeze(-1)).squeeze(-1)


def _within_budget(terms: _Terms, scale: Tensor) -> Tensor:
    return scale / _apply(terms.load, scale).amax(-1, keepdim=True)


def _least_sensing(terms: _Terms, ue: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Scale that each row asks of its own beams, all else held, and whether the row (not floor or cap) decides it."""
    total = ue.sum(-1, keepdim=True)
    floor, cap = terms.floor * total, SENSING_CAP * total
    if not terms.row.shape[1]:
        return floor, torch.zeros_like(floor, dtype=torch.bool)
    need = target - _apply(terms.row, torch.cat([ue, target], -1))
    need = torch.where(terms.useful, need, floor)
    return torch.minimum(torch.maximum(need, floor), cap), (need > floor) & (need < cap)


def _step(terms: _Terms, scale: Tensor) -> tuple[Tensor, Tensor]:
    """One step of the fixed point: demanded scales of the UEs, two sweeps over the rows, then the budgets."""
    ues = terms.noise.shape[1]
    ue, target = _apply(terms.disturbance, scale) + terms.noise, scale[:, ues:]
    # The UEs' new scales are level-free: bring them to the budget first, so that both parts are in the same W.
    grown = ue.sum(-1, keepdim=True) / scale[:, :ues].sum(-1, keepdim=True)
    target = target * grown
    # The mean of two sweeps: where two targets' beams help each other, plain sweeps would swap for ever.
    first, _ = _least_sensing(terms, ue, target)
    second, _ = _least_sensing(terms, ue, first)
    new = torch.cat([ue, 0.5 * (first + second)], -1)
    level = 1.0 / _apply(terms.load, new).amax(-1)
    return new * level[:, None], level


def _newton(terms: _Terms, frozen: _Terms, scale: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
    """One Newton step on the active equations at (scale, level); the gradient flows through the residual alone.

    With the Jacobian held constant, x - J^-1 R(x; shares) has the derivative of the exact fixed point (implicit function
    theorem). A step that would more than halve a scale is shortened, one that is not finite is left out.
    """
    ues, owners = terms.noise.shape[1], scale.shape[1]
    ue, target = scale[:, :ues], scale[:, ues:]
    _, active = _least_sensing(frozen, ue, target)
    tight = _apply(frozen.load, scale).argmax(-1)
    residual = _residual(terms, scale, level, active, tight)
    size = torch.cat([ue, torch.maximum(target, 1e-3 * ue.mean(-1, keepdim=True))], -1)
    jacobian = _jacobian(frozen, scale, level, active, tight)
    columns = torch.cat([size, level[:, None]], -1)
    lines = torch.cat([size, torch.ones_like(level)[:, None]], -1)
    system = jacobian * columns[:, None, :] / lines[:, :, None]
    factor, pivot, _ = torch.linalg.lu_factor_ex(system)
    change = torch.linalg.lu_solve(factor, pivot, (residual / lines).unsqueeze(-1)).squeeze(-1)
    longest = change.detach().abs().amax(-1, keepdim=True)
    shortened = change * (0.5 / longest.clamp_min(0.5))
    change = torch.where(longest.isfinite(), shortened, torch.zeros_like(change))
    moved = scale - change[:, :owners] * size
    return moved.clamp_min(0.0), level * (1.0 - change[:, owners])


def _residual(terms: _Terms, scale: Tensor, level: Tensor, active: Bool[Tensor, "drop target"], tight: Tensor) -> Tensor:
    """What is not yet met at (scale, level): UEs' SINR, targets' rows or floors, the tightest budget."""
    ues = terms.noise.shape[1]
    ue, target = scale[:, :ues], scale[:, ues:]
    of_ue = ue - level[:, None] * (_apply(terms.disturbance, scale) + terms.noise)
    total = ue.sum(-1, keepdim=True)
    at_floor = target - terms.floor * total
    capped = (target >= SENSING_CAP * total * (1 - 1e-6)) & ~active
    of_target = torch.where(capped, target - SENSING_CAP * total, at_floor)
    if terms.row.shape[1]:
        of_target = torch.where(active, _apply(terms.row, scale), of_target)
    line = terms.load.gather(1, tight[:, None, None].expand(-1, 1, scale.shape[1])).squeeze(1)
    return torch.cat([of_ue, of_target, (line * scale).sum(-1, keepdim=True) - 1.0], -1)


def _jacobian(terms: _Terms, scale: Tensor, level: Tensor, active: Tensor, tight: Tensor) -> Tensor:
    """Derivative of `_residual` with respect to (scale, level)."""
    drops, owners = scale.shape
    ues = terms.noise.shape[1]
    matrix = scale.new_zeros(drops, owners + 1, owners + 1)
    matrix[:, :ues, :owners] = -level[:, None, None] * terms.disturbance
    matrix[:, :ues, owners] = -(_apply(terms.disturbance, scale) + terms.noise)
    matrix[:, ues:owners, :ues] = -terms.floor[..., None]
    total = scale[:, :ues].sum(-1, keepdim=True)
    capped = (scale[:, ues:] >= SENSING_CAP * total * (1 - 1e-6)) & ~active
    matrix[:, ues:owners, :ues] = torch.where(capped[..., None], -SENSING_CAP, matrix[:, ues:owners, :ues])
    matrix[:, :owners, :owners] += torch.eye(owners, dtype=scale.dtype, device=scale.device)
    if terms.row.shape[1]:
        matrix[:, ues:owners, :owners] = torch.where(active[..., None], terms.row, matrix[:, ues:owners, :owners])
    matrix[:, owners, :owners] = terms.load.gather(1, tight[:, None, None].expand(-1, 1, owners)).squeeze(1)
    return matrix


def _tiny(like: Tensor) -> float:
    """A positive number far below every meaningful value, whose square root and logarithm are still safe."""
    return 1e-30 if like.dtype == torch.float64 else 1e-20
