"""What the pilot lengths of a frame can be chosen for, and which lengths cannot be better than those found. (P23f)-(P23h)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from isac_torch.allocators.downlink_pilots.frame_energy import frame_energy, least_energy
from isac_torch.allocators.downlink_pilots.frame_powers import FramePowers, largest_rate, least_error, unbounded_rate
from isac_torch.downlink_pilots.build import power_problem
from isac_torch.downlink_pilots.communication import downlink_rate
from isac_torch.downlink_pilots.drop import DownlinkPilotDrop
from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
from isac_torch.downlink_pilots.rate import achievable_rate, data_share
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario

_RATE_SLACK = 1.01
"""By how much the rate of a data symbol may exceed that found behind very long pilots: both are of local maxima."""
_ENERGY_SLACK = 0.9
"""Share of the data energy behind very long pilots that any frame is held to need, for the same reason."""
_ENUMERATED = 16
"""Symbols of the longest frame whose pairs are all solved for the least energy, but for those that the bound closes."""
_SPENT = 1.0 - 1e-3
"""Share of its budget from which on an AP counts as limited by it."""


Objective = Literal["rate", "energy", "overhead", "nmse", "sum_nmse", "paper_rate"]


def frame_powers(
    objective: Objective, problem: MinMaxNmseProblem, chosen: DownlinkPilotScenario, rate_min: float | None
) -> FramePowers:
    """Powers for an objective at the lengths of `chosen`, whose `problem` this is; `rate_min` (bit/s) for energy."""
    if objective in ("rate", "overhead"):
        return largest_rate(problem, chosen)
    return least_energy(problem, chosen, rate_min or 0.0) if objective == "energy" else least_error(problem, chosen)


class Standing(NamedTuple):
    """The best frames so far. Attributes: symbols tau_d and tau_u, 0 where none is found; value, the larger the better."""

    downlink: Int[Tensor, " drop"]
    uplink: Int[Tensor, " drop"]
    value: Float[Tensor, " drop"]


@runtime_checkable
class Goal(Protocol):
    """One objective over the frames of a batch of drops."""

    def lengths(self, scenario: DownlinkPilotScenario) -> Iterator[DownlinkPilotScenario]:
        """The scenario with every (tau_d, tau_u) that is to be compared."""
        ...

    def open(self, chosen: DownlinkPilotScenario, best: Standing) -> Bool[Tensor, " drop"]:
        """Drops for which the lengths of `chosen` may be better than the best so far."""
        ...

    def value(
        self, chosen: DownlinkPilotScenario, problem: MinMaxNmseProblem, powers: FramePowers, index: Int[Tensor, " some"]
    ) -> Float[Tensor, " some"]:
        """What the `powers` of the drops at `index` are worth, whose `problem` has the lengths of `chosen`."""
        ...


def all_lengths(scenario: DownlinkPilotScenario) -> Iterator[DownlinkPilotScenario]:
    """Every (tau_d, tau_u) that gives each UE pilots of its own and leaves data symbols, fewer pilots first."""
    for pilots in range(2 * scenario.num_ues, scenario.frame_symbols):
        yield from same_overhead(replace(scenario, downlink_symbols=pilots - 1, uplink_symbols=1))


def same_overhead(scenario: DownlinkPilotScenario) -> Iterator[DownlinkPilotScenario]:
    """Every (tau_d, tau_u) of the same tau_d + tau_u that gives each UE pilots of its own."""
    least, pilots = scenario.num_ues, scenario.pilot_symbols
    for downlink in range(least, pilots - least + 1):
        yield replace(scenario, downlink_symbols=downlink, uplink_symbols=pilots - downlink)


@dataclass
class LargestRate:
    """Largest smallest net rate (P23a). A pair of lengths is closed where pilots as long as the frame would not be enough."""

    drop: DownlinkPilotDrop
    scenario: DownlinkPilotScenario
    ceiling: Float[Tensor, " drop"] = field(init=False)

    def __post_init__(self) -> None:
        """Bound the smallest rate of a data symbol, in bit/s times its share of the frame."""
        problem, endless = _endless(self.drop, self.scenario)
        located = least_error(problem, endless).met
        rate = endless.bandwidth * unbounded_rate(problem, endless)
        self.ceiling = torch.where(located, rate * _RATE_SLACK, -torch.inf)

    def lengths(self, scenario: DownlinkPilotScenario) -> Iterator[DownlinkPilotScenario]:
        """All."""
        return all_lengths(scenario)

    def open(self, chosen: DownlinkPilotScenario, best: Standing) -> Bool[Tensor, " drop"]:
        """Where the bound, over the data symbols that are left, exceeds the best rate."""
        return data_share(chosen) * self.ceiling > best.value.clamp_min(-1.0)

    def value(
        self, chosen: DownlinkPilotScenario, problem: MinMaxNmseProblem, powers: FramePowers, index: Int[Tensor, " some"]
    ) -> Float[Tensor, " some"]:
        """The smallest rate; it also raises the bound where this turns out too low."""
        value = achievable_rate(problem, powers.power, chosen).amin(-1)
        seen = torch.where(powers.met, value / data_share(chosen) * _RATE_SLACK, -torch.inf)
        self.ceiling[index] = torch.maximum(self.ceiling[index], seen)
        return value


class LeastOverhead(LargestRate):
    """Fewest pilot symbols that meet every localisation bound, and the largest smallest net rate among these."""

    def open(self, chosen: DownlinkPilotScenario, best: Standing) -> Bool[Tensor, " drop"]:
        """Drops without a frame so far, and those whose frame has as many pilot symbols."""
        same = best.downlink + best.uplink == chosen.pilot_symbols
        return ((best.downlink == 0) & (self.ceiling > -torch.inf)) | (same & super().open(chosen, best))


@dataclass
class LargestPaperRate:
    """Largest smallest net rate of the paper (P23), which the smallest largest NMSE has at given lengths."""

    drop: DownlinkPilotDrop

    def lengths(self, scenario: DownlinkPilotScenario) -> Iterator[DownlinkPilotScenario]:
        """All."""
        return all_lengths(scenario)

    def open(self, chosen: DownlinkPilotScenario, best: Standing) -> Bool[Tensor, " drop"]:
        """Where a perfectly known channel would be better."""
        perfect = downlink_rate(self.drop.gain.new_zeros(1, 1), chosen).flatten()
        return data_share(chosen) * perfect > best.value

    def value(
        self, chosen: DownlinkPilotScenario, problem: MinMaxNmseProblem, powers: FramePowers, index: Int[Tensor, " some"]
    ) -> Float[Tensor, " some"]:
        """The paper's rate of the largest NMSE."""
        return data_share(chosen) * downlink_rate(problem.nmse(powers.power), chosen).amin(-1)


@dataclass
class LeastError:
    """Smallest largest weighted NMSE, or weighted sum, as the problem's merit says, at the scenario's tau_d + tau_u."""

    drop: DownlinkPilotDrop

    def lengths(self, scenario: DownlinkPilotScenario) -> Iterator[DownlinkPilotScenario]:
        """Those of the same overhead: both only fall with longer pilots."""
        return same_overhead(scenario)

    def open(self, chosen: DownlinkPilotScenario, best: Standing) -> Bool[Tensor, " drop"]:
        """Everywhere."""
        return torch.ones_like(best.downlink, dtype=torch.bool)

    def value(
        self, chosen: DownlinkPilotScenario, problem: MinMaxNmseProblem, powers: FramePowers, index: Int[Tensor, " some"]
    ) -> Float[Tensor, " some"]:
        """The inverse of the NMSE."""
        return problem.objective(powers.power)


@dataclass
class LeastEnergy:
    """Least energy of a frame (P23f) that gives every UE the net rate `rate_min` (bit/s) and meets every bound.

    Lengths are closed where uplink pilots, data and the least pilot energy that locates are too much. Longer downlink pilots
    let the same pilot energy be sent at less power and take data symbols, so that they pay only where a budget is spent: in
    frames of more than 16 symbols they are closed where none was with fewer.
    """

    drop: DownlinkPilotDrop
    scenario: DownlinkPilotScenario
    rate_min: float
    floor: Float[Tensor, " drop"] = field(init=False)
    unlimited: dict[int, Bool[Tensor, " drop"]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Bound the energy of data and downlink pilots, J."""
        problem, endless = _endless(self.drop, self.scenario)
        shortest = 2 * self.scenario.num_ues
        data = self.scenario.frame_symbols - shortest
        rate = self.rate_min * data_share(endless) * self.scenario.frame_symbols / max(data, 1)
        powers = least_energy(problem, endless, rate)
        sent = data * powers.payload * powers.power.sum(-1) / self.scenario.pilot_power / self.scenario.bandwidth
        # tr J^-1 >= 4 / tr J, and no AP tells more per watt than the best one.
        best = (problem.fisher_xx + problem.fisher_yy).amax(-1)
        locating = endless.downlink_symbols * (4.0 / (problem.crb_max * best)).sum(-1) / self.scenario.bandwidth
        self.floor = torch.where(powers.met, _ENERGY_SLACK * sent + locating, torch.inf)

    def lengths(self, scenario: DownlinkPilotScenario) -> Iterator[DownlinkPilotScenario]:
        """All."""
        return all_lengths(scenario)

    def open(self, chosen: DownlinkPilotScenario, best: Standing) -> Bool[Tensor, " drop"]:
        """Where the bound is below the best energy and shorter downlink pilots were limited by a budget."""
        uplink = chosen.uplink_symbols * chosen.num_ues * chosen.pilot_power / chosen.bandwidth
        may = (self.floor + uplink < -best.value) & self.floor.isfinite()
        unlimited = self.unlimited.get(chosen.uplink_symbols)
        return may if unlimited is None else may & ~unlimited

    def value(
        self, chosen: DownlinkPilotScenario, problem: MinMaxNmseProblem, powers: FramePowers, index: Int[Tensor, " some"]
    ) -> Float[Tensor, " some"]:
        """Less energy is better; it also notes where no budget was spent."""
        if chosen.frame_symbols <= _ENUMERATED:
            return -frame_energy(chosen, powers.power, powers.payload)
        free = powers.met & ((problem.ap_load(powers.power) / problem.budget).amax(-1) < _SPENT)
        none = torch.zeros_like(self.floor, dtype=torch.bool)
        known = self.unlimited.setdefault(chosen.uplink_symbols, none)
        known[index] |= free
        return -frame_energy(chosen, powers.power, powers.payload)


def _endless(drop: DownlinkPilotDrop, scenario: DownlinkPilotScenario) -> tuple[MinMaxNmseProblem, DownlinkPilotScenario]:
    """The problem, and its scenario, with both pilots as long as the frame and very many data symbols behind them.

    More is known than behind any frame's pilots, and what the pilots cost does not count.
    """
    length = scenario.frame_symbols
    endless = replace(scenario, downlink_symbols=length, uplink_symbols=length, frame_symbols=10_000 * length)
    return power_problem(drop, endless), endless
