"""Allocators by the short names that tables, configurations and the command line use."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from isac_torch.errors import AllocationError

if TYPE_CHECKING:
    from pathlib import Path

    from isac_torch.allocation import Allocator
    from isac_torch.tracking.problem import MaxMinSinrProblem

_NUMBER = r"(-?\d+(?:\.\d+)?)"
_FRACTIONAL = re.compile(f"fpc_{_NUMBER}_{_NUMBER}")

CERTIFIED = ("opc_batched", "opc_global")
"""Allocators whose answers carry a tight bound: the certified optimum is taken from them."""

SLOW = ("opc_paper",)
"""Allocators that are run on the first few drops only."""

KNOWN = "upc, ppc, fpc_<kappa_c>_<kappa_s>, opc_paper, opc_global, opc_batched, first_order, gnn"
"""Every name, for messages."""


def named_allocator(name: str, checkpoint: str | Path | None = None) -> Allocator[MaxMinSinrProblem]:
    """The allocator called `name`, with its default tolerances.

    Args:
        name: one of `KNOWN`.
        checkpoint: trained weights; needed by gnn only.

    Raises:
        AllocationError: if no allocator has that name, or gnn has no weights.
        CheckpointError: if the weights are missing, corrupt or of another system or feature version.
    """
    match = _FRACTIONAL.fullmatch(name)
    if match or name in ("upc", "ppc"):
        from isac_torch.allocators.heuristics import Fractional

        exponents = {"upc": (0.0, 0.0), "ppc": (1.0, 1.0)}
        return Fractional(*(map(float, match.groups()) if match else exponents[name]))
    if name == "opc_paper":
        from isac_torch.allocators.optimal import PaperOpc

        return PaperOpc()
    if name == "opc_global":
        from isac_torch.allocators.optimal import GlobalOptimal

        return GlobalOptimal()
    if name == "opc_batched":
        from isac_torch.solvers.batched import BatchedOptimal

        return BatchedOptimal()
    if name == "first_order":
        from isac_torch.allocators.learned import FirstOrder

        return FirstOrder()
    if name == "gnn":
        if checkpoint is None:
            raise AllocationError("allocator 'gnn' needs trained weights; pass --checkpoint model.pt, or leave gnn out")
        from isac_torch.allocators.learned import LearnedAllocator

        return LearnedAllocator.load(checkpoint)
    raise AllocationError(f"allocator {name!r} is unknown; choose among {KNOWN}")
