"""How many symbols of a frame become downlink and uplink pilots, together with the pilots' powers, exact over the integers.

For given (tau_d, tau_u) the rate (P11) of a UE falls with its NMSE, so that the smallest largest NMSE gives the largest
smallest rate. The share of the frame that carries data multiplies it, eq. (P23). Pairs are tried with fewer pilots first; a
drop is left out as soon as a perfectly known channel could not make up for the symbols that the next pair takes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from isac_torch.allocation import Status, allocate
from isac_torch.allocators.downlink_pilots.batched import BatchedMinMaxNmse
from isac_torch.downlink_pilots.build import power_problem
from isac_torch.downlink_pilots.communication import downlink_rate
from isac_torch.errors import ScenarioError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from isac_torch.downlink_pilots.drop import DownlinkPilotDrop
    from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario


@dataclass(frozen=True)
class FramePlan:
    """The frame of every drop.

    Attributes:
        downlink: downlink pilot symbols tau_d; 0 where no frame meets the localisation bounds.
        uplink: uplink pilot symbols tau_u; likewise.
        power: W of a pilot symbol, of each link; likewise.
        rate: smallest net rate of the drop's UEs, bit/s; likewise.
        tried: pairs (tau_d, tau_u) that were solved for each drop.
    """

    downlink: Int[Tensor, " drop"]
    uplink: Int[Tensor, " drop"]
    power: Float[Tensor, "drop link"]
    rate: Float[Tensor, " drop"]
    tried: Int[Tensor, " drop"]

    @property
    def feasible(self) -> Bool[Tensor, " drop"]:
        """Drops of which some frame meets the localisation bounds."""
        return self.downlink > 0


def net_rate(nmse: Float[Tensor, "drop ue"], scenario: DownlinkPilotScenario) -> Float[Tensor, "drop ue"]:
    """Rate of the data averaged over the whole frame, bit/s, eq. (P23): (1 - (tau_u + tau_d) / tau) R_k."""
    return (1.0 - scenario.pilot_symbols / scenario.frame_symbols) * downlink_rate(nmse, scenario)


def splits(scenario: DownlinkPilotScenario) -> Iterator[DownlinkPilotScenario]:
    """The scenario with every (tau_d, tau_u) that keeps all pilots apart and leaves data symbols, fewer pilots first."""
    least = scenario.num_ues
    for pilots in range(2 * least, scenario.frame_symbols):
        for downlink in range(least, pilots - least + 1):
            yield replace(scenario, downlink_symbols=downlink, uplink_symbols=pilots - downlink)


def best_frame(
    drop: DownlinkPilotDrop, scenario: DownlinkPilotScenario, objective: Literal["rate", "overhead"] = "rate"
) -> FramePlan:
    """Pilot lengths and pilot powers of every drop, each UE with pilots of its own.

    Args:
        drop: roads whose UEs share no uplink pilot.
        scenario: everything but the lengths of the pilots.
        objective: "rate", the largest smallest net rate; or "overhead", the fewest pilot symbols that meet every localisation
            bound, and the largest smallest net rate among these.

    Returns:
        The plan: exact over all (tau_d, tau_u), up to the allocator's gap of 1e-3 in NMSE at each.

    Raises:
        ScenarioError: if UEs of a drop share an uplink pilot.

    Example:
        >>> import torch
        >>> from isac_torch import DownlinkPilotScenario
        >>> from isac_torch.allocators.downlink_pilots.frame import best_frame
        >>> scenario = DownlinkPilotScenario()
        >>> plan = best_frame(scenario.sample(2, generator=torch.Generator().manual_seed(1)), scenario)
        >>> bool((plan.downlink + plan.uplink < 20).all())          # fewer than the 10 + 10 symbols of the default
        True
    """
    if bool((drop.pilot.sort(-1).values.diff(dim=-1) == 0).any()):
        raise ScenarioError("UEs of a drop share an uplink pilot; draw the drops with at least num_ues uplink_symbols")
    count = drop.num_drops
    none = torch.zeros(count, dtype=torch.long, device=drop.gain.device)
    power = drop.gain.new_zeros(count, scenario.num_ues * scenario.num_aps)
    downlink, uplink, tried, rate = none.clone(), none.clone(), none.clone(), drop.gain.new_zeros(count)
    perfect = drop.gain.new_zeros(1, 1)
    for chosen in splits(scenario):
        still = net_rate(perfect, chosen).flatten() > rate
        if objective == "overhead":
            still = still & ((downlink == 0) | (downlink + uplink == chosen.pilot_symbols))
        index = still.nonzero()[:, 0]
        if not len(index):
            if bool((downlink > 0).all()):
                break
            continue
        problem = power_problem(drop.select(index), chosen)
        answer = allocate(problem, BatchedMinMaxNmse(max_boxes=0))
        reached = net_rate(problem.nmse(answer.power), chosen).amin(-1)
        tried[index] += 1
        better = (answer.status <= Status.FEASIBLE) & (reached > rate[index])
        index = index[better]
        downlink[index], uplink[index] = chosen.downlink_symbols, chosen.uplink_symbols
        power[index], rate[index] = answer.power[better], reached[better]
    return FramePlan(downlink, uplink, power, rate, tried)
