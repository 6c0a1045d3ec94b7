"""The guard of learned powers under sensing constraints: small shortfalls are removed by Newton steps, without a solver.

Let A p >= b be the sensing constraints (those on the position by their tangents, which bound the concave h from above) and the
budgets. The step of least relative change that meets them all,

    min |d / p|   s.t.  A (p + d) >= b,

is repeated until everything holds; one or two steps are enough where the powers are nearly right. Where it does not come to
that, the powers are mixed with the reference powers as far as is needed: the set of powers that meet linear constraints and
h >= required is convex. Under `dominate` at factors of 1 the reference powers lie on its boundary, so that mixing alone could
not repair a shortfall; at smaller factors it can.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.tracking.fractional import reference_power
from isac_torch.tracking.problem import MaxMinSinrProblem

_ROUNDS, _HALVINGS = 8, 30
_ROOM = 1e-8
"""Relative room given to what is restored, so that rounding cannot break it."""
_DUAL_STEPS = 300
"""On the multipliers of each step."""
_LEAST_FACTOR = 0.1
"""A step leaves this share of every power at least."""
_RIDGE = 1e-10
_TOLERANCE = 1e-7
"""Relative shortfall that counts as met."""


def restored(problem: MaxMinSinrProblem, power: Float[Tensor, "drop link"]) -> Float[Tensor, "drop link"]:
    """Powers (W) near `power` that meet every constraint wherever Newton steps or the reference powers do.

    Powers that meet everything are returned as they are; where neither they nor the reference can be mended, `power`, scaled
    into the budgets, is returned.
    """
    power = _within(problem, power.clamp_min(0.0))
    broken = (problem.violations(power).sensing > _TOLERANCE).nonzero()[:, 0]
    if not len(broken):
        return power
    part = problem.select(broken)
    mended = _projected(part, power[broken])
    return power.index_copy(0, broken, _mixed(part, mended, reference_power(part)))


def _within(problem: MaxMinSinrProblem, power: Tensor) -> Tensor:
    over = (problem.ap_load(power) / problem.budget).clamp_min(1.0)
    return power / over.gather(1, problem.link_ap)


def _projected(problem: MaxMinSinrProblem, power: Tensor) -> Tensor:
    """The Newton steps; each drop keeps the point of least shortfall."""
    best, least = power, problem.violations(power).sensing
    for _ in range(_ROUNDS):
        row, short = _lines(problem, power)
        power = _within(problem, power * (1.0 + _least_change(row * power[:, None], short + _ROOM)).clamp_min(_LEAST_FACTOR))
        left = problem.violations(power).sensing
        better = left < least
        best, least = torch.where(better[:, None], power, best), torch.where(better, left, least)
        if not bool((least > _TOLERANCE).any()):
            break
    return best


def _least_change(row: Float[Tensor, "drop line link"], short: Float[Tensor, "drop line"]) -> Float[Tensor, "drop link"]:
    """The shortest x with row.x >= short, nearly: accelerated projected gradients on the multipliers, then their active set."""
    size = row.norm(dim=-1).clamp_min(1e-300)
    row, short = row / size[..., None], short / size
    gram = row @ row.mT
    step = 1.0 / gram.abs().sum(-1).amax(-1, keepdim=True)
    multiplier = ahead = torch.zeros_like(short)
    for index in range(_DUAL_STEPS):
        slope = short - (gram @ ahead[..., None])[..., 0]
        new = (ahead + step * slope).clamp_min(0.0)
        turned = ((new - multiplier) * slope).sum(-1, keepdim=True) < 0.0  # uphill no more: start the momentum again
        ahead = torch.where(turned, new, new + index / (index + 3.0) * (new - multiplier))
        multiplier = new
    active = multiplier > 0.0
    system = torch.where(active[..., None] & active[:, None], gram, 0.0)
    exact, _ = torch.linalg.solve_ex(
        system + torch.diag_embed(_RIDGE + (~active).to(gram.dtype)), torch.where(active, short, 0.0)
    )

    def lacking(tried: Tensor) -> Tensor:
        return (short - (gram @ tried[..., None])[..., 0]).amax(-1, keepdim=True)

    good = exact.isfinite().all(-1, keepdim=True) & (lacking(exact) < lacking(multiplier))
    return (torch.where(good, exact, multiplier)[:, None] @ row).squeeze(1)


def _lines(problem: MaxMinSinrProblem, power: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes of every constraint and budget, over what each requires, and how much it is short of that; at `power` (W)."""
    need = problem.sir_min * problem.constraint_noise
    row = problem.echo - problem.sir_min[..., None] * problem.cross_echo
    size = (problem.sir_min * ((problem.cross_echo @ power[..., None])[..., 0] + problem.constraint_noise)).clamp_min(1e-300)
    rows, short = [row / size[..., None]], [(need - (row @ power[..., None])[..., 0]) / size]
    if problem.position is not None:
        slope, value = problem.position.slopes(power)
        rows.append(slope / problem.position.required[..., None])
        short.append(1.0 - value / problem.position.required)
    aps = torch.arange(problem.num_aps, device=power.device)
    load = -(problem.link_ap[:, None] == aps[:, None]).to(power.dtype) / problem.budget[..., None]
    rows.append(load)
    short.append(-(load @ power[..., None])[..., 0] - 1.0)
    return torch.cat(rows, 1), torch.cat(short, 1)


def _mixed(problem: MaxMinSinrProblem, power: Tensor, other: Tensor) -> Tensor:
    """`power` where it meets everything, else as much of it as `other` lets meet everything; `power` where nothing does."""

    def met(mixture: Tensor) -> Tensor:
        return problem.violations(mixture).sensing <= _TOLERANCE

    good, able = met(power), met(other)
    low, high = torch.zeros_like(power[:, :1]), torch.ones_like(power[:, :1])  # share of `power`: met, not met
    for _ in range(_HALVINGS):
        share = 0.5 * (low + high)
        inside = met(share * power + (1.0 - share) * other)[:, None]
        low, high = torch.where(inside, share, low), torch.where(inside, high, share)
    mixture = low * power + (1.0 - low) * other
    return torch.where((good | ~able)[:, None], power, mixture)
