"""Pilot lengths of a frame without a search: a small network scores the lengths that meet Gamma. (P23i), (P23j).

The search of `frame` solves some 16 to 23 pairs of lengths for every road. Here tau_u is its least, and tau_d, out of the eight
least that meet every localisation bound, is the one with the largest score

    log(1 - (tau_d + tau_u) / tau) - loss

The network learned `loss` from exact rates: how far, in nepers, the smallest rate of a data symbol stays below its largest
because the localisation bounds dictate the powers. It reads how far inside the bounds the best, the even and the unlimited
powers are at tau_d.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from isac_torch.allocation import allocate, equal_split
from isac_torch.allocators.downlink_pilots.batched import BatchedMinMaxNmse
from isac_torch.allocators.downlink_pilots.frame import FramePlan, check_frame, frame_at
from isac_torch.allocators.downlink_pilots.frame_powers import least_error, without_bounds
from isac_torch.downlink_pilots.build import power_problem
from isac_torch.downlink_pilots.rate import payload_noise, spectral_efficiency
from isac_torch.weights import shipped_frames

if TYPE_CHECKING:
    from pathlib import Path

    from isac_torch.downlink_pilots.drop import DownlinkPilotDrop
    from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario

CANDIDATES = 8
"""Lengths that are scored, from the least that meets every bound on."""
INPUTS = 10
_LEAST_RATE = 1e-9
"""Bit/s/Hz below which a rate counts as this in logarithms."""


@dataclass(frozen=True)
class Lengths:
    """What the scorer knows of a batch of roads.

    Attributes:
        least: fewest downlink pilot symbols with which powers exist that meet every bound, at least one per UE.
        uplink: uplink pilot symbols, one per UE.
        frame: symbols of the frame.
        accuracy: log of Gamma / CRB for one downlink pilot symbol: of the worst UE at the powers that locate best; of the worst
            UE and in the mean at an even split; of the worst, the second worst UE and in the mean at the powers of the smallest
            NMSE without bounds.
        rate: log of the smallest rate (bit/s/Hz) at these powers.
    """

    least: Int[Tensor, " drop"]
    uplink: int
    frame: int
    accuracy: Float[Tensor, "drop 6"]
    rate: Float[Tensor, " drop"]

    @property
    def candidates(self) -> Int[Tensor, "drop candidate"]:
        """tau_d that are scored."""
        return self.least.unsqueeze(-1) + torch.arange(CANDIDATES, device=self.least.device)

    def inputs(self, downlink: Int[Tensor, "drop candidate"]) -> Float[Tensor, "drop candidate input"]:
        """What the network reads of every road and tau_d."""
        length = downlink.to(self.accuracy).log()
        best, even, even_mean, free, second, free_mean = (part.unsqueeze(-1).expand_as(length) for part in self.accuracy.T)
        inside = best + length
        return torch.stack(
            [
                inside.clamp(0.0, 1.5),
                (-5.0 * inside.clamp_min(0.0)).exp(),
                *((part + length).clamp(-2.0, 2.0) for part in (free, second, free_mean)),
                *((part - best).clamp(-3.0, 3.0) for part in (even, even_mean)),
                self.rate.unsqueeze(-1).expand_as(length),
                torch.full_like(length, self.uplink / 4.0 - 1.0),
                length - 1.5,
            ],
            -1,
        )

    def left(self, downlink: Int[Tensor, "drop candidate"]) -> Float[Tensor, "drop candidate"]:
        """Log of the data symbols' share of the frame; -inf where none are left."""
        return (1.0 - (downlink + self.uplink).to(self.accuracy) / self.frame).clamp_min(0.0).log()


def lengths_of(drop: DownlinkPilotDrop, scenario: DownlinkPilotScenario) -> Lengths:
    """What the scorer knows of roads whose UEs share no pilot; the lengths of the scenario are not used."""
    check_frame(drop, scenario)
    ues = scenario.num_ues
    shortest = replace(
        scenario, downlink_symbols=ues, uplink_symbols=ues, frame_symbols=max(scenario.frame_symbols, 2 * ues + 1)
    )
    problem = power_problem(drop, shortest)
    free = least_error(without_bounds(problem), shortest).power
    best = (allocate(problem, BatchedMinMaxNmse(max_boxes=0)).best_quality * shortest.crb_max / ues).log()
    even, limit = ((problem.crb_max / problem.crb(power) / ues).log().sort(-1).values for power in (equal_split(problem), free))
    rate = spectral_efficiency(problem, free, payload_noise(shortest)).amin(-1)
    return Lengths(
        least=((-best).exp() * (1.0 - 1e-9)).ceil().long().clamp_min(ues),
        uplink=ues,
        frame=scenario.frame_symbols,
        accuracy=torch.stack([best, even[:, 0], even.mean(-1), limit[:, 0], limit[:, min(1, ues - 1)], limit.mean(-1)], -1),
        rate=rate.clamp_min(_LEAST_RATE).log(),
    )


def scorer() -> torch.nn.Sequential:
    """The untrained network, float64: minus the loss of a road and tau_d from `Lengths.inputs`."""
    layers = [torch.nn.Linear(INPUTS, 16), torch.nn.Tanh(), torch.nn.Linear(16, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1)]
    return torch.nn.Sequential(*layers).double()


@lru_cache(maxsize=4)
def load_scorer(path: Path | None = None) -> torch.nn.Sequential:
    """The trained network of a file that `benchmarks/frame_policy.py` wrote; default the one that comes with the package."""
    with np.load(shipped_frames() if path is None else path, allow_pickle=False) as file:
        state = {name: torch.from_numpy(file[name]) for name in file.files}
    network = scorer()
    network.load_state_dict(state)
    return network.requires_grad_(False)


def chosen_downlink(lengths: Lengths, network: torch.nn.Sequential) -> Int[Tensor, " drop"]:
    """tau_d of the largest score (P23i)."""
    candidates = lengths.candidates
    score = network(lengths.inputs(candidates))[..., 0] + lengths.left(candidates)
    return candidates.gather(1, score.argmax(-1, keepdim=True))[:, 0]


def policy_frame(
    drop: DownlinkPilotDrop, scenario: DownlinkPilotScenario, network: torch.nn.Sequential | None = None
) -> FramePlan:
    """Pilot lengths by the network, and the powers of the largest smallest net rate at these lengths.

    Args:
        drop: roads whose UEs share no pilot.
        scenario: everything but the lengths of the pilots.
        network: a trained `scorer`; default the one that comes with the package, for 2 to 6 UEs and 8 APs.

    Returns:
        The plan; no frame where no length below the frame's meets every bound.

    Raises:
        ScenarioError: if UEs of a drop share a pilot.

    Example:
        >>> import torch
        >>> from isac_torch import DownlinkPilotScenario
        >>> from isac_torch.allocators.downlink_pilots.frame_policy import policy_frame
        >>> scenario = DownlinkPilotScenario()
        >>> plan = policy_frame(scenario.sample(2, generator=torch.Generator().manual_seed(1)), scenario)
        >>> bool((plan.downlink + plan.uplink < 12).all())          # symbols; fewer than the 10 + 10 of the scenario
        True
    """
    lengths = lengths_of(drop, scenario)
    downlink = chosen_downlink(lengths, load_scorer() if network is None else network)
    return frame_at(drop, scenario, downlink.tolist(), [lengths.uplink] * drop.num_drops)


def roomy_downlink(lengths: Lengths, slack: float) -> Int[Tensor, " drop"]:
    """The simple rule (P23j): the least tau_d with which the best powers locate `slack` times as well as asked for."""
    wanted = (slack * (-lengths.accuracy[:, 0]).exp()).ceil().long()
    return torch.maximum(wanted, lengths.least)
