"""A large network with everything filled in that a snapshot may leave out."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from isac_torch.deployment.snapshot import Snapshot
from isac_torch.errors import DropError
from isac_torch.large.sets import local_pilots
from isac_torch.tracking.requirement import PLAIN
from isac_torch.tracking.scenario import TrackingScenario

MOST_PILOTS = 1000
"""More orthogonal pilots than this are a slip: a network that large has to share them."""


@dataclass(frozen=True, eq=False)
class LargeNetwork:
    """The fields of `Snapshot`, in its units, all known but for sets that neighbourhoods decide."""

    tx_position: Float[ndarray, "ap 3"]
    tx_orientation: Float[ndarray, " ap"]
    rx_position: Float[ndarray, "rx 3"]
    ue_position: Float[ndarray, "ue 3"]
    target_position: Float[ndarray, "target 3"]
    pilot: Int[ndarray, " ue"]
    pilot_power: Float[ndarray, " ue"]
    ap_power: Float[ndarray, " ap"]
    serving_ap: Int[ndarray, "ue serving"] | None
    sensing_ap: Int[ndarray, "target sensing"] | None
    listening_ap: Int[ndarray, "target listening"] | None
    pilot_symbols: int
    num_antennas: int
    carrier_frequency: float
    noise_power: float
    azimuth_spread_deg: float
    angle_error: float
    echo_gain: Literal["radar", "product"]
    sir_min: float
    serving_aps: int
    sensing_aps: int
    listening_aps: int

    @classmethod
    def of(cls, snapshot: Snapshot) -> LargeNetwork:
        """The checked network of a snapshot. Raises DropError for what neighbourhoods cannot be made of."""
        snapshot.check()
        if snapshot.requirement.kind not in PLAIN:
            raise DropError(
                f"requirement.kind={snapshot.requirement.kind!r} is not for large networks; ask for 'sir' or 'none', or take "
                "isac_torch.DeployedAllocator"
            )
        if snapshot.receive_selection != "given":
            raise DropError(
                f"receive_selection={snapshot.receive_selection!r} is not for large networks; give rx_position and take 'given'"
            )
        if snapshot.ue_position is None or snapshot.ue_azimuth is not None:
            raise DropError(
                "a large network needs ue_position and finds the angles itself; leave out ue_azimuth and ue_elevation"
            )
        pilots = snapshot.num_ues if snapshot.pilot_symbols is None else int(snapshot.pilot_symbols)
        if pilots > MOST_PILOTS:
            raise DropError(f"{pilots} pilots fit into no coherence block, at most {MOST_PILOTS} do; give pilot_symbols")
        values = {item.name: getattr(snapshot, item.name) for item in fields(cls)} | {"pilot_symbols": pilots}
        if snapshot.pilot is None:
            values["pilot"] = local_pilots(snapshot.ue_position, pilots)
        if snapshot.pilot_power is None:
            values["pilot_power"] = np.full(snapshot.num_ues, TrackingScenario.pilot_power)
        if snapshot.ap_power is None:
            values["ap_power"] = np.full(snapshot.num_aps, TrackingScenario.ap_power)
        return cls(**values)

    @property
    def num_ues(self) -> int:
        """UEs."""
        return len(self.ue_position)

    @property
    def num_aps(self) -> int:
        """Transmit APs."""
        return len(self.tx_position)

    @property
    def num_targets(self) -> int:
        """Tracked targets."""
        return len(self.target_position)
