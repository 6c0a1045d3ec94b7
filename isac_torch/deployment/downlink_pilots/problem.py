"""The min-max NMSE problem of one road in numpy: what powers are worth, and the slopes of that.

The same quantities as `isac_torch.downlink_pilots.problem.MinMaxNmseProblem`, for one road and without torch, eqs. (P5)-(P8)
and (P13)-(P15) of docs/downlink_pilots.md. Powers are [ue, ap], W; energies are in units of the pilot's noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

if TYPE_CHECKING:
    from typing import Literal


TINY = 1e-300
"""W that counts as no power."""


class Value(NamedTuple):
    """A quantity of every UE and its slopes.

    Attributes:
        value: of each UE.
        slope: [k, j, m] derivative of UE k's by the power of the link from AP m to UE j, 1/W; [k, m] by its own links alone.
    """

    value: Float[ndarray, " ue"]
    slope: Float[ndarray, "..."]

    def pulled(self, weight: Float[ndarray, " ue"]) -> Float[ndarray, "ue ap"]:
        """Slope of the sum of the UEs' values, each times its weight."""
        if self.slope.ndim == 2:
            return weight[:, None] * self.slope
        return np.tensordot(weight, self.slope, 1)

    @property
    def every(self) -> Float[ndarray, "ue ue ap"]:
        """The slopes by all links, those of other UEs' links too where they are zero."""
        if self.slope.ndim == 3:
            return self.slope
        slope = np.zeros((len(self.slope), *self.slope.shape))
        own = np.arange(len(slope))
        slope[own, own] = self.slope
        return slope


@dataclass(frozen=True, eq=False)
class RoadProblem:
    """One min-max NMSE problem. Attributes and units are those of `MinMaxNmseProblem`, without the axis of drops.

    `orthogonal`: all pilots are, up and down; then every receiver is the same. `shared`: some UEs share an uplink pilot.
    """

    gain: Float[ndarray, "ue ap"]
    estimate: Float[ndarray, "ue ap"]
    gram: Float[ndarray, "2 ue ue"]
    same_pilot: Float[ndarray, "ue ue"]
    fisher: Float[ndarray, "3 ue ap"]
    crb_max: Float[ndarray, " ue"]
    weight: Float[ndarray, " ue"]
    budget: Float[ndarray, " ap"]
    serves: Float[ndarray, "ue ap"] | None
    receiver: Literal["lmmse", "projection", "ignorant"]
    orthogonal: bool
    shared: bool

    @property
    def even(self) -> Float[ndarray, "ue ap"]:
        """Each AP's budget in equal parts over the UEs that it serves, W."""
        if self.serves is None:
            return np.broadcast_to(self.budget / len(self.gain), self.gain.shape)
        return self.serves * (self.budget / np.maximum(self.serves.sum(0), 1.0))

    def sent(self, power: Float[ndarray, "ue ap"]) -> Float[ndarray, "ue ap"]:
        """The same powers (W), 0 on links that carry none."""
        return power if self.serves is None else power * self.serves

    def positive(self, power: Float[ndarray, "ue ap"]) -> Float[ndarray, "ue ap"]:
        """`sent` with the least number in place of 0, which has no slope."""
        return np.maximum(self.sent(power), TINY)

    def strength(self, power: Float[ndarray, "ue ap"]) -> Value:
        """E|a_k|^2 of the effective channel and its slopes in the UE's own powers, [ue, ap]. `power` in W, positive."""
        root = np.sqrt(self.estimate * power)
        total = root.sum(-1)
        value = total * total + (self.gain * power).sum(-1)
        return Value(value, total[:, None] * root / power + self.gain)

    def error(self, power: Float[ndarray, "ue ap"]) -> Value:
        """Mean squared error of the UE's channel estimate, eq. (P7), and its slopes. `power` in W, positive.

        Slopes by the UE's own links, [ue, ap], where pilots are orthogonal, else by those of all UEs, [ue, ue, ap].
        """
        if self.orthogonal:
            heard = (self.gain * power).sum(-1)
            left = 1.0 / (1.0 + heard)
            return Value(heard * left, (left * left)[:, None] * self.gain)
        streams = self._streams(power)
        weights = self._weights(streams)
        product = weights @ (self.gram[0] + 1j * self.gram[1])
        rest = np.eye(len(weights)) - product
        value = np.einsum("kj,ki,kji->k", rest, rest.conj(), streams).real + (product * weights.conj()).sum(-1).real
        coupled = np.einsum("kj,ki->kji", rest, rest.conj()).real * self.same_pilot
        root = np.sqrt(power)
        slope = self.gain[:, None] * (coupled @ root) / root
        if self.receiver == "ignorant":
            own = np.arange(len(weights))
            heard = streams[own, own, own]
            pull = -2.0 * np.einsum("kj,ki,kji->k", self.gram[0] + 1j * self.gram[1], rest.conj(), streams).real
            by_weight = pull + 2.0 * weights[own, own].real
            slope[own, own] += (by_weight / (1.0 + heard) ** 2)[:, None] * self.gain
        return Value(value, slope)

    def _streams(self, power: Float[ndarray, "ue ap"]) -> Float[ndarray, "ue ue ue"]:
        """Cov(a_kj, a_ki) of the streams j and i as UE k hears them, eq. (P5)."""
        root = np.sqrt(power)
        return (root * self.gain[:, None]) @ root.T * self.same_pilot

    def _weights(self, streams: Float[ndarray, "ue ue ue"]) -> ndarray:
        """Complex weights of the receiver, [ue, stream], eqs. (P6a)-(P6c)."""
        own = np.arange(len(streams))
        gram = self.gram[0] + 1j * self.gram[1]
        row = streams[own, own]
        if self.receiver == "lmmse":
            joint = np.eye(len(own)) + gram @ streams
            try:
                return np.linalg.solve(joint.swapaxes(-1, -2), row[..., None].astype(complex))[..., 0]
            except np.linalg.LinAlgError:  # energies of 10^16 and more, beside which the noise vanishes
                return np.einsum("ki,kij->kj", row, np.linalg.pinv(joint))
        weights = np.zeros((len(own), len(own)), dtype=complex)
        if self.receiver == "ignorant":
            heard = streams[own, own, own]
            weights[own, own] = heard / (1.0 + heard)
        else:
            observed = 1.0 + np.einsum("kj,ki,kji->k", gram, gram.conj(), streams).real
            weights[own, own] = (gram * row).sum(-1).conj() / observed
        return weights

    def nmse(self, power: Float[ndarray, "ue ap"]) -> Float[ndarray, " ue"]:
        """Normalised mean squared error of each UE's channel estimate, eq. (P8). `power` in W, positive."""
        return self.error(power).value / self.strength(power).value

    def quality(self, power: Float[ndarray, "ue ap"]) -> Value:
        """log(Gamma / CRB) of each UE and its slopes in the UE's own powers, [ue, ap]; -inf where it cannot be located."""
        xx, yy, xy = np.add.reduce(self.fisher * power, -1)
        trace, determinant = xx + yy, xx * yy - xy * xy
        with np.errstate(divide="ignore", invalid="ignore"):
            value = np.where(determinant > 0.0, np.log(self.crb_max * determinant / trace), -np.inf)
            by_xx, by_yy = yy / determinant - 1.0 / trace, xx / determinant - 1.0 / trace
            x, y, cross = self.fisher
            slope = by_xx[:, None] * x + by_yy[:, None] * y - (2.0 * xy / determinant)[:, None] * cross
        return Value(value, slope)

    def crb(self, power: Float[ndarray, "ue ap"]) -> Float[ndarray, " ue"]:
        """Lower bound on the mean squared position error of each UE, m2, eq. (P15). `power` in W."""
        return self.crb_max * np.exp(-self.quality(power).value)
