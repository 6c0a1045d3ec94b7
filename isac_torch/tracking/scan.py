"""Sensing constraints on a scan grid: targets that are not tracked yet must stay detectable. Eq. (71) of docs/sensing.md.

    E_c^T p >= factor E_c^T u        for every cell c of a horizontal grid at one height

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
    from isac_torch.tracking.physics import RadarPhysics
    from isac_torch.tracking.whitening import Beams, Whitening


def scan_grid(scenario: RadarPhysics, like: Array) -> Float[Array, "cell 3"]:
    """Centres (m) of the cells, about `requirement.cell` apart over the whole area, in an array of the kind of `like`."""
    west, south, east, north = scenario.scanned_area
    across, along = (_centres(*ends, scenario.requirement.cell) for ends in ((west, east), (south, north)))
    return constant([(x, y, scenario.scan_height) for x in across for y in along], like)


def cell_count(begin: float, end: float, cell: float) -> int:
    """Equal parts of an interval, about `cell` long each, one at least; all in m."""
    return max(1, round((end - begin) / cell))


def _centres(begin: float, end: float, cell: float) -> list[float]:
    count = cell_count(begin, end, cell)
    return [begin + (index + 0.5) * (end - begin) / count for index in range(count)]


def scan_echoes(
    drop: TrackingDrop[Array], scenario: RadarPhysics, beams: Beams[Array], seen: Whitening[Array]
) -> Float[Array, "drop cell link"]:
    """E of every cell, per W of each link, over the noise, 1/W."""
    xp = namespace(beams.power)
    grid: Array = scan_grid(scenario, beams.power)
    cells = xp.broadcast_to(grid, (beams.power.shape[0], *grid.shape))
    listening = closest(distance(cells, drop.rx_position), min(scenario.listening_aps, drop.rx_position.shape[1]))
    points = seen_points(drop, scenario, scenario.sensing, cells, listening)
    return echo_rates(points, beams, seen).sum(2)
