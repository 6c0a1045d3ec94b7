"""Sensing constraints of a large network: echoes of near targets exactly, those of far ones bounded. Equations (16)-(19)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.sparse import csr_array

from isac_torch.large.cells import CellGrid
from isac_torch.large.near import NearLags
from isac_torch.large.network import LargeNetwork
from isac_torch.large.sets import located, nearest_free, strongest
from isac_torch.propagation.arrays import response_lags, turned, weights_of
from isac_torch.propagation.correlation import pointing_lags
from isac_torch.propagation.geometry import MIN_DISTANCE


@dataclass(frozen=True)
class TargetStatistics:
    """Coefficients of targets. Echo gains are divided by the constants of the radar equation, which cancel in every ratio.

    Attributes:
        grid: decides which pairs are near.
        decay: exponent of the echo with either distance: 2 (`radar`) or 2.2 (`product`).
        sensing_ap: transmit APs with a beam at each target, closest first.
        distance: of these, m.
        beam: weights of W of each sensing link, eq. (9).
        lighting: d^-decay times the lags of a a^H of each near pair of target and AP.
        listener: position of the receive AP of each (target, rank), m, target by target.
        own: sum of d^-decay from a target to the receive APs that listen for it.
        cross: the same from the other near targets l' (columns) to the receive APs of target l (rows).
    """

    grid: CellGrid
    decay: float
    sensing_ap: Int[ndarray, "target sensing"]
    distance: Float[ndarray, "target sensing"]
    beam: Float[ndarray, "sensinglink width"]
    lighting: NearLags
    listener: Float[ndarray, "listener 3"]
    own: Float[ndarray, " target"]
    cross: csr_array


def target_statistics(network: LargeNetwork, grid: CellGrid) -> TargetStatistics:
    """Statistics of every target towards near APs, listeners and other targets."""
    target, ap = network.target_position, network.tx_position
    decay = 2.0 if network.echo_gain == "radar" else 2.2
    pairs = grid.near_pairs(target[:, :2], ap[:, :2])
    vector = target[pairs.point] - ap[pairs.source]
    flat = np.hypot(vector[:, 0], vector[:, 1])
    distance = np.maximum(np.hypot(flat, vector[:, 2]), MIN_DISTANCE)
    azimuth = np.arctan2(vector[:, 1], vector[:, 0]) - network.tx_orientation[pairs.source]
    elevation = np.arctan2(vector[:, 2], flat)
    lags = response_lags(azimuth, elevation, network.num_antennas)
    if network.sensing_ap is None:
        links = strongest(pairs, -distance, min(network.sensing_aps, len(ap)), "target")
    else:
        links = located(pairs, network.sensing_ap, "target")
    own = links.ravel()
    pointing = pointing_lags(azimuth[own], elevation[own], network.num_antennas, network.angle_error)
    listening = network.listening_ap
    if listening is None:
        listening = nearest_free(target, network.rx_position, min(network.listening_aps, len(network.rx_position)))
    slots = listening.shape[1]
    listener = network.rx_position[listening.ravel()]
    gap = np.linalg.norm(listener.reshape(len(target), slots, 3) - target[:, None], axis=-1)
    heard = grid.near_pairs(listener[:, :2], target[:, :2])
    row = heard.point // slots
    other = row != heard.source
    away = np.linalg.norm(listener[heard.point[other]] - target[heard.source[other]], axis=-1)
    cross = csr_array(
        (np.maximum(away, MIN_DISTANCE) ** -decay, (row[other], heard.source[other])), shape=(len(target), len(target))
    )
    return TargetStatistics(
        grid=grid,
        decay=decay,
        sensing_ap=pairs.source[links],
        distance=distance[links],
        beam=weights_of(turned(pointing / network.num_antennas)),
        lighting=NearLags(pairs, lags * (distance**-decay)[:, None], len(ap)),
        listener=listener,
        own=(np.maximum(gap, MIN_DISTANCE) ** -decay).sum(1),
        cross=cross,
    )
