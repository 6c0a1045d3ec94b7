"""Which APs of an imported site listen, where its file leaves that open: the rules of the scenario, without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

from isac_torch.deployment.snapshot import NO_PATH_GAIN, Snapshot
from isac_torch.errors import GeometryError
from isac_torch.propagation.geometry import distance
from isac_torch.propagation.path_loss import umi_nlos_gain
from isac_torch.tracking.roles import RULES, by_rule, farthest_point

if TYPE_CHECKING:
    from isac_torch.deployment.geometry import Geometry


@dataclass(frozen=True)
class OpenRoles:
    """How roles that a file leaves open (APs of kind `ap`) are given out; the rules and their words are those of the scenario.

    Attributes:
        receive_selection: `farthest_point`, `nearest_to_target`, `least_used` or `weakest_ue`; docs/roles.md.
        num_receive_aps: APs that listen; default a quarter, at least one.
        receive_reach: `weakest_ue` lets no target be farther from its nearest receive AP than this times the distance under
            `farthest_point`; None: any distance.
    """

    receive_selection: str = RULES[0]
    num_receive_aps: int | None = None
    receive_reach: float | None = 1.0

    def __post_init__(self) -> None:
        """Refuse, in one line each, what is no rule or no number."""
        if self.receive_selection not in RULES:
            raise GeometryError(f"receive_selection={self.receive_selection!r} must be one of {', '.join(RULES)}")
        if self.receive_reach is not None and not 0.0 < self.receive_reach < math.inf:
            raise GeometryError(f"receive_reach={self.receive_reach} must be a positive number; leave it out for 1")


def receive_mask(
    network: Geometry,
    roles: OpenRoles,
    gain: Float[np.ndarray, "ue allap"] | None = None,
    *,
    carrier_frequency: float = Snapshot.carrier_frequency,
    serving_aps: int = Snapshot.serving_aps,
) -> Bool[np.ndarray, " allap"]:
    """Which APs listen: those of kind `rx`; by the rule where the network leaves the roles open (`ap`).

    Args:
        network: its positions.
        roles: rule and number.
        gain: large-scale gains, linear, of every UE and AP; default the path-loss model.
        carrier_frequency: of that model, Hz.
        serving_aps: transmit APs that serve each UE.

    Raises:
        GeometryError: some roles are open and others not, or nobody would listen or transmit.
    """
    kinds = np.array(network.ap_kind)
    count = len(kinds)
    if not (kinds == "ap").any():
        return kinds == "rx"
    if (kinds != "ap").any():
        raise GeometryError("some APs are of kind ap, others tx or rx; say tx or rx of all of them, or ap of all")
    if count < 2:
        raise GeometryError(f"{count} AP of kind ap: one must transmit and one listen; give two, or call it tx")
    listen = max(1, round(count / 4)) if roles.num_receive_aps is None else roles.num_receive_aps
    if not 1 <= listen < count:
        raise GeometryError(f"num_receive_aps={listen} of {count} APs: let at least one listen and one transmit")
    # The shared rules are annotated for tensors and take arrays as well; they want a batch.
    position: Any = network.ap_position[None]
    middle: Any = network.ap_position.mean(0)
    chosen: Any = farthest_point(position, middle, listen)
    if len(network.ue_position):
        known = umi_nlos_gain(distance(network.ue_position, network.ap_position), carrier_frequency) if gain is None else gain
        heard: Any = np.maximum(known, NO_PATH_GAIN)[None]
        gap: Any = distance(network.target_position[None], position)
        serving = min(serving_aps, count - listen)
        chosen = by_rule(roles.receive_selection, chosen, gap, heard, serving, roles.receive_reach)
    return np.isin(np.arange(count), chosen[0])
