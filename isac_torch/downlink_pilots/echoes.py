"""Simulated echoes of the downlink pilots, path by path: eqs. (P24)-(P25) of docs/downlink_pilots.md.

The waveforms of different APs and UEs are told apart by their pilots and the echoes of everything else are removed, as the
paper assumes [A 19-20]; every path AP - UE - AP therefore has a spectrum of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from isac_torch.downlink_pilots.localisation import echo_snr
from isac_torch.errors import ScenarioError
from isac_torch.units import SPEED_OF_LIGHT

if TYPE_CHECKING:
    from isac_torch.downlink_pilots.drop import DownlinkPilotDrop
    from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario


@dataclass(frozen=True)
class Waveform:
    """Spectrum of the pilots.

    Attributes:
        frequency: of each bin relative to the carrier, Hz, equally spaced.
        spectrum: of each bin, real, unit energy in all.
    """

    frequency: Float[Tensor, " bin"]
    spectrum: Float[Tensor, " bin"]

    @property
    def spacing(self) -> float:
        """Hz from bin to bin: delays are unambiguous within its inverse."""
        return float(self.frequency[1] - self.frequency[0])


def flat_waveform(scenario: DownlinkPilotScenario, bins: int = 256) -> Waveform:
    """A flat spectrum whose rms bandwidth is that of the scenario; sqrt(12) times that wide.

    Args:
        scenario: whose `rms_bandwidth` (Hz) it has.
        bins: frequencies; more keep longer delays unambiguous.

    Raises:
        ScenarioError: for fewer than 8 bins.
    """
    if bins < 8:
        raise ScenarioError(f"bins={bins} must be at least 8")
    place = torch.linspace(-0.5, 0.5, bins, dtype=torch.float64)
    frequency = place * (scenario.rms_bandwidth / place.square().mean().sqrt())
    return Waveform(frequency, torch.full_like(place, bins**-0.5))


def path_lengths(position: Float[Tensor, "... 2"], ap_position: Float[Tensor, "... ap 2"]) -> Float[Tensor, "... ap ap"]:
    """Length (m) of every path AP m - `position` - AP n, axes transmitter, receiver; positions in m, leading axes broadcast."""
    reach = torch.linalg.vector_norm(position.unsqueeze(-2) - ap_position, dim=-1)
    return reach.unsqueeze(-1) + reach.unsqueeze(-2)


def simulate_echoes(
    drop: DownlinkPilotDrop,
    scenario: DownlinkPilotScenario,
    power: Float[Tensor, "drop link"],
    waveform: Waveform,
    generator: torch.Generator,
    frames: int = 1,
) -> Complex[Tensor, "drop ue tx rx bin"]:
    """Spectra of all echoes over the noise; every bin's noise has variance 1, every path a phase of its own.

    Args:
        drop: the roads.
        scenario: their parameters.
        power: of every link, W.
        waveform: of the pilots.
        generator: of phases and noise.
        frames: frames whose pilots are added up coherently.

    Example:
        >>> import torch
        >>> from isac_torch import DownlinkPilotScenario, equal_split, power_problem
        >>> scenario = DownlinkPilotScenario()
        >>> number = torch.Generator().manual_seed(1)
        >>> drop = scenario.sample(3, generator=number)
        >>> power = equal_split(power_problem(drop, scenario))                  # W
        >>> tuple(simulate_echoes(drop, scenario, power, flat_waveform(scenario, 64), number).shape)
        (3, 2, 8, 8, 64)
    """
    per_ue = power.unflatten(-1, (scenario.num_ues, scenario.num_aps))
    amplitude = (frames * echo_snr(drop, scenario) * per_ue.unsqueeze(-1)).sqrt()
    delay = path_lengths(drop.ue_position, drop.ap_position.unsqueeze(1)) / SPEED_OF_LIGHT
    turn = torch.rand(amplitude.shape, generator=generator, dtype=torch.float64)
    phase = 2.0 * math.pi * (turn.unsqueeze(-1) - waveform.frequency * delay.unsqueeze(-1))
    clean = torch.polar(amplitude.unsqueeze(-1) * waveform.spectrum.expand_as(phase), phase)
    noise = torch.randn((*clean.shape, 2), generator=generator, dtype=torch.float64)
    return clean + torch.view_as_complex(noise * 0.5**0.5)
