"""Allocators that run at the APs: some rounds of messages between neighbours, no centre."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isac_torch.allocation import Proposal, equal_split
from isac_torch.allocators.parts import in_parts
from isac_torch.errors import AllocationError
from isac_torch.nn.checkpoint import load_network, stored_system
from isac_torch.nn.tracking.local_network import DistributedNetwork
from isac_torch.nn.tracking.unfolded import UnfoldedPrices
from isac_torch.tracking.problem import MaxMinSinrProblem

_CHUNK = 256
"""Drops that go through at once: more only costs memory."""


@dataclass(frozen=True)
class Distributed:
    """A distributed policy, stopped after some rounds of messages.

    Every AP computes the powers of its own links from what it knows and what its neighbours sent. Budgets always hold; sensing
    constraints are met in most drops, and exchanges of promises after the rounds repair most of those that are missed.

    Attributes:
        policy: learned cells, or the classical price steps.
        rounds: of messages; 0 is what each AP decides alone. Beyond those that were trained the last one is repeated.
        hears: which APs hear which UEs, of every drop; None for all.
        exchanges: of promises after the rounds, by which APs repair sensing constraints (`tracking.local.promises`).

    Example:
        >>> import torch
        >>> from isac_torch import TrackingScenario, allocate, power_problem
        >>> from isac_torch.nn.tracking.unfolded import UnfoldedPrices
        >>> scenario = TrackingScenario.of_size("8x6x2")
        >>> problem = power_problem(scenario.sample(5, generator=torch.Generator().manual_seed(1)), scenario)
        >>> value = [allocate(problem, Distributed(UnfoldedPrices(), rounds)).value.mean() for rounds in (0, 8)]
        >>> bool(value[1] > 1.5 * value[0])
        True
    """

    policy: DistributedNetwork | UnfoldedPrices
    rounds: int = 4
    hears: Bool[Tensor, "drop ue ap"] | None = None
    exchanges: int = 0
    gap: float = field(default=0.0, init=False)

    @property
    def name(self) -> str:
        """distributed_r4, distributed_classical_r4 where no learned numbers are sent, or unfolded_r4; distributed_kept_r4 with
        exchanges of promises.
        """
        classical = "_classical" if self.policy.shape.get("floats") == 0 else ""
        kept = "_kept" if self.exchanges else ""
        return f"{self.policy.SYSTEM.removeprefix('tracking-')}{classical}{kept}_r{self.rounds}"

    @classmethod
    def load(cls, path: Path | str, rounds: int = 4, exchanges: int = 0) -> Distributed:
        """The policy stored at `path`. CheckpointError where it is missing, corrupt, or not made for these features."""
        learned = stored_system(Path(path)) == DistributedNetwork.SYSTEM
        network, _ = load_network(Path(path), DistributedNetwork) if learned else load_network(Path(path), UnfoldedPrices)
        return cls(network, rounds, exchanges=exchanges)

    def propose(self, problem: MaxMinSinrProblem) -> Proposal:
        """Powers (W) of every link.

        Raises:
            AllocationError: something is required of scan cells or of positions, or rounds or exchanges are negative.
        """
        if min(self.rounds, self.exchanges) < 0:
            raise AllocationError(f"rounds={self.rounds} and exchanges={self.exchanges} must both be at least 0")
        if problem.num_cells or problem.position is not None:
            raise AllocationError(
                f"{self.name} knows constraints on the SIR or SICNR of targets only; "
                "leave scan cells and positions out (factors 0), or take allocator gnn_dominate"
            )
        with torch.no_grad():
            return in_parts(problem, _CHUNK, lambda part, index: Proposal(self._power(part, index)))

    def _power(self, problem: MaxMinSinrProblem, index: Tensor) -> Float[Tensor, "drop link"]:
        self.policy.eval()
        hears = None if self.hears is None else self.hears[index]
        share = self.policy.answer(problem.cast(torch.float32), self.rounds, self.exchanges, hears)
        power = share.to(problem.budget).exp() * problem.link_budget
        load = (problem.ap_load(power) / problem.budget).clamp_min(1.0)  # rounding of single precision
        power = power / load.gather(1, problem.link_ap)
        return torch.where(power.isfinite().all(-1, keepdim=True), power, equal_split(problem))


class HandTuned(Distributed):
    """The same price steps with numbers chosen by hand, alike in every round, as in the allocator of large networks.

    Example:
        >>> HandTuned(rounds=30).name
        'prices_r30'
    """

    def __init__(self, rounds: int = 30) -> None:
        """`rounds` of messages."""
        super().__init__(UnfoldedPrices(1), rounds)

    @property
    def name(self) -> str:
        """prices_r30, with the number of rounds."""
        return f"prices_r{self.rounds}"
