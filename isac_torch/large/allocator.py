"""Powers of a network of thousands of APs, from positions to watts, with what they guarantee."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from isac_torch.deployment.snapshot import Snapshot
from isac_torch.errors import AllocationError
from isac_torch.large.fairness import fair_powers
from isac_torch.large.fractional import fractional_powers
from isac_torch.large.gains import PairGains
from isac_torch.large.problem import LargeProblem, Settings, large_problem


@dataclass(frozen=True)
class LargeAllocated:
    """Powers of one network and what they are worth at least. Links of UE 0 first, then UE 1, ..., then of target 0.

    Attributes:
        power: W, of each link; no AP above its budget.
        link_ap: transmit AP of each link.
        owner_kind: "ue" or "target" of each link.
        owner_index: which UE or target.
        sinr: lower bound of each UE's SINR, linear; everything that is not near is counted at its bound as interference.
        sir: lower bound of each target's sensing SIR, linear; inf with fewer than two targets.
        missed: targets whose SIR is not certain to reach SIR0.
        outage: UEs out of reach, whose SINR stays below -30 dB even at full power; they are left out of the fairness, and their
            links get next to nothing.
        path: `fair`, or `fallback_fpc` where the fair powers were not finite.
        milliseconds: from the snapshot to the judged powers.
    """

    power: Float[ndarray, " link"]
    link_ap: Int[ndarray, " link"]
    owner_kind: ndarray
    owner_index: Int[ndarray, " link"]
    sinr: Float[ndarray, " ue"]
    sir: Float[ndarray, " target"]
    missed: Bool[ndarray, " target"]
    outage: Bool[ndarray, " ue"]
    path: Literal["fair", "fallback_fpc"]
    milliseconds: float


@dataclass(frozen=True)
class LargeAllocator:
    """Allocates networks of any size at a cost that grows linearly with the APs; see docs/scalability.md.

    It is called as `DeployedAllocator` is, with one `Snapshot` (positions in m), and answers powers in W. It differs from the
    protocol `isac_torch.Allocator` in that no batch of dense problems is made: coefficients of near pairs are exact, those of
    far pairs are bounded to the unfavourable side. The powers maximise the fairness

        sum_k U(SINR_k),   U(x) = log x  (fairness 1),   U(x) = x^(1 - f) / (1 - f)  (fairness f > 1)

    of lower bounds of the SINR, and targets that may stay below SIR0 are named in `missed`.

    Attributes:
        fairness: 1 for proportional fairness, larger for the worst UEs of each neighbourhood; 3 gives the best 5th percentile.
        steps: of the fair powers. Four have the 5th percentile of the rate of 120, with more targets in `missed` than 30.
        settings: radii within which everything is exact.

    Example:
        >>> import numpy as np
        >>> from isac_torch import LargeAllocator, Snapshot
        >>> generator = np.random.default_rng(1)
        >>> def places(count, height):
        ...     return np.column_stack([generator.uniform(0, 2000, (count, 2)), np.full(count, height)])   # m
        >>> snapshot = Snapshot(
        ...     tx_position=places(100, 10), tx_orientation=generator.uniform(-3, 3, 100), rx_position=places(20, 10),
        ...     ue_position=places(80, 1.65), target_position=places(5, 50), pilot_symbols=20,
        ... )
        >>> answer = LargeAllocator()(snapshot)
        >>> answer.power.shape, answer.path                            # W, one entry a link
        ((340,), 'fair')
    """

    fairness: float = 3.0
    steps: int = 30
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        """Refuse settings that describe no allocation."""
        if not 1.0 <= self.fairness <= 10.0:
            raise AllocationError(f"fairness={self.fairness} must lie in 1..10; 3 suits most networks")
        if self.steps < 1:
            raise AllocationError(f"steps={self.steps} must be at least 1; 30 suit most networks")

    def __call__(self, snapshot: Snapshot, gains: PairGains | None = None) -> LargeAllocated:
        """Powers of one network.

        Args:
            snapshot: positions and whatever else is known; pilots that are left out are dealt by place.
            gains: of UE-AP pairs, where `snapshot.ue_gain` would be too large a table; default the path loss.

        Raises:
            DropError: a value describes no network, or a UE or target has too few APs within the radius.
        """
        start = time.perf_counter()
        problem = large_problem(snapshot, gains, self.settings)
        power = fair_powers(problem, self.fairness, self.steps)
        finite = bool(np.isfinite(power).all())
        if not finite:
            power = fractional_powers(problem)
        return judged(problem, power, "fair" if finite else "fallback_fpc", start)


def judged(problem: LargeProblem, power: ndarray, path: Literal["fair", "fallback_fpc"], start: float) -> LargeAllocated:
    """Powers with their bounds; `start` is a reading of time.perf_counter."""
    users, sensing = problem.users.signal.shape, len(power) - problem.num_comm_links
    targets = problem.network.num_targets
    node = [np.repeat(np.arange(users[0]), users[1])]
    if sensing:
        node.append(np.repeat(np.arange(targets), sensing // targets))
    sir = problem.sir(power)
    return LargeAllocated(
        power=power,
        link_ap=problem.link_ap,
        owner_kind=np.repeat(["ue", "target"], [problem.num_comm_links, sensing]),
        owner_index=np.concatenate(node),
        sinr=problem.sinr(power),
        sir=sir,
        missed=sir < problem.network.sir_min,
        outage=problem.outage,
        path=path,
        milliseconds=1e3 * (time.perf_counter() - start),
    )
