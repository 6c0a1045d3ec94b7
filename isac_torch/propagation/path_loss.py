"""Large-scale power gains. Equations (1)-(3) of docs/physics.md; 3GPP TR 36.814 urban micro and the radar equation."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.tensors import from_db
from isac_torch.units import SPEED_OF_LIGHT


def umi_nlos_gain(distance: Float[Tensor, "*shape"], carrier_frequency: float) -> Float[Tensor, "*shape"]:
    """Urban-micro gain without line of sight, linear, eq. (1). Args: distance, m; carrier_frequency, Hz."""
    loss_db = 36.7 * torch.log10(distance) + 22.7 + 26.0 * math.log10(carrier_frequency / 1e9)
    return from_db(-loss_db)


def umi_los_gain(distance: Float[Tensor, "*shape"], carrier_frequency: float) -> Float[Tensor, "*shape"]:
    """Urban-micro gain with line of sight, linear, eq. (2). Args: distance, m; carrier_frequency, Hz."""
    loss_db = 22.0 * torch.log10(distance) + 28.0 + 20.0 * math.log10(carrier_frequency / 1e9)
    return from_db(-loss_db)


def bistatic_gain(
    to_target: Float[Tensor, "*shape"], from_target: Float[Tensor, "*shape"], carrier_frequency: float
) -> Float[Tensor, "*shape"]:
    """Radar gain of an echo per m2 of cross-section, 1/m2, eq. (3). Args: both distances, m; carrier_frequency, Hz."""
    wavelength = SPEED_OF_LIGHT / carrier_frequency
    return wavelength**2 / ((4.0 * math.pi) ** 3 * to_target.square() * from_target.square())
