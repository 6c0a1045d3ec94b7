"""Beams at angles with errors of any density: draws for blocks, and their mean covariance. Eq. (9) of docs/physics.md."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.propagation.correlation import pointing_lags
from isac_torch.propagation.geometry import angles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isac_torch.sensing.conditions import Pointing
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.scenario import TrackingScenario

_NODES = 16
"""Of each error's quadrature: 1e-9 in the lags up to 8 antennas and deviations of 0.1 rad, for all densities."""
_TOGETHER = 2**20
"""Directions times error pairs that are averaged at once."""


def draw_errors(
    pointing: Pointing, deviation: float, shape: Sequence[int], like: Tensor, generator: torch.Generator
) -> tuple[Float[Tensor, "drop block target sensing"], Float[Tensor, "drop block target sensing"]]:
    """Errors of azimuth and elevation, rad, of every sensing link in every block.

    Args:
        pointing: the density, and who errs.
        deviation: standard deviation of the azimuth's error of a target whose ratio is 1, rad.
        shape: drops, blocks, targets, sensing APs of each.
        like: gives the type and the device.
        generator: of the draws.
    """
    own = tuple(shape) if pointing.errs == "ap" else (*shape[:-1], 1)
    ratio = like.new_tensor(pointing.ratios(shape[-2])).unsqueeze(-1)

    def draw(scale: float) -> Tensor:
        if pointing.density == "normal":
            unit = torch.randn(own, generator=generator, dtype=like.dtype, device=generator.device)
        else:
            centred = torch.rand(own, generator=generator, dtype=like.dtype, device=generator.device) - 0.5
            unit = math.sqrt(12.0) * centred if pointing.density == "uniform" else _laplace(centred)
        return (scale * ratio * unit.to(like.device)).expand(*shape)

    return draw(deviation), draw(pointing.elevation_ratio * deviation)


def _laplace(centred: Tensor) -> Tensor:
    """Laplace variables of unit variance from uniform ones between -1/2 and 1/2."""
    return -torch.sign(centred) * torch.log1p(-2.0 * centred.abs()) / math.sqrt(2.0)


def mean_beam_lags(
    drop: TrackingDrop, scenario: TrackingScenario, pointing: Pointing, places: Float[Tensor, "drop target place 3"]
) -> Float[Tensor, "drop target sensing lag"]:
    """Lags of W[l, s] = E[w_0 w_0^H] over the errors and over `places` (m) that target l may be at; unit trace.

    Normal errors of equal deviation are averaged as in `channel_statistics`; others by quadrature over both angles.
    """
    targets, count = places.shape[1:3]
    azimuth, elevation = angles(drop.tx_position, drop.tx_orientation, places.flatten(1, 2))
    index = drop.sensing_ap[:, :, None].expand(-1, -1, count, -1)
    sideways, upwards = (a.transpose(1, 2).unflatten(1, (targets, count)).gather(3, index) for a in (azimuth, elevation))
    if pointing.is_normal:
        lags = pointing_lags(sideways, upwards, scenario.num_antennas, scenario.angle_error)
    else:
        lags = _quadrature_lags(sideways, upwards, scenario, pointing)
    return lags.mean(2) / scenario.num_antennas


def _quadrature_lags(azimuth: Tensor, elevation: Tensor, scenario: TrackingScenario, pointing: Pointing) -> Tensor:
    """Real and imaginary parts of E exp(j pi d sin(azimuth + error) cos(elevation + error)), d = 0 .. N - 1."""
    node, weight = (torch.as_tensor(table, dtype=azimuth.dtype, device=azimuth.device) for table in _rule(pointing.density))
    pair = torch.cartesian_prod(node, node)
    both = (weight[:, None] * weight).flatten()
    distance = torch.arange(scenario.num_antennas, dtype=azimuth.dtype, device=azimuth.device)
    part = max(1, _TOGETHER // (len(both) * scenario.num_antennas))
    ratio = azimuth.new_tensor(pointing.ratios(azimuth.shape[1]))[:, None, None]
    deviation = (scenario.angle_error * ratio).expand(azimuth.shape)
    means = []
    pieces = (a.flatten().split(part) for a in (azimuth, elevation, deviation))
    for sideways, upwards, spread in zip(*pieces, strict=True):
        first = torch.sin(sideways[:, None] + spread[:, None] * pair[:, 0])
        second = torch.cos(upwards[:, None] + pointing.elevation_ratio * spread[:, None] * pair[:, 1])
        phase = math.pi * (first * second).unsqueeze(-1) * distance
        means.append(torch.cat([torch.einsum("ned,e->nd", f(phase), both) for f in (torch.cos, torch.sin)], -1))
    mean = torch.cat(means).unflatten(0, azimuth.shape)
    return torch.cat([mean[..., : len(distance)], mean[..., len(distance) + 1 :]], -1)


def _rule(density: str) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of a variable of zero mean and unit variance."""
    if density == "uniform":
        node, weight = np.polynomial.legendre.leggauss(_NODES)
        return math.sqrt(3.0) * node, weight / 2.0
    if density == "laplace":
        node, weight = np.polynomial.laguerre.laggauss(_NODES // 2)
        return np.concatenate([-node, node]) / math.sqrt(2.0), np.concatenate([weight, weight]) / 2.0
    node, weight = np.polynomial.hermite_e.hermegauss(_NODES)
    return node, weight / weight.sum()
