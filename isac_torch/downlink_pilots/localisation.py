"""How well all APs together can locate each UE from the echoes of its pilots: (P12)-(P15) of docs/downlink_pilots.md."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.propagation.path_loss import bistatic_gain
from isac_torch.units import SPEED_OF_LIGHT

if TYPE_CHECKING:
    from isac_torch.downlink_pilots.drop import DownlinkPilotDrop
    from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario


@dataclass(frozen=True)
class FisherGain:
    """Fisher information about UE k's position that a watt of pilot power from AP m to it brings, 1/(m2 W).

    Attributes:
        xx: about x twice (r_a times the pilot's symbols).
        yy: about y twice (r_b).
        xy: about x and y (r_c).
    """

    xx: Float[Tensor, "drop ue ap"]
    yy: Float[Tensor, "drop ue ap"]
    xy: Float[Tensor, "drop ue ap"]


def echo_snr(drop: DownlinkPilotDrop, scenario: DownlinkPilotScenario) -> Float[Tensor, "drop ue tx rx"]:
    """SNR per W of pilot power of the whole downlink pilot's echo: AP tx to UE to AP rx, 1/W, eq. (P12)."""
    distance = torch.linalg.vector_norm(drop.ue_position.unsqueeze(2) - drop.ap_position.unsqueeze(1), dim=-1)
    there, back = torch.broadcast_tensors(distance.unsqueeze(-1), distance.unsqueeze(-2))
    gain = bistatic_gain(there, back, scenario.carrier_frequency)
    return scenario.downlink_symbols * scenario.cross_section * gain / scenario.noise_power


def fisher_gain(drop: DownlinkPilotDrop, scenario: DownlinkPilotScenario) -> FisherGain:
    """Fisher information per W of every link, summed over all receiving APs, eqs. (P13)-(P14)."""
    vector = drop.ap_position.unsqueeze(1) - drop.ue_position.unsqueeze(2)
    unit = vector / torch.linalg.vector_norm(vector, dim=-1, keepdim=True)
    slope = unit.unsqueeze(3) + unit.unsqueeze(2)  # of the path's length, negated: tx, then rx
    accuracy = 8.0 * math.pi**2 * scenario.rms_bandwidth**2 / SPEED_OF_LIGHT**2 * echo_snr(drop, scenario)
    x, y = slope.unbind(-1)
    return FisherGain((accuracy * x * x).sum(-1), (accuracy * y * y).sum(-1), (accuracy * x * y).sum(-1))


def error_covariance(
    drop: DownlinkPilotDrop, scenario: DownlinkPilotScenario, power: Float[Tensor, "drop link"], frames: int = 1
) -> Float[Tensor, "drop ue 2 2"]:
    """Least covariance (m2) of unbiased positions, the inverse of (P13); `power` in W, pilots of `frames` frames added up."""
    gain, per_ue = fisher_gain(drop, scenario), power.unflatten(-1, (scenario.num_ues, scenario.num_aps))
    xx, yy, xy = (frames * (term * per_ue).sum(-1) for term in (gain.xx, gain.yy, gain.xy))
    information = torch.stack([torch.stack([xx, xy], -1), torch.stack([xy, yy], -1)], -2)
    return torch.linalg.inv(information)
