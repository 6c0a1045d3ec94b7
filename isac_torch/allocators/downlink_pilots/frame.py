"""How many symbols of a frame become downlink and uplink pilots, together with the powers of pilots and data.

All pairs (tau_d, tau_u) are compared, but for those that a bound rules out. Section "Choice of the frame" of
docs/downlink_pilots.md.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from isac_torch.allocators.downlink_pilots.frame_energy import frame_energy
from isac_torch.allocators.downlink_pilots.frame_goals import (
    Goal,
    LargestPaperRate,
    LargestRate,
    LeastEnergy,
    LeastError,
    LeastOverhead,
    Objective,
    Standing,
    frame_powers,
)
from isac_torch.downlink_pilots.build import power_problem
from isac_torch.downlink_pilots.rate import achievable_rate
from isac_torch.errors import ScenarioError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isac_torch.allocators.downlink_pilots.frame_powers import FramePowers
    from isac_torch.downlink_pilots.drop import DownlinkPilotDrop
    from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
    from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario

_CHUNK = 64
"""Drops that go through at once."""
_SAME_PILOT = 1.0 - 1e-6
"""|psi_k^H psi_j|^2 from which on two downlink pilots count as one."""


@dataclass(frozen=True)
class FramePlan:
    """The frame of every drop.

    Attributes:
        downlink: downlink pilot symbols tau_d; 0 where no frame meets what is asked for.
        uplink: uplink pilot symbols tau_u; likewise.
        power: of a pilot symbol, W, of each link; likewise.
        payload: power of a data symbol, W, of an AP whose pilots have the whole `pilot_power`; likewise.
        rate: smallest achievable net rate of the drop's UEs, bit/s, eq. (P23a); likewise.
        energy: of the frame, J, eq. (P23f); likewise.
        nmse: largest weighted NMSE, or the weighted sum for "sum_nmse"; likewise.
        tried: pairs (tau_d, tau_u) that were solved for each drop.
    """

    downlink: Int[Tensor, " drop"]
    uplink: Int[Tensor, " drop"]
    power: Float[Tensor, "drop link"]
    payload: Float[Tensor, " drop"]
    rate: Float[Tensor, " drop"]
    energy: Float[Tensor, " drop"]
    nmse: Float[Tensor, " drop"]
    tried: Int[Tensor, " drop"]

    @property
    def feasible(self) -> Bool[Tensor, " drop"]:
        """Drops of which some frame meets what is asked for."""
        return self.downlink > 0


def best_frame(
    drop: DownlinkPilotDrop,
    scenario: DownlinkPilotScenario,
    objective: Objective = "rate",
    *,
    rate_min: float | None = None,
    weight: Sequence[float] | None = None,
) -> FramePlan:
    """Pilot lengths and powers of every drop, each UE with pilots of its own; localisation bounds are met under all objectives.

    Args:
        drop: roads whose UEs share no pilot.
        scenario: everything but the lengths of the pilots.
        objective: "rate", the largest smallest net rate; "energy", the least energy of a frame that gives every UE `rate_min`;
            "overhead", the fewest pilot symbols, and the largest smallest net rate among these; "nmse" and "sum_nmse", the
            smallest largest weighted NMSE or weighted sum of NMSE at the scenario's tau_d + tau_u; "paper_rate", the largest
            smallest net rate by the paper's formula, eq. (P23).
        rate_min: bit/s, for "energy".
        weight: of each UE's NMSE, for "nmse" and "sum_nmse"; 1 if left out.

    Returns:
        The plan: the best of all (tau_d, tau_u) for the powers that are found at each. Those of least NMSE are optimal up to
        the engine's tolerance; those of largest rate and least energy are local optima.

    Raises:
        ScenarioError: if UEs of a drop share a pilot, the objective is unknown, or `rate_min` or `weight` does not fit.

    Example:
        >>> import torch
        >>> from isac_torch import DownlinkPilotScenario
        >>> from isac_torch.allocators.downlink_pilots.frame import best_frame
        >>> scenario = DownlinkPilotScenario(frame_symbols=14, downlink_symbols=6, uplink_symbols=6)
        >>> plan = best_frame(scenario.sample(1, generator=torch.Generator().manual_seed(1)), scenario)
        >>> bool((plan.downlink + plan.uplink < 12).all())          # symbols; fewer than the 6 + 6 of the scenario
        True
    """
    check_frame(drop, scenario, objective, rate_min, weight)
    parts = torch.arange(drop.num_drops, device=drop.gain.device).split(_CHUNK)
    return _joined([_search(drop.select(part), scenario, objective, rate_min, weight) for part in parts])


def fixed_frame(
    drop: DownlinkPilotDrop,
    scenario: DownlinkPilotScenario,
    objective: Objective = "rate",
    *,
    rate_min: float | None = None,
    weight: Sequence[float] | None = None,
) -> FramePlan:
    """The frame with the scenario's own pilot lengths and the powers of `objective`; all else as in `best_frame`."""
    drops = drop.num_drops
    lengths = [scenario.downlink_symbols] * drops, [scenario.uplink_symbols] * drops
    return frame_at(drop, scenario, *lengths, objective, rate_min=rate_min, weight=weight)


def frame_at(
    drop: DownlinkPilotDrop,
    scenario: DownlinkPilotScenario,
    downlink: Sequence[int],
    uplink: Sequence[int],
    objective: Objective = "rate",
    *,
    rate_min: float | None = None,
    weight: Sequence[float] | None = None,
) -> FramePlan:
    """The frame of given pilot lengths (symbols), one of each per drop, and the powers of `objective`; else as `best_frame`.

    A drop whose lengths leave no data symbol has no frame.
    """
    check_frame(drop, scenario, objective, rate_min, weight)
    plan = _empty(power_problem(drop, scenario))
    pairs = list(zip(downlink, uplink, strict=True))
    for pair in sorted(set(pairs)):
        if sum(pair) >= scenario.frame_symbols:
            continue
        chosen = replace(scenario, downlink_symbols=pair[0], uplink_symbols=pair[1])
        index = torch.tensor([place for place, lengths in enumerate(pairs) if lengths == pair], device=drop.gain.device)
        for part in index.split(_CHUNK):
            problem = _problem(drop.select(part), chosen, objective, weight)
            powers = frame_powers(objective, problem, chosen, rate_min)
            plan.tried[part] = 1
            _keep(plan, chosen, problem, powers, powers.met.nonzero()[:, 0], part)
    return plan


def _search(
    drop: DownlinkPilotDrop,
    scenario: DownlinkPilotScenario,
    objective: Objective,
    rate_min: float | None,
    weight: Sequence[float] | None,
) -> FramePlan:
    goal = _goal(drop, scenario, objective, rate_min)
    plan = _empty(power_problem(drop, scenario))
    best = Standing(plan.downlink, plan.uplink, torch.full_like(plan.rate, -torch.inf))
    for chosen in goal.lengths(scenario):
        index = goal.open(chosen, best).nonzero()[:, 0]
        if not len(index):
            continue
        problem = _problem(drop.select(index), chosen, objective, weight)
        powers = frame_powers(objective, problem, chosen, rate_min)
        value = goal.value(chosen, problem, powers, index)
        plan.tried[index] += 1
        better = (powers.met & (value > best.value[index])).nonzero()[:, 0]
        best.value[index[better]] = value[better]
        _keep(plan, chosen, problem, powers, better, index)
    return plan


def _empty(problem: MinMaxNmseProblem) -> FramePlan:
    """A plan in which no drop has a frame."""
    drops = problem.num_drops
    downlink, uplink, tried = torch.zeros(3, drops, dtype=torch.long, device=problem.gain.device)
    payload, rate, energy, nmse = problem.gain.new_zeros(4, drops)
    power = problem.gain.new_zeros(drops, problem.num_links)
    return FramePlan(downlink, uplink, power, payload, rate, energy, nmse, tried)


def _joined(plans: Sequence[FramePlan]) -> FramePlan:
    return FramePlan(*(torch.cat([getattr(plan, field.name) for plan in plans]) for field in fields(FramePlan)))


def _keep(
    plan: FramePlan,
    chosen: DownlinkPilotScenario,
    problem: MinMaxNmseProblem,
    powers: FramePowers,
    better: Int[Tensor, " kept"],
    index: Int[Tensor, " some"],
) -> None:
    """Write the frames of the drops `better`, out of those of `problem`, into the plan, where these are at `index`."""
    if not len(better):
        return
    kept, problem = index[better], problem.select(better)
    power, payload = powers.power[better], powers.payload[better]
    plan.downlink[kept], plan.uplink[kept] = chosen.downlink_symbols, chosen.uplink_symbols
    plan.power[kept], plan.payload[kept] = power, payload
    plan.rate[kept] = achievable_rate(problem, power, chosen, payload).amin(-1)
    plan.energy[kept] = frame_energy(chosen, power, payload)
    plan.nmse[kept] = problem.objective(power).reciprocal()


def _problem(
    drop: DownlinkPilotDrop, chosen: DownlinkPilotScenario, objective: Objective, weight: Sequence[float] | None
) -> MinMaxNmseProblem:
    problem = power_problem(drop, chosen)
    if weight is not None:
        problem = replace(problem, weight=problem.weight.new_tensor(list(weight)).expand_as(problem.weight))
    return replace(problem, merit="sum") if objective == "sum_nmse" else problem


def _goal(drop: DownlinkPilotDrop, scenario: DownlinkPilotScenario, objective: Objective, rate_min: float | None) -> Goal:
    if objective == "rate":
        return LargestRate(drop, scenario)
    if objective == "overhead":
        return LeastOverhead(drop, scenario)
    if objective == "energy":
        return LeastEnergy(drop, scenario, rate_min or 0.0)
    return LargestPaperRate(drop) if objective == "paper_rate" else LeastError(drop)


def check_frame(
    drop: DownlinkPilotDrop,
    scenario: DownlinkPilotScenario,
    objective: str = "rate",
    rate_min: float | None = None,
    weight: Sequence[float] | None = None,
) -> None:
    """Refuse what makes no search, in one line each."""
    if bool((drop.pilot.sort(-1).values.diff(dim=-1) == 0).any()):
        raise ScenarioError("UEs of a drop share an uplink pilot; draw the drops with at least num_ues uplink_symbols")
    crossed = drop.gram_real.square() + drop.gram_imag.square()
    if bool((torch.triu(crossed, 1) > _SAME_PILOT).any()):
        raise ScenarioError("UEs of a drop share a downlink pilot; draw the drops with at least num_ues downlink_symbols")
    if objective not in get_args(Objective):
        raise ScenarioError(f"objective={objective!r} must be one of {', '.join(get_args(Objective))}")
    if (objective == "energy") != (rate_min is not None):
        raise ScenarioError(f"rate_min={rate_min} with objective={objective}: energy needs it, no other objective takes it")
    if rate_min is not None and not 0.0 < rate_min < float("inf"):
        raise ScenarioError(f"rate_min={rate_min} must be a positive number of bit/s")
    if weight is not None and objective not in ("nmse", "sum_nmse"):
        raise ScenarioError(f"weight with objective={objective}: it belongs to nmse and sum_nmse")
    if weight is not None and (len(weight) != scenario.num_ues or not all(0.0 < value < float("inf") for value in weight)):
        raise ScenarioError(f"weight={list(weight)} must be {scenario.num_ues} positive numbers, one per UE")
