"""Positions of vehicles from the echoes of their pilots: maximum likelihood and time differences of arrival (TDOA).

Equations (P26)-(P28) of docs/downlink_pilots.md. Complex amplitudes of all paths are unknown, so that only their delays tell.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from isac_torch.downlink_pilots.echoes import path_lengths
from isac_torch.units import SPEED_OF_LIGHT

if TYPE_CHECKING:
    from isac_torch.downlink_pilots.echoes import Waveform
    from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario

_GRID = 2.0
"""Spacing (m) of the positions that are tried first; well within the main lobe of the likelihood."""
_FINER = 8
"""Delays at which the matched filter is evaluated, per inverse bandwidth."""
_STEPS, _LONGEST = 12, 1.0
"""Steps of the refinement of the likelihood, and the longest of them, m: the search ends in the main lobe."""
_FIT_STEPS, _FIT_LONGEST = 60, 10.0
"""The same of the fit to differences of arrival: its search ends anywhere along a narrow valley of the cost."""
_HEARD = 20.0
"""Energy over the noise from which on the peak of one path is believed; noise alone passes it about once in a million paths."""
_TRIED = 2**22
"""Path values of the search that are held at once."""


def maximum_likelihood(
    echo: Complex[Tensor, "drop ue tx rx bin"],
    ap_position: Float[Tensor, "drop ap 2"],
    scenario: DownlinkPilotScenario,
    waveform: Waveform,
) -> Float[Tensor, "drop ue 2"]:
    """Most likely position (m) of every vehicle, all paths' amplitudes unknown: the largest sum of |matched filter|^2, (P26).

    The road is searched on a grid, the best place is refined by Newton's steps.
    """
    profile = _Profile(echo, waveform)
    position = _search(profile, ap_position.unsqueeze(1), scenario)
    for _ in range(_STEPS):
        reach, slope = _paths(position, ap_position.unsqueeze(1))
        _, rate, bend = profile.at(reach)
        gradient = torch.einsum("dkmn,dkmnx->dkx", rate, slope)
        hessian = torch.einsum("dkmn,dkmnx,dkmny->dkxy", bend, slope, slope)
        position = position + _step(hessian, gradient, _LONGEST)
    return position


def tdoa(
    echo: Complex[Tensor, "drop ue tx rx bin"],
    ap_position: Float[Tensor, "drop ap 2"],
    scenario: DownlinkPilotScenario,
    waveform: Waveform,
) -> Float[Tensor, "drop ue 2"]:
    """Positions (m) from differences of arrival times between receivers, (P27): each transmitter's clock may be wrong.

    The delay of every path is where its own matched filter peaks; the differences are fitted by weighted least squares, the
    weight of a path the energy of its peak.
    """
    length, weight = _Profile(echo, waveform).peaks()
    span = SPEED_OF_LIGHT / waveform.spacing
    position = _coarse(length, weight, span, ap_position.unsqueeze(1), scenario)
    for _ in range(_FIT_STEPS):
        reach, slope = _paths(position, ap_position.unsqueeze(1))
        miss = _wrapped(length - reach, span)
        # Differences: whatever all receivers of a transmitter have in common tells nothing.
        miss = miss - _mean(miss, weight)
        slope = slope - _mean(slope, weight.unsqueeze(-1), axis=-2)
        gradient = torch.einsum("dkmn,dkmn,dkmnx->dkx", weight, miss, slope)
        hessian = torch.einsum("dkmn,dkmnx,dkmny->dkxy", weight, slope, slope)
        position = position + _step(hessian, gradient, _FIT_LONGEST)
    return position


class _Profile:
    """Matched filter of every path against the length of the path."""

    def __init__(self, echo: Complex[Tensor, "drop ue tx rx bin"], waveform: Waveform) -> None:
        self._matched = echo * waveform.spectrum
        self._wave = 2.0 * math.pi / SPEED_OF_LIGHT * waveform.frequency
        bins = len(waveform.frequency)
        self._count = _FINER * bins
        span = SPEED_OF_LIGHT / waveform.spacing  # unambiguous length, m
        self._resolution = span / self._count
        # Bins are counted from the lowest frequency; the phase that this leaves out does not change the energy.
        self.energy = torch.fft.ifft(self._matched, n=self._count, norm="forward").abs().square()

    def near(self, length: Tensor) -> Tensor:
        """Energy at path lengths (m), [drop, ue, place, tx, rx], to the nearest tabulated delay."""
        index = (length / self._resolution).round().long() % self._count
        return self.energy.gather(-1, index.permute(0, 1, 3, 4, 2)).permute(0, 1, 4, 2, 3)

    def at(self, length: Float[Tensor, "drop ue tx rx"]) -> tuple[Tensor, Tensor, Tensor]:
        """Energy of the matched filter at path lengths (m), its slope by the length, and its curvature, positive at a peak."""
        turned = self._matched * torch.exp(1j * self._wave * length.unsqueeze(-1))
        value, first, second = turned.sum(-1), (1j * self._wave * turned).sum(-1), (self._wave.square() * -turned).sum(-1)
        bend = -2.0 * (first.abs().square() + (value.conj() * second).real)
        return value.abs().square(), 2.0 * (value.conj() * first).real, bend

    def peaks(self) -> tuple[Float[Tensor, "drop ue tx rx"], Float[Tensor, "drop ue tx rx"]]:
        """Length (m) at which each path's energy is largest, refined by Newton's steps, and that energy, next to nothing
        where it may be noise.
        """
        length = self.energy.argmax(-1).to(torch.float64) * self._resolution
        for _ in range(6):
            _, rate, bend = self.at(length)
            safe = torch.where(bend > 0.0, bend, torch.inf)
            length = length + (rate / safe).clamp(-self._resolution, self._resolution)
        energy, _, _ = self.at(length)
        return length, torch.where(energy > _HEARD, energy, 1e-9)


def _places(scenario: DownlinkPilotScenario, spacing: float) -> Float[Tensor, "place 2"]:
    """Points of the road (m) where vehicles can be."""
    x = torch.arange(0.0, scenario.length + spacing / 2, spacing, dtype=torch.float64)
    y = torch.arange(scenario.margin, scenario.width - scenario.margin + spacing / 2, spacing, dtype=torch.float64)
    return torch.cartesian_prod(x, y)


def _search(profile: _Profile, ap: Float[Tensor, "drop 1 ap 2"], scenario: DownlinkPilotScenario) -> Float[Tensor, "drop ue 2"]:
    """The place of the grid with the largest likelihood."""
    places = _places(scenario, _GRID)
    drops, ues = profile.energy.shape[:2]
    part = max(1, _TRIED // (drops * ues * ap.shape[-2] ** 2))
    score = torch.cat(
        [
            profile.near(path_lengths(some, ap.unsqueeze(2)).expand(-1, ues, -1, -1, -1)).sum((-1, -2))
            for some in places.split(part)
        ],
        -1,
    )
    return places[score.argmax(-1)]


def _coarse(
    length: Tensor, weight: Tensor, span: float, ap: Float[Tensor, "drop 1 ap 2"], scenario: DownlinkPilotScenario
) -> Float[Tensor, "drop ue 2"]:
    """The place of a coarse grid that fits the differences best; weights that wrong peaks cannot spoil."""
    places = _places(scenario, 5.0 * _GRID)
    miss = _wrapped(length.unsqueeze(2) - path_lengths(places, ap.unsqueeze(2)), span)  # drop, ue, place, tx, rx
    heavy = weight.unsqueeze(2)
    miss = miss - miss.gather(-1, heavy.argmax(-1, keepdim=True).expand(*miss.shape[:-1], 1))
    cost = (heavy * miss.abs().clamp_max(10.0 * _GRID)).sum((-1, -2))
    return places[cost.argmin(-1)]


def _paths(position: Float[Tensor, "drop ue 2"], ap: Float[Tensor, "drop 1 ap 2"]) -> tuple[Tensor, Tensor]:
    """Length (m) of every path and its gradient by the position."""
    vector = position.unsqueeze(-2) - ap
    reach = torch.linalg.vector_norm(vector, dim=-1, keepdim=True).clamp_min(1e-9)
    unit = vector / reach
    return path_lengths(position, ap), unit.unsqueeze(-2) + unit.unsqueeze(-3)


def _wrapped(length: Tensor, span: float) -> Tensor:
    """Differences of lengths (m) between -span / 2 and span / 2: delays are known up to the inverse spacing of the bins."""
    return torch.remainder(length + 0.5 * span, span) - 0.5 * span


def _mean(value: Tensor, weight: Tensor, axis: int = -1) -> Tensor:
    return (weight * value).sum(axis, keepdim=True) / weight.sum(axis, keepdim=True)


def _step(
    hessian: Float[Tensor, "drop ue 2 2"], gradient: Float[Tensor, "drop ue 2"], longest: float
) -> Float[Tensor, "drop ue 2"]:
    """Newton's step (m) uphill where the curvature is sound, else one along the gradient; at most `longest`."""
    values, vectors = torch.linalg.eigh(hessian)
    sound = values.abs().clamp_min(1e-12 * values.abs().amax(-1, keepdim=True).clamp_min(1e-300))
    along = torch.einsum("dkxi,dkx->dki", vectors, gradient) / sound
    step = torch.einsum("dkxi,dki->dkx", vectors, along)
    size = torch.linalg.vector_norm(step, dim=-1, keepdim=True)
    return step * (longest / size.clamp_min(longest))
