"""Smallest largest NMSE of one drop by successive convex programmes that never get worse (majorise, then minimise).

The UE's error V_k(p) is the least that any weight w leaves, so with w frozen at the last powers p' it is only larger: T_k(p),
which touches V_k at p'. T_k is linear in the powers where uplink pilots differ. With u = 1 / max_k w_k NMSE_k(p'), one
programme

    maximise d  subject to  u w_k (T_k(p) + d V_k(p')) <= g_k(p) + e_k(p),   budgets, localisation cones

is the majorised step and the Dinkelbach step in one; g_k + e_k = E|a_k|^2 is concave. The inequality "convex below concave"
of the paper's footnote 1 is thereby written as second-order cones. d > 0 until the powers are stationary.

Shared uplink pilots add products sqrt(p_i p_j) to T_k. A negative one is convex and kept (one cone more), a positive one is
bounded by its tangent. Docs: (P19)-(P21) of docs/downlink_pilots.md. The receiver that ignores the pilots' correlation has no
least error: its V_k is replaced by the tangent, and steps are halved until they gain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
from isac_torch.downlink_pilots.receiver import noise, residual
from isac_torch.solvers.downlink_pilots.cones import Programme
from isac_torch.solvers.downlink_pilots.cuts import Cuts, no_cuts, tangents
from isac_torch.solvers.downlink_pilots.feasibility import best_localisation, restore
from isac_torch.solvers.downlink_pilots.model import Array, DropArrays, Layout, common_constraints, drop_arrays, strength_rows

_POWER_FLOOR = 1e-9
"""Smallest share at which the tangent of a product is taken; at zero it would be vertical."""
_CUT_TOLERANCE = 1e-6
"""How far a programme's powers must exceed Gamma for another tangent."""
_MAX_CUTS = 100
_HALVINGS = 10


def descend(
    problem: MinMaxNmseProblem,
    start: Float[Tensor, "1 link"],
    inside: Float[Tensor, "1 link"] | None = None,
    *,
    cuts: Cuts | None = None,
    tolerance: float = 1e-6,
    max_steps: int = 200,
    steps: list[Tensor] | None = None,
) -> Float[Tensor, "1 link"]:
    """Powers (W) at which the objective of one drop is stationary, from positive powers `start` (W).

    Args:
        problem: one drop, whose localisation bounds can be met.
        start: W, positive for every UE; it may break the localisation bounds, what is returned does not.
        inside: W, meets them; needed to repair a solver's last digits, computed where not given.
        cuts: tangents of the expected CRB to start with.
        tolerance: relative gain at which to stop.
        max_steps: cap on the programmes solved.
        steps: takes the start and every iterate, W, for convergence plots.

    Returns:
        The best powers found; `start` or `inside` where the solver fails at once.
    """
    feasible = bool(problem.violations(start).worst <= 0)
    if not feasible and inside is None:
        inside = best_localisation(problem).power
    cuts = no_cuts(problem) if cuts is None else cuts
    drop, step = _programme(problem, cuts)
    reached = start
    best = float(problem.objective(start)) if feasible else 0.0
    if steps is not None:
        steps.append(start)
    for _ in range(max_steps):
        share = step.solve(majorise(drop, problem, reached))
        if share is None:
            break
        power = drop.power(share, problem.gain)
        passed = no_cuts(problem)
        if bool((problem.crb(power) > problem.crb_max).any()):
            inside = best_localisation(problem).power if inside is None else inside
            passed = tangents(problem, power, above=1.0 + _CUT_TOLERANCE)
            power = restore(problem, power, inside)
        if linearised(problem) and best > 0.0:
            power = _shortened(problem, reached, power, best)
        value = float(problem.objective(power))
        if value > best:
            reached, gain, best = power, value / max(best, 1e-300) - 1.0, value
        else:
            gain = 0.0
        if steps is not None:
            steps.append(reached)
        if len(passed) and len(cuts) < _MAX_CUTS:
            cuts = cuts.joined(passed)
            drop, step = _programme(problem, cuts)
        elif gain < tolerance:
            break
    if best == 0.0:
        return start if inside is None else inside
    return reached


def _shortened(problem: MinMaxNmseProblem, reached: Tensor, power: Tensor, best: float) -> Tensor:
    """The step from `reached` to `power` (W) halved until the value exceeds `best`, at most _HALVINGS times."""
    for _ in range(_HALVINGS):
        if float(problem.objective(power)) > best:
            break
        power = 0.5 * (power + reached)
    return power


def _programme(problem: MinMaxNmseProblem, cuts: Cuts) -> tuple[DropArrays, _SumStep | _WorstStep]:
    drop = drop_arrays(problem, cuts)
    return drop, _SumStep(drop) if problem.merit == "sum" else _WorstStep(drop)


@dataclass(frozen=True)
class Majoriser:
    """T_k(x) = linear_k x + product_k y + constant_k, at least the error V_k and equal to it where it was made.

    Attributes:
        linear: of the shares [ue, link].
        product: of the products y of shared uplink pilots, never positive [ue, pair * ap].
        constant: [ue].
        error: V_k there.
        strength: E|a_k|^2 there.
    """

    linear: Array
    product: Array
    constant: Array
    error: Array
    strength: Array


def majorise(drop: DropArrays, problem: MinMaxNmseProblem, power: Float[Tensor, "1 link"]) -> Majoriser:
    """The majoriser of every UE's error at `power` (W)."""
    combiner = problem.combiner(power)
    left = np.stack([part[0].double().cpu().numpy() for part in residual(combiner, problem.gram)])
    constant = noise(combiner, problem.gram)[0].double().cpu().numpy()
    linear = np.einsum("ckj,km->kjm", left**2, drop.gain) * drop.serves
    share = np.maximum(drop.share(power), _POWER_FLOOR)
    product = np.zeros((drop.num_ues, len(drop.pairs), drop.num_aps))
    for number, (i, j) in enumerate(drop.pairs):
        mixed = 2.0 * (left[:, :, i] * left[:, :, j]).sum(0)[:, None] * drop.gain * drop.serves[i] * drop.serves[j]
        product[:, number] = np.minimum(mixed, 0.0)
        tangent = 0.5 * np.maximum(mixed, 0.0)
        linear[:, i] += tangent * np.sqrt(share[j] / share[i])
        linear[:, j] += tangent * np.sqrt(share[i] / share[j])
    if linearised(problem):
        slope, own = (value[0].double().cpu().numpy() for value in _ignorant_slope(problem, power))
        linear[np.diag_indices(drop.num_ues)] += slope[:, None] * drop.own
        constant = constant - slope * own
    error, strength = (value[0].double().cpu().numpy() for value in (problem.error(power), problem.strength(power)))
    flat = (drop.num_ues, -1)
    return Majoriser(
        linear.reshape(flat),
        product.reshape(drop.num_ues, len(drop.pairs) * drop.num_aps),
        constant,
        error,
        strength,
    )


def linearised(problem: MinMaxNmseProblem) -> bool:
    """Whether the majoriser of `problem` is a tangent only: the ignorant receiver's weights are not the best ones."""
    return problem.receiver == "ignorant" and not problem.separated


def _ignorant_slope(problem: MinMaxNmseProblem, power: Tensor) -> tuple[Tensor, Tensor]:
    """Slope of V_k in F_kk through the weight w_k = F_kk / (1 + F_kk) of (P6c), and F_kk, at `power` (W)."""
    own = problem.heard(power).diagonal(dim1=1, dim2=2)
    weight = (own / (1.0 + own)).requires_grad_()
    with torch.enable_grad():
        weights = (torch.diag_embed(weight), torch.zeros_like(problem.gram_real))
        error = problem.error_of(weights, power)
        (slope,) = torch.autograd.grad(error.sum(), weight)
    return slope / (1.0 + own).square(), own


def error_rows(drop: DropArrays, layout: Layout, majoriser: Majoriser) -> tuple[Array, Array]:
    """T_k / S_k^2 as rows and offsets over the variables."""
    rows = np.zeros((drop.num_ues, layout.size))
    rows[:, layout.shares] = majoriser.linear / drop.scale[:, None]
    rows[:, layout.products] = majoriser.product / drop.scale[:, None]
    return rows, majoriser.constant / drop.scale


class _WorstStep:
    """The programme of the module's docstring: built once per drop, its error rows replaced at each step."""

    def __init__(self, drop: DropArrays) -> None:
        self._drop = drop
        self._layout = Layout(drop, num_extra=1)
        self._programme, _ = common_constraints(drop, self._layout)
        self._strength = strength_rows(drop, self._layout)
        self._block = self._programme.nonnegative(self._strength, np.zeros(drop.num_ues))

    def solve(self, majoriser: Majoriser) -> Array | None:
        """Shares that maximise d; None when the solver fails."""
        layout, drop = self._layout, self._drop
        loss = drop.weight * majoriser.error / majoriser.strength
        nmse = drop.weight / loss.max()
        rows, offset = error_rows(drop, layout, majoriser)
        rows = self._strength - nmse[:, None] * rows
        rows[:, layout.extra.start] -= nmse * majoriser.error / drop.scale
        self._programme.replace(self._block, rows, -nmse * offset)
        weight = np.zeros(layout.size)
        weight[layout.extra] = 1.0
        answer = self._programme.maximise(weight)
        return answer.point[layout.shares] if answer.solved else None


class _SumStep:
    """Least weighted sum of NMSE: T / D <= (a T^2 + 1 / (a D^2)) / 2 for each, equal at the last powers for a = 1 / (T' D')."""

    def __init__(self, drop: DropArrays) -> None:
        self._drop = drop
        self._layout = Layout(drop, num_extra=2 * drop.num_ues)

    def solve(self, majoriser: Majoriser) -> Array | None:
        """Shares that minimise the majorised sum; None when the solver fails."""
        layout, drop = self._layout, self._drop
        programme, _ = common_constraints(drop, layout)
        strength = strength_rows(drop, layout) * (drop.scale / majoriser.strength)[:, None]
        rows, offset = error_rows(drop, layout, majoriser)
        change = drop.scale / majoriser.error
        self._square(programme, rows * change[:, None], offset * change, strength)
        weight = np.zeros(layout.size)
        loss = drop.weight * majoriser.error / majoriser.strength
        weight[layout.extra] = -np.tile(loss / loss.sum(), 2)
        answer = programme.maximise(weight)
        return answer.point[layout.shares] if answer.solved else None

    def _square(self, programme: Programme, rows: Array, offset: Array, strength: Array) -> None:
        """Extra variables at least the square of the relative error and the inverse square of the relative strength."""
        identity = np.eye(self._layout.size)[self._layout.extra]
        ues = self._drop.num_ues
        for k in range(ues):
            square, inverse = identity[k], identity[ues + k]
            head = np.stack([square, square, 2.0 * rows[k]])
            programme.second_order(head, np.array([1.0, -1.0, 2.0 * offset[k]]))
            programme.square_reciprocal(np.stack([strength[k], inverse, np.zeros_like(inverse)]), np.array([0.0, 0.0, 1.0]))


def least_power(
    problem: MinMaxNmseProblem,
    power: Float[Tensor, "1 link"],
    nmse: float,
    *,
    tolerance: float = 1e-4,
    max_steps: int = 30,
) -> Float[Tensor, "1 link"]:
    """Least total power (W) with every weighted NMSE of one drop at most `nmse`, descending from `power`, which achieves it.

    Majorised like the first stage, hence monotone. Returns `power` where the solver fails at once.
    """
    drop = drop_arrays(problem, tangents(problem, power))
    layout = Layout(drop, num_extra=0)
    programme, _ = common_constraints(drop, layout)
    strength = strength_rows(drop, layout)
    block = programme.nonnegative(strength, np.zeros(drop.num_ues))
    weight = np.zeros(layout.size)
    weight[layout.shares] = -np.tile(drop.budget / drop.budget.sum(), drop.num_ues)
    for _ in range(max_steps):
        rows, offset = error_rows(drop, layout, majorise(drop, problem, power))
        demand = (drop.weight / nmse)[:, None]
        programme.replace(block, strength - demand * rows, -demand[:, 0] * offset)
        answer = programme.maximise(weight)
        if not answer.solved:
            break
        saved = restore(problem, drop.power(answer.point[layout.shares], problem.gain), power)
        loss = problem.weight * problem.nmse(saved)
        if bool(loss.amax() > nmse * (1.0 + 1e-6)):
            break
        before, power = power.sum(), saved
        if bool(saved.sum() > (1.0 - tolerance) * before):
            break
    return power
