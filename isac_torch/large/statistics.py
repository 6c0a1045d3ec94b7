"""Sparse coefficients of a large network: exact for near pairs, bounded for all others. Equations (5)-(13) of docs/physics.md.

What is bounded is bounded to the unfavourable side (less signal, more interference), so that every SINR computed from these
coefficients is a lower bound of the true one. docs/scalability.md derives the bounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.sparse import csr_array

from isac_torch.large.cells import CellGrid, Pairs
from isac_torch.large.gains import PairGains, far_bound
from isac_torch.large.lags import TABLE_ERROR, ScatteringTable
from isac_torch.large.near import NearLags
from isac_torch.large.network import LargeNetwork
from isac_torch.large.sets import located, strongest
from isac_torch.propagation.arrays import turned, weights_of
from isac_torch.propagation.geometry import MIN_DISTANCE
from isac_torch.propagation.path_loss import umi_nlos_gain


@dataclass(frozen=True)
class UserStatistics:
    """Coefficients of UEs over the noise.

    Attributes:
        grid: decides which pairs are near.
        serving_ap: transmit APs of each UE, strongest first.
        serving_gain: their large-scale fading, linear.
        signal: a[k, s] from below, 1/sqrt(W), eq. (10).
        beam: weights of each serving link's beam covariance of unit trace, from above.
        surplus: `beam` over its square bounds the covariance from below.
        hearing: lags of C_km / noise of each near pair, 1/W.
        coherent: c[(k, j), e], 1/sqrt(W), eq. (13), from above; columns are serving links, rows pairs of UEs on one pilot.
        coherent_ue: k of each of its rows.
    """

    grid: CellGrid
    serving_ap: Int[ndarray, "ue serving"]
    serving_gain: Float[ndarray, "ue serving"]
    signal: Float[ndarray, "ue serving"]
    beam: Float[ndarray, "servinglink width"]
    surplus: Float[ndarray, " servinglink"]
    hearing: NearLags
    coherent: csr_array
    coherent_ue: Int[ndarray, " pair"]


def user_statistics(network: LargeNetwork, gains: PairGains, table: ScatteringTable, grid: CellGrid) -> UserStatistics:
    """Statistics of every UE towards its near APs; the network says pilots and powers."""
    pilot, num_pilots = network.pilot, network.pilot_symbols
    ue, ap = network.ue_position, network.tx_position
    pairs = grid.near_pairs(ue[:, :2], ap[:, :2])
    vector = ue[pairs.point] - ap[pairs.source]
    flat = np.hypot(vector[:, 0], vector[:, 1])
    far = np.hypot(flat, vector[:, 2])
    gain = gains(pairs.point, pairs.source, umi_nlos_gain(np.maximum(far, MIN_DISTANCE), network.carrier_frequency))
    azimuth = np.arctan2(vector[:, 1], vector[:, 0]) - network.tx_orientation[pairs.source]
    lags = table.lags(azimuth, flat / np.maximum(far, 1e-9))
    if network.serving_ap is None:
        links = strongest(pairs, gain, min(network.serving_aps, len(ap)), "ue")
    else:
        links = located(pairs, network.serving_ap, "ue")
    energy = num_pilots * network.pilot_power
    pilots = _PilotGroups.of(pairs, links, pilot, num_pilots)
    observed = _observed(network, pilots, pairs, gain, lags, energy)
    unseen = _unseen(network, pilot, num_pilots, gains, grid, energy)[pilots.served_pilot, pilots.served_ap]
    own = links.ravel()
    estimate, filtered, excess = _estimates(
        turned(lags[own] * gain[own, None]), observed, unseen, energy[pairs.point[own]], network.noise_power
    )
    size = np.trace(estimate, axis1=1, axis2=2)
    signal = np.sqrt(size * (1.0 - 4 * TABLE_ERROR) / network.noise_power).reshape(links.shape)
    surplus = (1.0 + excess) * (1.0 + 2.0 * network.num_antennas * TABLE_ERROR)
    beam = weights_of(estimate) * (surplus / size)[:, None]
    heard = lags * (gain / network.noise_power)[:, None]
    coherent, coherent_ue = _coherent(network, pilots, pairs, heard, filtered, size, excess, energy)
    heard[:, 0] *= 1.0 + 2.0 * network.num_antennas * TABLE_ERROR
    hearing = NearLags(pairs, heard, len(ap))
    return UserStatistics(grid, pairs.source[links], gain[links], signal, beam, surplus, hearing, coherent, coherent_ue)


@dataclass(frozen=True)
class _PilotGroups:
    """Near pairs that matter for estimation: the AP serves somebody on the UE's pilot.

    Each entry joins a near pair with one such serving link.
    """

    served_ap: Int[ndarray, " link"]
    served_pilot: Int[ndarray, " link"]
    pair: Int[ndarray, " entry"]
    link: Int[ndarray, " entry"]

    @classmethod
    def of(cls, pairs: Pairs, links: Int[ndarray, "ue serving"], pilot: Int[ndarray, " ue"], num_pilots: int) -> _PilotGroups:
        own = links.ravel()
        served_ap, served_pilot = pairs.source[own], pilot[pairs.point[own]]
        key = served_ap * num_pilots + served_pilot
        order = np.argsort(key, kind="stable")
        pair_key = pairs.source * num_pilots + pilot[pairs.point]
        table = np.zeros(int(pairs.source.max()) * num_pilots + num_pilots + 1, np.int64)
        np.add.at(table, key + 1, 1)
        start = np.cumsum(table)
        count = table[pair_key + 1]
        pair = np.flatnonzero(count)
        run = count[pair]
        first = np.repeat(start[pair_key[pair]] - (np.cumsum(run) - run), run)
        return cls(served_ap, served_pilot, np.repeat(pair, run), order[first + np.arange(len(first))])


def _observed(
    network: LargeNetwork, pilots: _PilotGroups, pairs: Pairs, gain: ndarray, lags: ndarray, energy: ndarray
) -> Float[ndarray, "link lag"]:
    """Lags of Gamma of every serving link from the noise and the near UEs on its pilot, W, eq. (6)."""
    part = lags[pilots.pair] * (gain[pilots.pair] * energy[pairs.point[pilots.pair]])[:, None]
    total: Float[ndarray, "link lag"] = np.stack(
        [np.bincount(pilots.link, column, len(pilots.served_ap)) for column in part.T], axis=1
    )
    total[:, 0] += network.noise_power
    return total


def _unseen(
    network: LargeNetwork, pilot: ndarray, num_pilots: int, gains: PairGains, grid: CellGrid, energy: ndarray
) -> Float[ndarray, "pilot ap"]:
    """Bound on the largest eigenvalue of what far UEs add to Gamma, W."""
    strength = np.zeros((num_pilots, len(pilot)))
    strength[pilot, np.arange(len(pilot))] = energy * network.num_antennas
    ue, ap = network.ue_position[:, :2], network.tx_position[:, :2]

    def kernel(distance: ndarray) -> ndarray:
        return umi_nlos_gain(np.maximum(distance, MIN_DISTANCE), network.carrier_frequency)

    mean = grid.far_sum(ap, ue, strength, kernel)
    if gains.deviation_db == 0.0:
        return mean
    square = grid.far_sum(ap, ue, strength**2, lambda distance: kernel(distance) ** 2)
    return far_bound(mean, square, gains.deviation_db)


def _estimates(
    covariance: ndarray, observed: ndarray, unseen: ndarray, energy: ndarray, noise_power: float
) -> tuple[Float[ndarray, "link antenna antenna"], Float[ndarray, "link antenna antenna"], Float[ndarray, " link"]]:
    """Phi from below and Lambda = E C Gamma^-1, eqs. (7) and (8), with Gamma from above: `unseen` (W) added to its diagonal.

    The third result is by what share at most Phi of the near UEs alone exceeds this Phi.
    """
    inverse = np.linalg.inv(turned(observed) + unseen[:, None, None] * np.eye(covariance.shape[-1]))
    filtered = energy[:, None, None] * (covariance @ inverse)
    # The least eigenvalue of what is inverted is at least one over the Frobenius norm of the inverse.
    smallest = 1.0 / np.sqrt((inverse**2).sum((1, 2)))
    return filtered @ covariance, filtered, unseen / np.maximum(smallest - unseen, noise_power)


def _coherent(
    network: LargeNetwork,
    pilots: _PilotGroups,
    pairs: Pairs,
    heard: Float[ndarray, "pair width"],
    filtered: ndarray,
    size: ndarray,
    excess: ndarray,
    energy: ndarray,
) -> tuple[csr_array, Int[ndarray, " row"]]:
    """Amplitudes of near UEs on the same pilot, from above, eq. (13)."""
    serving = len(size) // len(energy)
    victim, source = pairs.point[pilots.pair], pilots.link // serving
    other = victim != source
    pair, link, victim, source = pilots.pair[other], pilots.link[other], victim[other], source[other]
    cross = (heard[pair] * weights_of(filtered)[link]).sum(1) * network.noise_power
    amplitude = np.abs(cross) / np.sqrt(size[link] * network.noise_power) * np.sqrt(energy[victim] / energy[source])
    gain = heard[pair, 0]
    amplitude += np.sqrt(energy[victim]) * network.num_antennas * gain * (excess[link] + TABLE_ERROR)
    key, row = np.unique(victim * len(energy) + source, return_inverse=True)
    matrix = csr_array((amplitude, (row, link)), shape=(len(key), len(size)))
    return matrix, key // len(energy)
