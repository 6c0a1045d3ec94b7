"""A batch's coefficients with owners as rows: what an exported network reads, and what its directions are balanced with.

The layout is that of `isac_torch.nn.tracking.dense`: owners are the UEs, then the targets; links are in the order of their
owners.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from isac_torch.caches import MEBIBYTE, kept

if TYPE_CHECKING:
    from collections.abc import Iterator

    from isac_torch.deployment.statistics import Coefficients

INPUTS = ("signal", "heard", "required", "coherent", "budget", "sent", "owner", "is_ue")
"""Fields of `isac_torch.nn.tracking.dense.DenseProblem`, which says what they mean; all float32."""
OUTPUTS = ["link", "owner_logit", "scale"]
"""Logits [drop, 1, link] and [drop, 1, owner] of the balancing layer, and the owners' scales that it starts from."""
_TINY = 1e-20
_CACHE = 41_000
"""Numbers of a relation between the links and the nodes in a part of a batch."""


@dataclass(frozen=True)
class Owners:
    """Whose the links are; the same for all drops of a size class.

    Attributes:
        ues: how many owners are UEs: the first ones.
        kind: "ue" or "target" of each link.
        index: which UE or target.
        of_link: owner of each link.
        first: first link of each owner.
        owns: 1 where the owner owns the link; float32.
        is_ue: 1 for UEs, 0 for targets.
        ue: the same as truths.
        others: 0 where both are the same target, else 1.
        eye: the unit matrix.
    """

    ues: int
    kind: tuple[str, ...]
    index: Int[ndarray, " link"]
    of_link: Int[ndarray, " link"]
    first: Int[ndarray, " owner"]
    owns: Float[ndarray, "owner link"]
    is_ue: Float[ndarray, " owner"]
    ue: Bool[ndarray, " owner"]
    others: Float[ndarray, "owner owner"]
    eye: Float[ndarray, "owner owner"]


@dataclass(frozen=True)
class OwnedProblem:
    """Coefficients with owners as rows, float64; see `isac_torch.nn.tracking.dense.DenseProblem`.

    Attributes:
        owners: whose the links are.
        signal, heard, required, budget: as there.
        coherent: as there; None where no pilot is shared.
        link_ap: AP of each link.
    """

    owners: Owners
    signal: Float[ndarray, "drop link"]
    heard: Float[ndarray, "drop owner link"]
    required: Float[ndarray, "drop owner link"]
    coherent: Float[ndarray, "drop owner link"] | None
    budget: Float[ndarray, "drop ap"]
    link_ap: Int[ndarray, "drop link"]

    @classmethod
    def of(cls, problem: Coefficients) -> OwnedProblem:
        """The same problems."""
        drops, links, comm, ues = problem.num_drops, problem.num_links, problem.num_comm_links, problem.num_ues
        shape = (drops, ues + problem.num_targets, links)
        signal = np.zeros((drops, links))
        signal[:, :comm] = problem.signal.reshape(drops, comm)
        heard, required = np.zeros(shape), np.zeros(shape)
        heard[:, :ues] = problem.leakage
        if problem.num_constraints:
            size = np.maximum(problem.echo.max(-1, keepdims=True), _TINY)
            np.divide(problem.echo, size, out=heard[:, ues:])
            np.multiply(problem.cross_echo, problem.sir_min[..., None] / size, out=required[:, ues:])
        coherent = None
        if problem.coherent.any():
            coherent = np.zeros(shape)
            coherent[:, :ues, :comm] = problem.coherent.reshape(drops, ues, comm)
        return cls(owners_of(problem), signal, heard, required, coherent, problem.budget, problem.link_ap)

    def network_inputs(self) -> Iterator[dict[str, ndarray]]:
        """What an exported network reads, by name; a batch in parts that stay in the processor's cache."""
        drops, rows, links = self.heard.shape
        size = max(1, _CACHE // ((rows + self.budget.shape[1]) * links))
        for start in range(0, drops, size):
            part = slice(start, start + size)
            heard = self.heard[part].astype(np.float32)
            yield {
                "signal": self.signal[part].astype(np.float32)[:, None],
                "heard": heard,
                "required": self.required[part].astype(np.float32),
                "coherent": np.zeros_like(heard) if self.coherent is None else self.coherent[part].astype(np.float32),
                "budget": self.budget[part].astype(np.float32)[:, None],
                "sent": (self.link_ap[part, None] == np.arange(self.budget.shape[1])[:, None]).astype(np.float32),
                "owner": self.owners.owns,
                "is_ue": self.owners.is_ue.astype(np.float32)[None],
            }


def owners_of(problem: Coefficients) -> Owners:
    """Of the links of a batch."""
    return _owners(problem.num_ues, problem.serving, problem.num_targets, problem.num_links)


@kept(32 * MEBIBYTE)
def _owners(ues: int, serving: int, targets: int, links: int) -> Owners:
    sensing = (links - ues * serving) // max(targets, 1)
    of_link = np.concatenate([np.arange(ues).repeat(serving), ues + np.arange(targets).repeat(sensing)])
    owner = np.arange(ues + targets)
    found = Owners(
        ues=ues,
        kind=tuple("ue" if one < ues else "target" for one in of_link),
        index=np.where(of_link < ues, of_link, of_link - ues),
        of_link=of_link,
        first=np.searchsorted(of_link, owner),
        owns=(owner[:, None] == of_link).astype(np.float32),
        is_ue=(owner < ues).astype(np.float64),
        ue=owner < ues,
        others=1.0 - np.diag((owner >= ues).astype(np.float64)),
        eye=np.eye(len(owner)),
    )
    for value in vars(found).values():
        if isinstance(value, ndarray):
            value.flags.writeable = False
    return found
