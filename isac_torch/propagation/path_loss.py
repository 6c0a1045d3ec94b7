"""Large-scale power gains: 3GPP TR 36.814 urban micro, the radar equation, and the three-slope model.

Equations (1)-(3) of docs/physics.md; (P1) of docs/downlink_pilots.md.
"""

from __future__ import annotations

import math

from jaxtyping import Float

from isac_torch.tensors import Array, at_least, from_db, namespace
from isac_torch.units import SPEED_OF_LIGHT


def umi_nlos_gain(distance: Float[Array, "*shape"], carrier_frequency: float) -> Float[Array, "*shape"]:
    """Urban-micro gain without line of sight, linear, eq. (1). Args: distance, m; carrier_frequency, Hz."""
    loss_db = 36.7 * namespace(distance).log10(distance) + 22.7 + 26.0 * math.log10(carrier_frequency / 1e9)
    return from_db(-loss_db)


def umi_los_gain(distance: Float[Array, "*shape"], carrier_frequency: float) -> Float[Array, "*shape"]:
    """Urban-micro gain with line of sight, linear, eq. (2). Args: distance, m; carrier_frequency, Hz."""
    loss_db = 22.0 * namespace(distance).log10(distance) + 28.0 + 20.0 * math.log10(carrier_frequency / 1e9)
    return from_db(-loss_db)


def bistatic_gain(
    to_target: Float[Array, "*shape"], from_target: Float[Array, "*shape"], carrier_frequency: float
) -> Float[Array, "*shape"]:
    """Radar gain of an echo per m2 of cross-section, 1/m2, eq. (3). Args: both distances, m; carrier_frequency, Hz."""
    return bistatic_leg(to_target, carrier_frequency) * bistatic_leg(from_target, carrier_frequency)


def bistatic_leg(distance: Float[Array, "*shape"], carrier_frequency: float) -> Float[Array, "*shape"]:
    """One of the two factors of eq. (3), 1/m: an echo's gain is that of its way out times that of its way back."""
    wavelength = SPEED_OF_LIGHT / carrier_frequency
    return wavelength / ((4.0 * math.pi) ** 1.5 * distance * distance)


THREE_SLOPE_NEAR = 10.0
"""Distance (m) below which the three-slope gain is constant."""
THREE_SLOPE_FAR = 50.0
"""Distance (m) beyond which the three-slope gain falls with the 3.5th power, and shadowing applies."""


def three_slope_gain(
    distance: Float[Array, "*shape"], carrier_frequency: float, ap_height: float, ue_height: float
) -> Float[Array, "*shape"]:
    """Three-slope gain with the Hata-COST231 constant (Ngo et al. 2017, eqs. 52-53), linear: (P1) of docs/downlink_pilots.md.

    Constant up to 10 m, falling with the square to 50 m and with the power 3.5 beyond. Args: distance, m;
    carrier_frequency, Hz; ap_height and ue_height, m.
    """
    xp = namespace(distance)
    log_mhz = math.log10(carrier_frequency / 1e6)
    constant_db = 46.3 + 33.9 * log_mhz - 13.82 * math.log10(ap_height)
    constant_db += 1.56 * log_mhz - 0.8 - (1.1 * log_mhz - 0.7) * ue_height
    km = distance / 1e3
    near, far = THREE_SLOPE_NEAR / 1e3, THREE_SLOPE_FAR / 1e3
    slope_db = 20.0 * xp.log10(xp.clip(km, near, far)) + 35.0 * xp.log10(at_least(km, far)) - 20.0 * math.log10(far)
    return from_db(-(constant_db + slope_db))
