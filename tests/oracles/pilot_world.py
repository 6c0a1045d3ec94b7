"""The downlink-pilot system in NumPy loops: path loss, estimates, errors, bounds. Imports nothing of the package."""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
LIGHT = 299_792_458.0


def three_slope(distance_m: float, frequency_hz: float, ap_height: float, ue_height: float) -> float:
    """Linear gain, the three cases written out (distance in km, frequency in MHz)."""
    f, d = frequency_hz / 1e6, distance_m / 1e3
    big_l = 46.3 + 33.9 * math.log10(f) - 13.82 * math.log10(ap_height)
    big_l -= (1.1 * math.log10(f) - 0.7) * ue_height - (1.56 * math.log10(f) - 0.8)
    if d > 0.05:
        db = -big_l - 35 * math.log10(d)
    elif d > 0.01:
        db = -big_l - 15 * math.log10(0.05) - 20 * math.log10(d)
    else:
        db = -big_l - 15 * math.log10(0.05) - 20 * math.log10(0.01)
    return float(10 ** (db / 10))


def estimate_gain(beta: Array, pilot: NDArray[np.int64], energy: float) -> Array:
    """gamma[k, m] for pilot energy over noise `energy`."""
    gamma = np.zeros_like(beta)
    for k in range(beta.shape[0]):
        for m in range(beta.shape[1]):
            heard = sum(beta[j, m] for j in range(beta.shape[0]) if pilot[j] == pilot[k])
            gamma[k, m] = energy * beta[k, m] ** 2 / (energy * heard + 1)
    return gamma


def orthogonal_nmse(beta: Array, gamma: Array, share: Array, gram: Array, energy: float) -> Array:
    """NMSE for orthogonal uplink pilots, amplitude Gram matrix `gram`, downlink energy over noise `energy`."""
    ues, aps = beta.shape
    nmse = np.zeros(ues)
    for k in range(ues):
        f = [sum(beta[k, m] * share[j, m] for m in range(aps)) for j in range(ues)]
        seen = 1 + energy * sum(f[j] * abs(gram[k, j]) ** 2 for j in range(ues))
        error = f[k] - energy * f[k] ** 2 / seen
        mean = sum(math.sqrt(share[k, m] * gamma[k, m]) for m in range(aps))
        nmse[k] = error / (mean**2 + f[k])
    return nmse


def crb(
    ap: Array, ue: Array, power: Array, wavelength: float, noise: float, reflectivity: float, rms_bandwidth: float
) -> float:
    """Bound (m2) on the error of one UE's position; `power` W is what each AP spends on it during the whole pilot."""
    information = np.zeros((2, 2))
    for m in range(len(ap)):
        for n in range(len(ap)):
            to, back = np.linalg.norm(ap[m] - ue), np.linalg.norm(ap[n] - ue)
            gain = wavelength**2 / ((4 * math.pi) ** 3 * to**2 * back**2)
            snr = gain * power[m] * reflectivity / noise
            slope = (ap[m] - ue) / to + (ap[n] - ue) / back
            information += 8 * math.pi**2 * rms_bandwidth**2 / LIGHT**2 * snr * np.outer(slope, slope)
    return float(np.trace(np.linalg.inv(information)))
