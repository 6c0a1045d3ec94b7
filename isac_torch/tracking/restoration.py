"""The guard of learned powers under sensing constraints: small shortfalls are removed by Newton steps, without a solver.

Let A p >= b be the sensing constraints (those on the position by their tangents, which bound the concave h from above) and the
budgets. The step of least relative change that meets them all,

    min |d / p|   s.t.  A (p + d) >= b,

is repeated until everything holds; one or two steps are enough where the powers are nearly right. Where it does not come to
that, the powers are mixed with the reference powers as far as is needed: the set of powers that meet linear constraints and
h >= required is convex. Under `dominate` at factors of 1 the reference powers lie on its boundary, so that mixing alone could
not repair a shortfall; at smaller factors it can. Tensors or numpy arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic

from jaxtyping import Bool, Float

from isac_torch.tensors import Array, all_but_own, at_least, at_rows, constant, counting, namespace, solved
from isac_torch.tracking.fractional import reference_power
from isac_torch.tracking.problem import MaxMinSinrProblem

TOLERANCE = 1e-7
"""Relative shortfall that counts as met."""
_ROUNDS, _HALVINGS = 8, 30
_ROOM = 1e-8
"""Relative room given to what is restored, so that rounding cannot break it."""
_DUAL_STEPS = 300
"""On the dual variables of each step."""
_LEAST_FACTOR = 0.1
"""A step leaves this share of every power at least."""
_RIDGE = 1e-10


@dataclass(frozen=True)
class Restored(Generic[Array]):
    """Powers that meet every constraint wherever Newton steps or the reference powers do.

    Attributes:
        power: W.
        changed: true where the given powers missed a constraint.
        mixed: true where the reference powers had to be mixed in.
        met: true where every constraint holds.
    """

    power: Float[Array, "drop link"]
    changed: Bool[Array, " drop"]
    mixed: Bool[Array, " drop"]
    met: Bool[Array, " drop"]


def restored(problem: MaxMinSinrProblem[Array], power: Float[Array, "drop link"]) -> Restored[Array]:
    """Powers (W) near `power` that meet every constraint, where they can be found.

    Powers that meet everything are returned as they are; where neither they nor the reference can be mended, the powers of the
    least shortfall on the way are.
    """
    xp = namespace(power)
    power = _within(problem, at_least(power, 0.0))
    good = problem.violations(power).sensing <= TOLERANCE
    broken = xp.nonzero(~good)[0]
    mixed = xp.zeros_like(good)
    if len(broken):
        part = problem.select(broken)
        power, mixed = xp.asarray(power, copy=True), xp.asarray(mixed, copy=True)
        power[broken], mixed[broken] = _mixed(part, _projected(part, power[broken]), reference_power(part))
    return Restored(power, ~good, mixed, problem.violations(power).sensing <= TOLERANCE)


def _within(problem: MaxMinSinrProblem[Array], power: Array) -> Array:
    return power / at_rows(at_least(problem.ap_load(power) / problem.budget, 1.0), problem.link_ap)


def _projected(problem: MaxMinSinrProblem[Array], power: Array) -> Array:
    """The Newton steps; each drop keeps the point of least shortfall."""
    xp = namespace(power)
    best, least = power, problem.violations(power).sensing
    for _ in range(_ROUNDS):
        row, short = _lines(problem, power)
        change = at_least(1.0 + _least_change(row * power[:, None], short + _ROOM), _LEAST_FACTOR)
        power = _within(problem, power * change)
        left = problem.violations(power).sensing
        better = left < least
        best, least = xp.where(better[:, None], power, best), xp.where(better, left, least)
        if not bool((least > TOLERANCE).any()):
            break
    return best


def _least_change(row: Float[Array, "drop line link"], short: Float[Array, "drop line"]) -> Float[Array, "drop link"]:
    """The shortest x with row.x >= short, nearly: accelerated projected gradients on the dual variables, then their active
    set.
    """
    xp = namespace(row)
    size = at_least(xp.sqrt((row * row).sum(-1)), 1e-150)
    row, short = row / size[..., None], (short / size)[..., None]
    gram = row @ row.mT
    step = 1.0 / xp.max(xp.abs(gram).sum(-1), axis=-1)[:, None, None]
    dual = ahead = xp.zeros_like(short)
    for index in range(_DUAL_STEPS):
        slope = short - gram @ ahead
        new = at_least(ahead + step * slope, 0.0)
        change = new - dual
        turned = (change * slope).sum(1)[:, None] < 0.0  # uphill no more: start the momentum again
        ahead, dual = xp.where(turned, new, new + index / (index + 3.0) * change), new
    active = dual > 0.0
    eye = constant(1.0, gram) - all_but_own(gram.shape[1], gram)
    idle = xp.astype(~active, gram.dtype) + _RIDGE
    exact = solved(xp.where(active & active.mT, gram, 0.0) + eye * idle, xp.where(active, short, 0.0))

    def lacking(tried: Array) -> Array:
        return xp.max(short - gram @ tried, axis=1)[:, None]

    good = xp.all(xp.isfinite(exact), axis=1)[:, None] & (lacking(exact) < lacking(dual))
    return (xp.where(good, exact, dual).mT @ row)[:, 0]


def _lines(problem: MaxMinSinrProblem[Array], power: Array) -> tuple[Array, Array]:
    """Slopes of every constraint and budget, over what each requires, and how much it is short of that; at `power` (W)."""
    xp = namespace(power)
    need = problem.sir_min * problem.constraint_noise
    row = problem.echo - problem.sir_min[..., None] * problem.cross_echo
    size = at_least(problem.sir_min * ((problem.cross_echo @ power[..., None])[..., 0] + problem.constraint_noise), 1e-300)
    rows, short = [row / size[..., None]], [(need - (row @ power[..., None])[..., 0]) / size]
    if problem.position is not None:
        slope, value = problem.position.slopes(power)
        rows.append(slope / problem.position.required[..., None])
        short.append(1.0 - value / problem.position.required)
    sent = xp.astype(problem.link_ap[:, None] == counting(problem.num_aps, power)[:, None], power.dtype)
    load = -sent / problem.budget[..., None]
    rows.append(load)
    short.append(-(load @ power[..., None])[..., 0] - 1.0)
    return xp.concat(rows, axis=1), xp.concat(short, axis=1)


def _mixed(problem: MaxMinSinrProblem[Array], power: Array, other: Array) -> tuple[Array, Array]:
    """`power` where it meets everything, else as much of it as `other` lets meet everything; `power` where nothing does. And
    where `other` has a part in it.
    """
    xp = namespace(power)

    def met(mixture: Array) -> Array:
        return problem.violations(mixture).sensing <= TOLERANCE

    helped = ~met(power) & met(other)
    low, high = xp.zeros_like(power[:, :1]), xp.ones_like(power[:, :1])  # share of `power`: met, not met
    for _ in range(_HALVINGS if bool(helped.any()) else 0):
        share = 0.5 * (low + high)
        inside = met(share * power + (1.0 - share) * other)[:, None]
        low, high = xp.where(inside, share, low), xp.where(inside, high, share)
    mixture = low * power + (1.0 - low) * other
    return xp.where(helped[:, None], mixture, power), helped
