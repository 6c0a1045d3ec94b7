"""From a drop to its canonical power problem."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isac_torch.downlink_pilots.channel import channel_statistics
from isac_torch.downlink_pilots.drop import serving
from isac_torch.downlink_pilots.localisation import fisher_gain
from isac_torch.downlink_pilots.problem import STEADY_SHARE, MinMaxNmseProblem
from isac_torch.errors import ScenarioError

if TYPE_CHECKING:
    from torch import Tensor

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
    gain, estimate = statistics.gain, statistics.estimate
    if scenario.crb == "per_block":
        gain, estimate = _steady(gain, estimate, statistics.same_pilot, drop)
    return MinMaxNmseProblem(
        gain=energy * gain,
        estimate=energy * estimate * sent,
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


def _steady(gain: Tensor, estimate: Tensor, same_pilot: Tensor, drop: DownlinkPilotDrop) -> tuple[Tensor, Tensor]:
    """Gains and coherent parts of beams whose power is the same in every block, eq. (P15d)."""
    crossed = drop.gram_real.square() + drop.gram_imag.square()
    if bool((torch.triu(crossed, 1) > 0).any() or (torch.triu(same_pilot, 1) > 0).any()):
        raise ScenarioError(
            "crb='per_block' needs orthogonal pilots; take as many uplink and downlink symbols as UEs, and no correlation"
        )
    coherent = STEADY_SHARE * estimate
    return gain - coherent, coherent
