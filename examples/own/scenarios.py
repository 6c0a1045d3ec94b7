"""A scenario of one's own: APs of different antenna counts and budgets, UEs and receive APs with different arrays.

From the clone's folder, after `export PYTHONPATH=examples/own`; docs/own.md explains it:

    isac-torch generate --config examples/own/generate.yaml --num_drops 24 --shard_size 8 --output runs/mixed
    isac-torch train --config examples/own/train.yaml --data.init_args.path runs/mixed --output runs/mixed_training
    isac-torch evaluate --config examples/own/generate.yaml --num_drops 20 --seed 1 --allocators "[upc, gnn, opc_batched]" \
        --output runs/mixed_table
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

import isac_torch as it
from isac_torch.tracking.build import network_problem
from isac_torch.tracking.channel import channel_statistics
from isac_torch.tracking.drop import TrackingDrop
from isac_torch.tracking.sensing import echo_gain, illumination


@dataclass(frozen=True)
class MixedArrays(it.TrackingScenario):
    """Every other AP is a small one. All sequences go through the APs or UEs in turns.

    Attributes:
        antennas: of the transmit APs.
        powers: budgets of the transmit APs, W.
        ue_gain_db: gains of the UEs' antennas, towards every AP alike, dB.
        rx_antennas: of the receive APs, which combine an echo coherently: they weigh it by their number.
    """

    antennas: tuple[int, ...] = (8, 2)
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
        """The power problem: every link has the coefficients that it has in a network of APs like its own."""
        likes = [replace(self, num_antennas=count) for count in self.antennas]
        statistics = [channel_statistics(drop, like) for like in likes]
        problems = [
            network_problem(drop, like, of_like, budget, sir_min) for like, of_like in zip(likes, statistics, strict=True)
        ]
        link_ap = problems[0].link_ap
        kind = link_ap % len(likes)  # [drop, link]
        comm = kind[:, : problems[0].num_comm_links].reshape(problems[0].signal.shape)
        echo, cross_echo = self._echoes(drop, link_ap, chosen([illumination(each) for each in statistics], kind[:, None]))
        return replace(
            problems[0],
            signal=chosen([each.signal for each in problems], comm),
            leakage=chosen([each.leakage for each in problems], kind[:, None]),
            coherent=chosen([each.coherent for each in problems], comm[:, None]),
            echo=echo,
            cross_echo=cross_echo,
        )

    def _echoes(self, drop: TrackingDrop, link_ap: Tensor, lit: Tensor) -> tuple[Tensor, Tensor]:
        """Own and other targets' echoes per W of each link at the receive APs of each target, [drop, target, link]."""
        if lit.shape[1] < 2:
            return lit[:, :0], lit[:, :0]
        antennas = in_turns(self.rx_antennas, drop.rx_orientation)
        listens = torch.zeros(len(lit), lit.shape[1], antennas.shape[1], dtype=lit.dtype).scatter(2, drop.listening_ap, 1.0)
        heard = torch.einsum("dlr,djrm->dljm", listens * antennas[:, None], echo_gain(drop, self))
        place = link_ap[:, None, None].expand(-1, *heard.shape[1:3], -1)
        each = heard.gather(3, place) * lit[:, None]  # echo off target j at the receive APs of target l
        own = each.diagonal(0, 1, 2).mT
        scale = own.amax(-1, keepdim=True)
        return own / scale, (each.sum(2) - own) / scale


def in_turns(values: Sequence[float], like: Tensor) -> Tensor:
    """`values` over and over along the last axis of `like`, in its shape."""
    row = like.new_tensor(values)
    return row[torch.arange(like.shape[-1]) % len(row)].expand_as(like).clone()


def chosen(tables: list[Tensor], place: Tensor) -> Tensor:
    """Of several tables of one shape, the entry of the table at `place`, which broadcasts to that shape."""
    return torch.stack(tables).gather(0, place.expand_as(tables[0])[None])[0]
