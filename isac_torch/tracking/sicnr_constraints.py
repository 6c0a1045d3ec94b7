"""Constraints on the expected SICNR: what power control can ask for instead of a SIR. Eqs. (51)-(56) of docs/sensing.md.

The SIR knows no noise, no clutter and no filter. These constraints are means of what the paper's test measures,

    S_l^T p >= SICNR0 (I_l^T p + n_l),

S_l p the energy of target l's echo after whitening, I_l p that part of the other targets' energy which falls onto l's echoes,
and n_l the directions that the test looks at. Whitening is that of the reference powers (`tracking.whitening`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

from jaxtyping import Complex, Float, Int

from isac_torch.propagation.arrays import steering
from isac_torch.propagation.geometry import angles
from isac_torch.tensors import Array, all_but_own, at_least, at_rows, counting, namespace, sum_at, tiniest
from isac_torch.tracking.echoes import echo_rates, seen_points
from isac_torch.tracking.whitening import active_aps

if TYPE_CHECKING:
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.physics import Physics
    from isac_torch.tracking.setup import SensingSetup
    from isac_torch.tracking.whitening import Beams, Whitening


@dataclass(frozen=True)
class LinearConstraints(Generic[Array]):
    """Sensing constraints S^T p >= quality (I^T p + n) but for the quality that is asked for; any scale, per constraint.

    Attributes:
        echo: S, wanted echo per W of each link.
        cross_echo: I, unwanted echoes per W of each link.
        noise: n.
    """

    echo: Float[Array, "drop constraint link"]
    cross_echo: Float[Array, "drop constraint link"]
    noise: Float[Array, "drop constraint"]

    def quality(self, power: Float[Array, "drop link"]) -> Float[Array, "drop constraint"]:
        """S^T p / (I^T p + n), linear; `power` in W. Of a target its expected SICNR, eq. (52)."""
        own, other = ((rows @ power[..., None])[..., 0] for rows in (self.echo, self.cross_echo))
        return own / (other + self.noise)


@dataclass(frozen=True)
class TargetEchoes(Generic[Array]):
    """What every target's test is made of, per receive AP; energies are over the noise.

    Attributes:
        heard: energy of every target's echo per W of each link, 1/W.
        landed: share of another target's echo from each transmit AP that falls onto the inspected target's echoes.
        listening: 1 where a receive AP listens for the inspected target, else 0.
        active: directions over time that a receive AP's test looks at.
    """

    heard: Float[Array, "drop target rx link"]
    landed: Float[Array, "drop target target rx ap"]
    listening: Float[Array, "drop target rx"]
    active: Int[Array, " drop"]


def target_echoes(
    drop: TrackingDrop[Array], physics: Physics, setup: SensingSetup, beams: Beams[Array], seen: Whitening[Array]
) -> TargetEchoes[Array]:
    """Echoes of all targets at all receive APs; the arguments are those of `sicnr_constraints`."""
    xp = namespace(beams.power)
    drops, targets, _ = drop.target_position.shape
    receivers, aps = drop.rx_position.shape[1], drop.tx_position.shape[1]
    everyone = xp.broadcast_to(counting(receivers, drop.listening_ap), (drops, targets, receivers))
    points = seen_points(drop, physics, setup, drop.target_position, everyone)
    heard = echo_rates(points, beams, seen)
    active = active_aps(beams, aps, seen.samples)
    landed = _landed(drop, physics, points.response, heard * beams.power[:, None, None, :], beams, seen, active)
    listening = xp.astype((drop.listening_ap[..., None] == counting(receivers, drop.listening_ap)).any(2), heard.dtype)
    return TargetEchoes(heard, landed, listening, active)


def sicnr_constraints(echoes: TargetEchoes[Array], beams: Beams[Array]) -> LinearConstraints[Array]:
    """One constraint on the expected SICNR per target, a single target too, with largest wanted echo 1; eqs. (51)-(56).

    Args: echoes, of all targets at the reference powers; beams, of every link.
    """
    xp = namespace(beams.power)
    own = (echoes.listening[..., None] * echoes.heard).sum(2)
    at_links = at_rows(xp.moveaxis(echoes.landed, -1, 1), beams.ap)  # drop link target other rx
    cross = xp.einsum("dlr,deltr,dtre->dle", echoes.listening, at_links, echoes.heard)
    scale = xp.max(own, axis=-1)
    noise = xp.astype(echoes.active, own.dtype)[:, None] * echoes.listening.sum(-1)
    return LinearConstraints(own / scale[..., None], cross / scale[..., None], noise / scale)


def _landed(
    drop: TrackingDrop[Array],
    physics: Physics,
    response: Complex[Array, "drop target ap antenna"],
    sent: Float[Array, "drop target rx link"],
    beams: Beams[Array],
    seen: Whitening[Array],
    active: Int[Array, " drop"],
) -> Float[Array, "drop target target rx ap"]:
    """Share of another target's echo from AP m that falls onto the inspected target's echoes [drop, inspected, other, rx, ap].

    Over the antennas by the angle between both directions. Over time onto the echo of the same AP as far as both targets look
    alike to it, and of the rest onto the other APs' echoes: by the streams they have in common, and by chance. 0 for the target
    itself. `sent` is the energy of every target's echo by link at the reference powers.
    """
    xp = namespace(sent)
    azimuth, elevation = angles(drop.rx_position, drop.rx_orientation, drop.target_position)
    heard_from = steering(azimuth, elevation, physics.num_antennas)  # drop rx target antenna
    receive = _squared(xp.conj(heard_from) @ heard_from.mT) / physics.num_antennas**2  # drop rx target target
    filtered = seen.shrink @ seen.covariance @ seen.shrink
    by_ap = xp.moveaxis(response, 1, 2)[:, None]  # drop 1 ap target antenna
    inner = xp.conj(by_ap) @ filtered @ by_ap.mT  # drop rx ap target target
    energy = xp.real(xp.linalg.diagonal(inner))
    both = energy[..., :, None] * energy[..., None, :]
    alike = xp.where(both > 0.0, _squared(inner) / xp.where(both > 0.0, both, 1.0), 0.0)
    alike = xp.moveaxis(xp.where(alike > 1.0, 1.0, alike), (1, 2), (3, 4))  # drop target target rx ap
    profile = _stream_profile(sent, beams, response.shape[2])  # drop target rx ap ue
    # One receive AP's profiles against the sum over the APs, less the same AP's own.
    everyone = xp.einsum("dlrk,dtrmk->dltrm", profile.sum(3), profile)
    common = everyone - xp.einsum("dlrmk,dtrmk->dltrm", profile, profile)
    chance = (active - 1)[:, None] * seen.overlap
    others = common + chance[:, None, None, :, None]
    others = xp.where(others > 1.0, 1.0, others)
    landed = xp.moveaxis(receive, 1, 3)[..., None] * (alike + (1.0 - alike) * others)
    return landed * all_but_own(landed.shape[1], landed)[:, :, None, None]


def _squared(value: Complex[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Squared modulus."""
    xp = namespace(value)
    return xp.real(value) * xp.real(value) + xp.imag(value) * xp.imag(value)


def _stream_profile(
    sent: Float[Array, "drop target rx link"], beams: Beams[Array], num_aps: int
) -> Float[Array, "drop target rx ap ue"]:
    """Share of each UE's stream in the echo of every AP's samples from every target, after the filter."""
    xp = namespace(sent)
    drops, targets, receivers, links = sent.shape
    served = counting(beams.num_comm, beams.ap) // (beams.num_comm // beams.num_ues)
    flat = xp.reshape(sent, (drops * targets * receivers, links))

    def totals(index: Array, size: int) -> Array:
        wide = xp.broadcast_to(index[:, None], (drops, targets * receivers, index.shape[1]))
        chosen = flat[:, : index.shape[1]]
        return sum_at(chosen, xp.reshape(wide, chosen.shape), size)

    whole = totals(beams.ap, num_aps)
    streams = totals(beams.ap[:, : beams.num_comm] * beams.num_ues + served, num_aps * beams.num_ues)
    parts = xp.reshape(streams, (drops, targets, receivers, num_aps, beams.num_ues))
    return parts / at_least(xp.reshape(whole, (drops, targets, receivers, num_aps, 1)), tiniest(whole))
