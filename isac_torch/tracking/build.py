"""From a drop to its canonical power problem."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isac_torch.propagation.geometry import distance
from isac_torch.propagation.path_loss import umi_los_gain
from isac_torch.tracking.channel import channel_statistics
from isac_torch.tracking.communication import coherent_amplitude, leakage_gain, signal_amplitude
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.sensing import echo_coefficients
from isac_torch.units import db_to_linear

if TYPE_CHECKING:
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.scenario import TrackingScenario


def power_problem(drop: TrackingDrop, scenario: TrackingScenario, sir_min_db: float | None = None) -> MaxMinSinrProblem:
    """The max-min SINR problem of every drop; `sir_min_db` (dB) replaces the scenario's SIR0."""
    statistics = channel_statistics(drop, scenario)
    noise = scenario.noise_power
    echo, cross_echo = echo_coefficients(statistics, drop, scenario)
    sir_min = scenario.sir_min if sir_min_db is None else db_to_linear(sir_min_db)
    target_gain = umi_los_gain(distance(drop.target_position, drop.tx_position), scenario.carrier_frequency)
    link_gain = [drop.ue_gain.gather(2, drop.serving_ap), target_gain.gather(2, drop.sensing_ap)]
    return MaxMinSinrProblem(
        signal=signal_amplitude(statistics, noise),
        leakage=leakage_gain(statistics, drop, noise),
        coherent=coherent_amplitude(statistics, drop, noise),
        echo=echo,
        cross_echo=cross_echo,
        sir_min=torch.full_like(echo[..., 0], sir_min),
        budget=torch.full_like(drop.ue_gain[:, 0], scenario.ap_power),
        link_ap=torch.cat([drop.serving_ap.flatten(1), drop.sensing_ap.flatten(1)], dim=-1),
        link_gain=torch.cat([part.flatten(1) for part in link_gain], dim=-1),
        num_targets=drop.target_position.shape[1],
    )
