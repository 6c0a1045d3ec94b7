"""Expected echoes of the sensing SIR, linear in the powers. Equations (16)-(18) of docs/physics.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Float

from isac_torch.propagation.geometry import distance
from isac_torch.propagation.path_loss import bistatic_leg, umi_los_gain
from isac_torch.tensors import Array, all_but_own, at_rows, namespace

if TYPE_CHECKING:
    from isac_torch.tracking.channel import LinkStatistics
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.physics import Physics


def illumination(statistics: LinkStatistics[Array]) -> Float[Array, "drop target link"]:
    """a^H E[w w^H] a: mean gain with which a watt on link e illuminates target l, linear, eq. (16)."""
    return statistics.heard[:, statistics.energy.shape[1] :]


def echo_leg(gap: Float[Array, "*shape"], physics: Physics) -> Float[Array, "*shape"]:
    """One of the two factors of the echo gain, between an AP and a target `gap` (m) apart; 1/m (`radar`) or 1 (`product`)."""
    leg = umi_los_gain if physics.echo_gain == "product" else bistatic_leg
    return leg(gap, physics.carrier_frequency)


def echo_gain(drop: TrackingDrop[Array], physics: Physics) -> Float[Array, "drop target rx ap"]:
    """beta[l, r, m]: gain of the path transmit AP m - target l - receive AP r, eq. (17); 1/m2 (`radar`) or 1 (`product`)."""
    out = echo_leg(distance(drop.target_position, drop.tx_position), physics)
    back = echo_leg(distance(drop.target_position, drop.rx_position), physics)
    return out[:, :, None, :] * back[..., None]


def echo_coefficients(
    statistics: LinkStatistics[Array], drop: TrackingDrop[Array], physics: Physics, gap: Float[Array, "drop allap target"]
) -> tuple[Float[Array, "drop constraint link"], Float[Array, "drop constraint link"]]:
    """S[l, e] and I[l, e]: own and other targets' echoes per W of link e at the receive APs of target l, eq. (18).

    Both are divided by the constraint's largest own echo, which the ratio does not see. Fewer than two targets: none.
    `gap` is the distance (m) of every transmit AP, then every receive AP, to every target.
    """
    xp = namespace(statistics.heard)
    illuminated = illumination(statistics)
    num_targets = illuminated.shape[1]
    if num_targets < 2:
        return illuminated[:, :0], illuminated[:, :0]
    legs, num_aps = echo_leg(gap, physics), drop.tx_position.shape[1]
    out, back = legs[:, :num_aps], legs[:, num_aps:]
    # Way back from every target to the receive APs of each row's target: [drop, row, target].
    heard_back = at_rows(back, drop.listening_ap).sum(2)
    sent_out = illuminated * at_rows(out, statistics.link_ap).mT
    own = heard_back.diagonal(0, 1, 2)[..., None] * sent_out
    scale = xp.max(own, axis=-1, keepdims=True)
    others = heard_back * all_but_own(num_targets, heard_back)
    return own / scale, (others @ sent_out) / scale
