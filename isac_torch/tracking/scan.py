"""Sensing constraints on a scan grid: targets that nobody tracks yet must stay detectable. Eq. (71) of docs/sensing.md.

    E_c^T p >= factor E_c^T u        for every cell c of a horizontal grid, at the mean height of the targets

E_c p is the energy of an echo from cell c after the clutter's filter at the receive APs nearest to it; u are the reference
powers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Float

from isac_torch.propagation.geometry import distance
from isac_torch.tensors import Array, constant, namespace
from isac_torch.tracking.association import closest
from isac_torch.tracking.echoes import echo_rates, seen_points

if TYPE_CHECKING:
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.scenario import TrackingScenario
    from isac_torch.tracking.whitening import Beams, Whitening


def scan_grid(scenario: TrackingScenario, like: Array) -> Float[Array, "cell 3"]:
    """Centres (m) of the cells, `requirement.cell` apart over the whole area, in an array of the kind of `like`."""
    count = max(1, round(scenario.side / scenario.requirement.cell))
    step, height = scenario.side / count, 0.5 * (scenario.target_height_min + scenario.target_height_max)
    cells = [((i + 0.5) * step, (j + 0.5) * step, height) for i in range(count) for j in range(count)]
    return constant(cells, like)


def scan_echoes(
    drop: TrackingDrop[Array], scenario: TrackingScenario, beams: Beams[Array], seen: Whitening[Array]
) -> Float[Array, "drop cell link"]:
    """E of every cell, per W of each link, over the noise, 1/W."""
    xp = namespace(beams.power)
    grid: Array = scan_grid(scenario, beams.power)
    cells = xp.broadcast_to(grid, (beams.power.shape[0], *grid.shape))
    listening = closest(distance(cells, drop.rx_position), scenario.listening_aps)
    points = seen_points(drop, scenario, scenario.sensing, cells, listening)
    return echo_rates(points, beams, seen).sum(2)
