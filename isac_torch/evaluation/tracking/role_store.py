"""Roles that a search found, kept on disk: an interrupted evaluation goes on, and a second one does not search again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from isac_torch.errors import NpzError
from isac_torch.evaluation.optimum import checksum
from isac_torch.files import written_whole
from isac_torch.npz import read_npz
from isac_torch.tensors import cat_tensors

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from isac_torch.roles.policies import RolePolicy
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.problem import MaxMinSinrProblem
    from isac_torch.tracking.scenario import TrackingScenario

TOGETHER = 10
"""Drops searched, and kept in one file, together."""


def chosen_roles(
    policy: RolePolicy, drop: TrackingDrop, scenario: TrackingScenario, folder: Path
) -> tuple[TrackingDrop, MaxMinSinrProblem]:
    """The networks with the roles that `policy` chooses, and their problems.

    Args:
        policy: who chooses.
        drop: networks with the default roles.
        scenario: theirs.
        folder: keeps what was found, in files named by a checksum of everything that decides it; deleting it is always safe.
    """
    from tqdm import tqdm

    parts = []
    pieces = torch.arange(drop.num_drops).split(TOGETHER)
    for piece in tqdm(pieces, desc=f"roles of {policy.name}", unit="batch", leave=False):
        some = drop.select(piece)
        path = folder / f"roles-{checksum(some, (policy, scenario))}.npz"
        known = _read(path, some)
        if known is None:
            found = policy.choose(some, scenario)
            known = found.receive, found.factor
            folder.mkdir(parents=True, exist_ok=True)
            with written_whole(path) as partial:
                np.savez(partial, receive=found.receive.numpy(), factor=found.factor.numpy())
        parts.append(policy.held(some, scenario, *known))
    networks, problems = zip(*parts, strict=True)
    return cat_tensors(networks), cat_tensors(problems)


def _read(path: Path, drop: TrackingDrop) -> tuple[Tensor, Tensor] | None:
    """Receive APs and the factors asked of the targets; None where the file is missing or damaged."""
    try:
        arrays = read_npz(path, 16 * (drop.rx_position.numel() + drop.target_position.numel()) + 2**14)
        receive, factor = (torch.from_numpy(arrays[name].copy()) for name in ("receive", "factor"))
    except (FileNotFoundError, NpzError, KeyError, TypeError):
        return None
    listening, num_aps = drop.rx_position.shape[1], drop.tx_position.shape[1] + drop.rx_position.shape[1]
    if receive.shape != (drop.num_drops, listening) or factor.shape != drop.target_position.shape[:2]:
        return None
    typed = receive.dtype == torch.int64 and factor.dtype == torch.float64
    usable = typed and bool(((receive >= 0) & (receive < num_aps)).all()) and bool(((factor >= 1.0) & factor.isfinite()).all())
    return (receive, factor) if usable else None
