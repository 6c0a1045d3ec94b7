"""What the powers tell of the targets' positions: Fisher information, concave in the powers. Eqs. (65)-(69) of docs/sensing.md.

One look at target l from receive AP r (of those that listen for it) and transmit AP m gives

    E(p) = sum_e energy_e p_e,   v(p) = sum_e cross_e p_e,   d(p) = sum_e spread_e p_e      over the links e of AP m
    J(p) = sum_r [ (sum_m E) g_r g_r^T + sum_m (d - v^2 / E) g_m g_m^T ] + diag(prior)

E tells the direction of arrival (g_r), the Schur complement d - v^2 / E the direction of departure (g_m). The complement is
jointly concave and homogeneous of degree one, so that J is concave in the order of semidefinite matrices, and

    h(p) = 1 / tr_xy(J(p)^-1),    1/m2

the reciprocal of the squared error bound of the horizontal position, is concave too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Generic

from jaxtyping import Float, Int

from isac_torch.tensors import Array, all_but_own, at_rows, constant, counting, map_tensors, namespace, sum_at

_UPPER = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
"""Entries of a symmetric matrix."""


@dataclass(frozen=True)
class PositionInformation(Generic[Array]):
    """Position information of every target by the powers, and how much of it is required; tensors or numpy arrays.

    Attributes:
        energy: E of a watt on each link, 1/W.
        cross: v of a watt on each link, 1/W; imaginary in (65), because beams of uniform linear arrays are persymmetric.
        spread: d of a watt on each link, 1/W.
        arrival: g_r, how fast the echo's phase across receive AP r changes with the target's position, 1/m.
        departure: g_m, the same of transmit AP m, 1/m.
        prior: information before the look along each axis, 1/m2.
        required: h that each target needs, 1/m2.
        link_ap: transmit AP of each link.
    """

    energy: Float[Array, "drop target listening link"]
    cross: Float[Array, "drop target listening link"]
    spread: Float[Array, "drop target listening link"]
    arrival: Float[Array, "drop target listening 3"]
    departure: Float[Array, "drop target ap 3"]
    prior: Float[Array, "drop target 3"]
    required: Float[Array, "drop target"]
    link_ap: Int[Array, "drop link"]

    def energies(self, power: Float[Array, "drop link"]) -> Float[Array, "drop target listening ap"]:
        """E of every transmit AP at every listening receive AP; `power` in W."""
        return self._by_ap(self.energy, power)

    def departures(self, power: Float[Array, "drop link"]) -> Float[Array, "drop target listening ap"]:
        """d - v^2 / E of every transmit AP at every listening receive AP, 0 where the AP sends nothing; `power` in W."""
        xp = namespace(power)
        energy = self._by_ap(self.energy, power)
        sent = energy > 0
        cross = self._by_ap(self.cross, power)
        lost = cross * cross / xp.where(sent, energy, 1.0)
        return xp.where(sent, self._by_ap(self.spread, power) - lost, 0.0)

    def information(self, power: Float[Array, "drop link"]) -> Float[Array, "drop target 3 3"]:
        """J of every target, 1/m2, eq. (66); `power` in W. Concave in the powers, differentiable where every AP sends."""
        arrived = self.energies(power).sum(-1)[..., None] * self.arrival  # drop target listening 3
        departed = self.departures(power).sum(2)[..., None] * self.departure  # drop target ap 3
        eye = constant(1.0, power) - all_but_own(3, power)
        return arrived.mT @ self.arrival + departed.mT @ self.departure + self.prior[..., None] * eye

    def h(self, power: Float[Array, "drop link"]) -> Float[Array, "drop target"]:
        """1 / tr_xy(J^-1) of every target, 1/m2, eq. (67); `power` in W. Concave in the powers."""
        j = self.information(power)
        # What is left of the horizontal part once the height is unknown too.
        high = j[..., 2, 2]
        xx = j[..., 0, 0] - j[..., 0, 2] * j[..., 0, 2] / high
        yy = j[..., 1, 1] - j[..., 1, 2] * j[..., 1, 2] / high
        xy = j[..., 0, 1] - j[..., 0, 2] * j[..., 1, 2] / high
        return (xx * yy - xy * xy) / (xx + yy)

    def slopes(self, power: Float[Array, "drop link"]) -> tuple[Float[Array, "drop target link"], Float[Array, "drop target"]]:
        """Gradient of h in the powers, 1/m2 per W, and h, 1/m2, eq. (67); `power` in W.

        With u_i = J^-1 e_i of the horizontal axes and rho = v / E, a watt on link e of AP m adds

            h^2 sum_r [energy_e sum_i (g_r^T u_i)^2 + (spread_e - 2 rho cross_e + rho^2 energy_e) sum_i (g_m^T u_i)^2].
        """
        xp = namespace(power)
        h, columns = self.h(power), self._horizontal(power)
        arrived = (self.arrival @ columns) ** 2  # drop target listening 2
        departed = (self.departure @ columns) ** 2  # drop target ap 2
        energy = self._by_ap(self.energy, power)
        sent = energy > 0
        rho = self._at_links(xp.where(sent, self._by_ap(self.cross, power) / xp.where(sent, energy, 1.0), 0.0))
        leaves = (self.spread - 2.0 * rho * self.cross + rho * rho * self.energy).sum(2)
        worth = self._at_links(departed.sum(3)[:, :, None])[:, :, 0]
        slope = (self.energy * arrived.sum(3)[..., None]).sum(2) + leaves * worth
        return (h * h)[..., None] * slope, h

    def _horizontal(self, power: Float[Array, "drop link"]) -> Float[Array, "drop target 3 2"]:
        """The first two columns of J^-1, m2, by cofactors."""
        xp, j = namespace(power), self.information(power)
        xx, xy, xz, yy, yz, zz = (j[..., row, column] for row, column in _UPPER)
        first = [yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy]
        second = [first[1], xx * zz - xz * xz, xy * xz - xx * yz]
        rows = xp.stack([xp.stack(pair, axis=-1) for pair in zip(first, second, strict=True)], axis=-2)
        determinant = xx * first[0] + xy * first[1] + xz * first[2]
        return rows / determinant[..., None, None]

    def error(self, power: Float[Array, "drop link"]) -> Float[Array, "drop target"]:
        """Error bound of every target's horizontal position, m: 1 / sqrt(h); `power` in W."""
        return self.h(power) ** -0.5

    def select(self, index: Int[Array, " chosen"]) -> PositionInformation[Array]:
        """The drops at `index`, in that order."""
        return map_tensors(self, lambda t: t[index])

    def of_links(self, link: Int[Array, "drop chosen"]) -> PositionInformation[Array]:
        """The information that some links of each drop give; what is required stays."""
        drop = counting(len(link), link)[:, None, None, None]
        target, listening = counting(self.energy.shape[1], link)[:, None, None], counting(self.energy.shape[2], link)[:, None]
        rates = {
            name: getattr(self, name)[drop, target, listening, link[:, None, None]] for name in ("energy", "cross", "spread")
        }
        return replace(self, link_ap=at_rows(self.link_ap, link), **rates)

    def weighted(self, weight: Float[Array, "drop link"]) -> PositionInformation[Array]:
        """The same where a watt on a link counts as `weight` watts."""
        rates = {name: getattr(self, name) * weight[:, None, None] for name in ("energy", "cross", "spread")}
        return replace(self, **rates)

    def _at_links(self, value: Array) -> Array:
        """Each AP's value at its links: [drop target listening ap] as [drop target listening link]."""
        drop = counting(len(value), self.link_ap)[:, None]
        return namespace(value).moveaxis(namespace(value).moveaxis(value, 3, 1)[drop, self.link_ap], 1, 3)

    def _by_ap(self, rate: Array, power: Array) -> Array:
        """Sums over the links of each AP: [drop target listening ap]."""
        drops, targets, listening, links = rate.shape
        num_aps = self.departure.shape[2]
        xp = namespace(power)
        flat = xp.reshape(rate * power[:, None, None, :], (drops * targets * listening, links))
        index = xp.broadcast_to(self.link_ap[:, None, None, :], rate.shape)
        return xp.reshape(sum_at(flat, xp.reshape(index, flat.shape), num_aps), (drops, targets, listening, num_aps))
