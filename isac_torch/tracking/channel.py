"""Second-order statistics of the tracking system's channels, estimates and beams. Equations (5)-(9) of docs/physics.md."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from isac_torch.propagation.arrays import steering, toeplitz
from isac_torch.propagation.correlation import local_scattering_lags, pointing_lags
from isac_torch.propagation.estimation import mmse_matrix, observation_covariance
from isac_torch.propagation.geometry import angles
from isac_torch.propagation.pilots import pilot_gram

if TYPE_CHECKING:
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.scenario import TrackingScenario


@dataclass(frozen=True)
class ChannelStatistics:
    """Covariances at the transmit APs, all that power control needs of the channels.

    Attributes:
        covariance: C[k, m] of the channel between UE k and transmit AP m.
        mmse: Lambda[k, s] of UE k at its s-th serving AP.
        estimate: Phi[k, s] = Lambda C, covariance of that estimate.
        sensing_beam: W[l, s] = E[w_0 w_0^H] of the unit-norm beam at target l from its s-th sensing AP, unit trace.
        response: array response a of transmit AP m towards the true position of target l, entries of unit modulus.
        gram: |pi_j^H pi_k| of the uplink pilots.
    """

    covariance: Complex[Tensor, "drop ue ap antenna antenna"]
    mmse: Complex[Tensor, "drop ue serving antenna antenna"]
    estimate: Complex[Tensor, "drop ue serving antenna antenna"]
    sensing_beam: Complex[Tensor, "drop target sensing antenna antenna"]
    response: Complex[Tensor, "drop target ap antenna"]
    gram: Float[Tensor, "drop ue ue"]


def channel_statistics(drop: TrackingDrop, scenario: TrackingScenario) -> ChannelStatistics:
    """Covariances, estimation statistics and beams of every drop."""
    azimuth, elevation = (a.transpose(1, 2) for a in angles(drop.tx_position, drop.tx_orientation, drop.ue_position))
    spread = math.radians(scenario.azimuth_spread_deg)
    lags = local_scattering_lags(azimuth, elevation, scenario.num_antennas, spread)
    covariance = toeplitz(lags * drop.ue_gain.unsqueeze(-1))
    gram = pilot_gram(drop.pilot).to(drop.ue_gain)
    mmse, estimate = _estimates(drop, scenario, covariance, gram)

    azimuth, elevation = (a.transpose(1, 2) for a in angles(drop.tx_position, drop.tx_orientation, drop.target_position))
    beam = pointing_lags(
        azimuth.gather(2, drop.sensing_ap),
        elevation.gather(2, drop.sensing_ap),
        scenario.num_antennas,
        scenario.angle_error,
    )
    return ChannelStatistics(
        covariance=covariance,
        mmse=mmse,
        estimate=estimate,
        sensing_beam=toeplitz(beam / scenario.num_antennas),
        response=steering(azimuth, elevation, scenario.num_antennas),
        gram=gram,
    )


def at_links(table: Tensor, link_ap: Tensor) -> Tensor:
    """Entries of `table` [drop, x, ap, ...] at the AP of every link [drop, owner, link]: [drop, x, owner, link, ...]."""
    drop = torch.arange(table.shape[0], device=table.device)[:, None, None, None]
    row = torch.arange(table.shape[1], device=table.device)[None, :, None, None]
    return table[drop, row, link_ap.unsqueeze(1)]


def _estimates(
    drop: TrackingDrop, scenario: TrackingScenario, covariance: Tensor, gram: Tensor
) -> tuple[Complex[Tensor, "drop ue serving antenna antenna"], Complex[Tensor, "drop ue serving antenna antenna"]]:
    """MMSE matrices Lambda and estimate covariances Phi at the serving links."""
    energy = scenario.pilot_symbols * drop.pilot_power
    others = at_links(covariance, drop.serving_ap).permute(0, 2, 3, 1, 4, 5)
    serving = drop.serving_ap.shape[2]
    shape = others.shape[:4]
    observation = observation_covariance(
        others,
        gram.unsqueeze(2).expand(shape),
        energy[:, None, None, :].expand(shape),
        scenario.noise_power,
    )
    own_index = drop.serving_ap[..., None, None].expand(*drop.serving_ap.shape, *covariance.shape[-2:])
    own = covariance.gather(2, own_index)
    mmse = mmse_matrix(own, observation, energy.unsqueeze(-1).expand(-1, -1, serving))
    return mmse, mmse @ own
