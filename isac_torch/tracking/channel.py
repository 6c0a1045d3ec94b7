"""Second-order statistics of the tracking system's channels, estimates and beams. Equations (5)-(9) of docs/physics.md.

Power control needs traces of products of covariances only. They are held as lags and as turned, real matrices
(`isac_torch.propagation.arrays`); properties give the matrices between the antennas themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

from jaxtyping import Complex, Float, Int, Shaped

from isac_torch.propagation.arrays import response_lags, toeplitz, toeplitz_weights, turned, turned_back, weights_of
from isac_torch.propagation.correlation import local_scattering_lags, pointing_lags
from isac_torch.propagation.estimation import mmse_matrix, observation_lags
from isac_torch.propagation.geometry import angles
from isac_torch.propagation.pilots import pilot_gram
from isac_torch.tensors import Array, all_but_own, at_columns, at_rows, namespace, stacked
from isac_torch.tracking.beam_statistics import BeamStatistics, beam_statistics

if TYPE_CHECKING:
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.physics import Physics


@dataclass(frozen=True)
class LinkStatistics(Generic[Array]):
    """What the power problem needs of the channels. Nodes are the UEs, then the targets; links as in the power problem.

    Attributes:
        link_ap: transmit AP of every link.
        energy: |E h^H w|^2 of UE k's channel at its s-th serving AP and its beam there; tr Phi for MRT beams, Phi = Lambda C.
        heard: E|h^H w|^2 - |E h^H w|^2 at a UE, which is tr(C X_e) for MRT, a^H X_e a at a target, where X_e = E[w w^H] of
            link e (for MRT Phi / tr Phi; W), C and a those at its AP.
        coherent: E[h_k^H w_js] for the s-th link of UE j on the pilot of another UE k; None where no UEs share a pilot.
    """

    link_ap: Int[Array, "drop link"]
    energy: Float[Array, "drop ue serving"]
    heard: Float[Array, "drop node link"]
    coherent: Float[Array, "drop ue ue serving"] | None


@dataclass(frozen=True)
class ChannelStatistics(LinkStatistics[Array]):
    """The same with the matrices of uniform linear arrays.

    Attributes:
        lags: of C[k, m] between transmit AP m and UE k, and of a a^H towards the true position of target l.
        observation_lags: of Gamma[k, s], the despread pilot observation of UE k at its s-th serving AP, W.
        turned_mmse: turned Lambda[k, s].
        turned_estimate: turned Phi[k, s].
        turned_beam: turned E[w w^H] of the beam of UE k from its s-th serving AP, unit trace.
        beam_norm: root of the mean energy of that beam before it was normalised; sqrt(tr Phi) for MRT.
        beam_lags: of W[l, s] = E[w_0 w_0^H] of the unit-norm beam at target l from its s-th sensing AP, unit trace.
    """

    lags: Float[Array, "drop ap node lag"]
    observation_lags: Float[Array, "drop ue serving lag"]
    turned_mmse: Float[Array, "drop ue serving antenna antenna"]
    turned_estimate: Float[Array, "drop ue serving antenna antenna"]
    turned_beam: Float[Array, "drop ue serving antenna antenna"]
    beam_norm: Float[Array, "drop ue serving"]
    beam_lags: Float[Array, "drop target sensing lag"]

    @property
    def covariance(self) -> Complex[Array, "drop ue ap antenna antenna"]:
        """C[k, m] of the channel between UE k and transmit AP m."""
        xp = namespace(self.lags)
        return toeplitz(xp.permute_dims(self.lags[:, :, : self.energy.shape[1]], (0, 2, 1, 3)))

    @property
    def observation(self) -> Complex[Array, "drop ue serving antenna antenna"]:
        """Gamma[k, s], W."""
        return toeplitz(self.observation_lags)

    @property
    def mmse(self) -> Complex[Array, "drop ue serving antenna antenna"]:
        """Lambda[k, s] of UE k at its s-th serving AP."""
        return turned_back(self.turned_mmse)

    @property
    def estimate(self) -> Complex[Array, "drop ue serving antenna antenna"]:
        """Phi[k, s], covariance of the estimate of UE k's channel at its s-th serving AP."""
        return turned_back(self.turned_estimate)

    @property
    def data_beam(self) -> Complex[Array, "drop ue serving antenna antenna"]:
        """E[w w^H] of the beam of UE k from its s-th serving AP, unit trace."""
        return turned_back(self.turned_beam)

    @property
    def sensing_beam(self) -> Complex[Array, "drop target sensing antenna antenna"]:
        """W[l, s] of the beam at target l from its s-th sensing AP."""
        return toeplitz(self.beam_lags)


def channel_statistics(
    drop: TrackingDrop[Array],
    physics: Physics,
    ue_angles: tuple[Float[Array, "drop ap ue"], Float[Array, "drop ap ue"]] | None = None,
    beam_lags: Float[Array, "drop target sensing lag"] | None = None,
) -> ChannelStatistics[Array]:
    """Covariances, estimation statistics and beams of every drop.

    Azimuth from broadside and elevation (rad) in `ue_angles` replace those of the UEs' positions; `beam_lags` replace those of
    beams at the targets' positions with normal errors.
    """
    xp = namespace(drop.ue_gain)
    lags, pointed = _all_lags(drop, physics, ue_angles)
    beam_lags = pointed if beam_lags is None else beam_lags
    gram = xp.astype(pilot_gram(drop.pilot), drop.ue_gain.dtype, copy=False)
    link_ap = by_link(drop.serving_ap, drop.sensing_ap)
    at_links = at_rows(lags, link_ap)  # [drop, link, node, lag]
    comm, rest = math.prod(drop.serving_ap.shape[1:]), at_links.shape[2:]
    at_serving = at_links[:, :comm].reshape(*drop.serving_ap.shape, *rest)
    observed, mmse, estimate = _estimates(drop, physics, at_serving, gram)
    beams = _mrt(drop, at_serving[..., : gram.shape[1], :], mmse, estimate, gram)
    if physics.beams.kind != "mrt":
        beams = beam_statistics(drop, physics, lags[:, :, : gram.shape[1]], gram)
    weights = weights_of(beams.covariance), toeplitz_weights(beam_lags)
    sent = [x.reshape(len(lags), -1, lags.shape[-1]) for x in weights]
    heard = (at_links @ xp.concat(sent, axis=1)[..., None])[..., 0].mT
    if beams.spread is not None:
        known = xp.concat([beams.spread, heard[:, : gram.shape[1], comm:]], axis=2)
        heard = xp.concat([known, heard[:, gram.shape[1] :]], axis=1)
    return ChannelStatistics(
        link_ap=link_ap,
        lags=lags,
        observation_lags=observed,
        turned_mmse=mmse,
        turned_estimate=estimate,
        turned_beam=beams.covariance,
        beam_norm=beams.norm,
        beam_lags=beam_lags,
        energy=beams.energy,
        heard=heard,
        coherent=beams.coherent,
    )


def _mrt(drop: TrackingDrop[Array], at_serving: Array, mmse: Array, estimate: Array, gram: Array) -> BeamStatistics[Array]:
    """Beams along the estimates. `at_serving` are the lags of all UEs' C at each serving link's AP."""
    energy = estimate.diagonal(0, -2, -1).sum(-1)
    norm = namespace(energy).sqrt(energy)
    coherent = None
    if bool((gram.sum(-1) > 1.0).any()):
        coherent = mrt_coherence((at_serving @ weights_of(mmse)[..., None])[..., 0], norm, gram, drop.pilot_power)
    return BeamStatistics(estimate / energy[..., None, None], norm, energy, coherent, None)


def mrt_coherence(
    contamination: Float[Array, "drop ue serving ue"],
    norm: Float[Array, "drop ue serving"],
    gram: Float[Array, "drop ue ue"],
    pilot_power: Float[Array, "drop ue"],
) -> Float[Array, "drop ue ue serving"]:
    """E[h_k^H w_js] of MRT beams for UEs j on the pilot of another UE k, eq. (13) without the noise.

    Args: contamination, tr(C[k, m] Lambda[j, s]) for the s-th link of UE j, at AP m; norm, sqrt(tr Phi) of each link; gram,
    |pi_j^H pi_k|; pilot_power, W.
    """
    xp = namespace(gram)
    shared = gram * all_but_own(gram.shape[1], gram)
    power_ratio = xp.sqrt(pilot_power[:, :, None] / pilot_power[:, None, :])
    return (shared * power_ratio)[..., None] * xp.permute_dims(contamination / norm[..., None], (0, 3, 1, 2))


def by_link(
    of_ues: Shaped[Array, "drop ue serving"], of_targets: Shaped[Array, "drop target sensing"]
) -> Shaped[Array, "drop link"]:
    """Values by UE and target as one per link, those of the UEs first."""
    parts = [part.reshape(len(part), math.prod(part.shape[1:])) for part in (of_ues, of_targets)]
    return namespace(of_ues).concat(parts, axis=1)


def _all_lags(
    drop: TrackingDrop[Array], physics: Physics, ue_angles: tuple[Array, Array] | None
) -> tuple[Float[Array, "drop ap node lag"], Float[Array, "drop target sensing lag"]]:
    """Lags of every UE's covariance and every target's response at every AP, and of the sensing beams."""
    xp = namespace(drop.ue_gain)
    antennas, ues = physics.num_antennas, drop.ue_gain.shape[1]
    nodes = drop.target_position if ue_angles else xp.concat([drop.ue_position, drop.target_position], axis=1)
    azimuth, elevation = angles(drop.tx_position, drop.tx_orientation, nodes)
    if ue_angles is None:
        ue_angles = azimuth[..., :ues], elevation[..., :ues]
        azimuth, elevation = azimuth[..., ues:], elevation[..., ues:]
    spread = math.radians(physics.azimuth_spread_deg)
    of_ues = local_scattering_lags(*ue_angles, antennas, spread) * drop.ue_gain.mT[..., None]
    lags = xp.concat([of_ues, response_lags(azimuth, elevation, antennas)], axis=2)
    believed, height = (at_columns(angle.mT, drop.sensing_ap) for angle in (azimuth, elevation))
    return lags, pointing_lags(believed, height, antennas, physics.angle_error) / antennas


def _estimates(drop: TrackingDrop[Array], physics: Physics, at_serving: Array, gram: Array) -> tuple[Array, Array, Array]:
    """Lags of Gamma, turned Lambda and turned Phi at the serving links."""
    energy = physics.pilot_symbols * drop.pilot_power
    observed = observation_lags(
        at_serving[..., : gram.shape[1], :], gram[:, :, None, :], energy[:, None, None, :], physics.noise_power
    )
    own, received = turned(stacked(at_serving.diagonal(0, 1, 3).swapaxes(2, 3).swapaxes(1, 2), observed))
    mmse = mmse_matrix(own, received, energy[..., None])
    return observed, mmse, mmse @ own
