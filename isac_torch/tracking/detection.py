"""From a miss probability to the SICNR that it needs, by the law of the test. Eq. (64) of docs/sensing.md."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from jaxtyping import Float

from isac_torch.propagation.geometry import offsets
from isac_torch.tensors import Array, all_but_own, at_least, constant, namespace, sum_at, tiniest
from isac_torch.tracking.echoes import echo_rates, seen_points
from isac_torch.tracking.whitening import active_aps

if TYPE_CHECKING:
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.scenario import TrackingScenario
    from isac_torch.tracking.whitening import Beams, Whitening

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


def sicnr_for_miss(
    drop: TrackingDrop[Array], scenario: TrackingScenario, beams: Beams[Array], seen: Whitening[Array]
) -> Float[Array, "drop target"]:
    """Expected SICNR (linear) at which a Swerling-I target is missed with probability `requirement.miss`.

    How the energy of the echo divides over the directions of the test is that of the reference powers; other targets count as
    more noise in all directions.
    """
    xp = namespace(beams.power)
    points = seen_points(drop, scenario, scenario.sensing, drop.target_position, drop.listening_ap)
    drops, targets, listening, aps = points.strength.shape
    sent = echo_rates(points, beams, seen) * beams.power[:, None, None, :]
    flat = xp.reshape(sent, (drops * targets * listening, sent.shape[3]))
    index = xp.reshape(xp.broadcast_to(beams.ap[:, None, None], sent.shape), flat.shape)
    energy = xp.reshape(sum_at(flat, index, aps), (drops, targets, listening, aps))
    width = math.radians(scenario.sensing.rcs_correlation_deg)
    correlation = reflectivity_correlation(drop.target_position, drop.tx_position, width)
    root = xp.sqrt(energy)
    covariance = root[..., :, None] * correlation[:, :, None] * root[..., None, :]
    share = xp.reshape(at_least(xp.linalg.eigvalsh(covariance), 0.0), (drops, targets, listening * aps))
    share = share / at_least(share.sum(-1), tiniest(share))[..., None]
    directions = xp.broadcast_to(active_aps(beams, aps, seen.samples)[:, None] * listening, (drops, targets))
    from isac_torch.tracking.laws import (
        chi_square_threshold,
        weighted_exceedance,
    )  # needs torch, which a deployed allocator has not

    threshold = chi_square_threshold(directions, scenario.sensing.false_alarm)
    low = xp.full_like(threshold, -_REACH_DB)
    high = -low
    count = xp.astype(directions, share.dtype)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        total = 10.0 ** (middle / 10.0) * count
        missed = 1.0 - weighted_exceedance(1.0 + total[..., None] * share, threshold)
        enough = missed <= scenario.requirement.miss
        low, high = xp.where(enough, low, middle), xp.where(enough, middle, high)
    return 10.0 ** (high / 10.0)
