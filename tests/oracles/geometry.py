"""Loop oracles of geometry, path loss, arrays and correlation. NumPy and SciPy only: nothing here may import isac_torch.

Notation: positions in m as (x, y, z) rows; the array of an AP lies in the horizontal plane along the unit vector `axis`
with half-wavelength spacing, so that element n sees a far point in direction u with phase pi n (u . axis).
"""

import math

import numpy as np
from scipy.integrate import quad

SPEED_OF_LIGHT = 299_792_458.0


def distance(first, second):
    """Euclidean distance of two points in space, m."""
    total = 0.0
    for a, b in zip(first, second, strict=True):
        total += (float(a) - float(b)) ** 2
    return math.sqrt(total)


def umi_nlos_loss_db(metres, carrier_ghz, floor_m=10.0):
    """3GPP TR 36.814 table B.1.2.1-1, UMi hexagonal NLoS, dB. `metres` is a 3-D distance."""
    return 36.7 * math.log10(max(metres, floor_m)) + 22.7 + 26.0 * math.log10(carrier_ghz)


def umi_los_loss_db(metres, carrier_ghz, floor_m=10.0):
    """3GPP TR 36.814 table B.1.2.1-1, UMi LoS before the breakpoint, dB."""
    return 22.0 * math.log10(max(metres, floor_m)) + 28.0 + 20.0 * math.log10(carrier_ghz)


def los_probability(metres):
    """3GPP TR 36.814 table B.1.2.1-2, UMi."""
    decay = math.exp(-metres / 36.0)
    return min(18.0 / metres, 1.0) * (1.0 - decay) + decay


def bistatic_gain(transmit_m, receive_m, wavelength_m):
    """Received over sent power of a 1 m2 target between isotropic antennas, 1/m2."""
    return wavelength_m**2 / ((4.0 * math.pi) ** 3 * transmit_m**2 * receive_m**2)


def angles(origin, point, axis):
    """Azimuth from the broadside of the array at `origin` toward its axis, and elevation, of `point`; radian.

    The broadside is the axis turned by -90 degrees, so that a point along the axis has azimuth +90 degrees.
    """
    dx, dy, dz = (float(b) - float(a) for a, b in zip(origin, point, strict=True))
    azimuth = math.atan2(dy, dx) - (math.atan2(float(axis[1]), float(axis[0])) - math.pi / 2.0)
    return azimuth, math.atan2(dz, math.hypot(dx, dy))


def steering(origin, point, axis, num_antennas):
    """Array response toward `point`, from the path difference itself: phase pi n (u . axis). Norm sqrt(N)."""
    metres = distance(origin, point)
    along = sum((float(point[i]) - float(origin[i])) / metres * float(axis[i]) for i in range(2))
    return np.array([np.exp(1j * math.pi * n * along) for n in range(num_antennas)])


def steering_from_angles(azimuth, elevation, num_antennas):
    """The same array response from azimuth off broadside and elevation."""
    along = math.sin(azimuth) * math.cos(elevation)
    return np.array([np.exp(1j * math.pi * n * along) for n in range(num_antennas)])


def _gaussian_mean(function, deviation):
    """E[function(x)] of a complex function, x ~ N(0, deviation^2), by adaptive quadrature."""

    def weighted(x, part):
        return part(function(x)) * math.exp(-0.5 * (x / deviation) ** 2) / (deviation * math.sqrt(2.0 * math.pi))

    reach = 10.0 * deviation  # the tail beyond weighs 1e-23
    options = {"epsabs": 1e-13, "epsrel": 1e-12, "limit": 400}
    real = quad(weighted, -reach, reach, args=(lambda z: z.real,), **options)[0]
    imag = quad(weighted, -reach, reach, args=(lambda z: z.imag,), **options)[0]
    return complex(real, imag)


def local_scattering(azimuth, elevation, spread_rad, num_antennas):
    """Normalised spatial correlation (N x N) of Gaussian local scattering in azimuth, elevation held at its LoS value."""
    matrix = np.eye(num_antennas, dtype=complex)
    for row in range(num_antennas):
        for column in range(row):
            step = row - column

            def response(deviation, step=step):
                return np.exp(1j * math.pi * step * math.sin(azimuth + deviation) * math.cos(elevation))

            matrix[row, column] = _gaussian_mean(response, spread_rad)
            matrix[column, row] = matrix[row, column].conjugate()
    return matrix


def tracking_beam_covariance(azimuth, elevation, error_rad, num_antennas):
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
