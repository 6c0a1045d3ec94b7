"""Spatial correlation of the scattered channel. Equation (5) of docs/physics.md."""

from jaxtyping import Complex, Float
from torch import Tensor

from isac_torch.propagation.arrays import normal_quadrature, steering


def local_scattering_lags(
    azimuth: Float[Tensor, "*shape"], elevation: Float[Tensor, "*shape"], num_antennas: int, azimuth_spread: float
) -> Complex[Tensor, "*shape antenna"]:
    """First column of the unit-gain correlation matrix R of Gaussian local scattering, eq. (5).

    Scatterers lie around the nominal direction, their azimuth deviation is normal with standard deviation `azimuth_spread`
    (rad). A uniform linear array makes R Toeplitz, so its first column says everything; quadrature keeps R positive
    semidefinite. Args: azimuth from broadside and elevation, rad.
    """
    nodes, weights = normal_quadrature(num_antennas, azimuth_spread, azimuth)
    scattered = steering(
        azimuth.unsqueeze(-1) + nodes,
        elevation.unsqueeze(-1).expand(*elevation.shape, nodes.numel()),
        num_antennas,
    )
    return (scattered * weights.unsqueeze(-1)).sum(-2)


def pointing_lags(
    azimuth: Float[Tensor, "*shape"], elevation: Float[Tensor, "*shape"], num_antennas: int, angle_error: float
) -> Complex[Tensor, "*shape antenna"]:
    """First column of E[a a^H] of a response whose azimuth and elevation are off by normal errors, eq. (9).

    Both errors are independent with standard deviation `angle_error` (rad). Args: azimuth from broadside and elevation, rad.
    """
    nodes, weights = normal_quadrature(num_antennas, angle_error, azimuth)
    count = nodes.numel()
    shape = (*azimuth.shape, count, count)
    erred = steering(
        (azimuth[..., None, None] + nodes[:, None]).expand(shape),
        (elevation[..., None, None] + nodes[None, :]).expand(shape),
        num_antennas,
    )
    return (erred * (weights[:, None] * weights[None, :]).unsqueeze(-1)).sum((-3, -2))
