"""Which APs listen where a site or a snapshot leaves that open: the rules of the scenario, without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from isac_torch.deployment.snapshot import NO_PATH_GAIN, Snapshot
from isac_torch.deployment.snapshot_fields import SHAPES
from isac_torch.errors import GeometryError
from isac_torch.propagation.geometry import distance
from isac_torch.propagation.path_loss import umi_nlos_gain
from isac_torch.tracking.roles import RULES, by_rule, farthest_point

if TYPE_CHECKING:
    from collections.abc import Callable

    from isac_torch.deployment.geometry import Geometry

_PER_AP = tuple(name for name, axes in SHAPES.items() if "ap" in axes)
"""Fields of a snapshot that have an entry for each transmit AP."""


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
    chosen = _chosen(
        roles.receive_selection, listen, network.ap_position, network.target_position, serving_aps, roles.receive_reach,
        lambda: umi_nlos_gain(distance(network.ue_position, network.ap_position), carrier_frequency) if gain is None else gain,
    )  # fmt: skip
    return np.isin(np.arange(count), chosen)


def chosen_receivers(snapshot: Snapshot) -> Int[np.ndarray, " rx"]:
    """APs of tx_position that listen in an open snapshot, in ascending order; none where the roles are given."""
    if snapshot.receive_selection == "given":
        return np.zeros(0, dtype=np.int64)
    found = _chosen(
        snapshot.receive_selection, snapshot.listeners, snapshot.tx_position, snapshot.target_position,
        snapshot.serving_aps, snapshot.receive_reach, lambda: known_gain(snapshot),
    )  # fmt: skip
    return np.sort(found)


def with_given_roles(snapshot: Snapshot) -> Snapshot:
    """The same network where the APs that the rule chooses are those of rx_position; itself where roles are given."""
    if snapshot.receive_selection == "given":
        return snapshot
    listens = chosen_receivers(snapshot)
    kept = {name: value for name in _PER_AP if (value := getattr(snapshot, name)) is not None}
    along = {name: SHAPES[name].index("ap") for name in kept}
    sent = {name: np.delete(value, listens, axis=along[name]) for name, value in kept.items()}
    turned = snapshot.tx_orientation[listens]
    return replace(
        snapshot, **sent, rx_position=snapshot.tx_position[listens], rx_orientation=turned, receive_selection="given"
    )


def known_gain(snapshot: Snapshot) -> Float[np.ndarray, "ue ap"]:
    """Large-scale gains of a snapshot, linear: those given, else the path-loss model."""
    if snapshot.ue_gain is not None or snapshot.ue_position is None:  # `check` has asked for one of the two
        return np.asarray(snapshot.ue_gain)
    return umi_nlos_gain(distance(snapshot.ue_position, snapshot.tx_position), snapshot.carrier_frequency)


def _chosen(
    rule: str,
    listen: int,
    position: Float[np.ndarray, "ap 3"],
    targets: Float[np.ndarray, "target 3"],
    serving_aps: int,
    reach: float | None,
    gain: Callable[[], Float[np.ndarray, "ue ap"]],
) -> Int[np.ndarray, " rx"]:
    """The shared rules for one network; they are annotated for tensors, take arrays as well, and want a batch."""
    batch: Any = position[None]
    middle: Any = position.mean(0)
    spread: Any = farthest_point(batch, middle, listen)
    known = gain()
    if rule == RULES[0] or not len(known):
        return np.asarray(spread[0])
    heard: Any = np.maximum(known, NO_PATH_GAIN)[None]
    gap: Any = distance(targets[None], batch)
    found: Any = by_rule(rule, spread, gap, heard, min(serving_aps, len(position) - listen), reach)
    return np.asarray(found[0])
