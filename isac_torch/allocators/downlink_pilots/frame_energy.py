"""Least energy of a frame of given pilot lengths, at a rate and localisation bounds: powers of pilots and data, (P23g)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isac_torch.allocation import FEASIBILITY_TOLERANCE
from isac_torch.allocators.downlink_pilots.frame_powers import COARSE, FramePowers, largest_rate, logits_of
from isac_torch.deployment.downlink_pilots.merit import LOCALISATION_MARGIN, LOCALISATION_WEIGHT, STRICT_MARGIN, STRICT_WEIGHT
from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
from isac_torch.downlink_pilots.rate import achievable_rate, data_share, payload_noise, spectral_efficiency
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
from isac_torch.nn.ascent import Slope, ascend
from isac_torch.nn.downlink_pilots.shares import localisation_shortfall, powers
from isac_torch.solvers.downlink_pilots.feasibility import restore

_STEPS = 100
_LENGTH = 0.4
"""Gradient steps, and the length of the first ones, nepers."""
_PILOT_LEVELS = 10
"""Pilot powers that a search may start from, between the least that locates and the budget."""
_HALVINGS = 20
_LEAST_LEVEL = 1e-5
"""Least data power that is looked at, over the largest."""
_RATE_WEIGHT = 1.2
"""Nepers of energy that a neper of missing rate is worth."""
_MARGIN = 2e-3
"""Nepers of rate that are pushed for in excess, so that a small error does not miss the rate."""


def frame_energy(
    scenario: DownlinkPilotScenario, power: Float[Tensor, "drop link"], payload: Float[Tensor, " drop"]
) -> Float[Tensor, " drop"]:
    """Energy of a frame, J: uplink pilots at full power, downlink pilots `power` (W) and data `payload` (W), eq. (P23f)."""
    data = scenario.frame_symbols - scenario.pilot_symbols
    uplink = scenario.uplink_symbols * scenario.num_ues * scenario.pilot_power
    sent = scenario.downlink_symbols + data * payload / scenario.pilot_power
    return (uplink + sent * power.sum(-1)) / scenario.bandwidth


def largest_payload(scenario: DownlinkPilotScenario, load: Float[Tensor, "drop ap"]) -> Float[Tensor, " drop"]:
    """Largest data power, W as in `payload_noise`, that no AP's `payload_power` forbids; `load` (W) of a pilot symbol."""
    return scenario.payload_power * scenario.pilot_power / load.amax(-1).clamp_min(1e-12 * scenario.pilot_power)


def least_energy(problem: MinMaxNmseProblem, scenario: DownlinkPilotScenario, rate_min: float) -> FramePowers:
    """Powers of a frame of little energy that gives every UE the net rate `rate_min` (bit/s) and meets every bound.

    A local minimum over the powers of all links and the data power. The search starts at the powers of the largest smallest
    rate, pilots and data each scaled down as far as rate and bounds allow.
    """
    best = largest_rate(problem, scenario)
    start = _scaled(problem, scenario, best.power, rate_min)
    start = FramePowers(start.power, start.payload, start.met & best.met)
    level = (start.payload / largest_payload(scenario, problem.ap_load(start.power))).log().unsqueeze(-1)
    hill = _EnergyHill(problem, scenario, rate_min)
    logits = ascend(hill, torch.cat([logits_of(problem, start.power), level], -1), _STEPS, _LENGTH)
    power, _ = hill.split(logits)
    power = torch.where(start.met.unsqueeze(-1), restore(problem, power, start.power), start.power)
    payload, reached = _least_payload(problem, scenario, power, rate_min)
    sound = reached & (problem.violations(power).worst <= FEASIBILITY_TOLERANCE)
    better = sound & (frame_energy(scenario, power, payload) < frame_energy(scenario, start.power, start.payload))
    return FramePowers(
        torch.where(better.unsqueeze(-1), power, start.power), torch.where(better, payload, start.payload), start.met
    )


def _scaled(
    problem: MinMaxNmseProblem, scenario: DownlinkPilotScenario, power: Float[Tensor, "drop link"], rate_min: float
) -> FramePowers:
    """`power` (W) and data power scaled down, each by a level of its own, to the least energy."""
    least = (problem.crb(power) / problem.crb_max).amax(-1).clamp(_LEAST_LEVEL, 1.0)  # the bound is inverse to the power
    energy = torch.full_like(least, torch.inf)
    found = FramePowers(power, torch.full_like(least, scenario.payload_power), torch.zeros_like(least, dtype=torch.bool))
    for step in range(_PILOT_LEVELS):
        scaled = power * (least ** (step / (_PILOT_LEVELS - 1.0))).unsqueeze(-1)
        payload, reached = _least_payload(problem, scenario, scaled, rate_min)
        spent = torch.where(reached, frame_energy(scenario, scaled, payload), torch.inf)
        less = spent < energy
        energy = torch.where(less, spent, energy)
        found = FramePowers(
            torch.where(less.unsqueeze(-1), scaled, found.power), torch.where(less, payload, found.payload), found.met | reached
        )
    return found


def _least_payload(
    problem: MinMaxNmseProblem, scenario: DownlinkPilotScenario, power: Float[Tensor, "drop link"], rate_min: float
) -> tuple[Float[Tensor, " drop"], Bool[Tensor, " drop"]]:
    """Least data power (W) at which every UE has `rate_min` (bit/s), and where the budgets allow it: rates grow with it."""
    top = largest_payload(scenario, problem.ap_load(power))
    low, high = torch.full_like(top, _LEAST_LEVEL).log(), torch.zeros_like(top)
    reached = achievable_rate(problem, power, scenario, top).amin(-1) >= rate_min
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        enough = achievable_rate(problem, power, scenario, top * middle.exp()).amin(-1) >= rate_min
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    return top * high.exp(), reached


class _EnergyHill:
    """Logits of the shares and, last, the logarithm of the data power over the largest: to be climbed towards little energy."""

    def __init__(self, problem: MinMaxNmseProblem, scenario: DownlinkPilotScenario, rate_min: float) -> None:
        self._problem, self._scenario, self._rate_min = problem, scenario, rate_min

    def split(self, logits: Float[Tensor, "drop logit"]) -> tuple[Float[Tensor, "drop link"], Float[Tensor, " drop"]]:
        """Powers of links and of data, W."""
        power = powers(self._problem, logits[:, :-1])
        top = largest_payload(self._scenario, self._problem.ap_load(power))
        return power, top * logits[:, -1].clamp_max(0.0).exp()

    def slope(self, logits: Float[Tensor, "drop logit"], progress: float) -> Slope:
        """Gradient of -log energy less what is missing, and the score."""
        with torch.enable_grad():
            leaf = logits.detach().requires_grad_()
            energy, slow, far = self._parts(leaf, _MARGIN, LOCALISATION_MARGIN)
            merit = -energy - _RATE_WEIGHT * slow - LOCALISATION_WEIGHT * far
            (gradient,) = torch.autograd.grad(merit.sum(), leaf)
        return Slope(torch.where(gradient.isfinite().all(-1, keepdim=True), gradient, 0.0), self.score(logits))

    def score(self, logits: Float[Tensor, "drop logit"]) -> Float[Tensor, " drop"]:
        """-log energy less what is missing, heavily weighted."""
        energy, slow, far = self._parts(logits, 0.0, STRICT_MARGIN)
        return (-energy - STRICT_WEIGHT * (slow + far)).nan_to_num(-torch.inf)

    def _parts(self, logits: Tensor, rate_margin: float, margin: float) -> tuple[Tensor, Tensor, Tensor]:
        power, payload = self.split(logits)
        noise = payload_noise(self._scenario, payload)
        efficiency = spectral_efficiency(self._problem, power, noise, fineness=COARSE)
        rate = (data_share(self._scenario) * self._scenario.bandwidth * efficiency).clamp_min(1e-9 * self._rate_min)
        slow = (rate_margin - (rate / self._rate_min).log()).clamp_min(0.0).sum(-1)
        far = localisation_shortfall(self._problem, power, margin).sum(-1)
        return frame_energy(self._scenario, power, payload).log(), slow, far
