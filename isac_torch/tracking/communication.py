"""Noise-normalised coefficients of the downlink SINR. Equations (10)-(14) of docs/physics.md."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from jaxtyping import Float

from isac_torch.tensors import Array, namespace
from isac_torch.tracking.channel import LinkStatistics

if TYPE_CHECKING:
    from isac_torch.tracking.scenario import TrackingScenario


def trace(matrix: Array) -> Array:
    """Real part of the trace of each matrix."""
    xp = namespace(matrix)
    return xp.real(xp.sum(xp.linalg.diagonal(matrix), axis=-1))


def signal_amplitude(statistics: LinkStatistics[Array], noise_power: float) -> Float[Array, "drop ue serving"]:
    """a[k, s] = |E h^H w| / sqrt(noise): amplitude gain of a serving link, 1/sqrt(W), eq. (10)."""
    return namespace(statistics.energy).sqrt(statistics.energy / noise_power)


def leakage_gain(statistics: LinkStatistics[Array], noise_power: float) -> Float[Array, "drop ue link"]:
    """N[k, e]: mean power over noise that a watt on link e brings to UE k without coherence, 1/W, eqs. (11) and (12)."""
    return statistics.heard[:, : statistics.energy.shape[1]] / noise_power


def coherent_amplitude(statistics: LinkStatistics[Array], noise_power: float) -> Float[Array, "drop ue ue serving"]:
    """c[k, j, s]: amplitude that the s-th link of a UE j on k's pilot adds coherently at UE k, 1/sqrt(W), eq. (13).

    It is real: covariances of a uniform linear array are Hermitian Toeplitz, so that all of them turn real together.
    """
    xp, energy = namespace(statistics.energy), statistics.energy
    if statistics.coherent is None:
        return xp.zeros_like(energy[:, None] + energy[:, :, :1, None])
    return statistics.coherent / math.sqrt(noise_power)


def rate(sinr: Float[Array, "*shape"], scenario: TrackingScenario) -> Float[Array, "*shape"]:
    """Downlink rate, bit/s, of a linear SINR: data share of the block times bandwidth times log2(1 + SINR), eq. (15)."""
    return scenario.data_share * scenario.bandwidth * namespace(sinr).log2(1.0 + sinr)
