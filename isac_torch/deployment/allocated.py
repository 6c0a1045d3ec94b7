"""What a deployed allocator answers: powers of one network, what they give, and how they came about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from isac_torch.deployment.guard import Guarded, PathTaken

if TYPE_CHECKING:
    from isac_torch.deployment.statistics import Coefficients


@dataclass(frozen=True)
class Allocated:
    """Powers of one network and how they came about.

    Attributes:
        power: W, of each link.
        link_ap: transmit AP of each link, counted as in the snapshot's tx_position.
        receive_ap: APs of tx_position that listen, where the snapshot leaves that to a rule; else empty.
        owner_kind: "ue" or "target" of each link.
        owner_index: which UE or target.
        sinr: of each UE, linear.
        sir: expected sensing SIR of each target, linear, where the requirement is `sir`; empty where it is another, or where
            fewer than two targets are tracked.
        sicnr: expected SICNR of each target, linear, where the requirement constrains it; else empty.
        position_error: error bound of each target's horizontal position, m, where the requirement constrains it; else empty.
        quality: smallest of all sensing constraints, what is reached over what is required; infinite where there is none.
        path: whose powers these are: the network's, the network's improved (by `refine`, or because such networks need it), the
            network's after a repair, the distributed policy's, fractional power control's, or the best there is where no powers
            meet every sensing constraint.
        reason: why not the network's, and which UEs are out of reach and left out of the smallest SINR; else empty.
        out_of_distribution: what about the network is unlike those of the training, in words.
        milliseconds: share of the call's time, from validation to the guard.
    """

    power: Float[ndarray, " link"]
    link_ap: Int[ndarray, " link"]
    receive_ap: Int[ndarray, " rx"]
    owner_kind: tuple[str, ...]
    owner_index: Int[ndarray, " link"]
    sinr: Float[ndarray, " ue"]
    sir: Float[ndarray, " row"]
    sicnr: Float[ndarray, " limited"]
    position_error: Float[ndarray, " located"]
    quality: float
    path: PathTaken
    reason: str
    out_of_distribution: tuple[str, ...]
    milliseconds: float


@dataclass(frozen=True)
class Sensed:
    """What `Allocated` says of the radar, of every drop."""

    sir: Float[ndarray, "drop row"]
    sicnr: Float[ndarray, "drop limited"]
    position_error: Float[ndarray, "drop located"]
    quality: Float[ndarray, " drop"]


def sensed_by(problem: Coefficients, found: Guarded) -> Sensed:
    """What `Allocated` says of the radar, by drop."""
    watts, count = problem.asks_for_watts, problem.num_target_constraints
    with np.errstate(all="ignore"):  # a SIR that no other target disturbs is infinite
        quality = np.full(problem.num_drops, np.inf)
        parts = [found.sir / problem.sir_min] if problem.num_constraints else []
        none = found.sir[:, :0]
        error = none
        if problem.position is not None:
            parts.append(problem.position.h(found.power) / problem.position.required)
            error = problem.position.error(found.power)
        if parts:
            quality = np.concatenate(parts, axis=1).min(-1)
    sicnr, sir = (found.sir[:, :count], none) if watts else (none, found.sir)
    return Sensed(sir, sicnr, error, quality)


def sensed_sir(found: Guarded, sir_min: Float[ndarray, " drop"]) -> Sensed:
    """The same where SIR0 is all that is required."""
    none = found.sir[:, :0]
    quality = np.full(len(sir_min), np.inf)
    if found.sir.shape[1]:
        quality = (found.sir / sir_min[:, None]).min(-1)
    return Sensed(found.sir, none, none, quality)
