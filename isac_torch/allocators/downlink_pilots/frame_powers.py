"""Powers of a frame whose pilot lengths are given: smallest NMSE, largest smallest rate of the data, least energy at a rate."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isac_torch.allocation import FEASIBILITY_TOLERANCE, Status, allocate
from isac_torch.allocators.downlink_pilots.batched import BatchedMinMaxNmse
from isac_torch.deployment.downlink_pilots.merit import LOCALISATION_WEIGHT, SILENCE, STRICT_MARGIN, STRICT_WEIGHT
from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
from isac_torch.downlink_pilots.rate import payload_noise, spectral_efficiency
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
from isac_torch.nn.ascent import Slope, ascend
from isac_torch.nn.downlink_pilots.shares import localisation_shortfall, powers, start_logits
from isac_torch.solvers.downlink_pilots.feasibility import restore

_STEPS = 30
_LENGTH = 0.2
"""Gradient steps on the logits of the shares, and the length of the first ones, nepers."""
_SHARPNESS = 20.0
"""Of the smooth minimum over the UEs' log rates."""
COARSE = 0.65
"""Nodes of the rate's integrals that a search takes, over the usual number; what it finds is judged with all."""
_LEAST_SHARE = 1e-6
"""Share of a link that a search starts from at least."""
_ANYWHERE = 1e12
"""Gamma that limits nothing, m2; an infinite one has no slope."""
_SILENT = 1e-30
"""Energy over noise below which a link counts as this in logarithms."""
_LEAST_RATE = 1e-9
"""Bit/s/Hz below which a rate counts as this in logarithms."""


@dataclass(frozen=True)
class FramePowers:
    """Powers of frames of given pilot lengths.

    Attributes:
        power: of a pilot symbol, W, of each link.
        payload: power of a data symbol, W, as in `payload_noise`.
        met: whether every bound, and the rate that is asked for, is met.
    """

    power: Float[Tensor, "drop link"]
    payload: Float[Tensor, " drop"]
    met: Bool[Tensor, " drop"]


def least_error(problem: MinMaxNmseProblem, scenario: DownlinkPilotScenario) -> FramePowers:
    """Powers of the smallest largest (or sum of) weighted NMSE, and the whole data power."""
    answer = allocate(problem, BatchedMinMaxNmse(max_boxes=0))
    payload = torch.full_like(answer.value, scenario.payload_power)
    return FramePowers(answer.power, payload, answer.status <= Status.FEASIBLE)


def largest_rate(problem: MinMaxNmseProblem, scenario: DownlinkPilotScenario) -> FramePowers:
    """Powers whose smallest rate is a local maximum under budgets and localisation bounds, with the whole data power.

    A gradient search from the powers of the smallest largest NMSE, behind which it never falls.
    """
    start, noise = least_error(problem, scenario), payload_noise(scenario)
    found = powers(problem, ascend(_RateHill(problem, noise), logits_of(problem, start.power), _STEPS, _LENGTH))
    found = torch.where(start.met.unsqueeze(-1), restore(problem, found, start.power), start.power)
    before, after = (spectral_efficiency(problem, power, noise).amin(-1) for power in (start.power, found))
    better = (after > before) & (problem.violations(found).worst <= FEASIBILITY_TOLERANCE)
    return replace(start, power=torch.where(better.unsqueeze(-1), found, start.power))


def unbounded_rate(problem: MinMaxNmseProblem, scenario: DownlinkPilotScenario) -> Float[Tensor, " drop"]:
    """Largest smallest rate of a data symbol, bit/s/Hz, that searches from three starts find without localisation bounds.

    They start at the powers of the smallest largest NMSE, at those of a network before training and where the UE nearest to an
    AP has most of its power.
    """
    free, noise = without_bounds(problem), payload_noise(scenario)
    near = (2.0 * problem.gain.clamp_min(_SILENT).log()).log_softmax(1).flatten(1)
    starts = [logits_of(problem, least_error(problem, scenario).power), start_logits(problem), near]
    found = [powers(free, ascend(_RateHill(free, noise), logits, 2 * _STEPS, _LENGTH)) for logits in starts]
    return torch.stack([spectral_efficiency(free, power, noise).amin(-1) for power in found]).amax(0)


def without_bounds(problem: MinMaxNmseProblem) -> MinMaxNmseProblem:
    """The same problem, its localisation bounds so wide that they limit nothing."""
    return replace(problem, crb_max=torch.full_like(problem.crb_max, _ANYWHERE))


def logits_of(problem: MinMaxNmseProblem, power: Float[Tensor, "drop link"]) -> Float[Tensor, "drop link"]:
    """Logits that `powers` makes `power` (W) from, nearly where an AP spends all or a link next to nothing."""
    share = problem.per_ue(power) / problem.budget.unsqueeze(1)
    kept = (1.0 - share.sum(1, keepdim=True)).clamp_min(math.exp(SILENCE))
    return (share.clamp_min(_LEAST_SHARE * kept).log() - kept.log() + SILENCE).flatten(1)


class _RateHill:
    """Logits of the shares, to be climbed towards the largest smallest rate."""

    def __init__(self, problem: MinMaxNmseProblem, noise: float | Float[Tensor, " drop"]) -> None:
        self._problem, self._noise = problem, noise

    def slope(self, logits: Float[Tensor, "drop logit"], progress: float) -> Slope:
        """Gradient of the smooth minimum of the log rates less the weighted shortfall, and the score."""
        with torch.enable_grad():
            leaf = logits.detach().requires_grad_()
            power = powers(self._problem, leaf)
            rate = self._rate(power)
            missing = localisation_shortfall(self._problem, power).sum(-1)
            smallest = -(-_SHARPNESS * rate.clamp_min(_LEAST_RATE).log()).logsumexp(-1) / _SHARPNESS
            (gradient,) = torch.autograd.grad((smallest - LOCALISATION_WEIGHT * missing).sum(), leaf)
        sound = gradient.isfinite().all(-1, keepdim=True)
        return Slope(torch.where(sound, gradient, 0.0), self._scored(rate.detach(), power.detach()))

    def score(self, logits: Float[Tensor, "drop logit"]) -> Float[Tensor, " drop"]:
        """Log of the smallest rate less the heavily weighted shortfall."""
        power = powers(self._problem, logits)
        return self._scored(self._rate(power), power)

    def _rate(self, power: Float[Tensor, "drop link"]) -> Float[Tensor, "drop ue"]:
        return spectral_efficiency(self._problem, power, self._noise, fineness=COARSE)

    def _scored(self, rate: Float[Tensor, "drop ue"], power: Float[Tensor, "drop link"]) -> Float[Tensor, " drop"]:
        missing = localisation_shortfall(self._problem, power, margin=STRICT_MARGIN).sum(-1)
        return (rate.amin(-1).clamp_min(_LEAST_RATE).log() - STRICT_WEIGHT * missing).nan_to_num(-torch.inf)
