"""Proportional fairness: the largest mean log rate, as a local optimum with a loose but true bound.

    maximise F(x) = sum_k f(tau_k(x)),   tau_k = log u_k(x) - log v_k(x),   f(tau) = log(log2(1 + e^tau))
    subject to the budgets and the sensing rows, all linear

with u_k, v_k of `LevelProgram`. f is concave and rising, log u_k is concave, and -log v_k lies above its tangent: that tangent
at the last powers in its place gives a concave function below F that touches it there. This is a barrier Newton method whose
Hessian is that of this minorant, with a line search on F itself: every step gains, the end is a local optimum.

Bound, the smaller of two: what each UE would have with the network to itself; and f below its tangent in tau_k, log u_k below
its tangent in u_k, u_k below its Cauchy-Schwarz form, -log v_k below its chord between 1 and the largest interference that the
budgets allow, all linear in x, so that the budgets finish it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isac_torch.allocation import equal_split
from isac_torch.errors import ProblemError
from isac_torch.solvers.tracking import interior
from isac_torch.solvers.tracking.feasibility import largest_sir
from isac_torch.solvers.tracking.level_program import LevelProgram, max_min_program
from isac_torch.tracking.problem import MaxMinSinrProblem

_START_TOLERANCE = 0.3
"""A max-min point solved this coarsely is good and well inside every row."""
_FIRST_BARRIER = 0.1
_SHRINK = 0.3
_BARRIERS = 12
_STEPS = 4
_LAST_STEPS = 60
_HALVINGS = 14
_SETTLED = 1e-4


@dataclass(frozen=True)
class ProportionalFair:
    """A local optimum of the mean log rate.

    Attributes:
        power: W; meets every constraint where `solved`.
        mean_log_rate: mean over UEs of ln(log2(1 + SINR)), bit/s/Hz inside; pre-log factors would only shift it.
        upper_bound: no powers exceed this mean log rate.
        solved: whether a strictly feasible start was found and the last Newton step was small.
    """

    power: Float[Tensor, "drop link"]
    mean_log_rate: Float[Tensor, " drop"]
    upper_bound: Float[Tensor, " drop"]
    solved: Bool[Tensor, " drop"]


def proportional_fair(problem: MaxMinSinrProblem) -> ProportionalFair:
    """Largest mean log rate under budgets and sensing rows, from a coarse max-min point.

    Args:
        problem: drops, float64, orthogonal pilots, whose rows can be met with room to spare.

    Raises:
        ProblemError: shared pilots.
    """
    if problem.has_pilot_reuse:
        raise ProblemError("proportional_fair needs orthogonal pilots; raise pilot_length to the number of UEs")
    limit = problem.link_budget
    start = 0.5 * equal_split(problem) / limit
    scale = problem.objective(start * limit).clamp_min(1e-300)
    coarse = interior.solve_carefully(max_min_program(problem, scale), start, torch.full_like(scale, 0.5), _START_TOLERANCE)
    program = max_min_program(problem, torch.ones_like(scale))
    rows = _rows(program)
    if problem.echo_noise is None:
        power = coarse.power / (1.02 * _load(program, coarse.power).amax(-1, keepdim=True)).clamp_min(1.0)
    else:  # less power would leave noisy rows short: away from the borders is where their slack is largest
        power = 0.9 * coarse.power + 0.098 * largest_sir(problem).power / limit
    inside = coarse.converged & (_slack(rows, power) > 0.0).all(-1)
    power = torch.where(inside.unsqueeze(-1), power, start)
    decrement = torch.full_like(scale, torch.inf)
    for step in range(_BARRIERS * _STEPS + _LAST_STEPS):
        power, decrement = _newton(program, rows, power, _FIRST_BARRIER * _SHRINK ** min(step // _STEPS, _BARRIERS - 1))
        if step >= _BARRIERS * _STEPS and bool((decrement <= _SETTLED).all()):
            break
    value = _merit(program, power) / problem.num_ues
    settled = inside & (decrement <= _SETTLED)
    return ProportionalFair(power * limit, value, _bound(program, power) / problem.num_ues, settled)


@dataclass(frozen=True)
class _Rows:
    """All linear constraints as matrix x + offset >= 0: budgets, then sensing rows over their largest entries."""

    matrix: Tensor
    offset: Tensor


def _rows(program: LevelProgram) -> _Rows:
    ues = program.amplitude.shape[1]
    margin = program.echo - program.floor[:, ues:].unsqueeze(-1) * program.cross_echo
    scale = margin.abs().amax(-1, keepdim=True)
    margin, needed = margin / scale, program.floor[:, ues:] * program.constraint_noise / scale[..., 0]
    member = margin.new_zeros(len(margin), program.num_aps, margin.shape[2]).scatter_(1, program.link_ap.unsqueeze(1), -1.0)
    offset = torch.cat([margin.new_ones(len(margin), program.num_aps), -needed], 1)
    return _Rows(torch.cat([member, margin], 1), offset)


def _slack(rows: _Rows, power: Tensor) -> Tensor:
    return torch.einsum("dre,de->dr", rows.matrix, power) + rows.offset


def _load(program: LevelProgram, power: Tensor) -> Tensor:
    return power.new_zeros(len(power), program.num_aps).scatter_add(1, program.link_ap, power)


def _interference(program: LevelProgram, power: Tensor) -> Tensor:
    return torch.einsum("dke,de->dk", program.leakage, power) + 1.0


def _merit(program: LevelProgram, power: Tensor) -> Tensor:
    """F."""
    return _log_rate(program.signal(power)[0] / _interference(program, power)).sum(-1)


def _log_rate(sinr: Tensor) -> Tensor:
    """ln(log2(1 + SINR)), with the digits of tiny SINRs kept."""
    return torch.log1p(sinr).log() - math.log(math.log(2.0))


def _slopes(sinr: Tensor) -> tuple[Tensor, Tensor]:
    """f' and -f'' over tau = log(sinr)."""
    rate = torch.log1p(sinr)
    first = sinr / ((1.0 + sinr) * rate)
    return first, (first * (first - 1.0 / (1.0 + sinr))).clamp_min(0.0)


def _newton(program: LevelProgram, rows: _Rows, power: Tensor, barrier: float) -> tuple[Tensor, Tensor]:
    """One step on F + barrier * sum of log slacks: new powers and the step's relative gain by its own model."""
    drops, ues, serving = program.amplitude.shape
    comm = ues * serving
    signal, slope = program.signal(power)
    unwanted = _interference(program, power)
    first, second = _slopes(signal / unwanted)
    share = slope / signal.unsqueeze(-1)
    rise = -program.leakage / unwanted.unsqueeze(-1)
    own = rise[:, :, :comm].view(drops, ues, ues, serving)
    own.diagonal(dim1=1, dim2=2).add_(share.transpose(1, 2))
    slack = _slack(rows, power)
    gradient = torch.einsum("dk,dke->de", first, rise) + barrier / power
    gradient = gradient + barrier * torch.einsum("dr,dre->de", 1.0 / slack, rows.matrix)
    curved = torch.cat([rise * second.sqrt().unsqueeze(-1), rows.matrix * (barrier**0.5 / slack).unsqueeze(-1)], 1)
    hessian = torch.bmm(curved.transpose(1, 2), curved)
    hessian.diagonal(dim1=1, dim2=2).add_(barrier / power.square())
    part = power[:, :comm].reshape(slope.shape)
    # -second derivative of log u_k: (diag(theta / x^2) + (theta / x)(theta / x)^T) / 2, theta / x = share
    block = 0.5 * first[..., None, None] * (share.unsqueeze(-1) * share.unsqueeze(-2) + torch.diag_embed(share / part))
    for k in range(ues):
        hessian[:, k * serving : (k + 1) * serving, k * serving : (k + 1) * serving] += block[:, k]
    step = torch.cholesky_solve(gradient.unsqueeze(-1), torch.linalg.cholesky_ex(hessian)[0])[..., 0]
    step = torch.where(step.isfinite().all(-1, keepdim=True), step, 0.0)
    return _search(program, rows, power, step, barrier), (gradient * step).sum(-1).abs()


def _search(program: LevelProgram, rows: _Rows, power: Tensor, step: Tensor, barrier: float) -> Tensor:
    """The longest of the halved steps that stays inside and gains; none if none does."""

    def merit(at: Tensor) -> Tensor:
        inner = torch.minimum(at.amin(-1), _slack(rows, at).amin(-1)) > 0.0
        value = _merit(program, at) + barrier * (at.log().sum(-1) + _slack(rows, at).log().sum(-1))
        return torch.where(inner & value.isfinite(), value, -torch.inf)

    now, length = merit(power), torch.ones_like(power[:, :1])
    for _ in range(_HALVINGS):
        gains = merit(power + length * step) >= now
        if bool(gains.all()):
            break
        length = torch.where(gains.unsqueeze(-1), length, 0.5 * length)
    final = power + length * step
    return torch.where((merit(final) >= now).unsqueeze(-1), final, power)


def _bound(program: LevelProgram, power: Tensor) -> Tensor:
    """The module docstring's bound on F at `power`, with the sensing rows priced at 0."""
    drops, ues, serving = program.amplitude.shape
    signal, _ = program.signal(power)
    unwanted = _interference(program, power)
    first, _ = _slopes(signal / unwanted)
    part = program.amplitude * power[:, : ues * serving].reshape(program.amplitude.shape).sqrt()
    gain = program.amplitude.square() * part.sum(-1, keepdim=True) / part.clamp_min(1e-300) / signal.unsqueeze(-1)
    worst = power.new_zeros(drops, ues, program.num_aps)
    index = program.link_ap.unsqueeze(1).expand(-1, ues, -1)
    most = 1.0 + worst.scatter_reduce(2, index, program.leakage, "amax").sum(-1)
    chord = most.log() / (most - 1.0).clamp_min(1e-12)
    coefficient = -torch.einsum("dk,dke->de", first * chord, program.leakage)
    coefficient[:, : ues * serving] += (first.unsqueeze(-1) * gain).flatten(1)
    top = power.new_zeros(drops, program.num_aps).scatter_reduce(1, program.link_ap, coefficient, "amax")
    joint = _merit(program, power) + (first * (unwanted.log() - 1.0)).sum(-1) + top.sum(-1)
    # alone, (sum a sqrt x)^2 / (N x + 1) is below (sum a)^2 and, by Cauchy-Schwarz, below sum a^2 / N
    leaked = program.leakage[:, :, : ues * serving].view(drops, ues, ues, serving).diagonal(dim1=1, dim2=2).transpose(1, 2)
    alone = (program.amplitude.square() / leaked.clamp_min(1e-300)).sum(-1)
    alone = torch.minimum(alone, program.amplitude.sum(-1).square())
    return torch.minimum(joint, _log_rate(alone).sum(-1))
