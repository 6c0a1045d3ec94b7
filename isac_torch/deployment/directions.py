"""What an exported network reads, from the coefficients of a batch: the layout of `isac_torch.nn.dense` in numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy import ndarray

if TYPE_CHECKING:
    from isac_torch.deployment.statistics import Coefficients

INPUTS = (
    "signal", "leakage", "coherent", "echo", "cross_echo", "sir_min", "budget", "link_ap", "ue_of", "target_of",
)  # fmt: skip
"""Fields of `isac_torch.nn.dense.DenseProblem`, which says what they mean; float32 but for link_ap (int64)."""
OUTPUTS = ("link", "excess", "floor")
"""Logits [drop, link], [drop, UE] and [drop, target] of the balancing layer."""


def network_inputs(problem: Coefficients) -> dict[str, ndarray]:
    """The inputs by name."""
    drops, links, comm = problem.num_drops, problem.num_links, problem.num_comm_links
    ues, targets = problem.num_ues, problem.num_targets
    signal = np.zeros((drops, links), np.float32)
    signal[:, :comm] = problem.signal.reshape(drops, comm)
    coherent = np.zeros((drops, ues, links), np.float32)
    coherent[..., :comm] = problem.coherent.reshape(drops, ues, comm)
    rows = problem.num_rows > 0
    empty = np.zeros((drops, targets, links), np.float32)
    return {
        "signal": signal,
        "leakage": problem.leakage.astype(np.float32),
        "coherent": coherent,
        "echo": problem.echo.astype(np.float32) if rows else empty,
        "cross_echo": problem.cross_echo.astype(np.float32) if rows else empty,
        "sir_min": problem.sir_min.astype(np.float32) if rows else np.ones((drops, targets), np.float32),
        "budget": problem.budget.astype(np.float32),
        "link_ap": np.ascontiguousarray(problem.link_ap, dtype=np.int64),
        "ue_of": _owned(ues, problem.serving, 0, links),
        "target_of": _owned(targets, (links - comm) // max(targets, 1), comm, links),
    }


def _owned(owners: int, each: int, first: int, links: int) -> ndarray:
    """1 where the owner owns the link; owners own `each` links in a row from `first` on."""
    matrix = np.zeros((owners, links), np.float32)
    index = np.arange(owners * each)
    matrix[index // max(each, 1), first + index] = 1.0
    return matrix
