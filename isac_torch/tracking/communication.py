"""Noise-normalised coefficients of the downlink SINR under MRT. Equations (10)-(14) of docs/physics.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.tracking.channel import ChannelStatistics, at_links

if TYPE_CHECKING:
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.scenario import TrackingScenario


def trace(matrix: Tensor) -> Tensor:
    """Real part of the trace of each matrix."""
    return matrix.diagonal(dim1=-2, dim2=-1).sum(-1).real


def signal_amplitude(statistics: ChannelStatistics, noise_power: float) -> Float[Tensor, "drop ue serving"]:
    """a[k, s] = sqrt(tr Phi / noise): amplitude gain of a serving link, 1/sqrt(W), eq. (10)."""
    return (trace(statistics.estimate) / noise_power).sqrt()


def leakage_gain(statistics: ChannelStatistics, drop: TrackingDrop, noise_power: float) -> Float[Tensor, "drop ue link"]:
    """N[k, e]: mean power over noise that a watt on link e brings to UE k without coherence, 1/W, eqs. (11) and (12)."""
    mrt = statistics.estimate / trace(statistics.estimate)[..., None, None]
    data = torch.einsum("dkjsab,djsba->dkjs", at_links(statistics.covariance, drop.serving_ap), mrt)
    probing = torch.einsum("dklsab,dlsba->dkls", at_links(statistics.covariance, drop.sensing_ap), statistics.sensing_beam)
    return torch.cat([data.flatten(2), probing.flatten(2)], dim=-1).real / noise_power


def coherent_amplitude(
    statistics: ChannelStatistics, drop: TrackingDrop, noise_power: float
) -> Float[Tensor, "drop ue ue serving"]:
    """c[k, j, s]: amplitude that the s-th link of a UE j on k's pilot adds coherently at UE k, 1/sqrt(W), eq. (13).

    It is real: covariances of a uniform linear array are Hermitian Toeplitz, and so is every sum of them.
    """
    cross = torch.einsum("dkjsab,djsba->dkjs", at_links(statistics.covariance, drop.serving_ap), statistics.mmse)
    shared = statistics.gram - torch.diag_embed(statistics.gram.diagonal(dim1=-2, dim2=-1))
    power_ratio = (drop.pilot_power.unsqueeze(2) / drop.pilot_power.unsqueeze(1)).sqrt()
    amplitude = cross.real / (trace(statistics.estimate) * noise_power).sqrt().unsqueeze(1)
    return (shared * power_ratio).unsqueeze(-1) * amplitude


def rate(sinr: Float[Tensor, "*shape"], scenario: TrackingScenario) -> Float[Tensor, "*shape"]:
    """Downlink rate, bit/s, of a linear SINR: data share of the block times bandwidth times log2(1 + SINR), eq. (15)."""
    return scenario.data_share * scenario.bandwidth * torch.log2(1.0 + sinr)
