"""Allocators by the short names that tables, configurations and the command line use."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from isac_torch.errors import AllocationError
from isac_torch.weights import shipped_weights

if TYPE_CHECKING:
    from isac_torch.allocation import Allocator
    from isac_torch.tracking.problem import MaxMinSinrProblem

_NUMBER = r"(-?\d+(?:\.\d+)?)"
_FRACTIONAL = re.compile(f"fpc_{_NUMBER}_{_NUMBER}")

CERTIFIED = ("opc_batched", "opc_global")
"""Allocators whose answers carry a tight bound: the certified optimum is taken from them."""

SLOW = ("opc_paper", "opc_global", "opc_clarabel", "opc_moreau")
"""Allocators that solve drop by drop, in seconds; an evaluation may give them its first drops only, and keeps their answers."""

LEARNED = ("gnn", "gnn_repaired", "gnn_refined", "gnn_shipped")
"""Allocators with a trained network inside: as it is, repaired, refined; and the shipped weights whatever else is given."""

KNOWN = (
    "upc, ppc, fpc_<kappa_c>_<kappa_s>, opc_paper, opc_global, opc_batched, opc_clarabel, opc_moreau, first_order, "
    + ", ".join(LEARNED)
)
"""Every name, for messages."""


def named_allocator(name: str, checkpoint: str | Path | None = None) -> Allocator[MaxMinSinrProblem]:
    """The allocator called `name`, with its default tolerances.

    Args:
        name: one of `KNOWN`.
        checkpoint: weights of the networks; default those shipped with the package.

    Raises:
        AllocationError: if no allocator has that name.
        CheckpointError: if the weights are missing, corrupt or of another system or feature version.

    Example:
        >>> from isac_torch import named_allocator
        >>> named_allocator("fpc_0.5_0.5").comm_exponent, named_allocator("opc_batched").gap
        (0.5, 0.001)
    """
    match = _FRACTIONAL.fullmatch(name)
    if match or name in ("upc", "ppc"):
        from isac_torch.allocators.tracking.heuristics import Fractional

        exponents = {"upc": (0.0, 0.0), "ppc": (1.0, 1.0)}
        return Fractional(*(map(float, match.groups()) if match else exponents[name]))
    if name == "opc_paper":
        from isac_torch.allocators.tracking.drop_by_drop import PaperOpc

        return PaperOpc()
    if name == "opc_global":
        from isac_torch.allocators.tracking.drop_by_drop import GlobalOptimal

        return GlobalOptimal()
    if name == "opc_batched":
        from isac_torch.allocators.tracking.batched import BatchedOptimal

        return BatchedOptimal()
    if name in ("opc_clarabel", "opc_moreau"):
        from isac_torch.allocators.tracking.conic import ConicOptimal

        return ConicOptimal("clarabel" if name == "opc_clarabel" else "moreau")
    if name == "first_order":
        from isac_torch.allocators.tracking.learned import FirstOrder

        return FirstOrder()
    if name in LEARNED:
        return _learned(name, checkpoint)
    raise AllocationError(f"allocator {name!r} is unknown; choose among {KNOWN}")


def weights_file(name: str, checkpoint: str | Path | None) -> Path:
    """The file of the weights behind `name`, one of `LEARNED`: `checkpoint`, or those shipped with the package."""
    return shipped_weights() if checkpoint is None or name == "gnn_shipped" else Path(checkpoint)


def _learned(name: str, checkpoint: str | Path | None) -> Allocator[MaxMinSinrProblem]:
    from isac_torch.allocators.tracking.learned import LearnedAllocator
    from isac_torch.allocators.tracking.refined import Refined, Repaired

    network = LearnedAllocator.load(weights_file(name, checkpoint))
    if name == "gnn_repaired":
        return Repaired(network)
    return Refined(network) if name == "gnn_refined" else network
