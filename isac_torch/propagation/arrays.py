"""Responses of half-wavelength uniform linear arrays and their averages over random angles."""

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor


def steering(
    azimuth: Float[Tensor, "*shape"], elevation: Float[Tensor, "*shape"], num_antennas: int
) -> Complex[Tensor, "*shape antenna"]:
    """Array response a with unit-modulus entries, eq. (4). Args: azimuth from broadside and elevation, rad."""
    index = torch.arange(num_antennas, dtype=azimuth.dtype, device=azimuth.device)
    phase = math.pi * (azimuth.sin() * elevation.cos()).unsqueeze(-1) * index
    return torch.polar(torch.ones_like(phase), phase)


def normal_quadrature(num_antennas: int, spread: float, like: Tensor) -> tuple[Float[Tensor, " node"], Float[Tensor, " node"]]:
    """Nodes and weights with sum_i w_i f(x_i) ~ E f(x) for x ~ N(0, spread^2), f the phases across `num_antennas`.

    The trapezoidal rule over 8.5 deviations, which converges exponentially for a normal density. The phase pi (N - 1) sin(x)
    of the last antenna has harmonics of x up to about pi (N - 1) + 14 above 1e-12, and the nodes must resolve the last one.
    """
    reach = 8.5
    count = 24 + math.ceil(3 * (math.pi * (num_antennas - 1) + 14) * spread)
    nodes = torch.linspace(-reach, reach, count, dtype=torch.float64)
    weights = torch.softmax(-nodes.square() / 2, dim=0)
    return spread * nodes.to(like), weights.to(like)


def toeplitz(lags: Complex[Tensor, "*shape antenna"]) -> Complex[Tensor, "*shape antenna antenna"]:
    """Hermitian Toeplitz matrix whose first column is `lags`."""
    size = lags.shape[-1]
    index = torch.arange(size, device=lags.device)
    lag = index[:, None] - index[None, :]
    full = lags[..., lag.abs()]
    return torch.where(lag < 0, full.conj(), full)
