"""The certified optimum of a set of drops, from the answers of certified allocators, kept on disk for the next run."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from isac_torch import __version__
from isac_torch.allocation import FEASIBILITY_TOLERANCE, Allocation, Proposal, Status, allocate
from isac_torch.evaluation.metrics import Optimum
from isac_torch.files import written_whole
from isac_torch.tensors import tensor_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor

    from isac_torch.allocation import Allocator
    from isac_torch.tracking.problem import MaxMinSinrProblem


def best_known(certified: Sequence[Allocation], others: Sequence[Allocation] = ()) -> Optimum:
    """The best of several answers to the same drops: largest valid value, smallest certified bound.

    Args:
        certified: answers of certified allocators, at least one of them to all drops, the others to the first ones or all.
        others: answers without a say in bounds and feasibility, whose valid values count; to the first drops or all.
    """
    count = max(allocation.value.shape[0] for allocation in certified)
    values = [_valid_value(allocation) for allocation in (*certified, *others)]
    value = torch.stack([_filled(v, count, torch.nan) for v in values]).nan_to_num(-1.0).amax(0)
    best_sir = torch.stack([_filled(a.best_quality, count, torch.nan) for a in certified]).nan_to_num(-1.0).amax(0)
    infeasible = torch.stack([_filled(a.status == Status.INFEASIBLE, count, False) for a in certified]).any(0)
    nan = torch.full_like(value, torch.nan)
    return Optimum(
        value=torch.where(infeasible | (value < 0), nan, value),
        upper_bound=torch.stack([_filled(a.upper_bound, count, torch.inf) for a in certified]).amin(0),
        infeasible=infeasible,
        best_sir=torch.where(best_sir < 0, nan, best_sir),
    )


def _valid_value(allocation: Allocation) -> Tensor:
    nan = torch.full_like(allocation.value, torch.nan)
    return torch.where(allocation.violation <= FEASIBILITY_TOLERANCE, allocation.value, nan)


def _filled(values: Tensor, count: int, filler: float | bool) -> Tensor:
    """`values` of the first drops, with `filler` for the others."""
    return torch.cat([values, torch.full_like(values[:1], filler).expand(count - values.shape[0])])


def stored_allocate(
    problem: MaxMinSinrProblem,
    allocator: Allocator[MaxMinSinrProblem],
    folder: Path,
    ask: Callable[[MaxMinSinrProblem, Allocator[MaxMinSinrProblem]], Allocation] = allocate,
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
        return replace(allocate(problem, _Replay(proposal, allocator.name, allocator.gap)), seconds=seconds), True
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


def checksum(problem: MaxMinSinrProblem, allocator: Allocator[MaxMinSinrProblem]) -> str:
    """Hexadecimal digest of everything that decides the allocator's answer."""
    digest = hashlib.sha256(f"{__version__} {allocator!r} {problem.num_targets}".encode())
    for name, value in sorted(tensor_fields(problem).items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


class _Replay:
    """An allocator that repeats a stored answer."""

    def __init__(self, proposal: Proposal, name: str, gap: float) -> None:
        self.name, self.gap, self._proposal = name, gap, proposal

    def propose(self, problem: MaxMinSinrProblem) -> Proposal:
        return self._proposal


def _read(path: Path, problem: MaxMinSinrProblem) -> tuple[Proposal, float] | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            fields: dict[str, Any] = {name: torch.from_numpy(file[name]) for name in _NAMES}
            seconds = float(file["seconds"][0])
    except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile):
        return None
    shapes_fit = fields["power"].shape == problem.link_ap.shape and fields["upper_bound"].shape == (problem.num_drops,)
    return (Proposal(**fields), seconds) if shapes_fit else None


_NAMES = ("power", "upper_bound", "infeasible", "best_quality")
