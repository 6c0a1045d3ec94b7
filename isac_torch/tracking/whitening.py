"""What the filter against clutter leaves of echoes, from the powers alone. Eqs. (31), (53) and (54) of docs/sensing.md.

The receive APs whiten their samples by the covariance of the clutter, which the transmitted sequences make. For random
sequences the large-system limit of that filter depends on the powers only: those of the *reference* here, so that what is built
on it is linear (or concave) in the powers to be found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

from array_api_compat import device
from jaxtyping import Complex, Float, Int

from isac_torch.propagation.geometry import distance
from isac_torch.propagation.path_loss import umi_los_gain, umi_nlos_gain
from isac_torch.tensors import Array, at_least, at_rows, constant, counting, namespace, sum_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from isac_torch.tracking.channel import ChannelStatistics
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.physics import Physics
    from isac_torch.tracking.problem import MaxMinSinrProblem
    from isac_torch.tracking.setup import SensingSetup

_STEPS = 40
"""Bisections of (53); it stops earlier once the share is known to `_ENOUGH`."""
_ENOUGH = 1e-11
_ROUNDS = 3
"""Rounds of (54), in which what one AP's clutter takes of a stream depends on the filter against the other streams."""


def nlos_probability(distance: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Probability that two points at `distance` (m) do not see each other, 3GPP TR 36.814 urban micro, eq. (30).

    The product form is exactly 0 within 18 m, where 1 - p_LoS would leave rounding errors.
    """
    return at_least(1.0 - 18.0 / distance, 0.0) * -namespace(distance).expm1(-distance / 36.0)


def clutter_power(drop: TrackingDrop[Array], physics: Physics, setup: SensingSetup) -> Float[Array, "drop rx ap"]:
    """kappa^2 of every pair of a receive and a transmit AP over the noise power, 1/W, eq. (31)."""
    gap = distance(drop.rx_position, drop.tx_position)
    gain = umi_nlos_gain if setup.clutter_path == "nlos" else umi_los_gain
    scattered = gain(gap, physics.carrier_frequency) * nlos_probability(gap)
    return setup.clutter_factor * scattered / physics.noise_power


@dataclass(frozen=True)
class Beams(Generic[Array]):
    """Every link's AP, mean beam E[w w^H] (unit trace) and reference power (W), UE links first."""

    ap: Int[Array, "drop link"]
    mean: Complex[Array, "drop link antenna antenna"]
    power: Float[Array, "drop link"]
    num_ues: int
    num_comm: int

    def shared(self, value: Float[Array, "drop rx link"]) -> Float[Array, "drop rx link"]:
        """What the other links of the same stream have together: a UE's links carry one stream, a sensing link its own."""
        xp = namespace(value)
        drops, receivers, _ = value.shape
        comm = xp.reshape(value[..., : self.num_comm], (drops, receivers, self.num_ues, self.num_comm // self.num_ues))
        others = xp.reshape(comm.sum(-1)[..., None] - comm, (drops, receivers, self.num_comm))
        return xp.concat([others, xp.zeros_like(value[..., self.num_comm :])], axis=-1)


def mean_beams(
    problem: MaxMinSinrProblem[Array], statistics: ChannelStatistics[Array], reference: Float[Array, "drop link"]
) -> Beams[Array]:
    """Beams of every link of the problem with these powers (W) as reference."""
    xp = namespace(reference)
    parts = [
        x.reshape(x.shape[0], x.shape[1] * x.shape[2], *x.shape[3:]) for x in (statistics.data_beam, statistics.sensing_beam)
    ]
    return Beams(problem.link_ap, xp.concat(parts, axis=1), reference, problem.num_ues, problem.num_comm_links)


@dataclass(frozen=True)
class Whitening(Generic[Array]):
    """What the clutter's filter leaves of samples at the reference powers, per receive AP.

    Attributes:
        passed: delta, share of the energy of a sequence that the transmit APs' streams have nothing to do with.
        overlap: mean squared correlation of two such sequences after the filter.
        weight: omega, share of a link's energy left by the clutter of the same stream from other APs.
        shrink: (I + tau_s delta kappa^2 C)^-1/2, what the AP's own clutter leaves besides.
        covariance: C, of the AP's samples with each link's weight, W.
        samples: tau_s.
    """

    passed: Float[Array, "drop rx"]
    overlap: Float[Array, "drop rx"]
    weight: Float[Array, "drop rx link"]
    shrink: Complex[Array, "drop rx ap antenna antenna"]
    covariance: Complex[Array, "drop rx ap antenna antenna"]
    samples: int


def whitening(beams: Beams[Array], clutter: Float[Array, "drop rx ap"], samples: int) -> Whitening[Array]:
    """Large-system limit of the filter (T + I)^-1, eqs. (53)-(54): T has random streams, its limit only their powers.

    Args: clutter, kappa^2 over the noise, 1/W; samples, tau_s.
    """
    xp = namespace(clutter)
    drops, receivers, _ = clutter.shape
    at_links = xp.take_along_axis(clutter, xp.broadcast_to(beams.ap[:, None, :], (drops, receivers, beams.ap.shape[1])), axis=2)
    alone = at_links * beams.power[:, None, :]
    taken = alone
    for _ in range(_ROUNDS):
        passed, weight, covariance = _share_passed(beams, clutter, samples, beams.shared(taken))
        taken = _taken(beams, alone, samples * passed, at_links, weight, covariance)
    value, vector = xp.linalg.eigh(covariance)
    value = clutter[..., None] * at_least(value, 0.0)
    loss = 1.0 + samples * passed[..., None, None] * value
    left = value / loss
    falling = 1.0 / (1.0 / (passed * passed) - samples * (left * left).sum((-2, -1)))
    shrink = (vector / xp.sqrt(loss)[..., None, :]) @ xp.conj(vector).mT
    return Whitening(passed, falling / (samples * passed * passed), weight, shrink, covariance, samples)


def _share_passed(
    beams: Beams[Array], clutter: Float[Array, "drop rx ap"], samples: int, others: Float[Array, "drop rx link"]
) -> tuple[Array, Array, Array]:
    """delta of (53), and omega and C there; `others` is the clutter of the same stream from other APs, over the noise."""
    xp = namespace(clutter)
    eye = constant(1.0, clutter) * xp.eye(beams.mean.shape[-1], dtype=beams.mean.dtype, device=device(beams.mean))

    def strength(passed: Array) -> tuple[Array, Array]:
        weight = 1.0 / (1.0 + samples * passed[..., None] * others)
        return weight, _covariance(beams, weight, clutter.shape[2])

    def excess(passed: Array) -> Array:
        """delta (1 + share) - 1, which rises with delta and is 0 at the solution."""
        cluttered = clutter[..., None, None] * strength(passed)[1]
        inside = xp.linalg.solve(eye + samples * passed[..., None, None, None] * cluttered, cluttered)
        share = xp.real(xp.linalg.trace(inside)).sum(-1)
        return passed * (1.0 + share) - 1.0

    passed = _root(excess, others.sum(-1))
    weight, covariance = strength(passed)
    return passed, weight, covariance


def _taken(
    beams: Beams[Array],
    alone: Float[Array, "drop rx link"],
    scale: Float[Array, "drop rx"],
    clutter: Float[Array, "drop rx link"],
    weight: Float[Array, "drop rx link"],
    covariance: Complex[Array, "drop rx ap one two"],
) -> Float[Array, "drop rx link"]:
    """What the filter takes of each UE's stream because of one of its links, as the power of clutter that would do so alone.

    An AP has fewer antennas than streams: beside the others, one of them is seen through the filter against these.
    Sensing links, whose streams no other AP sends, stay as they are.
    """
    xp = namespace(clutter)
    count = beams.num_comm
    mean = beams.mean[:, None, :count]
    own = (weight * beams.power[:, None])[:, :, :count, None, None] * mean
    rest = xp.moveaxis(at_rows(xp.moveaxis(covariance, 2, 1), beams.ap[:, :count]), 1, 2) - own
    seen = (scale[..., None] * clutter[..., :count])[..., None, None] * rest
    eye = constant(1.0, clutter) * xp.eye(mean.shape[-1], dtype=mean.dtype, device=device(mean))
    left = xp.real(xp.linalg.trace(xp.linalg.solve(eye + seen, mean + 0.0 * seen)))
    return xp.concat([alone[..., :count] * left, alone[..., count:]], axis=-1)


def _root(excess: Callable[[Array], Array], like: Array) -> Array:
    """Root in 0..1 of a rising function that is negative at 0 and not negative at 1: the Illinois method, kept inside."""
    xp = namespace(like)
    low, high = xp.zeros_like(like), xp.ones_like(like)
    at_low, at_high = -xp.ones_like(like), excess(high)
    for _ in range(_STEPS):
        span = at_high - at_low
        middle = xp.where(span > 0.0, high - at_high * (high - low) / xp.where(span > 0.0, span, 1.0), high)
        value = excess(middle)
        above = value > 0.0
        # The end that stays counts half, so that both ends come in.
        at_low, at_high = xp.where(above, 0.5 * at_low, value), xp.where(above, value, 0.5 * at_high)
        low, high = xp.where(above, low, middle), xp.where(above, middle, high)
        if float(xp.max(xp.abs(value))) < _ENOUGH:
            break
    return middle


def _covariance(
    beams: Beams[Array], weight: Float[Array, "drop rx link"], num_aps: int
) -> Complex[Array, "drop rx ap antenna antenna"]:
    """Covariance of every AP's samples, W, each link with a weight of its own at each receive AP."""
    xp = namespace(weight)
    drops, receivers, links = weight.shape
    size = beams.mean.shape[-1]
    member = xp.astype(beams.ap[:, None, :] == counting(num_aps, beams.ap)[:, None], weight.dtype)  # drop ap link
    rows = xp.reshape((weight * beams.power[:, None])[:, :, None] * member[:, None], (drops, receivers * num_aps, links))
    total = xp.astype(rows, beams.mean.dtype) @ xp.reshape(beams.mean, (drops, links, size * size))
    return xp.reshape(total, (drops, receivers, num_aps, size, size))


def active_aps(beams: Beams[Array], num_aps: int, samples: int) -> Int[Array, " drop"]:
    """Directions over time that a test looks at: transmit APs that send anything, at most as many as there are samples."""
    xp = namespace(beams.power)
    silent = sum_at(beams.power, beams.ap, num_aps) <= 0.0
    count = num_aps - xp.astype(silent, xp.int64).sum(-1)
    return xp.where(count > samples, samples, count)
