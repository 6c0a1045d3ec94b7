"""Dense oracles of clutter covariance, likelihood ratio tests and SCNR: explicit inverses, singular vectors, loops. NumPy only.

One receive AP, one block. `sent[m, t, n]` are samples of the transmit APs (sqrt(W)); samples of the receive AP are stacked
time after time, all antennas of the first instant first. Everything is over the noise.
"""

import numpy as np

from tests.oracles.geometry import Array


def clutter_covariance(sent: Array, power: Array, covariance: Array) -> Array:
    """sum_m kappa_m^2 (S_m x I) Q_m (S_m x I)^H for any covariance Q_m of the stacked columns of G_m [B 32]."""
    num_aps, samples, antennas = sent.shape
    total = np.zeros((samples * antennas,) * 2, dtype=complex)
    for m in range(num_aps):
        spread = np.kron(sent[m], np.eye(antennas))
        total += power[m] * spread @ covariance[m] @ spread.conj().T
    return total


def echo_matrix(sent: Array, scale: Array, towards: Array, listener: Array) -> Array:
    """D with columns scale_m (a_m^H s_m[t]) a_rx over time [B 27]; `towards[m]` = a_m, `listener` = a_rx."""
    num_aps, samples, _ = sent.shape
    antennas = len(listener)
    result = np.zeros((samples * antennas, num_aps), dtype=complex)
    for m in range(num_aps):
        for t in range(samples):
            sent_there = np.vdot(towards[m], sent[m, t])
            result[t * antennas : (t + 1) * antennas, m] = scale[m] * sent_there * listener
    return result


def inverse_root(covariance: Array) -> Array:
    """The hermitian inverse square root."""
    value, vector = np.linalg.eigh(covariance)
    result: Array = vector @ np.diag(value**-0.5) @ vector.conj().T
    return result


def range_basis(matrix: Array, tolerance: float = 1e-9) -> Array:
    """Orthonormal basis of the range, from singular vectors of the unit-norm columns."""
    norm = np.linalg.norm(matrix, axis=0)
    unit = matrix[:, norm > 0] / norm[norm > 0]
    left, value, _ = np.linalg.svd(unit, full_matrices=False)
    result: Array = left[:, value**2 > tolerance * value[0] ** 2] if value.size else left
    return result


def projection_basis(own: Array, others: list[Array], filter_matrix: Array, form: str) -> Array:
    """What the statistic of `form` projects onto: columns U with statistic ||U^H W y||^2."""
    if form in ("single", "paper") or not others:
        return range_basis(filter_matrix @ own)
    rest = range_basis(filter_matrix @ np.hstack(others))
    both = range_basis(np.hstack([rest, filter_matrix @ own]))
    # The part of the joint range that is orthogonal to the others' range.
    left, value, _ = np.linalg.svd(both - rest @ (rest.conj().T @ both), full_matrices=False)
    result: Array = left[:, value > 0.5]
    return result


def statistic(observed: Array, basis: Array, filter_matrix: Array) -> float:
    """||U^H W y||^2 [B 35, 44]."""
    return float(np.linalg.norm(basis.conj().T @ filter_matrix @ observed) ** 2)


def ratio_parts(
    own: Array, others: list[Array], reflectivity: list[Array], covariance: Array, basis: Array, filter_matrix: Array
) -> tuple[float, float]:
    """Mean energy of the echo and of everything else after the projection [B 36, 45]; `reflectivity[0]` is the own one."""
    project = basis.conj().T @ filter_matrix
    signal = np.trace(project @ own @ reflectivity[0] @ own.conj().T @ project.conj().T).real
    noise = np.trace(project @ covariance @ project.conj().T).real
    for matrix, spread in zip(others, reflectivity[1:], strict=True):
        noise += np.trace(project @ matrix @ spread @ matrix.conj().T @ project.conj().T).real
    return float(signal), float(noise)
