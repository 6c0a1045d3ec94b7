"""The guard of learned powers under sensing constraints: small shortfalls are removed by Newton steps, without a solver.

Let A p >= b be the constraints that are short at p (those on the position by their tangents, which bound the concave h from
above) and the budgets that are exceeded or full. The step of least relative change that meets them all,

    d = D A^T (A D A^T)^-1 (b - A p),   D = diag(p^2),

is repeated until everything holds. Where it does not come to that, the powers are mixed with the reference powers as far as is
needed: linear constraints and h >= required are convex, so that the mixture meets whatever both meet.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.nn.tracking.shares import position_slopes, reference_power
from isac_torch.tracking.problem import MaxMinSinrProblem

_ROUNDS, _HALVINGS = 8, 30
_ROOM = 1e-8
"""Relative room given to what is restored, so that rounding cannot break it."""
_RIDGE = 1e-12
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
    active = None
    for _ in range(_ROUNDS):
        row, short = _lines(problem, power)
        now = short > -_ROOM
        active = now if active is None else active | now
        weighted = torch.where(active[..., None], row * power[:, None], 0.0)
        gram = weighted @ weighted.mT
        size = gram.diagonal(dim1=1, dim2=2).clamp_min(1e-300)
        scaled = gram / (size.sqrt()[..., None] * size.sqrt()[:, None])
        ridge = torch.diag_embed(_RIDGE + (~active).to(gram.dtype))
        scaled = torch.where(active[..., None] & active[:, None], scaled, 0.0) + ridge
        wanted = torch.where(active, short + _ROOM, 0.0) / size.sqrt()
        found, _ = torch.linalg.solve_ex(scaled, wanted)
        change = ((found / size.sqrt())[:, None] @ weighted).squeeze(1)
        change = torch.where(change.isfinite().all(-1, keepdim=True), change, 0.0)
        power = _within(problem, power * (1.0 + change).clamp_min(0.1))
        left = problem.violations(power).sensing
        better = left < least
        best, least = torch.where(better[:, None], power, best), torch.where(better, left, least)
        if not bool((least > _TOLERANCE).any()):
            break
    return best


def _lines(problem: MaxMinSinrProblem, power: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes of every constraint and budget, over what each requires, and how much it is short of that; at `power` (W)."""
    need = problem.sir_min * problem.constraint_noise
    row = problem.echo - problem.sir_min[..., None] * problem.cross_echo
    size = (problem.sir_min * ((problem.cross_echo @ power[..., None])[..., 0] + problem.constraint_noise)).clamp_min(1e-300)
    rows, short = [row / size[..., None]], [(need - (row @ power[..., None])[..., 0]) / size]
    if problem.position is not None:
        slope, value = position_slopes(problem, power)
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
