"""How well all APs together can locate each UE from the echoes of its pilots: (P12)-(P15) of docs/downlink_pilots.md."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

from jaxtyping import Float

from isac_torch.propagation.path_loss import bistatic_gain
from isac_torch.tensors import Array, namespace
from isac_torch.units import SPEED_OF_LIGHT

if TYPE_CHECKING:
    from isac_torch.downlink_pilots.drop import DownlinkPilotDrop
    from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario


@dataclass(frozen=True)
class FisherGain(Generic[Array]):
    """Fisher information about UE k's position that a watt of pilot power from AP m to it brings, 1/(m2 W).

    Attributes:
        xx: about x twice (r_a times the pilot's symbols).
        yy: about y twice (r_b).
        xy: about x and y (r_c).
    """

    xx: Float[Array, "drop ue ap"]
    yy: Float[Array, "drop ue ap"]
    xy: Float[Array, "drop ue ap"]


def echo_snr(drop: DownlinkPilotDrop[Array], scenario: DownlinkPilotScenario) -> Float[Array, "drop ue tx rx"]:
    """SNR per W of pilot power of the whole downlink pilot's echo: AP tx to UE to AP rx, 1/W, eq. (P12).

    0 where AP rx does not receive (`receives` of the drop).
    """
    xp = namespace(drop.gain)
    distance = xp.linalg.vector_norm(drop.ue_position[:, :, None] - drop.ap_position[:, None], axis=-1)
    there, back = xp.broadcast_arrays(distance[..., :, None], distance[..., None, :])
    gain = bistatic_gain(there, back, scenario.carrier_frequency)
    section = scenario.cross_section if drop.path_cross_section is None else drop.path_cross_section
    heard = 1.0 if drop.receives is None else drop.receives[:, None, None]
    return scenario.downlink_symbols * section * heard * gain / scenario.noise_power


def fisher_gain(drop: DownlinkPilotDrop[Array], scenario: DownlinkPilotScenario) -> FisherGain[Array]:
    """Fisher information per W of every link, summed over the receiving APs, eqs. (P13)-(P14)."""
    xp = namespace(drop.gain)
    vector = drop.ap_position[:, None] - drop.ue_position[:, :, None]
    unit = vector / xp.linalg.vector_norm(vector, axis=-1, keepdims=True)
    slope = unit[..., :, None, :] + unit[..., None, :, :]  # of the path's length, negated: tx, then rx
    accuracy = 8.0 * math.pi**2 * scenario.rms_bandwidth**2 / SPEED_OF_LIGHT**2 * echo_snr(drop, scenario)
    x, y = slope[..., 0], slope[..., 1]
    return FisherGain(xp.sum(accuracy * x * x, axis=-1), xp.sum(accuracy * y * y, axis=-1), xp.sum(accuracy * x * y, axis=-1))


def error_covariance(
    drop: DownlinkPilotDrop[Array], scenario: DownlinkPilotScenario, power: Float[Array, "drop link"], frames: int = 1
) -> Float[Array, "drop ue 2 2"]:
    """Least covariance (m2) of unbiased positions, the inverse of (P13); `power` in W, pilots of `frames` frames added up."""
    xp = namespace(power)
    gain, per_ue = fisher_gain(drop, scenario), xp.reshape(power, (-1, scenario.num_ues, scenario.num_aps))
    xx, yy, xy = (frames * xp.sum(term * per_ue, axis=-1) for term in (gain.xx, gain.yy, gain.xy))
    return xp.linalg.inv(xp.stack([xp.stack([xx, xy], axis=-1), xp.stack([xy, yy], axis=-1)], axis=-2))
