"""Statistics of links from covariances of any structure. Equations (6)-(13) and (16) of docs/physics.md."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from jaxtyping import Complex

from isac_torch.errors import ScenarioError
from isac_torch.propagation.estimation import mmse_matrix
from isac_torch.propagation.pilots import pilot_gram
from isac_torch.tensors import Array, at_rows, constant, namespace
from isac_torch.tracking.channel import LinkStatistics, by_link, mrt_coherence
from isac_torch.tracking.communication import trace

if TYPE_CHECKING:
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.physics import Physics


def link_statistics(
    drop: TrackingDrop[Array],
    physics: Physics,
    covariance: Complex[Array, "drop ue ap antenna antenna"],
    response: Complex[Array, "drop target ap antenna"],
    beam: Complex[Array, "drop target sensing antenna antenna"],
) -> LinkStatistics[Array]:
    """What the power problem needs of channels whose covariances are given, for `tracking.build.network_problem`.

    APs may have different numbers of antennas: arrays are as large as the largest AP's, with zeros for antennas that an AP does
    not have. Zeros change no trace, so the result is that of matrices of each AP's own size.

    tr(C Lambda) of UEs that share a pilot is complex in general. Its modulus is taken, as if the interference of all APs met in
    phase: the SINR is a lower bound of (14), and exact with orthogonal pilots or one serving AP a UE.

    Args:
        drop: networks; of these their sets, pilots and pilot powers are read.
        physics: noise power and pilot length.
        covariance: C[k, m] = E[h h^H] of the channel between UE k and transmit AP m, with its large-scale gain.
        response: array response a of transmit AP m towards target l, entries of modulus 1.
        beam: W[l, s] = E[w_0 w_0^H] of the beam of mean norm 1 at target l from its s-th sensing AP.

    Raises:
        ScenarioError: arrays of wrong shapes, a beam whose trace is not 1, or beams of UEs other than MRT.
    """
    if physics.beams.kind != "mrt":
        raise ScenarioError(f"beams.kind={physics.beams.kind}: covariances of any structure are for MRT beams; choose mrt")
    _check(drop, covariance, response, beam)
    xp = namespace(covariance)
    gram = xp.astype(pilot_gram(drop.pilot), drop.ue_gain.dtype, copy=False)
    link_ap = by_link(drop.serving_ap, drop.sensing_ap)
    (drops, ues, serving), antennas = drop.serving_ap.shape, response.shape[-1]
    of_ap = xp.permute_dims(covariance, (0, 2, 1, 3, 4))
    at_links = at_rows(of_ap, link_ap)  # [drop, link, ue, antenna, antenna]
    at_serving = at_links[:, : ues * serving].reshape(drops, ues, serving, ues, antennas, antennas)
    own = xp.stack([at_serving[:, k, :, k] for k in range(ues)], axis=1)
    energy = physics.pilot_symbols * drop.pilot_power
    weight = (energy[:, None] * gram * gram)[:, :, None, :, None, None]
    observation = (weight * at_serving).sum(3) + physics.noise_power * constant(_unit(antennas), drop.ue_gain)
    mmse = mmse_matrix(own, observation, energy[..., None])
    estimate = mmse @ own
    norm = trace(estimate)
    shape = (drops, -1, antennas, antennas)
    sent = xp.concat([(estimate / norm[..., None, None]).reshape(shape), beam.reshape(shape)], axis=1)
    towards = at_rows(xp.permute_dims(response, (0, 2, 1, 3)), link_ap)  # [drop, link, target, antenna]
    illumination = xp.real((xp.conj(towards) * (sent[:, :, None] @ towards[..., None])[..., 0]).sum(-1))
    coherent = None
    if bool((gram.sum(-1) > 1.0).any()):
        contamination = xp.abs((at_serving * mmse[:, :, :, None].mT).sum((-2, -1)))
        coherent = mrt_coherence(contamination, xp.sqrt(norm), gram, drop.pilot_power)
    return LinkStatistics(
        link_ap=link_ap,
        energy=norm,
        heard=xp.concat([trace(at_links @ sent[:, :, None]), illumination], axis=2).mT,
        coherent=coherent,
    )


def _unit(size: int) -> list[list[float]]:
    return [[float(row == column) for column in range(size)] for row in range(size)]


def _check(drop: TrackingDrop[Array], covariance: Array, response: Array, beam: Array) -> None:
    (drops, ues), aps, antennas = drop.ue_gain.shape[:2], drop.tx_position.shape[1], response.shape[-1]
    targets, sensing = drop.sensing_ap.shape[1:]
    wanted = {
        "covariance": (covariance, (drops, ues, aps, antennas, antennas)),
        "response": (response, (drops, targets, aps, antennas)),
        "beam": (beam, (drops, targets, sensing, antennas, antennas)),
    }
    for name, (array, shape) in wanted.items():
        if tuple(array.shape) != shape:
            raise ScenarioError(f"{name} of shape {tuple(array.shape)}: it must be {shape}; fill up smaller arrays with zeros")
    if math.prod(beam.shape) and float(abs(trace(beam) - 1.0).max()) > 1e-6:
        raise ScenarioError("beam whose trace is not 1: powers are those that an AP sends; divide each beam by its mean norm")
