"""The localisation bound under fading: its mean over the blocks and its quantile. Equations (P15a)-(P15c) of the docs.

In a block, AP m's beam to UE k has the power p_mk |g_hat_mk|^2 / gamma_mk, and |g_hat_mk|^2 / gamma_mk is exponential with mean
1, independent from AP to AP: the beam is the conjugate of the channel's estimate. `Information` of a link is that of its mean
power, so that a block's information is the sum over the APs of the links' information times these exponentials.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Information: TypeAlias = tuple[Float[Tensor, "drop ue ap"], Float[Tensor, "drop ue ap"], Float[Tensor, "drop ue ap"]]
"""xx, yy, xy of the information that each link brings about a UE's position at its mean power, 1/m2."""

_RADII = torch.arange(-10.0, 19.0, dtype=torch.float64).exp()
"""Nodes of the trapezoidal rule in the logarithm of the radius; its error falls as exp(-2 pi^2 / step)."""
_LATITUDES, _LONGITUDES = 8, 32
_BLOCKS = 4096
"""Blocks that a quantile is read from, the same quasi-random ones for every UE: its probability is right to about 0.1 %."""
_ELEMENTS = 4_000_000
"""Numbers held at once."""


def bound(xx: Tensor, yy: Tensor, xy: Tensor) -> Tensor:
    """tr J^-1 of information matrices given by their entries; inf where J is singular, eq. (P15)."""
    determinant = xx * yy - xy.square()
    blind = determinant <= 0
    value = (xx + yy) / determinant.masked_fill(blind, 1.0)
    return torch.where(blind, torch.full_like(value, torch.inf), value)


def expected_bound(information: Information) -> Float[Tensor, "drop ue"]:
    """Mean of tr J^-1 over the fading, m2, by quadrature of the integral (P15b): 1e-5 on random powers; inf below two APs.

    With J = sum_m e_m J_m: tr J^-1 = tr J / det J, 1 / det J = pi^-2 int exp(-v^H J v) dv over v in C^2, and the mean over
    every e_m is elementary. What remains is an integral over the radius |v|^2 and over the sphere of directions of v.
    """
    xx, yy, xy = information
    if not xx.numel():
        return xx.sum(-1)
    size = max(1, _ELEMENTS // (xx.shape[1] * len(_RADII) * _LATITUDES * _LONGITUDES))
    parts = zip(xx.split(size), yy.split(size), xy.split(size), strict=True)
    return torch.cat([_expected(*part) for part in parts])


def _expected(xx: Tensor, yy: Tensor, xy: Tensor) -> Tensor:
    total = (xx + yy).sum(-1, keepdim=True)
    silent = total <= 0
    scale = total.masked_fill(silent, 1.0)
    trace, difference, cross = (xx + yy) / scale, (xx - yy) / scale, 2.0 * xy / scale
    cosine, sine, weight = (node.to(xx) for node in _directions())
    radius = _RADII.to(xx)
    product, ratio = torch.ones_like(radius[:, None] * cosine), torch.zeros_like(cosine)
    for ap in range(xx.shape[-1]):
        form = 0.5 * (trace[..., ap, None] + cosine * difference[..., ap, None] + sine * cross[..., ap, None])
        factor = 1.0 / (1.0 + radius[:, None] * form.unsqueeze(-2))
        product = product * factor
        ratio = ratio + trace[..., ap, None, None] * factor
    mean = ((ratio * product * weight).sum(-1) * radius.square()).sum(-1)
    few = ((xx + yy) > 0).sum(-1) < 2  # the mean of 1 / e is infinite
    return torch.where(few, torch.full_like(mean, torch.inf), mean / scale[..., 0])


@lru_cache(maxsize=1)
def _directions() -> tuple[Tensor, Tensor, Tensor]:
    """Two coordinates of nodes on the unit sphere, and their weights, which sum to one; the third enters by its square only."""
    node, weight = np.polynomial.legendre.leggauss(_LATITUDES)
    height, share = torch.as_tensor(0.5 * (node + 1.0)), torch.as_tensor(0.5 * weight)
    angle = 2.0 * math.pi * (torch.arange(_LONGITUDES, dtype=torch.float64) + 0.5) / _LONGITUDES
    radius = (1.0 - height.square()).sqrt().unsqueeze(-1)
    every = share.unsqueeze(-1).expand(-1, _LONGITUDES) / _LONGITUDES
    return (radius * angle.cos()).flatten(), (radius * angle.sin()).flatten(), every.flatten()


def outage_bound(information: Information, percent: int) -> Float[Tensor, "drop ue"]:
    """What tr J^-1 exceeds in `percent` % of the blocks, m2, eq. (P15c): a quantile of fixed quasi-random blocks."""
    blocks = _exponentials(information[0].shape[-1]).to(information[0])
    size = max(1, _ELEMENTS // max(1, information[0].shape[1] * _BLOCKS))
    rank = _BLOCKS - (percent * _BLOCKS) // 100
    parts = []
    for xx, yy, xy in zip(*(part.split(size) for part in information), strict=True):
        values = bound(*(part @ blocks.mT for part in (xx, yy, xy)))
        parts.append(values.sort(-1).values[..., rank - 1])
    return torch.cat(parts) if parts else information[0].sum(-1)


@lru_cache(maxsize=8)
def _exponentials(aps: int) -> Tensor:
    """Quasi-random exponential variables of mean 1, [block, ap]."""
    uniform = torch.quasirandom.SobolEngine(aps, scramble=True, seed=1).draw(_BLOCKS, dtype=torch.float64)
    return -torch.log1p(-uniform.clamp(1e-9, 1.0 - 1e-9))
