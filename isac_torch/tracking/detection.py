"""From a miss probability to the SICNR that it needs, by the law of the test. Eq. (64) of docs/sensing.md."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

from jaxtyping import Float

from isac_torch.propagation.geometry import offsets
from isac_torch.tensors import Array, all_but_own, at_least, constant, namespace, sum_at, tiniest
from isac_torch.tracking.laws import weighted_exceedance, weighted_threshold

if TYPE_CHECKING:
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.physics import RadarPhysics
    from isac_torch.tracking.sicnr_constraints import TargetEchoes
    from isac_torch.tracking.whitening import Beams

_BISECTIONS = 40
_REACH_DB = 100.0
"""Range of SICNRs that are searched, dB to both sides of 0."""


def reflectivity_correlation(
    target: Float[Array, "drop target 3"], ap: Float[Array, "drop ap 3"], width: float
) -> Float[Array, "drop target ap ap"]:
    """Correlation exp(-||u_i - u_j||^2 / (2 w^2)) of reflectivities seen from APs i and j, eq. (36).

    u are unit vectors from the target to the APs. Args: positions, m; width w, rad; 0 makes reflectivities independent.
    """
    xp = namespace(target)
    ray = offsets(target, ap)
    if width == 0.0:
        others = all_but_own(ap.shape[1], ap)
        return xp.zeros_like(ray[..., :1]) + (constant(1.0, ap) - others)
    ray = ray / at_least(xp.sqrt((ray * ray).sum(-1)), tiniest(ray))[..., None]
    apart = ray[..., :, None, :] - ray[..., None, :, :]
    return xp.exp(-(apart * apart).sum(-1) / (2.0 * width**2))


@dataclass(frozen=True)
class _Law(Generic[Array]):
    """Laws of the test's statistic, as covariances of its directions, at the reference powers.

    Attributes:
        quiet: without the target.
        wanted: what the target's echo adds.
        threshold: at the setup's false-alarm rate.
        unit: factor on `wanted` at a SICNR of one.
    """

    quiet: Float[Array, "drop target rx ap ap"]
    wanted: Float[Array, "drop target rx ap ap"]
    threshold: Float[Array, "drop target"]
    unit: Float[Array, "drop target"]

    def miss(self, factor: Float[Array, "drop target"]) -> Float[Array, "drop target"]:
        """Probability that a Swerling-I target stays below the threshold when its echo's energy is multiplied by `factor`."""
        return 1.0 - weighted_exceedance(_weights(self.quiet + factor[..., None, None, None] * self.wanted), self.threshold)


def _law(drop: TrackingDrop[Array], scenario: RadarPhysics, beams: Beams[Array], echoes: TargetEchoes[Array]) -> _Law[Array]:
    xp = namespace(beams.power)
    own, others = _energies(beams, echoes, drop.tx_position.shape[1])
    root = xp.sqrt(own)
    width = math.radians(scenario.sensing.rcs_correlation_deg)
    correlation = reflectivity_correlation(drop.target_position, drop.tx_position, width)
    wanted = root[..., :, None] * correlation[:, :, None] * root[..., None, :]  # drop target rx ap ap
    landed = xp.sqrt(others)
    unwanted = xp.einsum("dltrm,dltrn,dtmn->dlrmn", landed, landed, correlation)
    eye = constant(1.0, own) - all_but_own(own.shape[-1], own)
    quiet = (unwanted + eye) * echoes.listening[..., None, None]
    wanted = wanted * echoes.listening[..., None, None]
    count = xp.astype(echoes.active, own.dtype)[:, None] * echoes.listening.sum(-1)
    base = count + (others.sum((2, 4)) * echoes.listening).sum(-1)
    threshold = weighted_threshold(_weights(quiet), scenario.sensing.false_alarm)
    total = xp.sum(xp.linalg.diagonal(wanted), axis=(2, 3))
    return _Law(quiet, wanted, threshold, base / at_least(total, tiniest(total)))


def miss_at_reference(
    drop: TrackingDrop[Array], scenario: RadarPhysics, beams: Beams[Array], echoes: TargetEchoes[Array]
) -> Float[Array, "drop target"]:
    """Probability that each Swerling-I target is missed under the reference powers, by the laws of eq. (64).

    Args: as of `sicnr_for_miss`.
    """
    law = _law(drop, scenario, beams, echoes)
    return law.miss(namespace(law.unit).ones_like(law.unit))


def sicnr_for_miss(
    drop: TrackingDrop[Array], scenario: RadarPhysics, beams: Beams[Array], echoes: TargetEchoes[Array]
) -> Float[Array, "drop target"]:
    """Expected SICNR (linear) at which a Swerling-I target is missed with probability `requirement.miss`, eq. (64).

    The laws with and without the target are those of sums of exponentials. How the energies of the target's and of the others'
    echoes divide over the directions of the test is that of the reference powers.

    Args: drop, networks; scenario, theirs; beams, of every link with the reference powers; echoes, of all targets at these.
    """
    law = _law(drop, scenario, beams, echoes)
    xp = namespace(law.unit)
    low = xp.full_like(law.unit, -_REACH_DB)
    high = -low
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        enough = law.miss(10.0 ** (middle / 10.0) * law.unit) <= scenario.requirement.miss
        low, high = xp.where(enough, low, middle), xp.where(enough, middle, high)
    return 10.0 ** (high / 10.0)


def _energies(beams: Beams[Array], echoes: TargetEchoes[Array], aps: int) -> tuple[Array, Array]:
    """At the reference powers, by transmit AP: of the target's echo [drop target rx ap], and of the others' that land on it
    [drop target other rx ap].
    """
    xp = namespace(beams.power)
    sent = echoes.heard * beams.power[:, None, None, :]
    drops, targets, receivers, links = sent.shape
    flat = xp.reshape(sent, (drops * targets * receivers, links))
    index = xp.reshape(xp.broadcast_to(beams.ap[:, None, None], sent.shape), flat.shape)
    energy = xp.reshape(sum_at(flat, index, aps), (drops, targets, receivers, aps))
    return energy, echoes.landed * energy[:, None]


def _weights(covariance: Float[Array, "drop target rx ap ap"]) -> Float[Array, "drop target weight"]:
    """Weights of the statistic's exponentials over all receive APs."""
    xp = namespace(covariance)
    drops, targets, receivers, aps, _ = covariance.shape
    return xp.reshape(at_least(xp.linalg.eigvalsh(covariance), 0.0), (drops, targets, receivers * aps))
