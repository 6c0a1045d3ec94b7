"""A scenario of one's own: APs of different array shapes, sizes and budgets, UEs and receive APs with different arrays.

From the clone's folder, after `export PYTHONPATH=examples/own`; docs/own.md explains it:

    isac-torch generate --config examples/own/generate.yaml --num_drops 24 --shard_size 8 --output runs/mixed
    isac-torch train --config examples/own/train.yaml --data.init_args.path runs/mixed --output runs/mixed_training
    isac-torch evaluate --config examples/own/generate.yaml --num_drops 20 --seed 1 --allocators "[upc, gnn, opc_batched]" \
        --output runs/mixed_table
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

import isac_torch as it
from isac_torch.propagation.geometry import angles
from isac_torch.tracking.build import network_problem
from isac_torch.tracking.covariances import link_statistics
from isac_torch.tracking.drop import TrackingDrop
from isac_torch.tracking.sensing import echo_gain, illumination


@dataclass(frozen=True)
class MixedArrays(it.TrackingScenario):
    """Every other AP is a small one. All sequences go through the APs or UEs in turns.

    Attributes:
        antennas: of the transmit APs.
        circles: whether the transmit APs have circular arrays, not linear ones; half a wavelength between neighbours in both.
        powers: budgets of the transmit APs, W.
        ue_gain_db: gains of the UEs' antennas, towards every AP alike, dB.
        rx_antennas: of the receive APs, which combine an echo coherently: they weigh it by their number.
    """

    antennas: tuple[int, ...] = (8, 2)
    circles: tuple[bool, ...] = (False,)
    powers: tuple[float, ...] = (2.0, 0.5)
    ue_gain_db: tuple[float, ...] = (0.0, 3.0)
    rx_antennas: tuple[int, ...] = (4, 2)

    def sample(self, num_drops: int, *, generator: torch.Generator) -> TrackingDrop:
        """Drops of the package's sampler, seen through the UEs' antennas."""
        drop = super().sample(num_drops, generator=generator)
        gain = 10.0 ** (in_turns(self.ue_gain_db, drop.pilot_power)[:, :, None] / 10.0)
        rx_gain = None if drop.rx_gain is None else drop.rx_gain * gain
        return replace(drop, ue_gain=drop.ue_gain * gain, rx_gain=rx_gain)

    def ap_budgets(self, drop: TrackingDrop) -> Tensor:
        """Power budget of each transmit AP, W."""
        return in_turns(self.powers, drop.ue_gain[:, 0])

    def own_coefficients(self, drop: TrackingDrop, budget: Tensor, sir_min: Tensor) -> it.MaxMinSinrProblem:
        """The power problem by covariances, responses and beams of these arrays; smaller ones are filled up with zeros."""
        place, there = self._places(drop.tx_position.shape[1])
        covariance = drop.ue_gain[..., None, None] * self._scattered(drop, place, there)
        towards = angles(drop.tx_position, drop.tx_orientation, drop.target_position)
        response = responses(place, there, *towards).transpose(1, 2)
        statistics = link_statistics(drop, self, covariance, response, self._beams(drop, place, there, towards))
        problem = network_problem(drop, self, statistics, budget, sir_min)
        echo, cross_echo = self._echoes(drop, statistics.link_ap, illumination(statistics))
        return replace(problem, echo=echo, cross_echo=cross_echo)

    def _places(self, num_aps: int) -> tuple[Tensor, Tensor]:
        """Place of every antenna in wavelengths, [ap, antenna, (towards broadside, along it)], and whether the AP has it."""
        place = torch.zeros(num_aps, max(self.antennas), 2, dtype=torch.float64)
        there = torch.zeros(num_aps, max(self.antennas), dtype=torch.float64)
        for m in range(num_aps):
            count, circle = self.antennas[m % len(self.antennas)], self.circles[m % len(self.circles)]
            index = torch.arange(count, dtype=torch.float64)
            if circle and count > 1:
                turn = 2.0 * math.pi * index / count
                place[m, :count] = torch.stack([turn.cos(), turn.sin()], -1) / (4.0 * math.sin(math.pi / count))
            else:
                place[m, :count, 1] = index / 2.0
            there[m, :count] = 1.0
        return place, there

    def _scattered(self, drop: TrackingDrop, place: Tensor, there: Tensor) -> Tensor:
        """Covariances at unit gain of scatterers around the UEs' directions, [drop, ue, ap, antenna, antenna]."""
        azimuth, elevation = angles(drop.tx_position, drop.tx_orientation, drop.ue_position)
        total: Tensor | float = 0.0
        for offset, weight in normal(math.radians(self.azimuth_spread_deg)):
            seen = responses(place, there, azimuth + offset, elevation)
            total = total + weight * seen[..., :, None] * seen[..., None, :].conj()
        return torch.as_tensor(total).transpose(1, 2)

    def _beams(self, drop: TrackingDrop, place: Tensor, there: Tensor, towards: tuple[Tensor, Tensor]) -> Tensor:
        """Mean covariances of beams at targets whose angles are known with normal errors, [drop, target, sensing, ...]."""
        azimuth, elevation = (angle.mT.gather(2, drop.sensing_ap) for angle in towards)
        place, there = place[drop.sensing_ap], there[drop.sensing_ap]
        total: Tensor | float = 0.0
        for offset, weight in normal(self.angle_error, 12):
            for height, other in normal(self.angle_error, 12):
                seen = response(place, there, azimuth + offset, elevation + height)
                total = total + weight * other * seen[..., :, None] * seen[..., None, :].conj()
        return total / there.sum(-1)[..., None, None]

    def _echoes(self, drop: TrackingDrop, link_ap: Tensor, illuminated: Tensor) -> tuple[Tensor, Tensor]:
        """Own and other targets' echoes per W of each link at the receive APs of each target, [drop, target, link]."""
        if illuminated.shape[1] < 2:
            return illuminated[:, :0], illuminated[:, :0]
        antennas = in_turns(self.rx_antennas, drop.rx_orientation)
        listens = torch.zeros(len(illuminated), illuminated.shape[1], antennas.shape[1], dtype=illuminated.dtype).scatter(
            2, drop.listening_ap, 1.0
        )
        heard = torch.einsum("dlr,djrm->dljm", listens * antennas[:, None], echo_gain(drop, self))
        place = link_ap[:, None, None].expand(-1, *heard.shape[1:3], -1)
        each = heard.gather(3, place) * illuminated[:, None]  # echo off target j at the receive APs of target l
        own = each.diagonal(0, 1, 2).mT
        scale = own.amax(-1, keepdim=True)
        return own / scale, (each.sum(2) - own) / scale


def response(place: Tensor, there: Tensor, azimuth: Tensor, elevation: Tensor) -> Tensor:
    """Array response of antennas at `place`, 0 where there is none; angles in rad, azimuth from broadside."""
    towards = torch.stack([azimuth.cos(), azimuth.sin()], -1) * elevation.cos()[..., None]
    phase = 2.0 * math.pi * (place @ towards[..., None])[..., 0]
    return torch.polar(there.expand_as(phase).contiguous(), phase)


def responses(place: Tensor, there: Tensor, azimuth: Tensor, elevation: Tensor) -> Tensor:
    """Array response [drop, ap, point, antenna] of every AP towards every point, by angles [drop, ap, point] in rad."""
    return response(place[None, :, None], there[None, :, None], azimuth, elevation)


def normal(deviation: float, count: int = 40) -> list[tuple[float, float]]:
    """Values and weights with which sums are averages over a normal variable (Gauss and Hermite)."""
    values, weights = np.polynomial.hermite_e.hermegauss(count)
    return [(deviation * float(x), float(w)) for x, w in zip(values, weights / weights.sum(), strict=True)]


def in_turns(values: Sequence[float], like: Tensor) -> Tensor:
    """`values` over and over along the last axis of `like`, in its shape."""
    row = like.new_tensor(values)
    return row[torch.arange(like.shape[-1]) % len(row)].expand_as(like).clone()
