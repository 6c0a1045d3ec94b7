"""The balancing layer: from directions that anything may predict to powers that equalise the SINR and meet the constraints.

The equations are those of `isac_torch.tracking.balancing`: with every UE's and target's shares of its links held (softmax of
the links' logits), the powers x of the nodes, UEs then targets, are a fixed point of a monotone map. A few iterations come near
it, Newton steps on the active set finish. Gradients come from the implicit function theorem: one more linear solve, no
unrolling.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from isac_torch.links import own_constraints, split_by_node, spread_to_links
from isac_torch.tensors import map_tensors, tensor_fields
from isac_torch.tracking.balancing import CONSTANTS, Terms, asked, terms
from isac_torch.tracking.nodes import NodeProblem
from isac_torch.tracking.problem import MaxMinSinrProblem

_LEAST_EXCESS = 0.05
"""What a UE asks for at logit 0, in nepers."""


@dataclass(frozen=True)
class Balanced:
    """Powers of the balancing layer.

    Attributes:
        power: W, of each link; no AP above its budget, one at it.
        common_sinr: SINR (linear) that every UE reaches, UE k times its 1 + excess.
        scale: W, power of each UE and then of each target over its links: a start for the next call.
    """

    power: Float[Tensor, "drop link"]
    common_sinr: Float[Tensor, " drop"]
    scale: Float[Tensor, "drop node"]


def logit_size(problem: MaxMinSinrProblem) -> int:
    """Length of a drop's logit vector: links, then one excess per UE, then one floor per target."""
    return problem.num_links + problem.num_ues + problem.num_targets


def start_logits(problem: MaxMinSinrProblem, spread: float = 0.0) -> Float[Tensor, "drop logit"]:
    """Directions that need no training: shares of a UE in proportion to its amplitude gains, shares of a target in
    proportion to the squared ratio of its echo to the other targets'.

    Args:
        problem: any sizes.
        spread: nepers that a UE asks for above the common SINR, a neper of its gain (sum of a^2) above the weakest UE's.
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
        excess = asked.expm1().log() - CONSTANTS.excess_at_zero  # the inverse of softplus
    return torch.cat([comm, sensing, excess, comm.new_zeros(problem.num_drops, problem.num_targets)], 1)


def balance(
    problem: MaxMinSinrProblem,
    logits: Float[Tensor, "drop logit"],
    start: Float[Tensor, "drop node"] | None = None,
    iterations: int = 16,
    newton: int = 1,
    least_net_gain: float = CONSTANTS.least_net_gain,
) -> Balanced:
    """Powers that give every UE the same SINR (times its own excess) and every target its SIR.

    Args:
        problem: any sizes, also without targets or sensing constraints; pilot reuse is exact: coherent terms are linear
            in the scales.
        logits: directions, as laid out by `logit_size`: shares of each node's links by softmax; log(1 + excess)
            by softplus, so that no UE asks for less than the common SINR; floor by softplus, a target's least scale over
            the UEs' sum.
        start: scales (W) of an earlier call near these logits.
        iterations: steps of the fixed point; 16 from nothing, 4 from a near start.
        newton: refinement steps after them, each squaring the error; the gradient goes through the last one.
        least_net_gain: see `Constants`.

    Returns:
        Powers, common SINR and scales, differentiable in `logits` (once). A constraint that these directions cannot meet stops
        at the cap of the targets' powers; `problem.violations` shows it.
    """
    exact = _terms(problem, logits, least_net_gain)
    frozen = map_tensors(exact, torch.Tensor.detach)
    with torch.no_grad():
        scale = frozen.noise.new_ones(frozen.noise.shape[0], frozen.noise.shape[2]) if start is None else start.detach()
        scale = scale / _apply(frozen.load, scale).amax(-1, keepdim=True)
        sinr = torch.ones_like(scale[:, 0])
        for _ in range(iterations):
            scale, sinr = _step(frozen, scale, problem.num_ues)
        for _ in range(newton - 1):
            scale, sinr = _newton(frozen, frozen, scale, sinr, problem.num_ues)
            scale, sinr = _step(frozen, scale, problem.num_ues)
    scale, sinr = _newton(exact, frozen, scale, sinr, problem.num_ues)
    power = exact.share[:, 0] * spread_to_links(problem, scale)
    overload = problem.ap_load(power.detach()).div(problem.budget).amax(-1, keepdim=True)
    return Balanced(power / overload, sinr, scale.detach())


def beam_efficiency(problem: MaxMinSinrProblem, logits: Float[Tensor, "drop logit"]) -> Float[Tensor, "drop constraint"]:
    """Share of each target's own echo that its beams leave over after what they cost its own constraint.

    Beams are used above `Constants.least_net_gain`.
    """
    links = logits[:, : problem.num_links]
    _, sensing = (block.softmax(-1) for block in split_by_node(problem, links))
    echo, cross = (own_constraints(problem, rows) for rows in (problem.echo, problem.sir_min[..., None] * problem.cross_echo))
    own = (echo * sensing).sum(-1)
    return (own - (cross * sensing).sum(-1)) / own.clamp_min(_tiny(own))


def _terms(problem: MaxMinSinrProblem, logits: Tensor, least_net_gain: float) -> Terms[Tensor]:
    """The equations at the shares that the logits stand for."""
    link, node = logits.split([problem.num_links, problem.num_ues + problem.num_targets], -1)
    blocks = (block.softmax(-1).flatten(1) for block in split_by_node(problem, link))
    share = torch.cat(list(blocks), 1).clamp_min(CONSTANTS.least_share)
    constants = replace(CONSTANTS, least_net_gain=least_net_gain)
    return terms(_coefficients(problem), share[:, None], *asked(node[:, None], constants), constants)


def _coefficients(problem: MaxMinSinrProblem) -> NodeProblem[Tensor]:
    """The problem by node: built once per batch, or afresh where somebody differentiates through its coefficients."""
    differentiated = any(value.requires_grad for value in tensor_fields(problem).values())
    return NodeProblem.of(problem) if differentiated else problem.by_node


def _apply(matrix: Tensor, vector: Tensor) -> Tensor:
    return torch.bmm(matrix, vector.unsqueeze(-1)).squeeze(-1)


def _demand(found: Terms[Tensor], ue: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Power that each target asks for, all else held, within its bounds, and whether its constraint (no bound) decides it."""
    ues, total = ue.shape[1], ue.sum(-1, keepdim=True)
    least, most = found.least[:, 0, ues:] * total, found.most[:, ues:] * total
    need = _apply(found.asks[:, ues:], torch.cat([ue, target], -1))
    return torch.minimum(torch.maximum(need, least), most), (need > least) & (need < most)


def _step(found: Terms[Tensor], scale: Tensor, ues: int) -> tuple[Tensor, Tensor]:
    """One step of the fixed point: what the UEs ask for, two sweeps over the constraints, then the budgets."""
    ue, target = _apply(found.asks[:, :ues], scale) + found.noise[:, 0, :ues], scale[:, ues:]
    # What the UEs ask for is at SINR 1: bring the targets' powers to the same unit first.
    grown = ue.sum(-1, keepdim=True) / scale[:, :ues].sum(-1, keepdim=True)
    target = target * grown
    # The mean of two sweeps: where two targets' beams help each other, plain sweeps would swap for ever.
    first, _ = _demand(found, ue, target)
    second, _ = _demand(found, ue, first)
    new = torch.cat([ue, 0.5 * (first + second)], -1)
    sinr = 1.0 / _apply(found.load, new).amax(-1)
    return new * sinr[:, None], sinr


def _newton(exact: Terms[Tensor], frozen: Terms[Tensor], scale: Tensor, sinr: Tensor, ues: int) -> tuple[Tensor, Tensor]:
    """One Newton step on the active equations at (scale, common SINR); the gradient flows through the residual alone.

    With the Jacobian held constant, x - J^-1 R(x; shares) has the derivative of the exact fixed point (implicit function
    theorem). A step that would more than halve a power is shortened, one that is not finite is left out.
    """
    nodes = scale.shape[1]
    ue, target = scale[:, :ues], scale[:, ues:]
    active = _Active.of(frozen, ue, target)
    residual = _residual(exact, scale, sinr, active)
    size = torch.cat([ue, torch.maximum(target, 1e-3 * ue.mean(-1, keepdim=True))], -1)
    columns = torch.cat([size, sinr[:, None]], -1)
    lines = torch.cat([size, torch.ones_like(sinr)[:, None]], -1)
    system = _jacobian(frozen, scale, sinr, active) * columns[:, None, :] / lines[:, :, None]
    factor, pivot, _ = torch.linalg.lu_factor_ex(system)
    change = torch.linalg.lu_solve(factor, pivot, (residual / lines).unsqueeze(-1)).squeeze(-1)
    longest = change.detach().abs().amax(-1, keepdim=True)
    shortened = change * (0.5 / longest.clamp_min(0.5))
    change = torch.where(longest.isfinite(), shortened, torch.zeros_like(change))
    moved = scale - change[:, :nodes] * size
    return moved.clamp_min(0.0), sinr * (1.0 - change[:, nodes])


@dataclass(frozen=True)
class _Active:
    """The active set at some powers."""

    constrained: Bool[Tensor, "drop target"]  # the sensing constraint decides the target's power
    capped: Bool[Tensor, "drop target"]  # its upper bound does; its lower one elsewhere
    tight: Int[Tensor, " drop"]  # AP whose budget is tightest

    @classmethod
    def of(cls, found: Terms[Tensor], ue: Tensor, target: Tensor) -> _Active:
        """At powers (W) of the UEs and the targets."""
        ues, total = ue.shape[1], ue.sum(-1, keepdim=True)
        _, constrained = _demand(found, ue, target)
        capped = (target >= found.most[:, ues:] * total * (1 - 1e-6)) & ~constrained
        return cls(constrained, capped, _apply(found.load, torch.cat([ue, target], -1)).argmax(-1))

    def bound(self, found: Terms[Tensor]) -> Tensor:
        """Bound of each target's power over that of all UEs, where one decides."""
        ues = found.noise.shape[2] - self.capped.shape[1]
        return torch.where(self.capped, found.most[:, ues:], found.least[:, 0, ues:])

    def line(self, found: Terms[Tensor]) -> Tensor:
        """Load of the tightest AP by each node, 1/W."""
        return found.load.gather(1, self.tight[:, None, None].expand(-1, 1, found.load.shape[2])).squeeze(1)


def _residual(found: Terms[Tensor], scale: Tensor, sinr: Tensor, active: _Active) -> Tensor:
    """What is not yet met at (scale, common SINR): UEs' SINR, targets' constraints or bounds, the tightest budget."""
    asks = _apply(found.asks, scale) + found.noise[:, 0]
    ues = scale.shape[1] - active.capped.shape[1]
    bound = active.bound(found) * scale[:, :ues].sum(-1, keepdim=True)
    goal = [sinr[:, None] * asks[:, :ues], torch.where(active.constrained, asks[:, ues:], bound)]
    return torch.cat([scale - torch.cat(goal, -1), (active.line(found) * scale).sum(-1, keepdim=True) - 1.0], -1)


def _jacobian(found: Terms[Tensor], scale: Tensor, sinr: Tensor, active: _Active) -> Tensor:
    """Derivative of `_residual` with respect to (scale, common SINR)."""
    drops, nodes = scale.shape
    ues = nodes - active.capped.shape[1]
    matrix = scale.new_zeros(drops, nodes + 1, nodes + 1)
    matrix[:, :ues, :nodes] = -sinr[:, None, None] * found.asks[:, :ues]
    matrix[:, :ues, nodes] = -(_apply(found.asks[:, :ues], scale) + found.noise[:, 0, :ues])
    bound = nn.functional.pad(active.bound(found)[..., None].expand(-1, -1, ues), (0, nodes - ues))
    matrix[:, ues:nodes, :nodes] = -torch.where(active.constrained[..., None], found.asks[:, ues:], bound)
    matrix[:, :nodes, :nodes] += torch.eye(nodes, dtype=scale.dtype, device=scale.device)
    matrix[:, nodes, :nodes] = active.line(found)
    return matrix


def _tiny(like: Tensor) -> float:
    """A positive number far below every meaningful value, whose square root and logarithm are still safe."""
    return 1e-30 if like.dtype == torch.float64 else 1e-20
