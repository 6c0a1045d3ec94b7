"""The certified optimum of a set of drops, from the answers of certified allocators, kept on disk for the next run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isac_torch import __version__
from isac_torch.allocation import FEASIBILITY_TOLERANCE, Allocation, Proposal, Status, allocate
from isac_torch.allocators.replay import Replay
from isac_torch.errors import NpzError
from isac_torch.files import written_whole
from isac_torch.npz import read_npz
from isac_torch.outage import OUTAGE_SINR
from isac_torch.tensors import tensor_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from isac_torch.allocation import Allocator
    from isac_torch.systems import ProblemT


@dataclass(frozen=True)
class Optimum:
    """The certified optimum of each drop, against which every allocator is measured.

    Attributes:
        value: largest objective that is reached without violation (smallest SINR, or 1 / largest NMSE), linear; NaN where no
            solver found such powers.
        upper_bound: certified bound on the objective, linear; inf where unknown.
        infeasible: drops proven to have no feasible powers.
        best_quality: largest sensing quality that the worst target or UE of each drop can reach; NaN where not computed.
    """

    value: Float[Tensor, " drop"]
    upper_bound: Float[Tensor, " drop"]
    infeasible: Bool[Tensor, " drop"]
    best_quality: Float[Tensor, " drop"]

    @property
    def outage(self) -> Bool[Tensor, " drop"]:
        """Feasible drops whose objective is certified to stay below -30 dB: some UE cannot be served."""
        return ~self.infeasible & (self.upper_bound < OUTAGE_SINR)

    @property
    def unresolved(self) -> Bool[Tensor, " drop"]:
        """Drops that are not proven infeasible, yet for which no solver found powers without violation."""
        return ~self.infeasible & self.value.isnan()

    @property
    def counted(self) -> Bool[Tensor, " drop"]:
        """Drops on which rates and ratios are averaged: feasible, not in outage, with a known optimum."""
        return ~self.infeasible & ~self.outage & ~self.unresolved

    @property
    def gap(self) -> Float[Tensor, " drop"]:
        """Certified relative gap (upper_bound - value) / upper_bound of each drop; 1 where no bound is known."""
        return 1.0 - self.value / self.upper_bound

    def first(self, count: int) -> Optimum:
        """The optimum of the first `count` drops."""
        return Optimum(self.value[:count], self.upper_bound[:count], self.infeasible[:count], self.best_quality[:count])


def best_known(certified: Sequence[Allocation], others: Sequence[Allocation] = ()) -> Optimum:
    """The best of several answers to the same drops: largest valid value, smallest certified bound.

    Args:
        certified: answers of certified allocators, at least one of them to all drops, the others to the first ones or all.
        others: answers without a say in bounds and feasibility, whose valid values count; to the first drops or all.
    """
    count = max(allocation.value.shape[0] for allocation in certified)
    values = [_valid_value(allocation) for allocation in (*certified, *others)]
    value = torch.stack([_filled(v, count, torch.nan) for v in values]).nan_to_num(-1.0).amax(0)
    quality = torch.stack([_filled(a.best_quality, count, torch.nan) for a in certified]).nan_to_num(-1.0).amax(0)
    infeasible = torch.stack([_filled(a.status == Status.INFEASIBLE, count, False) for a in certified]).any(0)
    nan = torch.full_like(value, torch.nan)
    return Optimum(
        value=torch.where(infeasible | (value < 0), nan, value),
        upper_bound=torch.stack([_filled(a.upper_bound, count, torch.inf) for a in certified]).amin(0),
        infeasible=infeasible,
        best_quality=torch.where(quality < 0, nan, quality),
    )


def contradictions(answer: Allocation, optimum: Optimum, tolerance: float = 1e-6) -> int:
    """Drops on which an answer refutes the certificate: valid powers above the bound, or on a drop proven infeasible.

    Anything but 0 is a bug in a solver, a certificate or the problem.
    """
    known = optimum.first(answer.value.shape[0])
    above = answer.value > known.upper_bound * (1.0 + tolerance)
    return int(((answer.violation <= FEASIBILITY_TOLERANCE) & (above | known.infeasible)).sum())


def _valid_value(allocation: Allocation) -> Tensor:
    nan = torch.full_like(allocation.value, torch.nan)
    return torch.where(allocation.violation <= FEASIBILITY_TOLERANCE, allocation.value, nan)


def _filled(values: Tensor, count: int, filler: float | bool) -> Tensor:
    """`values` of the first drops, with `filler` for the others."""
    return torch.cat([values, torch.full_like(values[:1], filler).expand(count - values.shape[0])])


def stored_allocate(
    problem: ProblemT,
    allocator: Allocator[ProblemT],
    folder: Path,
    ask: Callable[[ProblemT, Allocator[ProblemT]], Allocation] = allocate,
) -> tuple[Allocation, bool]:
    """The answer of `ask`, or the one that an earlier call left in `folder` for the same problem, judged again.

    The file's name is a checksum of the problem, the allocator and the version of this package, so that nothing stale is
    ever read; a damaged file is computed anew. Deleting the folder is always safe.

    Returns:
        The allocation, with the `seconds` of the run that computed it; whether it was stored before.
    """
    path = folder / f"{checksum(problem, allocator)}.npz"
    stored = _read(path, problem)
    if stored is not None:
        proposal, seconds = stored
        return replace(allocate(problem, Replay(proposal, allocator.name, allocator.gap)), seconds=seconds), True
    allocation = ask(problem, allocator)
    folder.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as partial:
        np.savez(
            partial,
            power=allocation.power.numpy(),
            upper_bound=allocation.upper_bound.numpy(),
            infeasible=(allocation.status == Status.INFEASIBLE).numpy(),
            best_quality=allocation.best_quality.numpy(),
            seconds=np.array([allocation.seconds]),
        )
    return allocation, False


def checksum(problem: Any, allocator: object) -> str:
    """Hexadecimal digest of everything that decides an answer: a dataclass of tensors, and who is asked, by its repr."""
    tensors = tensor_fields(problem)
    shown = {name.partition(".")[0] for name in tensors}
    others = {item.name: getattr(problem, item.name) for item in fields(problem) if item.name not in shown}
    digest = hashlib.sha256(f"{__version__} {allocator!r} {others}".encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


def _read(path: Path, problem: ProblemT) -> tuple[Proposal, float] | None:
    numbers = problem.link_ap.numel() + 4 * problem.num_drops
    try:
        arrays = read_npz(path, 16 * numbers + _OVERHEAD)
        stored: dict[str, Any] = {name: torch.from_numpy(arrays[name].copy()) for name in _NAMES}
        seconds = float(arrays["seconds"][0])
    except (FileNotFoundError, NpzError, KeyError, IndexError, TypeError, ValueError):
        return None
    shapes_fit = stored["power"].shape == problem.link_ap.shape and stored["upper_bound"].shape == (problem.num_drops,)
    return (Proposal(**stored), seconds) if shapes_fit else None


_OVERHEAD = 2**14
"""Bytes of an npz file beside its numbers."""
_NAMES = ("power", "upper_bound", "infeasible", "best_quality")
