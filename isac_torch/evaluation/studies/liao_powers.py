"""Powers of the schemes of Liao et al., kept chunk by chunk, so that a run that was interrupted goes on where it stopped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.allocation import Status, allocate
from isac_torch.allocators.downlink_pilots.batched import BatchedMinMaxNmse
from isac_torch.allocators.downlink_pilots.classical import PaperSca, second_stage
from isac_torch.errors import NpzError
from isac_torch.files import written_whole
from isac_torch.npz import read_npz

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from isac_torch.downlink_pilots.drop import DownlinkPilotDrop
    from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
    from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario

CHUNK = 25
"""Drops that are drawn together: results depend on the seed and on this, not on the number of workers."""
GAP = 1e-3
CERTIFIED_UES = 2
"""Up to so many UEs `ours` is certified; with six contaminated ones the search seldom ends (docs/downlink_pilots.md)."""
_MAX_BYTES = 2**24


@dataclass(frozen=True)
class Chunk:
    """Drops that are drawn together.

    Attributes:
        scenario: the road.
        count: drops.
        seed: of the study, and the chunk's number in it.
        folder: where powers are kept; None keeps none.
    """

    scenario: DownlinkPilotScenario
    count: int
    seed: tuple[int, int]
    folder: Path | None = None

    def drops(self) -> DownlinkPilotDrop:
        """The roads: the same positions at every point of a study."""
        generator = torch.Generator().manual_seed(1_000_003 * self.seed[0] + self.seed[1])
        return self.scenario.sample(self.count, generator=generator)

    def _kept(self, name: str, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Arrays of one kind, read where they are kept, else computed and kept. A damaged file counts as none."""
        if self.folder is None:
            return compute()
        road = f"{self.scenario.name}_frame{self.scenario.frame_symbols}"
        path = self.folder / f"{name}_{road}_seed{self.seed[0]}_{self.seed[1]}x{self.count}.npz"
        links = self.scenario.num_ues * self.scenario.num_aps
        try:
            arrays = read_npz(path, _MAX_BYTES)
            if all(array.shape in ((self.count,), (self.count, links)) for array in arrays.values()):
                return {key: torch.from_numpy(array.copy()) for key, array in arrays.items()}
        except (FileNotFoundError, NpzError):
            pass
        answer = compute()
        with written_whole(path) as partial, partial.open("wb") as file:
            arrays = {key: value.numpy() for key, value in answer.items()}
            np.savez(file, **arrays)  # type: ignore[arg-type]  # it takes arrays by any name
        return answer

    def sca(self, problem: MinMaxNmseProblem, eps: float, reopened: int = 0) -> Float[Tensor, "drop link"]:
        """Powers (W) of the paper's Algorithm 1 with the tolerance `eps`; its bracket is opened again for `reopened` passes."""
        algorithm = PaperSca(eps, passes=reopened, reset=True) if reopened else PaperSca(eps)
        name = f"sca{eps:g}" + (f"_reopened{reopened}" if reopened else "")
        return self._kept(name, lambda: {"power": allocate(problem, algorithm).power})["power"]

    def ours(self, problem: MinMaxNmseProblem) -> dict[str, Tensor]:
        """`power` (W) of the certified optimum, and which drops are proven `infeasible` and `certified` to GAP."""

        def compute() -> dict[str, Tensor]:
            boxes = BatchedMinMaxNmse.max_boxes if self.scenario.num_ues <= CERTIFIED_UES else 0
            answer = allocate(problem, BatchedMinMaxNmse(gap=GAP, max_boxes=boxes))
            flags = {"infeasible": answer.status == Status.INFEASIBLE, "certified": answer.status == Status.OPTIMAL}
            return {"power": answer.power} | {name: flag.double() for name, flag in flags.items()}

        return self._kept("ours", compute)

    def saving(self, problem: MinMaxNmseProblem, power: Float[Tensor, "drop link"]) -> dict[str, Float[Tensor, "drop link"]]:
        """Least powers (W) at 5 % above the NMSE of `power` (W, the optimum) and at the NMSE of full power."""
        return self._kept(
            "saving",
            lambda: {
                "ours_slack_5": second_stage(problem, power, slack=0.05),
                "ours_as_full": second_stage(problem, power, keep="full"),
            },
        )
