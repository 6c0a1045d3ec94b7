"""The detection phase: one cell is searched in each sensing region at a time. Section "Detection phase" of docs/sensing.md."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.tensors import map_tensors
from isac_torch.tracking.drop import TrackingDrop, sample_drops

if TYPE_CHECKING:
    from isac_torch.tracking.scenario import TrackingScenario
    from isac_torch.tracking.setup import SensingSetup


@dataclass(frozen=True)
class CellDrop:
    """Networks that search cells.

    Attributes:
        scenario: whose targets are the cells; beams have no angle errors.
        drop: beams, sensing and listening APs are those of the cell centres, which stand in `target_position`.
        target_position: where the targets really are within their cells, m.
    """

    scenario: TrackingScenario
    drop: TrackingDrop
    target_position: Float[Tensor, "drop target 3"]

    @property
    def truth(self) -> TrackingDrop:
        """The same networks with the targets where they really are: what echoes and metrics see."""
        return replace(self.drop, target_position=self.target_position)


def sample_cells(scenario: TrackingScenario, setup: SensingSetup, num_drops: int, *, generator: torch.Generator) -> CellDrop:
    """Random networks with a random cell in each region and a random target in each cell.

    The square is cut into `num_regions` equal squares; a cell's centre is uniform in its region and between the target heights,
    a target is uniform in its cube. The network itself does not depend on the number of regions.
    """
    per_side = round(setup.num_regions**0.5)
    cells_seed = int(torch.randint(2**31, (1,), generator=generator, device=generator.device))
    own = torch.Generator(generator.device).manual_seed(cells_seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(num_drops, setup.num_regions, *shape, generator=own, dtype=torch.float64, device=own.device)

    corner = torch.cartesian_prod(torch.arange(per_side), torch.arange(per_side)).to(generator.device)
    ground = (corner.reshape(-1, 2) + uniform(2)) * (scenario.side / per_side)
    height = scenario.target_height_min + (scenario.target_height_max - scenario.target_height_min) * uniform(1)
    centre = torch.cat([ground, height], dim=-1)
    target = centre + setup.cell_size * (uniform(3) - 0.5)
    searching = replace(scenario, num_targets=setup.num_regions, angle_error=0.0, receive_assignment="nearest")
    return CellDrop(searching, sample_drops(searching, num_drops, generator, centre), target)


def one_at_a_time(cells: CellDrop) -> CellDrop:
    """The same cells in turn, every transmit AP illuminating and every receive AP listening: a batch of single-cell networks.

    Drops with all their cells become the leading axis, cells of a drop next to each other.
    """
    scenario, drop = cells.scenario, cells.drop
    count = drop.target_position.shape[1]
    single = replace(scenario, num_targets=1, sensing_aps=scenario.transmit_aps, listening_aps=scenario.receive_aps)
    repeated = map_tensors(drop, lambda t: t.repeat_interleave(count, dim=0))
    batch, device = repeated.num_drops, drop.pilot.device
    alone = replace(
        repeated,
        target_position=drop.target_position.flatten(0, 1).unsqueeze(1),
        sensing_ap=torch.arange(scenario.transmit_aps, device=device).expand(batch, 1, -1),
        listening_ap=torch.arange(scenario.receive_aps, device=device).expand(batch, 1, -1),
    )
    return CellDrop(single, alone, cells.target_position.flatten(0, 1).unsqueeze(1))
