"""Loop oracle of MMSE channel estimation from uplink pilots [B 6-8]. NumPy only: nothing here may import isac_torch."""

from collections.abc import Sequence

import numpy as np

from tests.oracles.geometry import Array, Point


def pilot_book(index: Sequence[int] | Array, pilot_length: int) -> Array:
    """Unit-norm pilot of every UE (rows): columns of the DFT matrix, so that UEs with different index are orthogonal."""
    time = np.arange(pilot_length)
    return np.array([np.exp(2j * np.pi * time * p / pilot_length) / np.sqrt(pilot_length) for p in index])


def observation_covariance(covariance: Array, pilots: Array, pilot_power: Point, noise_power: float) -> Array:
    """Gamma[k, m] = sum_j tau eta_j C[j, m] |pi_j^H pi_k|^2 + sigma^2 I. `covariance` is C[ue, ap] (N x N each)."""
    num_ues, num_aps, num_antennas, _ = covariance.shape
    length = pilots.shape[1]
    result = np.zeros_like(covariance)
    for k in range(num_ues):
        for m in range(num_aps):
            result[k, m] = noise_power * np.eye(num_antennas)
            for j in range(num_ues):
                result[k, m] += length * pilot_power[j] * abs(np.vdot(pilots[j], pilots[k])) ** 2 * covariance[j, m]
    return result


def mmse_matrix(covariance: Array, pilots: Array, pilot_power: Point, noise_power: float) -> Array:
    """Lambda[k, m] = tau eta_k C Gamma^-1."""
    gamma = observation_covariance(covariance, pilots, pilot_power, noise_power)
    result = np.zeros_like(covariance)
    for k in range(covariance.shape[0]):
        for m in range(covariance.shape[1]):
            result[k, m] = pilots.shape[1] * pilot_power[k] * covariance[k, m] @ np.linalg.inv(gamma[k, m])
    return result


def estimate_covariance(covariance: Array, pilots: Array, pilot_power: Point, noise_power: float) -> Array:
    """Phi[k, m] = Lambda C, the covariance of the estimate."""
    matrix = mmse_matrix(covariance, pilots, pilot_power, noise_power)
    result = np.zeros_like(covariance)
    for k in range(covariance.shape[0]):
        for m in range(covariance.shape[1]):
            result[k, m] = matrix[k, m] @ covariance[k, m]
    return result
