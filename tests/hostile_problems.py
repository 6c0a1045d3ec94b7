"""Random power problems at the edges of what a solver can be asked: zeros, 12 orders of magnitude, subnormal numbers, nothing.

Used by tests/allocators/test_hostile_problems.py. Coefficients are drawn directly, not from a geometry: everything that
`problem.check` accepts may come.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
from isac_torch.tracking.problem import MaxMinSinrProblem

Draw = Callable[..., Tensor]


def _wild(generator: torch.Generator, *shape: int) -> Tensor:
    """12 orders of magnitude."""
    return 10.0 ** (12.0 * torch.rand(*shape, generator=generator, dtype=torch.float64) - 6.0)


def _holes(generator: torch.Generator, *shape: int) -> Tensor:
    """Half of it zeros."""
    return _wild(generator, *shape).clamp(1e-2, 1e2) * (torch.rand(*shape, generator=generator) < 0.5)


def _zero(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.zeros(*shape, dtype=torch.float64)


def _subnormal(generator: torch.Generator, *shape: int) -> Tensor:
    return 5e-324 * torch.randint(0, 1000, shape, generator=generator).double()


def _tame(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=generator, dtype=torch.float64) + 0.1


DRAWS: tuple[Draw, ...] = (_wild, _holes, _zero, _subnormal, _tame)
SIZES = ((1, 1, 1, 0), (1, 1, 1, 1), (2, 2, 1, 2), (3, 1, 3, 2), (3, 4, 2, 0), (4, 3, 2, 3))
"""APs, UEs, serving links of each UE, targets."""


def tracking(seed: int, drops: int) -> MaxMinSinrProblem:
    """A batch of one size class; each kind of coefficient is of its own sort, and some drops lose a UE's signal or an echo."""
    g = torch.Generator().manual_seed(seed)

    def pick(count: int) -> int:
        return int(torch.randint(count, (1,), generator=g))

    def any_draw(*shape: int) -> Tensor:
        sort = DRAWS[pick(len(DRAWS))] if pick(2) else _tame
        return sort(g, *shape)

    aps, ues, serving, targets = SIZES[pick(len(SIZES))]
    links = ues * serving + targets
    rows = targets if targets > 1 or pick(2) else 0
    problem = MaxMinSinrProblem(
        signal=any_draw(drops, ues, serving),
        leakage=any_draw(drops, ues, links),
        coherent=_tame(g, drops, ues, ues, serving) * (torch.eye(ues) == 0).unsqueeze(-1)
        if pick(6) == 0
        else torch.zeros(drops, ues, ues, serving, dtype=torch.float64),
        echo=any_draw(drops, rows, links),
        cross_echo=any_draw(drops, rows, links),
        sir_min=any_draw(drops, rows),
        budget=_wild(g, drops, aps) if pick(3) == 0 else _tame(g, drops, aps),
        link_ap=torch.randint(aps, (drops, links), generator=g),
        link_gain=_wild(g, drops, links),
        num_targets=targets,
        echo_noise=any_draw(drops, rows) if rows and pick(3) == 0 else None,
    )
    return problem.cast(torch.float32) if pick(3) == 0 else problem


def downlink_pilots(seed: int, drops: int) -> MinMaxNmseProblem:
    """A batch of one size class; each kind of coefficient is of its own sort."""
    g = torch.Generator().manual_seed(seed)

    def pick(count: int) -> int:
        return int(torch.randint(count, (1,), generator=g))

    def any_draw(*shape: int) -> Tensor:
        sort = DRAWS[pick(len(DRAWS))] if pick(2) else _tame
        return sort(g, *shape)

    ues, aps = ((1, 1), (1, 3), (2, 3), (3, 2))[pick(4)]
    gain = any_draw(drops, ues, aps)
    xx, yy = any_draw(drops, ues, aps), any_draw(drops, ues, aps)
    cross = torch.rand(drops, ues, ues, generator=g, dtype=torch.float64) * 0.5
    cross = torch.tril(cross, -1)
    eye = torch.eye(ues, dtype=torch.float64).expand(drops, ues, ues).clone()
    problem = MinMaxNmseProblem(
        gain=gain,
        estimate=gain * torch.rand(drops, ues, aps, generator=g, dtype=torch.float64),
        gram_real=eye + cross + cross.mT,
        gram_imag=torch.zeros_like(eye),
        same_pilot=torch.ones_like(eye) if pick(6) == 0 else eye,
        fisher_xx=xx,
        fisher_yy=yy,
        fisher_xy=(xx * yy).sqrt() * (2.0 * torch.rand(drops, ues, aps, generator=g, dtype=torch.float64) - 1.0),
        crb_max=_wild(g, drops, ues),
        weight=_tame(g, drops, ues),
        budget=_wild(g, drops, aps) if pick(3) == 0 else _tame(g, drops, aps),
        link_ap=torch.arange(aps).repeat(ues).expand(drops, -1).clone(),
        link_gain=gain.flatten(1),
    )
    return problem.cast(torch.float32) if pick(3) == 0 else problem


def usable(problem: MaxMinSinrProblem | MinMaxNmseProblem) -> bool:
    """Whether `check` accepts it, as every problem that a command builds has been."""
    try:
        problem.check()
    except ValueError:
        return False
    return True


def without_drops(problem: MaxMinSinrProblem) -> MaxMinSinrProblem:
    """The same size class with nothing in it."""
    return replace(problem).select(torch.zeros(0, dtype=torch.long))
