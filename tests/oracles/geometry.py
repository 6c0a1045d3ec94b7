"""Loop oracles of geometry, path loss, arrays and correlation. NumPy and SciPy only: nothing here may import isac_torch.

Notation: positions in m as (x, y, z) rows; the array of an AP lies in the horizontal plane along the unit vector `axis`
with half-wavelength spacing, so that element n sees a far point in direction u with phase pi n (u . axis).
"""

import cmath
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import quad

Array = NDArray[Any]
Point = Sequence[float] | Array | Any

SPEED_OF_LIGHT = 299_792_458.0


def distance(first: Point, second: Point) -> float:
    """Euclidean distance of two points in space, m."""
    total = 0.0
    for a, b in zip(first, second, strict=True):
        total += (float(a) - float(b)) ** 2
    return math.sqrt(total)


def umi_nlos_loss_db(metres: float, carrier_ghz: float, floor_m: float = 10.0) -> float:
    """3GPP TR 36.814 table B.1.2.1-1, UMi hexagonal NLoS, dB. `metres` is a 3-D distance."""
    return 36.7 * math.log10(max(metres, floor_m)) + 22.7 + 26.0 * math.log10(carrier_ghz)


def umi_los_loss_db(metres: float, carrier_ghz: float, floor_m: float = 10.0) -> float:
    """3GPP TR 36.814 table B.1.2.1-1, UMi LoS before the breakpoint, dB."""
    return 22.0 * math.log10(max(metres, floor_m)) + 28.0 + 20.0 * math.log10(carrier_ghz)


def bistatic_gain(transmit_m: float, receive_m: float, wavelength_m: float) -> float:
    """Received over sent power of a 1 m2 target between isotropic antennas, 1/m2."""
    return wavelength_m**2 / ((4.0 * math.pi) ** 3 * transmit_m**2 * receive_m**2)


def angles(origin: Point, point: Point, axis: Point) -> tuple[float, float]:
    """Azimuth from the broadside of the array at `origin` toward its axis, and elevation, of `point`; radian.

    The broadside is the axis turned by -90 degrees, so that a point along the axis has azimuth +90 degrees.
    """
    dx, dy, dz = (float(b) - float(a) for a, b in zip(origin, point, strict=True))
    azimuth = math.atan2(dy, dx) - (math.atan2(float(axis[1]), float(axis[0])) - math.pi / 2.0)
    return azimuth, math.atan2(dz, math.hypot(dx, dy))


def steering(origin: Point, point: Point, axis: Point, num_antennas: int) -> Array:
    """Array response toward `point`, from the path difference itself: phase pi n (u . axis). Norm sqrt(N)."""
    metres = distance(origin, point)
    along = sum((float(point[i]) - float(origin[i])) / metres * float(axis[i]) for i in range(2))
    return np.array([np.exp(1j * math.pi * n * along) for n in range(num_antennas)])


def steering_from_angles(azimuth: float, elevation: float, num_antennas: int) -> Array:
    """The same array response from azimuth off broadside and elevation."""
    along = math.sin(azimuth) * math.cos(elevation)
    return np.array([np.exp(1j * math.pi * n * along) for n in range(num_antennas)])


def _gaussian_mean(function: Callable[[float], complex], deviation: float) -> complex:
    """E[function(x)] of a complex function, x ~ N(0, deviation^2), by adaptive quadrature."""

    def weighted(x: float, part: str) -> float:
        density = math.exp(-0.5 * (x / deviation) ** 2) / (deviation * math.sqrt(2.0 * math.pi))
        return float(getattr(function(x), part)) * density

    reach = 10.0 * deviation  # the tail beyond weighs 1e-23
    real, imag = (
        quad(weighted, -reach, reach, args=(part,), epsabs=1e-13, epsrel=1e-12, limit=400)[0] for part in ("real", "imag")
    )
    return complex(real, imag)


def local_scattering(azimuth: float, elevation: float, spread_rad: float, num_antennas: int) -> Array:
    """Normalised spatial correlation (N x N) of Gaussian local scattering in azimuth, elevation held at its LoS value."""
    matrix = np.eye(num_antennas, dtype=complex)
    for step in range(1, num_antennas):

        def response(deviation: float, step: int = step) -> complex:
            return cmath.exp(1j * math.pi * step * math.sin(azimuth + deviation) * math.cos(elevation))

        mean = _gaussian_mean(response, spread_rad)
        for column in range(num_antennas - step):
            matrix[column + step, column] = mean
            matrix[column, column + step] = mean.conjugate()
    return matrix


def tracking_beam_covariance(azimuth: float, elevation: float, error_rad: float, num_antennas: int) -> Array:
    """E[w w^H] of the unit-norm sensing beam when azimuth and elevation each err by N(0, error^2) independently [B 22].

    Trapezoidal rule on +-8 deviations in both errors: the integrand is analytic and dies off, so it converges geometrically.
    """
    if error_rad == 0.0:
        beam = steering_from_angles(azimuth, elevation, num_antennas) / math.sqrt(num_antennas)
        return np.outer(beam, beam.conj())
    grid = np.linspace(-8.0, 8.0, 41)
    total, weight_sum = np.zeros((num_antennas, num_antennas), dtype=complex), 0.0
    for first in grid:
        for second in grid:
            weight = math.exp(-0.5 * (first**2 + second**2))
            beam = steering_from_angles(azimuth + error_rad * first, elevation + error_rad * second, num_antennas)
            total += weight * np.outer(beam, beam.conj()) / num_antennas
            weight_sum += weight
    return total / weight_sum
