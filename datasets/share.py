"""How several training processes share the drops: every step's drops are dealt out, nobody sees those of another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor


@dataclass(frozen=True)
class Share:
    """One process of several.

    Attributes:
        rank: its number, from 0.
        processes: how many there are.
    """

    rank: int = 0
    processes: int = 1

    def deal(self, index: Int[Tensor, " drop"]) -> Int[Tensor, " mine"]:
        """This process' part of `index`, never empty: where there are fewer drops than processes, some get the last one too."""
        mine = index[self.rank :: self.processes]
        return mine if mine.numel() else index[-1:]


ALL = Share()
"""A process that has everything to itself."""
