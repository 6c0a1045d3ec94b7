"""Echoes of targets: their strength, and reflectivities that vary with the angle of view. Eqs. (35)-(37) of docs/sensing.md."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from isac_torch.propagation.arrays import steering
from isac_torch.propagation.geometry import angles
from isac_torch.sensing.clutter import WHITE, Clutter, clutter_statistics
from isac_torch.tracking.detection import reflectivity_correlation
from isac_torch.tracking.sensing import echo_gain

if TYPE_CHECKING:
    from isac_torch.sensing.conditions import AntennaCorrelation
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.scenario import TrackingScenario
    from isac_torch.tracking.setup import SensingSetup


@dataclass(frozen=True)
class EchoScene:
    """Everything about echoes that does not change from block to block, for targets at their true positions.

    Attributes:
        response: array response of transmit AP m towards target l.
        listener_response: array response of receive AP r towards target l.
        scale: sqrt(beta sigma_a^2 / noise) of the path m - l - r, 1/sqrt(W).
        reflectivity: correlation of target l's reflectivities between transmit APs, unit diagonal.
        listening: receive APs that listen for target l.
        clutter: statistics of the AP-AP channels.
    """

    response: Complex[Tensor, "drop target ap antenna"]
    listener_response: Complex[Tensor, "drop target rx antenna"]
    scale: Float[Tensor, "drop target rx ap"]
    reflectivity: Float[Tensor, "drop target ap ap"]
    listening: Int[Tensor, "drop target listening"]
    clutter: Clutter


def echo_scene(
    drop: TrackingDrop, scenario: TrackingScenario, setup: SensingSetup, correlation: AntennaCorrelation = WHITE
) -> EchoScene:
    """The scene of every drop with its targets at `drop.target_position`; `correlation` of the clutter between antennas."""
    return EchoScene(
        response=_response(drop.tx_position, drop.tx_orientation, drop.target_position, scenario.num_antennas),
        listener_response=_response(drop.rx_position, drop.rx_orientation, drop.target_position, scenario.num_antennas),
        scale=(echo_gain(drop, scenario) * (setup.rcs_variance / scenario.noise_power)).sqrt(),
        reflectivity=reflectivity_correlation(drop.target_position, drop.tx_position, math.radians(setup.rcs_correlation_deg)),
        listening=drop.listening_ap,
        clutter=clutter_statistics(drop, scenario, setup, correlation),
    )


def _response(position: Tensor, orientation: Tensor, target: Tensor, num_antennas: int) -> Tensor:
    """Array responses [drop, target, ap, antenna] of APs towards targets."""
    azimuth, elevation = angles(position, orientation, target)
    return steering(azimuth.transpose(1, 2), elevation.transpose(1, 2), num_antennas)


def sample_reflectivity(
    scene: EchoScene, num_blocks: int, generator: torch.Generator
) -> Complex[Tensor, "drop block target listening ap"]:
    """Swerling-I reflectivities over their deviation: constant in a block, independent between blocks and receive APs."""
    value, vector = torch.linalg.eigh(scene.reflectivity)
    root = (vector * value.clamp_min(0.0).sqrt().unsqueeze(-2)).to(scene.response.dtype)
    drops, targets, listening = scene.listening.shape
    shape = (drops, num_blocks, targets, listening, root.shape[-1])
    white = torch.randn(shape, generator=generator, dtype=root.dtype, device=root.device)
    return torch.einsum("dlab,dfljb->dflja", root, white)


def illuminating(
    sent: Complex[Tensor, "drop block ap time antenna"], scene: EchoScene
) -> Complex[Tensor, "drop block target time ap"]:
    """a_m(l)^H s_m[t]: what transmit AP m sends towards target l, sqrt(W), eq. (35)."""
    return torch.einsum("dlmn,dfmtn->dfltm", scene.response.conj(), sent)


def observe(
    sent: Complex[Tensor, "drop block ap time antenna"],
    scene: EchoScene,
    reflectivity: Complex[Tensor, "drop block target rx ap"],
) -> Complex[Tensor, "drop block rx time antenna"]:
    """Echoes of every target at every receive AP, over the noise deviation, eq. (35).

    Args: sent, samples of the transmit APs, sqrt(W); reflectivity over its deviation, 0 for targets that are absent.
    """
    illuminated = illuminating(sent, scene)
    path = reflectivity * scene.scale.unsqueeze(1).to(reflectivity.dtype)
    return torch.einsum("dflrm,dfltm,dlrn->dfrtn", path, illuminated, scene.listener_response)


def at_listeners(table: Tensor, listening: Int[Tensor, "drop target listening"]) -> Tensor:
    """Entries of `table` [drop, rx, ...] at the listening APs of every target: [drop, target, listening, ...]."""
    drop = torch.arange(table.shape[0], device=table.device)[:, None, None]
    return table[drop, listening]
