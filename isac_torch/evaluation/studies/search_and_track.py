"""Search and tracking in one slot: beams at a cell that may hold a new target, beside those at the tracked ones.

Every AP that illuminates the cell spends a share of its budget on the beam that searches; an allocator divides what is left
among UEs and tracked targets, and knows the interference of the search at the UEs. One joint test, eq. (42) of docs/sensing.md,
looks for the new target and for each tracked one in the same samples.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.allocation import Status, allocate
from isac_torch.sensing.clutter import WHITE
from isac_torch.sensing.conditions import Pointing
from isac_torch.sensing.glrt import Glrt
from isac_torch.sensing.quality import assess
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.communication import rate
from isac_torch.tracking.drop import TrackingDrop, sample_drops
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.requirements import require

if TYPE_CHECKING:
    from isac_torch.allocation import Allocator
    from isac_torch.tracking.problem import MaxMinSinrProblem
    from isac_torch.tracking.scenario import TrackingScenario


@dataclass(frozen=True)
class Slot:
    """Networks with tracked targets and one cell that is searched, which stands last among the targets.

    Attributes:
        scenario: of the tracked targets.
        both: the networks; beams point at the tracked targets and at the centre of the cell.
        truth: the same with the new target where it is within its cell.
    """

    scenario: TrackingScenario
    both: TrackingDrop
    truth: TrackingDrop

    @property
    def everyone(self) -> TrackingScenario:
        """The scenario with the searched cell among its targets, without sensing constraint."""
        return replace(self.scenario, num_targets=self.scenario.num_targets + 1, requirement=Requirement("none"))

    @property
    def tracked(self) -> TrackingDrop:
        """The networks without the cell."""
        drop = self.both
        return replace(
            drop,
            target_position=drop.target_position[:, :-1],
            sensing_ap=drop.sensing_ap[:, :-1],
            listening_ap=drop.listening_ap[:, :-1],
        )


@dataclass(frozen=True)
class Outcome:
    """What a slot gives.

    Attributes:
        detection: probability of detecting the new target, averaged over the blocks.
        kept: the same of the tracked targets.
        error: bound of each tracked target's horizontal position error, eq. (67), m.
        rate: of every UE, bit/s.
        met: whether the sensing constraints of the tracked targets are met.
    """

    detection: Float[Tensor, " drop"]
    kept: Float[Tensor, "drop target"]
    error: Float[Tensor, "drop target"]
    rate: Float[Tensor, "drop ue"]
    met: Float[Tensor, " drop"]


def sample_slots(scenario: TrackingScenario, num_drops: int, seed: int) -> Slot:
    """Random networks; the cell lies anywhere, as a target does, and the new target anywhere in the cell."""
    everyone = replace(scenario, num_targets=scenario.num_targets + 1)
    both = sample_drops(everyone, num_drops, torch.Generator().manual_seed(seed))
    shift = torch.rand(num_drops, 3, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64) - 0.5
    place = both.target_position.clone()
    place[:, -1] += scenario.sensing.cell_size * shift
    return Slot(scenario, both, replace(both, target_position=place))


def slot_power(
    slot: Slot, whole: MaxMinSinrProblem, allocator: Allocator[MaxMinSinrProblem], share: float
) -> tuple[Float[Tensor, "drop link"], Float[Tensor, " drop"]]:
    """Powers of all links, W, those of the search last, and whether the tracked targets' constraints are met (1 or 0).

    Args: slot; whole, the problem of all links; allocator, of the rest; share of its budget that an AP spends on the search.
    """
    search = slot.both.sensing_ap[:, -1]
    spent = share * whole.budget.gather(1, search)
    left = whole.budget.scatter_add(1, search, -spent)
    problem = power_problem(slot.tracked, slot.scenario, budget=left)
    others = whole.num_links - search.shape[1]
    noise = 1.0 + (whole.leakage[:, :, others:] @ spent.unsqueeze(-1)).squeeze(-1)  # of each UE, over the thermal one
    heard = replace(
        problem,
        signal=problem.signal / noise.sqrt()[..., None],
        leakage=problem.leakage / noise[..., None],
        coherent=problem.coherent / noise.sqrt()[..., None, None],
    )
    found = allocate(heard, allocator)
    return torch.cat([found.power, spent], 1), (found.status != Status.INFEASIBLE).to(spent)


def outcome(slot: Slot, allocator: Allocator[MaxMinSinrProblem], share: float, num_blocks: int, seed: int) -> Outcome:
    """What comes of a slot in which every AP that illuminates the cell spends `share` of its budget on the search."""
    everyone, tracked = slot.everyone, slot.scenario.num_targets
    whole = power_problem(slot.both, everyone)
    power, met = slot_power(slot, whole, allocator, share)
    pointing = Pointing(target_ratios=(1.0,) * tracked + (0.0,))  # the search points at its cell without error
    report = assess(
        slot.both,
        everyone,
        everyone.sensing,
        power,
        Glrt("joint"),
        num_blocks=num_blocks,
        seed=seed,
        truth=slot.truth,
        with_miss=True,
        conditions=(pointing, WHITE),
    )
    located = require(whole, slot.both, replace(everyone, requirement=Requirement("position")), reference=power)
    assert report.miss is not None and located.position is not None  # noqa: S101, PT018 -- both were asked for
    found = 1.0 - report.miss.mean(1)
    return Outcome(
        detection=found[:, -1],
        kept=found[:, :-1],
        error=located.position.error(power)[:, :-1],
        rate=rate(whole.sinr(power), everyone),
        met=met,
    )
