"""Max-min SINR as second-order cones of one fixed sparsity, for conic solvers called directly: Clarabel, Moreau.

The readable form is in `reference`; this is the same Dinkelbach step without a modelling layer, one sparse matrix per drop with
the same pattern in all drops of a size class:

    maximise d over x, z, s, d
    s_k = g (N_k^T x + 1 + d v_k(x')) / sigma_k,   z_e^2 <= x_e s_k,   sum_e a_e z_e / sqrt(sigma_k) >= s_k,
    C x >= m,   A x <= 1,   x >= 0 on sensing links,

with x relative to the budgets, x' the last powers, g their smallest SINR and sigma_k the largest a_e^2 of UE k.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from isac_torch.caches import kept
from isac_torch.solvers.tracking.certificate import upper_bound
from isac_torch.solvers.tracking.feasibility import repair
from isac_torch.solvers.tracking.reference import majorised_leakage
from isac_torch.tracking.problem import MaxMinSinrProblem

Backend = Literal["clarabel", "moreau"]
Array = NDArray[np.float64]
Counts = NDArray[np.int64]

_MAX_ROUNDS = 15
_STALLED = 1e-5


def dinkelbach(
    problem: MaxMinSinrProblem, power: Tensor, inside: Tensor, backend: Backend, gap: float
) -> tuple[Float[Tensor, "drop link"], Float[Tensor, " drop"]]:
    """Dinkelbach rounds on the drops that still miss their gap or, with shared pilots, still gain.

    Args:
        problem: drops whose sensing constraints can be met, float64, on the CPU.
        power: W; feasible start.
        inside: W; meets every constraint (`SensingLimit.power`).
        backend: the conic solver.
        gap: certified relative distance to the optimum at which a drop stops.

    Returns:
        Feasible powers, W, and the bound of each drop. Where the solver fails, the best powers so far.
    """
    power, bound = power.clone(), torch.full_like(problem.budget[:, 0], torch.inf)
    open_drops = torch.arange(problem.num_drops)
    for _ in range(_MAX_ROUNDS):
        part, now = problem.select(open_drops), power[open_drops]
        before = part.objective(now)
        step, proven = _step(part, now, backend)
        step = repair(part, torch.where(step.isfinite().all(-1, keepdim=True), step, now), inside[open_drops])
        after = part.objective(step)
        better = after > before
        power[open_drops] = torch.where(better.unsqueeze(-1), step, now)
        bound[open_drops] = torch.minimum(bound[open_drops], proven)
        value = torch.maximum(after, before)
        closed = bound[open_drops] - value <= gap * bound[open_drops]
        if problem.has_pilot_reuse:
            closed |= after <= before * (1.0 + _STALLED)
        open_drops = open_drops[~closed]
        if len(open_drops) == 0:
            break
    return power, bound


def _step(problem: MaxMinSinrProblem, power: Tensor, backend: Backend) -> tuple[Tensor, Tensor]:
    """One round: new powers in W (NaN where the solver failed) and the bound that the round's dual variables prove."""
    limit = problem.link_budget
    pattern = _pattern(problem.num_ues, problem.serving, problem.num_constraints, problem.num_links, problem.num_aps)
    data = _Values.of(problem, power)
    solve = _clarabel if backend == "clarabel" else _moreau
    primal, dual = (torch.from_numpy(part) for part in solve(pattern, data))
    ues, rows, links = problem.num_ues, problem.num_constraints, problem.num_links
    ue_dual = (-dual[:, :ues]).clamp_min(0.0) / torch.from_numpy(data.unit)
    sensing_dual = dual[:, 2 * ues : 2 * ues + rows].clamp_min(0.0) / torch.from_numpy(data.row_unit)
    budget_dual = dual[:, 2 * ues + rows : 2 * ues + rows + problem.num_aps].clamp_min(0.0) / problem.budget
    powers = primal[:, :links].clamp_min(0.0) * limit
    return powers, upper_bound(problem, powers, ue_dual, sensing_dual, budget_dual)


@dataclass(frozen=True)
class _Pattern:
    """Where the entries of the constraint matrix are: coordinates in the order in which `_Values` lists them."""

    row: Counts
    column: Counts
    num_constraints: int
    num_columns: int
    num_zero: int
    num_nonneg: int
    num_cones: int


@kept()
def _pattern(ues: int, serving: int, rows: int, links: int, aps: int) -> _Pattern:
    """Rows: K equalities, K signals, L sensing constraints, M budgets, signs of sensing links, one 3-cone a serving link."""
    comm = ues * serving
    x, z, s, gain = np.arange(links), links + np.arange(comm), links + comm + np.arange(ues), links + comm + ues
    node = np.repeat(np.arange(ues), serving)
    sensing = np.arange(comm, links)
    first = 2 * ues + rows + aps + len(sensing)
    cone = first + 3 * np.arange(comm)
    parts: list[tuple[Any, Any]] = [
        (np.arange(ues), s),
        (np.repeat(np.arange(ues), links), np.tile(x, ues)),
        (np.arange(ues), np.full(ues, gain)),
        (ues + np.arange(ues), s),
        (ues + node, z),
        (2 * ues + np.repeat(np.arange(rows), links), np.tile(x, rows)),
        # an AP's row holds every link, with zeros at other APs' ones: the pattern must not depend on the drop
        (2 * ues + rows + np.repeat(np.arange(aps), links), np.tile(x, aps)),
        (2 * ues + rows + aps + np.arange(len(sensing)), sensing),
        (cone, x[:comm]),
        (cone, s[node]),
        (cone + 1, x[:comm]),
        (cone + 1, s[node]),
        (cone + 2, z),
    ]
    return _Pattern(
        row=np.concatenate([p[0] for p in parts]),
        column=np.concatenate([p[1] for p in parts]),
        num_constraints=first + 3 * comm,
        num_columns=links + comm + ues + 1,
        num_zero=ues,
        num_nonneg=first - ues,
        num_cones=comm,
    )


@dataclass(frozen=True)
class _Values:
    """Entries of A and b of every drop, in the pattern's order, and the units of rows."""

    matrix: Array
    right: Array
    unit: Array
    row_unit: Array

    @staticmethod
    def of(problem: MaxMinSinrProblem, power: Tensor) -> _Values:
        """The round at `power` (W); with shared pilots, on their majoriser there."""
        drops, ues, serving, links = problem.num_drops, problem.num_ues, problem.serving, problem.num_links
        limit = problem.link_budget
        amplitude = problem.signal * problem.serving_power(limit).sqrt()
        unit = amplitude.square().amax(-1)
        sinr = problem.objective(power).unsqueeze(-1) / unit
        leakage = majorised_leakage(problem, power) * limit.unsqueeze(1)
        margin = (problem.echo - problem.sir_min.unsqueeze(-1) * problem.cross_echo) * limit.unsqueeze(1)
        row_unit = margin.abs().amax(-1)
        member = torch.zeros(drops, problem.num_aps, links, dtype=limit.dtype).scatter_(1, problem.link_ap.unsqueeze(1), 1.0)
        one, comm = torch.ones(drops, ues, dtype=limit.dtype), torch.ones(drops, ues * serving, dtype=limit.dtype)
        parts = [
            one,
            -(sinr.unsqueeze(-1) * leakage).flatten(1),
            -sinr * problem.interference(power),
            one,
            -(amplitude / unit.sqrt().unsqueeze(-1)).flatten(1),
            -(margin / row_unit.unsqueeze(-1)).flatten(1),
            member.flatten(1),
            -torch.ones(drops, links - ues * serving, dtype=limit.dtype),
            -comm,
            -comm,
            -comm,
            comm,
            -2.0 * comm,
        ]
        first = 2 * ues + problem.num_constraints
        last = first + problem.num_aps + links - ues * serving + 3 * ues * serving
        right = torch.zeros(drops, last, dtype=limit.dtype)
        right[:, :ues] = sinr
        right[:, 2 * ues : first] = -problem.sir_min * problem.constraint_noise / row_unit
        right[:, first : first + problem.num_aps] = 1.0
        return _Values(torch.cat(parts, 1).numpy(), right.numpy(), unit.numpy(), row_unit.numpy())


def _clarabel(pattern: _Pattern, values: _Values) -> tuple[Array, Array]:
    """Every drop by itself; NaN where Clarabel does not report a solution."""
    import clarabel
    from scipy import sparse

    cones = [clarabel.ZeroConeT(pattern.num_zero), clarabel.NonnegativeConeT(pattern.num_nonneg)]
    cones += [clarabel.SecondOrderConeT(3)] * pattern.num_cones
    settings = clarabel.DefaultSettings()
    settings.verbose, settings.max_threads = False, 1
    quadratic = sparse.csc_matrix((pattern.num_columns, pattern.num_columns))
    cost = np.zeros(pattern.num_columns)
    cost[-1] = -1.0
    drops = len(values.matrix)
    primal = np.full((drops, pattern.num_columns), np.nan)
    dual = np.full((drops, pattern.num_constraints), np.nan)
    shape = (pattern.num_constraints, pattern.num_columns)
    for i in range(drops):
        matrix = sparse.csc_matrix((values.matrix[i], (pattern.row, pattern.column)), shape=shape)
        matrix.eliminate_zeros()
        answer = clarabel.DefaultSolver(quadratic, cost, matrix, values.right[i], cones, settings).solve()
        if str(answer.status) in ("Solved", "AlmostSolved"):
            primal[i], dual[i] = answer.x, answer.z
    return primal, dual


def _moreau(pattern: _Pattern, values: _Values) -> tuple[Array, Array]:
    """All drops in one call; NaN where Moreau does not report a solution."""
    import moreau
    from scipy import sparse

    drops = len(values.matrix)
    shape = (pattern.num_constraints, pattern.num_columns)
    place = sparse.csr_matrix((np.arange(1, len(pattern.row) + 1), (pattern.row, pattern.column)), shape=shape)
    place.sort_indices()
    solver = moreau.CompiledSolver(
        n=pattern.num_columns,
        m=pattern.num_constraints,
        P_row_offsets=np.zeros(pattern.num_columns + 1, dtype=np.int64),
        P_col_indices=np.zeros(0, dtype=np.int64),
        A_row_offsets=place.indptr,
        A_col_indices=place.indices,
        cones=moreau.Cones(
            num_zero_cones=pattern.num_zero, num_nonneg_cones=pattern.num_nonneg, so_cone_dims=[3] * pattern.num_cones
        ),
        settings=moreau.Settings(batch_size=drops),
    )
    solver.setup(np.zeros((drops, 0)), values.matrix[:, place.data - 1])
    cost = np.zeros((drops, pattern.num_columns))
    cost[:, -1] = -1.0
    answer = solver.solve(cost, values.right)
    solved = np.array([status.name in ("Solved", "AlmostSolved") for status in solver.info.status])[:, None]
    return np.where(solved, np.asarray(answer.x), np.nan), np.where(solved, np.asarray(answer.z), np.nan)
