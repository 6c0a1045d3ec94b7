"""How much memory allocating a network takes at its peak, known before any of it is taken.

The table lists every array whose size grows with a product of the network's sizes, as the code allocates it, and how many of
its kind are held at the same time at most. Tests hold it against measured peaks over networks of extreme shapes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from isac_torch.deployment.downlink_pilots.snapshot import RoadSnapshot
from isac_torch.deployment.radar_fields import scan_cells
from isac_torch.deployment.snapshot import Snapshot
from isac_torch.tracking.requirement import PLAIN

_BASE = 2 * 2**20
"""Bytes of what does not grow."""
_REAL = 8
"""Bytes of a number."""


@dataclass(frozen=True)
class Sizes:
    """Numbers that decide the shapes of all arrays.

    Attributes:
        ues, targets, aps, receivers, antennas: of the network; antennas of each AP, aps that transmit.
        serving, sensing, listening: APs of each UE, and transmit and receive APs of each target.
        radar: whether the requirement needs the clutter's filter.
        cells: of the scan grid.
    """

    ues: int
    targets: int
    aps: int
    receivers: int
    antennas: int
    serving: int
    sensing: int
    listening: int
    radar: bool = False
    cells: int = 0

    @classmethod
    def of(cls, snapshot: Snapshot) -> Sizes:
        """Of a snapshot whose sets may still be left out."""
        given = snapshot.receive_selection == "given"
        aps, receivers = snapshot.num_aps, len(snapshot.rx_position) if given else snapshot.listeners

        def width(name: str, asked: int, most: int) -> int:
            given = getattr(snapshot, name)
            return min(asked, most) if given is None else given.shape[1]

        return cls(
            ues=snapshot.num_ues,
            targets=snapshot.num_targets,
            aps=aps,
            receivers=receivers,
            antennas=snapshot.num_antennas,
            serving=width("serving_ap", snapshot.serving_aps, aps),
            sensing=width("sensing_ap", snapshot.sensing_aps, aps),
            listening=width("listening_ap", snapshot.listening_aps, receivers),
            radar=snapshot.requirement.kind not in PLAIN,
            cells=scan_cells(snapshot),
        )


def arrays_of(sizes: Sizes) -> dict[str, tuple[tuple[int, ...], float]]:
    """Shape of each kind of array, and how many of it (in numbers of eight bytes) are held at the same time at most."""
    links = sizes.ues * sizes.serving + sizes.targets * sizes.sensing
    nodes, lags = sizes.ues + sizes.targets, 2 * sizes.antennas - 1
    plain = {
        "lags of every AP and node": ((sizes.aps, nodes, lags), 3.0),
        "the same at the links": ((links, nodes, lags), 1.1),
        "covariances of estimates": ((sizes.ues, sizes.serving, sizes.antennas, sizes.antennas), 14.0),
        "covariances of beams at targets": ((sizes.targets, sizes.sensing, lags), 8.0),
        "gains of links at nodes": ((nodes, links), 10.0),
        "links of every AP": ((sizes.aps, links), 3.0),
        "owners among themselves": ((nodes, nodes), 12.0),
        "angles and distances": ((sizes.aps + sizes.receivers, nodes), 16.0),
        "echoes between targets": ((sizes.targets, sizes.targets + sizes.listening), 8.0),
        "one number a link": ((links,), 100.0),
    }
    return plain | _radar_arrays(sizes, links) if sizes.radar else plain


def _radar_arrays(sizes: Sizes, links: int) -> dict[str, tuple[tuple[int, ...], float]]:
    """The same of what only requirements other than `sir` and `none` take; a sight is a point and a receive AP."""
    sights = max(sizes.cells * min(sizes.listening, sizes.receivers), sizes.targets * sizes.receivers)
    square, sent = (sizes.antennas, sizes.antennas), sizes.ues * sizes.serving
    rows = sizes.ues + sizes.cells + 2 * sizes.targets + sizes.aps
    return {
        "filters": ((sizes.receivers, sizes.aps, *square), 20.0),
        "clutter of every stream": ((sizes.receivers, sent, *square), 14.0),
        "weights of links at receive APs": ((sizes.receivers * (sizes.aps + 4), links), 4.0),
        "filters at sights": ((sights, sizes.aps, *square), 6.0),
        "responses at sights": ((sights, links, sizes.antennas), 14.0),
        "energies at sights": ((sights, links), 14.0),
        "echoes that land on others": ((sizes.targets, sizes.targets, sizes.receivers, sizes.aps + links), 8.0),
        "streams in echoes": ((sizes.targets, sizes.receivers, sizes.aps, sizes.ues), 5.0),
        "laws of the test": ((sizes.targets, sizes.receivers, sizes.aps, sizes.aps + 53), 14.0),
        "constraints": ((rows, links), 14.0),
        "constraints among themselves": ((rows, rows), 8.0),
    }


def memory_of(snapshot: Snapshot | RoadSnapshot) -> float:
    """Bytes that allocating one network takes at its peak, at most.

    Example:
        >>> from isac_torch.deployment.schema import EXAMPLE
        >>> memory_of(Snapshot.from_mapping(EXAMPLE)) < 3 * 2**20
        True
    """
    if isinstance(snapshot, RoadSnapshot):
        return snapshot.memory
    table = arrays_of(Sizes.of(snapshot))
    return _BASE + _REAL * sum(math.prod(shape) * count for shape, count in table.values())
