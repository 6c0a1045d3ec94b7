"""Expected echoes of the sensing SIR, linear in the powers. Equations (16)-(18) of docs/physics.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.propagation.geometry import distance
from isac_torch.propagation.path_loss import bistatic_gain, umi_los_gain
from isac_torch.tracking.communication import trace

if TYPE_CHECKING:
    from isac_torch.tracking.channel import ChannelStatistics
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.scenario import TrackingScenario


def illumination(statistics: ChannelStatistics, drop: TrackingDrop) -> Float[Tensor, "drop target link"]:
    """a^H E[w w^H] a: mean gain with which a watt on link e lights target l, linear, eq. (16)."""
    mrt = statistics.estimate / trace(statistics.estimate)[..., None, None]
    parts = []
    for beam, link_ap in ((mrt, drop.serving_ap), (statistics.sensing_beam, drop.sensing_ap)):
        aps = link_ap.flatten(1)
        index = aps[:, None, :, None].expand(-1, statistics.response.shape[1], -1, statistics.response.shape[-1])
        towards = statistics.response.gather(2, index)
        parts.append(torch.einsum("dlea,deab,dleb->dle", towards.conj(), beam.flatten(1, 2), towards).real)
    return torch.cat(parts, dim=-1)


def echo_gain(drop: TrackingDrop, scenario: TrackingScenario) -> Float[Tensor, "drop target rx ap"]:
    """beta[l, r, m]: gain of the path transmit AP m - target l - receive AP r, eq. (17); 1/m2 (`radar`) or 1 (`product`)."""
    out = distance(drop.target_position, drop.tx_position).unsqueeze(2)
    back = distance(drop.target_position, drop.rx_position).unsqueeze(3)
    out, back = torch.broadcast_tensors(out, back)
    if scenario.echo_gain == "product":
        return umi_los_gain(out, scenario.carrier_frequency) * umi_los_gain(back, scenario.carrier_frequency)
    return bistatic_gain(out, back, scenario.carrier_frequency)


def echo_coefficients(
    statistics: ChannelStatistics, drop: TrackingDrop, scenario: TrackingScenario
) -> tuple[Float[Tensor, "drop row link"], Float[Tensor, "drop row link"]]:
    """S[l, e] and I[l, e]: own and other targets' echoes per W of link e at the receive APs of target l, eq. (18).

    Both are divided by the row's largest own echo, which the ratio does not see. No rows with fewer than two targets.
    """
    lit = illumination(statistics, drop)
    num_targets = lit.shape[1]
    if num_targets < 2:
        return lit[:, :0], lit[:, :0]
    link_ap = torch.cat([drop.serving_ap.flatten(1), drop.sensing_ap.flatten(1)], dim=-1)
    gain = echo_gain(drop, scenario)
    index = link_ap[:, None, None, :].expand(-1, *gain.shape[1:3], -1)
    heard = gain.gather(3, index) * lit.unsqueeze(2)  # echo of target t at receive AP r per W of link e
    listening = torch.zeros_like(gain[..., 0]).scatter(2, drop.listening_ap, 1.0)
    at_row = torch.einsum("dlr,dtre->dlte", listening, heard)
    own = at_row.diagonal(dim1=1, dim2=2).transpose(1, 2)
    scale = own.amax(-1, keepdim=True)
    return own / scale, (at_row.sum(2) - own) / scale
