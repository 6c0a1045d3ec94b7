"""The position requirement inside a solver: value, slope and curvature of h_l(x) / required_l, concave in the powers.

With J(x) of `tracking.position`, S = J^-1, u_i = S e_i (i = x, y) and Q = sum_i u_i u_i^T, h = 1 / tr_xy(S) has the slope

    dh/dx_e = h^2 sum_r [E_e g_r^T Q g_r + sum_m (d_e - 2 rho v_e + rho^2 E_e) g_m^T Q g_m],      rho = v / E,

and minus its second derivative is a sum of squares, K^T K over the links. One part is the curvature of the Schur complements,

    2 h^2 / E (v_e - rho E_e)^2 g_m^T Q g_m      for each receive AP and transmit AP m of the link,

the other that of the inverse: with S = L L^T, z_ie = L^T dJ/dx_e u_i, c_i = L^T e_i, and the z_i and the c_i each put below
each other to vectors of six, it is 2 h^2 |z_e - h c (c^T z_e)|^2, because c^T c = 1 / h.

A tangent of a concave function lies above it: a solver's bound stays true if it knows h by its tangents alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.tracking.position import PositionInformation


@dataclass(frozen=True)
class Shape:
    """h over what is required, at given powers.

    Attributes:
        value: h_l / required_l.
        slope: over the relative powers; not negative.
        curve: K_l, so that minus the second derivative is K_l^T K_l.
    """

    value: Float[Tensor, "drop target"]
    slope: Float[Tensor, "drop target link"]
    curve: Float[Tensor, "drop target square link"]


def scaled_information(information: PositionInformation, limit: Float[Tensor, "drop link"]) -> PositionInformation:
    """The same of powers relative to `limit` (W), in units of what each target requires: its `h` is h / required."""
    unit = information.required
    rate = limit[:, None, None, :] / unit[..., None, None]
    return replace(
        information,
        energy=information.energy * rate,
        cross=information.cross * rate,
        spread=information.spread * rate,
        prior=information.prior / unit.unsqueeze(-1),
        required=torch.ones_like(unit),
    )


def shape(information: PositionInformation, power: Float[Tensor, "drop link"]) -> Shape:
    """Value, slope and curvature at positive powers, in the units of the information."""
    drops, targets, listening, links = information.energy.shape
    seen = information.energies(power)  # drop target listening ap
    crossed = _crossed(information, power)
    ratio = torch.where(seen > 0.0, crossed / torch.where(seen > 0.0, seen, 1.0), 0.0)
    inverse = torch.linalg.inv_ex(information.information(power))[0]
    horizontal = inverse[..., :2]  # u_x and u_y as columns
    h = 1.0 / inverse[..., :2, :2].diagonal(dim1=-2, dim2=-1).sum(-1)
    arrived = information.arrival @ horizontal  # g_r^T u_i: drop target listening 2
    departed = information.departure @ horizontal  # drop target ap 2
    index = information.link_ap[:, None, None, :].expand(drops, targets, listening, links)
    rho, energy = ratio.gather(3, index), seen.gather(3, index)
    leaves = information.spread - 2.0 * rho * information.cross + rho.square() * information.energy
    by_link = information.link_ap[:, None, :, None]
    left = departed.gather(2, by_link.expand(drops, targets, links, 2))  # g_m^T u_i of each link's AP
    worth = left.square().sum(-1).unsqueeze(2)
    squared = h.square().unsqueeze(-1)
    slope = squared * (information.energy * arrived.square().sum(-1, keepdim=True) + leaves * worth).sum(2)
    bent = information.cross - rho * information.energy
    bent = bent * (2.0 * worth / energy.clamp_min(1e-300)).sqrt() * h[..., None, None]
    own = torch.nn.functional.one_hot(information.link_ap, information.departure.shape[2]).to(bent).mT
    parts = bent.unsqueeze(3) * own[:, None, None]  # drop target listening ap link
    factor = torch.linalg.cholesky_ex(inverse)[0].mT  # L^T
    turned_in = information.arrival @ factor.mT  # (L^T g)^T
    turned_out = (information.departure @ factor.mT).gather(2, by_link.expand(drops, targets, links, 3))
    z = torch.einsum("dtle,dtlc,dtli->dtice", information.energy, turned_in, arrived)
    z = z + torch.einsum("dte,dtec,dtei->dtice", leaves.sum(2), turned_out, left)
    z = z.reshape(drops, targets, 6, links)
    c = factor[..., :2].mT.reshape(drops, targets, 6, 1)
    z = z - h[..., None, None] * c * (c * z).sum(2, keepdim=True)
    curve = torch.cat([2.0**0.5 * h[..., None, None] * z, parts.flatten(2, 3)], 2)
    return Shape(h, slope, curve)


def _crossed(information: PositionInformation, power: Tensor) -> Tensor:
    """v of every transmit AP at every listening receive AP."""
    drops, targets, listening, links = information.cross.shape
    index = information.link_ap[:, None, None, :].expand(drops, targets, listening, links)
    empty = power.new_zeros(drops, targets, listening, information.departure.shape[2])
    return empty.scatter_add(3, index, information.cross * power[:, None, None, :])
