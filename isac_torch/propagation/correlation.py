"""Spatial correlation of the scattered channel and of beams at uncertain angles. Equations (5) and (9) of docs/physics.md."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from array_api_compat import device
from jaxtyping import Float

from isac_torch.caches import kept
from isac_torch.tensors import Array, constant, namespace, stacked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy import ndarray

QUADRATURE_ERROR = 1e-12
"""Largest error of an average over normal angles, of numbers of modulus at most one."""
_REACH = 7.3
"""Deviations that the trapezoidal rule covers; 3e-13 of a normal variable lies beyond."""
_PART, _PART_OF_ACCELERATOR = 2**14, 2**21
"""Directions times nodes that are worked off at once: few stay in a processor's cache, an accelerator wants many."""
_START = np.array([[1.0], [0.0]])
"""exp(j 0), real and imaginary."""


def local_scattering_lags(
    azimuth: Float[Array, "*shape"], elevation: Float[Array, "*shape"], num_antennas: int, azimuth_spread: float
) -> Float[Array, "*shape lag"]:
    """Lags of the unit-gain correlation matrix R of Gaussian local scattering, eq. (5).

    Scatterers lie around the nominal direction, their azimuth deviation is normal with standard deviation `azimuth_spread`
    (rad). Quadrature by positive weights keeps R positive semidefinite. Args: azimuth from broadside and elevation, rad.
    """
    scale = namespace(azimuth).cos(elevation).reshape(-1)
    mean = _mean_response(azimuth.reshape(-1), scale, num_antennas, azimuth_spread)
    return _as_lags(mean[:, 0], mean[:, 1], azimuth.shape)


def pointing_lags(
    azimuth: Float[Array, "*shape"], elevation: Float[Array, "*shape"], num_antennas: int, angle_error: float
) -> Float[Array, "*shape lag"]:
    """Lags of E[a a^H] of a response whose azimuth and elevation are off by normal errors, eq. (9).

    Both errors are independent with standard deviation `angle_error` (rad). 2 sin(phi) cos(theta) = sin(phi + theta) +
    sin(phi - theta), and sum and difference of the errors are independent as well, so that the double average is a product
    of two single ones. Args: azimuth from broadside and elevation, rad.
    """
    flat = azimuth.reshape(-1), elevation.reshape(-1)
    both = namespace(azimuth).concat([flat[0] + flat[1], flat[0] - flat[1]])
    mean = _mean_response(both, 0.5, num_antennas, math.sqrt(2.0) * angle_error)
    first, second = mean[..., : len(flat[0])], mean[..., len(flat[0]) :]
    real = first[:, 0] * second[:, 0] - first[:, 1] * second[:, 1]
    imag = first[:, 0] * second[:, 1] + first[:, 1] * second[:, 0]
    return _as_lags(real, imag, azimuth.shape)


def _as_lags(
    real: Float[Array, "antenna direction"], imag: Float[Array, "antenna direction"], shape: Sequence[int]
) -> Float[Array, "*shape lag"]:
    """Lags by direction, from their real and imaginary parts; at distance 0 there is no imaginary one."""
    return namespace(real).concat([real, imag[1:]]).mT.reshape(*shape, 2 * len(real) - 1)


def _mean_response(
    angle: Float[Array, " direction"], scale: Float[Array, " direction"] | float, num_antennas: int, spread: float
) -> Float[Array, "antenna 2 direction"]:
    """Real and imaginary parts of E exp(j pi d scale sin(angle + delta)), delta ~ N(0, spread^2), for d = 0, 1, ..., N - 1."""
    xp = namespace(angle)
    node, weight = (constant(table, angle) for table in _nodes(num_antennas, spread))
    wave = stacked(xp.sin(angle), xp.cos(angle)) * (0.5 * math.pi * scale)
    part = max(1, (_PART if str(device(angle)) == "cpu" else _PART_OF_ACCELERATOR) // len(weight))
    parts = [_mean_over_nodes(wave[:, i : i + part], node, weight, num_antennas) for i in range(0, max(1, len(angle)), part)]
    return parts[0] if len(parts) == 1 else xp.concat(parts, axis=2)


def _mean_over_nodes(
    wave: Float[Array, "2 direction"], node: Float[Array, "node 2"], weight: Float[Array, " node"], num_antennas: int
) -> Float[Array, "antenna 2 direction"]:
    """Weighted sums of cos(2 d u) and sin(2 d u) over the nodes, u = node . wave, for d = 0, 1, ..., N - 1.

    Both follow from tan(u) for d = 1, from the Chebyshev recurrence for the others.
    """
    xp = namespace(wave)
    tangent = xp.tan(node @ wave)
    versed = 2.0 / (1.0 + tangent * tangent)  # 1 + cos(2 u)
    start = constant(_START, wave)
    now, before = stacked(versed - 1.0, tangent * versed), start[:, None]
    twice = 2.0 * now[0]
    mean = [start + 0.0 * wave]
    for lag in range(1, num_antennas):
        if lag > 1:
            now, before = twice * now - before, now
        mean.append(weight @ now)
    return stacked(*mean)


@kept()
def quadrature_table(num_antennas: int, spread: float) -> ndarray:
    """Cosine, sine and weight [node, 3] of the nodes of `normal_quadrature`, for the compiled core."""
    node, weight = _nodes(num_antennas, spread)
    return np.column_stack([node, weight])


@kept()
def _nodes(num_antennas: int, spread: float) -> tuple[ndarray, ndarray]:
    """Cosine and sine [node, 2] of the nodes of `normal_quadrature`, and their weights."""
    nodes, weights = normal_quadrature(num_antennas, spread)
    return np.column_stack([np.cos(nodes), np.sin(nodes)]), weights


@kept()
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
