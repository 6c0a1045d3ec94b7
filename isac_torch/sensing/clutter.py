"""Clutter: what receive APs get from the transmit APs over paths that are not estimated. Eqs. (30)-(32) of docs/sensing.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from isac_torch.sensing.conditions import AntennaCorrelation
from isac_torch.tracking.whitening import clutter_power

if TYPE_CHECKING:
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.scenario import TrackingScenario
    from isac_torch.tracking.setup import SensingSetup

WHITE = AntennaCorrelation()
"""Clutter that antennas hear independently."""


@dataclass(frozen=True)
class Clutter:
    """Second-order statistics of the AP-AP channels without their known part; covariance Q = Q_t x Q_r of each pair.

    Attributes:
        power: kappa^2 of each pair over the noise power, 1/W.
        transmit_root: a root of Q_t, Q_t = root root^H, per pair; None where Q_t is the identity.
        receive_covariance: Q_r, the same for every transmit AP; None where it is the identity.
    """

    power: Float[Tensor, "drop rx ap"]
    transmit_root: Complex[Tensor, "drop rx ap antenna antenna"] | None = None
    receive_covariance: Complex[Tensor, "drop rx antenna antenna"] | None = None


def clutter_statistics(
    drop: TrackingDrop, scenario: TrackingScenario, setup: SensingSetup, correlation: AntennaCorrelation = WHITE
) -> Clutter:
    """Clutter power of every AP pair, eq. (31), and the correlation between antennas: Q_t of all pairs, Q_r of each receive AP.

    The Rician factor of the model never appears: its scattered part is b (1 - p_LoS), finite at p_LoS = 1 too.
    """
    power = clutter_power(drop, scenario, setup)

    def exponential(coefficient: float) -> Tensor:
        index = torch.arange(scenario.num_antennas, device=power.device)
        return (coefficient ** (index[:, None] - index).abs().to(power.dtype)).to(power.dtype.to_complex())

    root, received = None, None
    if correlation.transmit > 0.0:
        root = matrix_root(exponential(correlation.transmit)).expand(*power.shape, -1, -1)
    coefficients = correlation.received(power.shape[1])
    if max(coefficients) > 0.0:
        received = torch.stack([exponential(value) for value in coefficients]).expand(len(power), -1, -1, -1)
    return Clutter(power, root, received)


def temporal_covariance(
    sent: Complex[Tensor, "drop block ap time antenna"], clutter: Clutter
) -> Complex[Tensor, "drop block rx time time"]:
    """T of every receive AP: its clutter over the noise has covariance T x Q_r over time and antennas, eq. (32).

    Args: sent, the samples of every transmit AP, sqrt(W); clutter, its statistics.
    """
    flat = sent.transpose(2, 3).flatten(3)  # of all antennas of all APs
    if clutter.transmit_root is None:
        strength = clutter.power.repeat_interleave(sent.shape[4], -1)[:, None, :, None]
        series = (flat.unsqueeze(2) * strength).flatten(2, 3)
        return (series @ flat.mH).unflatten(2, clutter.power.shape[1:2] + sent.shape[3:4])
    weighted = sent.unsqueeze(2).expand(-1, -1, clutter.power.shape[1], -1, -1, -1)
    weighted = weighted @ clutter.transmit_root.unsqueeze(1)
    weighted = weighted * clutter.power.sqrt()[:, None, :, :, None, None]
    series = weighted.transpose(3, 4).flatten(4)
    return series @ series.mH


def sample_clutter(
    sent: Complex[Tensor, "drop block ap time antenna"], clutter: Clutter, generator: torch.Generator
) -> Complex[Tensor, "drop block rx time antenna"]:
    """Clutter over the noise at every receive AP in every block: y[t] = sum_m kappa_m G_m s_m[t], G_m drawn anew, eq. (31)."""
    drops, blocks, aps, _, antennas = sent.shape
    num_rx = clutter.power.shape[1]
    shape = (drops, blocks, num_rx, aps, antennas, antennas)
    channel = torch.randn(shape, generator=generator, dtype=sent.dtype, device=sent.device)
    if clutter.transmit_root is not None:
        channel = channel @ clutter.transmit_root.transpose(-2, -1).unsqueeze(1)
    if clutter.receive_covariance is not None:
        channel = matrix_root(clutter.receive_covariance)[:, None, :, None] @ channel
    channel = channel * clutter.power.sqrt()[:, None, :, :, None, None]
    return torch.einsum("dfrman,dfmtn->dfrta", channel, sent)


def matrix_root(covariance: Complex[Tensor, "*shape n n"]) -> Complex[Tensor, "*shape n n"]:
    """A root X, X X^H = covariance, of positive semidefinite matrices; eigenvalues below 0 by rounding count as 0."""
    value, vector = torch.linalg.eigh(covariance)
    return vector * value.clamp_min(0.0).sqrt().unsqueeze(-2)
