"""From a drop to its canonical power problem."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isac_torch.downlink_pilots.channel import channel_statistics
from isac_torch.downlink_pilots.drop import serving
from isac_torch.downlink_pilots.localisation import fisher_gain
from isac_torch.downlink_pilots.problem import MinMaxNmseProblem

if TYPE_CHECKING:
    from isac_torch.downlink_pilots.drop import DownlinkPilotDrop
    from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario


def power_problem(drop: DownlinkPilotDrop, scenario: DownlinkPilotScenario, crb_max: float | None = None) -> MinMaxNmseProblem:
    """The min-max NMSE problem of every drop; `crb_max` (m2) replaces the scenario's Gamma."""
    statistics = channel_statistics(drop, scenario)
    fisher = fisher_gain(drop, scenario)
    energy = scenario.downlink_symbols / scenario.noise_power
    ones = torch.ones_like(drop.gain[..., 0])
    serves = serving(drop, scenario)
    sent = 1.0 if serves is None else serves
    ap = torch.arange(scenario.num_aps, device=drop.gain.device).repeat(scenario.num_ues)
    return MinMaxNmseProblem(
        gain=energy * statistics.gain,
        estimate=energy * statistics.estimate * sent,
        gram_real=drop.gram_real,
        gram_imag=drop.gram_imag,
        same_pilot=statistics.same_pilot,
        fisher_xx=fisher.xx * sent,
        fisher_yy=fisher.yy * sent,
        fisher_xy=fisher.xy * sent,
        crb_max=(scenario.crb_max if crb_max is None else crb_max) * ones,
        weight=ones,
        budget=torch.full_like(drop.gain[:, 0], scenario.pilot_power),
        link_ap=ap.expand(drop.num_drops, -1),
        link_gain=drop.gain.flatten(1),
        serves=serves,
        fading=scenario.crb,
        outage_percent=scenario.crb_outage_percent,
        receiver=scenario.receiver,
    )
