"""The certified optimum of a set of drops, from the answers of certified allocators, kept on disk for the next run."""

from __future__ import annotations

import hashlib
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from isac_torch import __version__
from isac_torch.allocation import FEASIBILITY_TOLERANCE, Allocation, Proposal, Status, allocate
from isac_torch.evaluation.files import written_whole
from isac_torch.evaluation.metrics import Optimum
from isac_torch.tensors import tensor_fields

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from isac_torch.allocation import Allocator
    from isac_torch.tracking.problem import MaxMinSinrProblem


def best_known(allocations: Sequence[Allocation]) -> Optimum:
    """The best of several certified answers to the same drops: largest valid value, smallest bound.

    Args:
        allocations: answers of certified allocators, each to all drops; at least one.
    """
    nan = torch.full_like(allocations[0].value, torch.nan)
    values = [torch.where(a.violation <= FEASIBILITY_TOLERANCE, a.value, nan) for a in allocations]
    value = torch.stack(values).nan_to_num(-1.0).amax(0)
    best_sir = torch.stack([a.best_quality for a in allocations]).nan_to_num(-1.0).amax(0)
    infeasible = torch.stack([a.status == Status.INFEASIBLE for a in allocations]).any(0)
    return Optimum(
        value=torch.where(infeasible | (value < 0), nan, value),
        upper_bound=torch.stack([a.upper_bound for a in allocations]).amin(0),
        infeasible=infeasible,
        best_sir=torch.where(best_sir < 0, nan, best_sir),
    )


def stored_allocate(problem: MaxMinSinrProblem, allocator: Allocator[MaxMinSinrProblem], folder: Path) -> Allocation:
    """`allocate`, or the answer that an earlier call left in `folder` for the same problem, judged again.

    The file's name is a checksum of the problem, the allocator and the version of this package, so that nothing stale is
    ever read; a damaged file is computed anew. Deleting the folder is always safe.
    """
    path = folder / f"{checksum(problem, allocator)}.npz"
    stored = _read(path, problem)
    if stored is not None:
        return allocate(problem, _Replay(stored, allocator.name, allocator.gap))
    allocation = allocate(problem, allocator)
    folder.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as partial:
        np.savez(
            partial,
            power=allocation.power.numpy(),
            upper_bound=allocation.upper_bound.numpy(),
            infeasible=(allocation.status == Status.INFEASIBLE).numpy(),
            best_quality=allocation.best_quality.numpy(),
        )
    return allocation


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


def _read(path: Path, problem: MaxMinSinrProblem) -> Proposal | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            fields: dict[str, Any] = {name: torch.from_numpy(file[name]) for name in _NAMES}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    shapes_fit = fields["power"].shape == problem.link_ap.shape and fields["upper_bound"].shape == (problem.num_drops,)
    return Proposal(**fields) if shapes_fit else None


_NAMES = ("power", "upper_bound", "infeasible", "best_quality")
