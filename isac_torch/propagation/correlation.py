"""Spatial correlation of the scattered channel and of beams at uncertain angles. Equations (5) and (9) of docs/physics.md."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from isac_torch.tensors import Array, constant, namespace

if TYPE_CHECKING:
    from numpy import ndarray

QUADRATURE_ERROR = 1e-12
"""Largest error of an average over normal angles, of numbers of modulus at most one."""
_REACH = 7.3
"""Deviations that the trapezoidal rule covers; 3e-13 of a normal variable lies beyond."""
_PART = 2**21
"""Directions times nodes that are worked off at once."""


def local_scattering_lags(
    azimuth: Float[Array, "*shape"], elevation: Float[Array, "*shape"], num_antennas: int, azimuth_spread: float
) -> Float[Array, "*shape lag"]:
    """Lags of the unit-gain correlation matrix R of Gaussian local scattering, eq. (5).

    Scatterers lie around the nominal direction, their azimuth deviation is normal with standard deviation `azimuth_spread`
    (rad). Quadrature by positive weights keeps R positive semidefinite. Args: azimuth from broadside and elevation, rad.
    """
    xp = namespace(azimuth)
    real, imag = _mean_response(azimuth, xp.cos(elevation), num_antennas, azimuth_spread)
    return xp.stack([*real, *imag[1:]], axis=-1)


def pointing_lags(
    azimuth: Float[Array, "*shape"], elevation: Float[Array, "*shape"], num_antennas: int, angle_error: float
) -> Float[Array, "*shape lag"]:
    """Lags of E[a a^H] of a response whose azimuth and elevation are off by normal errors, eq. (9).

    Both errors are independent with standard deviation `angle_error` (rad). 2 sin(phi) cos(theta) = sin(phi + theta) +
    sin(phi - theta), and sum and difference of the errors are independent as well, so that the double average is a product
    of two single ones. Args: azimuth from broadside and elevation, rad.
    """
    xp = namespace(azimuth)
    spread = math.sqrt(2.0) * angle_error
    first = _mean_response(azimuth + elevation, 0.5, num_antennas, spread)
    second = _mean_response(azimuth - elevation, 0.5, num_antennas, spread)
    pairs = list(zip(*first, *second, strict=True))
    real = [a * c - b * d for a, b, c, d in pairs]
    imag = [a * d + b * c for a, b, c, d in pairs]
    return xp.stack([*real, *imag[1:]], axis=-1)


def _mean_response(angle: Array, scale: Array | float, num_antennas: int, spread: float) -> tuple[list[Array], list[Array]]:
    """Real and imaginary parts of E exp(j pi d scale sin(angle + delta)), delta ~ N(0, spread^2), for d = 0, 1, ..., N - 1.

    Nodes come in pairs +-x: exp(j pi scale sin(angle +- x)) = exp(j u) exp(+-j v), whose mean is exp(j u) cos(v). Multiples
    of u and v follow from the Chebyshev recurrence.
    """
    xp = namespace(angle)
    nodes, weights = normal_quadrature(num_antennas, spread)
    half = len(nodes) // 2
    size = math.prod(angle.shape)
    if size > 1 and size * half > _PART:
        return _mean_response_in_parts(angle, scale, num_antennas, spread, max(1, _PART // half))
    node, weight = nodes[half:], constant(2.0 * weights[half:], angle)
    u = (math.pi * scale * xp.sin(angle))[..., None] * constant(np.cos(node), angle)
    v = (math.pi * scale * xp.cos(angle))[..., None] * constant(np.sin(node), angle)
    one = xp.ones_like(angle)
    real, imag = [one], [xp.zeros_like(angle)]
    parts = xp.cos(u), xp.sin(u), xp.cos(v)
    twice = 2.0 * parts[0], 2.0 * parts[0], 2.0 * parts[2]
    before = (1.0, 0.0, 1.0)
    for lag in range(1, num_antennas):
        if lag > 1:
            parts, before = tuple(t * now - past for t, now, past in zip(twice, parts, before, strict=True)), parts
        real.append((parts[0] * parts[2]) @ weight)
        imag.append((parts[1] * parts[2]) @ weight)
    return real, imag


def _mean_response_in_parts(
    angle: Array, scale: Array | float, num_antennas: int, spread: float, part: int
) -> tuple[list[Array], list[Array]]:
    """The same, so many directions at a time: the nodes of all of them would fill the memory."""
    xp = namespace(angle)
    flat, shape = xp.reshape(angle, (-1,)), angle.shape
    scales = None if isinstance(scale, float) else xp.reshape(scale, (-1,))
    found = [
        _mean_response(flat[i : i + part], scale if scales is None else scales[i : i + part], num_antennas, spread)
        for i in range(0, flat.shape[0], part)
    ]
    real, imag = (
        [xp.reshape(xp.concat(lag, axis=0), shape) for lag in zip(*kind, strict=True)] for kind in zip(*found, strict=True)
    )
    return real, imag


@lru_cache(maxsize=64)
def normal_quadrature(num_antennas: int, spread: float) -> tuple[ndarray, ndarray]:
    """Nodes and weights with sum_i w_i f(x_i) ~ E f(x) for x ~ N(0, spread^2), f the phases across `num_antennas`.

    The smaller of two rules with an even number of nodes whose error stays below QUADRATURE_ERROR for every direction:
    Gauss and Hermite's, best for small spreads, or the trapezoidal one, which converges exponentially for a normal density.
    """
    fine = _trapezoid(4 * _enough(num_antennas, spread), reach=9.0)
    exact = _last_response(fine, num_antennas, spread)

    def good(rule: tuple[ndarray, ndarray]) -> bool:
        return bool(np.abs(_last_response(rule, num_antennas, spread) - exact).max() < QUADRATURE_ERROR)

    for count in range(2, 22, 2):
        rule = _gauss_hermite(count)
        if good(rule):
            return spread * rule[0], rule[1]
    # Fewer nodes than these cannot follow the phase; in steps of a sixteenth, so that a thousand nodes are found as fast.
    count = 2 * math.ceil(_REACH * (num_antennas - 1) * spread / 2.0) + 2
    while count < len(fine[0]) and not good(_trapezoid(count)):
        count += 2 * max(1, count // 32)
    nodes, weights = _trapezoid(count) if count < len(fine[0]) else fine
    return spread * nodes, weights


def _enough(num_antennas: int, spread: float) -> int:
    """Nodes that surely suffice: the phase of the last antenna has harmonics of x up to about pi (N - 1) + 14."""
    return 2 * math.ceil(12 + 1.5 * (math.pi * (num_antennas - 1) + 14.0) * spread)


def _last_response(rule: tuple[ndarray, ndarray], num_antennas: int, spread: float) -> ndarray:
    """Averages of the last antenna's phase over directions all around: the hardest integrals."""
    around = np.linspace(0.0, math.pi, 32, endpoint=False)
    return np.exp(1j * math.pi * (num_antennas - 1) * np.sin(around[:, None] + spread * rule[0])) @ rule[1]


def _gauss_hermite(count: int) -> tuple[ndarray, ndarray]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    return nodes, weights / weights.sum()


def _trapezoid(count: int, reach: float = _REACH) -> tuple[ndarray, ndarray]:
    nodes = np.linspace(-reach, reach, count)
    weights = np.exp(-nodes * nodes / 2.0)
    return nodes, weights / weights.sum()
