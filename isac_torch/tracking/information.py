"""Position information of a drop's targets, from large-scale knowledge. Eqs. (65) and (66) of docs/sensing.md.

Derived from the likelihood of the raw samples with unknown reflectivities: the most likely ones project onto the span of the
echo columns, so that only what leaves the span tells of the position. Over the antennas of a receive AP that is the part of the
response's derivative beside the response itself, and over time the part of the derivative of a_m^H s_m[t] beside all the
transmit APs' sequences, a share 1 - (active - 1) / tau_s of it for random sequences.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Float

from isac_torch.tensors import Array, at_columns, at_least, constant, namespace
from isac_torch.tracking.echoes import echo_moments, phase_slope, seen_points
from isac_torch.tracking.position import PositionInformation
from isac_torch.tracking.whitening import active_aps

if TYPE_CHECKING:
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.physics import RadarPhysics
    from isac_torch.tracking.whitening import Beams, Whitening


def position_information(
    drop: TrackingDrop[Array],
    scenario: RadarPhysics,
    beams: Beams[Array],
    seen: Whitening[Array],
    required: Float[Array, "drop target"],
) -> PositionInformation[Array]:
    """What one look of `requirement.blocks` coherence blocks tells of every target's position, as a function of the powers.

    Args:
        drop: networks.
        scenario: theirs.
        beams: of every link, with the reference powers.
        seen: what the filter leaves at these powers.
        required: h that each target needs, 1/m2.
    """
    xp = namespace(beams.power)
    asked, antennas = scenario.requirement, scenario.num_antennas
    points = seen_points(drop, scenario, scenario.sensing, drop.target_position, drop.listening_ap)
    energy, cross, spread = echo_moments(points, beams, seen)
    aps = drop.tx_position.shape[1]
    others = xp.astype(active_aps(beams, aps, seen.samples) - 1, energy.dtype)
    free = at_least(1.0 - others / seen.samples, 0.0)
    departure = phase_slope(drop.tx_position, drop.tx_orientation, drop.target_position)
    arrival = phase_slope(drop.rx_position, drop.rx_orientation, drop.target_position)
    chosen = xp.stack([at_columns(arrival[..., axis], drop.listening_ap) for axis in range(3)], axis=-1)
    looks = 2.0 * asked.blocks
    known = constant([asked.prior_horizontal**-2, asked.prior_horizontal**-2, asked.prior_vertical**-2], beams.power)
    return PositionInformation(
        energy=looks * energy,
        cross=looks * cross,
        spread=looks * spread,
        arrival=chosen * ((antennas**2 - 1) / 12.0) ** 0.5,
        departure=departure * xp.sqrt(free)[:, None, None, None],
        prior=xp.broadcast_to(known, drop.target_position.shape) + 0.0,
        required=required,
        link_ap=beams.ap,
    )
