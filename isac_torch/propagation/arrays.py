"""Half-wavelength uniform linear arrays: responses, and what Hermitian Toeplitz matrices save.

Covariances between the antennas of such an array are Hermitian Toeplitz, T[a, b] = t_(a-b), so that 2N - 1 real numbers say
everything: Re t_0, ..., Re t_(N-1), Im t_1, ..., Im t_(N-1), called **lags** here. The unitary matrix Q of conjugate
symmetric columns turns every such matrix into a real symmetric one, Q^H T Q. Products and inverses of turned matrices are
real too, and traces are those of the originals, so that power control never needs a complex number.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Complex, Float

from isac_torch.caches import kept
from isac_torch.tensors import Array, constant, namespace


def steering(
    azimuth: Float[Array, "*shape"], elevation: Float[Array, "*shape"], num_antennas: int
) -> Complex[Array, "*shape antenna"]:
    """Array response a with unit-modulus entries, eq. (4). Args: azimuth from broadside and elevation, rad."""
    xp = namespace(azimuth)
    index = constant(range(num_antennas), azimuth)
    phase = math.pi * (xp.sin(azimuth) * xp.cos(elevation))[..., None] * index
    return xp.cos(phase) + 1j * xp.sin(phase)


def response_lags(
    azimuth: Float[Array, "*shape"], elevation: Float[Array, "*shape"], num_antennas: int
) -> Float[Array, "*shape lag"]:
    """Lags of a a^H for the array response a of eq. (4). Args: azimuth from broadside and elevation, rad."""
    xp = namespace(azimuth)
    phase = math.pi * xp.sin(azimuth) * xp.cos(elevation)
    phase = phase[..., None] * constant(range(num_antennas), azimuth)
    return xp.concat([xp.cos(phase), xp.sin(phase[..., 1:])], axis=-1)


def toeplitz(lags: Float[Array, "*shape lag"]) -> Complex[Array, "*shape antenna antenna"]:
    """The Hermitian Toeplitz matrix of some lags."""
    xp = namespace(lags)
    size = (lags.shape[-1] + 1) // 2
    basis = _basis(size)
    flat = lags @ constant(basis.real, lags) + 1j * (lags @ constant(basis.imag, lags))
    return xp.reshape(flat, (*lags.shape[:-1], size, size))


def turned(lags: Float[Array, "*shape lag"]) -> Float[Array, "*shape antenna antenna"]:
    """Q^H T Q of the Hermitian Toeplitz matrix T of some lags: real and symmetric."""
    size = (lags.shape[-1] + 1) // 2
    flat = lags.reshape(-1, 2 * size - 1) @ constant(turned_basis(size), lags)
    return flat.reshape(*lags.shape[:-1], size, size)


def turned_back(matrix: Float[Array, "*shape antenna antenna"]) -> Complex[Array, "*shape antenna antenna"]:
    """Q X Q^H: a matrix of the turned kind (also a product of some) between the antennas themselves."""
    xp = namespace(matrix)
    size = matrix.shape[-1]
    table = _turn_back(size)
    flat = xp.reshape(matrix, (*matrix.shape[:-2], size**2))
    back = flat @ constant(table.real, matrix) + 1j * (flat @ constant(table.imag, matrix))
    return xp.reshape(back, matrix.shape)


def vectors_back(vector: Complex[Array, "*shape antenna"]) -> Complex[Array, "*shape antenna"]:
    """Q x: vectors of the turned kind, such as beams, between the antennas themselves."""
    xp = namespace(vector)
    turn = _turn(vector.shape[-1]).T
    return vector @ (constant(turn.real, xp.real(vector)) + 1j * constant(turn.imag, xp.real(vector)))


def weights_of(matrix: Float[Array, "*shape antenna antenna"]) -> Float[Array, "*shape lag"]:
    """Numbers w with tr(T X) = sum_d w_d t_d for a turned matrix X and the lags t of any T."""
    size = matrix.shape[-1]
    flat = matrix.reshape(-1, size**2) @ constant(turned_basis(size), matrix).T
    return flat.reshape(*matrix.shape[:-2], 2 * size - 1)


def toeplitz_weights(lags: Float[Array, "*shape lag"]) -> Float[Array, "*shape lag"]:
    """The weights of the Hermitian Toeplitz matrix of some lags: each counts as often as it stands in the matrix."""
    size = (lags.shape[-1] + 1) // 2
    return lags * constant(_times_of_lag(size), lags)


@kept()
def _times_of_lag(size: int) -> np.ndarray:
    """How often each lag stands in the matrix, with its conjugate."""
    beside = 2.0 * np.arange(size - 1, 0, -1)
    return np.concatenate([[float(size)], beside, beside])


@kept()
def _basis(size: int) -> np.ndarray:
    """The Toeplitz matrices of each unit vector of lags, flat."""
    lag = np.arange(size)[:, None] - np.arange(size)[None, :]
    real = [np.abs(lag) == d for d in range(size)]
    imag = [1j * (lag == d) - 1j * (lag == -d) for d in range(1, size)]
    return np.array([*real, *imag], dtype=np.complex128).reshape(2 * size - 1, size**2)


@kept()
def _turn(size: int) -> np.ndarray:
    """The unitary Q with conjugate symmetric columns: cosines and sines about the middle of the array."""
    half = size // 2
    turn = np.zeros((size, size), dtype=np.complex128)
    for n in range(half):
        turn[n, n] = turn[size - 1 - n, n] = math.sqrt(0.5)
        turn[n, size - 1 - n] = 1j * math.sqrt(0.5)
        turn[size - 1 - n, size - 1 - n] = -1j * math.sqrt(0.5)
    if size % 2:
        turn[half, half] = 1.0
    return turn


@kept()
def turned_basis(size: int) -> np.ndarray:
    """The turned matrices of each unit vector of lags, flat."""
    turn = _turn(size)
    matrices = turn.conj().T @ _basis(size).reshape(-1, size, size) @ turn
    return np.ascontiguousarray(matrices.real.reshape(2 * size - 1, size**2))


@kept()
def _turn_back(size: int) -> np.ndarray:
    """Q X Q^H of each unit matrix X, flat."""
    turn = _turn(size)
    return np.einsum("ai,bj->ijab", turn, turn.conj()).reshape(size**2, size**2)
