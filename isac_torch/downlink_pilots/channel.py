"""Uplink estimates that the downlink pilots are beamformed with. Equations (P2)-(P3) of docs/downlink_pilots.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

from jaxtyping import Float

from isac_torch.propagation.pilots import pilot_gram
from isac_torch.tensors import Array, namespace

if TYPE_CHECKING:
    from isac_torch.downlink_pilots.drop import DownlinkPilotDrop
    from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario


@dataclass(frozen=True)
class ChannelStatistics(Generic[Array]):
    """All that power control needs of the channels.

    Attributes:
        gain: beta[k, m] = E|g|^2 of the channel between UE k and AP m.
        estimate: gamma[k, m] = E|g_hat|^2 of its uplink MMSE estimate, at most beta.
        same_pilot: 1 where two UEs send the same uplink pilot, so that an AP's estimates of their channels are parallel.
    """

    gain: Float[Array, "drop ue ap"]
    estimate: Float[Array, "drop ue ap"]
    same_pilot: Float[Array, "drop ue ue"]


def channel_statistics(
    drop: DownlinkPilotDrop[Array], scenario: DownlinkPilotScenario, uplink_symbols: int | None = None
) -> ChannelStatistics[Array]:
    """Estimation statistics of every drop; `uplink_symbols` replaces the length of the uplink pilots, not who shares one."""
    symbols = scenario.uplink_symbols if uplink_symbols is None else uplink_symbols
    energy = symbols * scenario.pilot_power / scenario.noise_power
    same_pilot = namespace(drop.gain).astype(pilot_gram(drop.pilot), drop.gain.dtype)
    heard = energy * (same_pilot @ drop.gain) + 1.0
    return ChannelStatistics(drop.gain, energy * drop.gain * drop.gain / heard, same_pilot)
