"""Roles that a search found, kept on disk: an interrupted evaluation goes on, and a second one does not search again."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from isac_torch.errors import NpzError
from isac_torch.evaluation.optimum import checksum
from isac_torch.files import written_whole
from isac_torch.npz import read_npz
from isac_torch.roles.links import places
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
        path = folder / f"roles-{checksum(some, (policy, policy.weights, scenario))}.npz"
        known = _read(path, some, policy, scenario)
        if known is None:
            found = policy.choose(some, scenario)
            known = {"receive": found.receive, "factor": found.factor}
            known |= {} if found.drop.serves is None else {"serves": found.drop.serves}
            folder.mkdir(parents=True, exist_ok=True)
            arrays: dict[str, Any] = {name: value.numpy() for name, value in known.items()}
            with written_whole(path) as partial:
                np.savez(partial, **arrays)
        parts.append(policy.held(some, scenario, **known))
    networks, problems = zip(*parts, strict=True)
    return cat_tensors(networks), cat_tensors(problems)


def _read(path: Path, drop: TrackingDrop, policy: RolePolicy, scenario: TrackingScenario) -> dict[str, Tensor] | None:
    """Receive APs, factors asked of the targets and links that may be used; None where the file is missing or damaged."""
    most = policy.most_serving_aps
    names = ["receive", "factor"] if most is None else ["receive", "factor", "serves"]
    links = (*drop.serving_ap.shape[:2], places(drop, most or 0))
    try:
        arrays = read_npz(path, 16 * (drop.rx_position.numel() + drop.target_position.numel() + prod(links)) + 2**14)
        known = {name: torch.from_numpy(arrays[name].copy()) for name in names}
    except (FileNotFoundError, NpzError, KeyError, TypeError):
        return None
    shapes = {"receive": drop.rx_position.shape[:2], "factor": drop.target_position.shape[:2], "serves": links}
    whole = {"receive": torch.int64, "factor": torch.float64, "serves": torch.float64}
    if any(value.shape != shapes[name] or value.dtype != whole[name] for name, value in known.items()):
        return None
    receive, factor, serves = known["receive"], known["factor"], known.get("serves")
    usable = bool(((receive >= 0) & (receive < scenario.num_aps)).all())
    usable &= bool(((factor >= 1.0) & factor.isfinite()).all())
    if serves is not None:
        usual = drop.serving_ap[0].numel()
        usable &= bool(((serves == 0.0) | (serves == 1.0)).all() & (serves.sum((1, 2)) == usual).all() & serves.any(-1).all())
    return known if usable else None
