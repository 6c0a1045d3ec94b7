"""Allocators that predict directions and leave scales to the balancing layer: a trained network, and plain ascent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isac_torch.allocation import FEASIBILITY_TOLERANCE, Proposal
from isac_torch.allocators.parts import in_parts
from isac_torch.allocators.tracking.shares import ShareAllocator, first_order_shares, propose_shares
from isac_torch.errors import AllocationError
from isac_torch.nn.ascent import ascend
from isac_torch.nn.checkpoint import load_network
from isac_torch.nn.tracking.balance import beam_efficiency, start_logits
from isac_torch.nn.tracking.merit import Aim, DirectionsHill, Objective, directed_power, strict_score
from isac_torch.nn.tracking.network import AllocationNetwork
from isac_torch.nn.tracking.own import OwnNetwork
from isac_torch.nn.tracking.share_network import ShareNetwork
from isac_torch.tracking.graph import link_graph
from isac_torch.tracking.problem import MaxMinSinrProblem

_CHUNK = 256
"""Drops that go through a network at once: more only costs memory."""

_SEEN_BUDGETS, _SEEN_GAINS = 10.0**0.1, 10.0**8.3
"""Largest ratios of budgets, and of gains of one UE, in the training."""
Directions = Callable[[MaxMinSinrProblem, Aim], Float[Tensor, "drop logit"]]


@dataclass(frozen=True)
class FirstOrder:
    """Adam on the directions through the balancing layer, from the untrained ones: what a network has to beat.

    Attributes:
        steps: gradient steps; 60 end within about one per cent of the optimum in the mean.
        length: of the first steps.
        objective: what the powers are to maximise.

    Example:
        >>> import torch
        >>> from isac_torch import BatchedOptimal, FirstOrder, TrackingScenario, allocate, power_problem
        >>> scenario = TrackingScenario.of_size("8x6x2")
        >>> problem = power_problem(scenario.sample(5, generator=torch.Generator().manual_seed(1)), scenario)
        >>> ratio = allocate(problem, FirstOrder(steps=20)).value / allocate(problem, BatchedOptimal()).value
        >>> bool((ratio > 0.7).all())
        True
    """

    steps: int = 60
    length: float = 0.2
    objective: Objective = "max_min"
    gap: float = field(default=0.0, init=False)

    @property
    def name(self) -> str:
        """first_order, or first_order_fair for proportional fairness."""
        return "first_order" if self.objective == "max_min" else "first_order_fair"

    def propose(self, problem: MaxMinSinrProblem) -> Proposal:
        """Powers (W) of every link; one AP of each drop sends its whole budget, nearly all where constraints ask for watts."""
        if problem.asks_for_watts:
            return propose_shares(problem, first_order_shares(self.objective, self.steps), self.objective)
        return _propose(problem, self._directions, self.objective)

    def _directions(self, problem: MaxMinSinrProblem, aim: Aim) -> Tensor:
        return ascend(DirectionsHill(problem, aim), start_logits(problem, aim.start_spread), self.steps, self.length)


@dataclass(frozen=True)
class LearnedAllocator:
    """A trained network without a solver: budgets always hold, sensing constraints nearly always.

    Attributes:
        network: predicts directions.
        objective: what the powers are to maximise.
        more_steps: steps of plain ascent from the network's directions in unclear drops, where a sensing constraint is missed,
            a target's beams are hardly worth their power (5 % of the paper's drops), or budgets or gains are unlike those of
            the training; 0 leaves the network's answer.
        shares: the network for constraints that ask for watts; without it these get `more_steps` steps of plain ascent.

    Example:
        >>> import torch
        >>> from isac_torch import LearnedAllocator, TrackingScenario, allocate, power_problem
        >>> scenario = TrackingScenario.of_size("8x6x2")
        >>> problem = power_problem(scenario.sample(5, generator=torch.Generator().manual_seed(1)), scenario)
        >>> from isac_torch.weights import shipped_weights
        >>> learned = allocate(problem, LearnedAllocator.load(shipped_weights()))
        >>> bool((problem.ap_load(learned.power) <= problem.budget * (1 + 1e-6)).all())   # W
        True
    """

    network: AllocationNetwork
    objective: Objective = "max_min"
    more_steps: int = 60
    shares: ShareNetwork | None = None
    gap: float = field(default=0.0, init=False)

    @property
    def name(self) -> str:
        """gnn, or gnn_fair for proportional fairness."""
        return "gnn" if self.objective == "max_min" else "gnn_fair"

    @classmethod
    def load(cls, path: Path | str, objective: Objective = "max_min") -> LearnedAllocator:
        """The network stored at `path`. CheckpointError where it is missing, corrupt, or not made for these features."""
        network, _ = load_network(Path(path), AllocationNetwork)
        return cls(network, objective)

    def propose(self, problem: MaxMinSinrProblem) -> Proposal:
        """Powers (W) of every link; one AP of each drop sends its whole budget, nearly all where constraints ask for watts."""
        if problem.asks_for_watts:
            if self.shares is not None and self.objective == "max_min":
                return ShareAllocator(self.shares).propose(problem)
            return propose_shares(problem, first_order_shares(self.objective, self.more_steps), self.objective)
        return _propose(problem, self._directions, self.objective, self.more_steps)

    def _directions(self, problem: MaxMinSinrProblem, aim: Aim) -> Tensor:
        self.network.eval()
        return self.network(problem, link_graph(problem), aim)


@dataclass(frozen=True)
class OwnLearned:
    """A network of the user's own before the balancing layer, without a solver and without further steps.

    Attributes:
        name: for tables.
        network: predicts directions.
        gap: no certificate is offered.
    """

    name: str
    network: OwnNetwork
    gap: float = field(default=0.0, init=False)

    def propose(self, problem: MaxMinSinrProblem) -> Proposal:
        """Powers (W) of every link; one AP of each drop sends its whole budget.

        Raises:
            AllocationError: the sensing constraints ask for watts (SICNR, scan cells, positions).
        """
        if problem.asks_for_watts:
            raise AllocationError(
                f"{self.name} knows sensing constraints on the SIR only, as the layer behind it; give requirement sir or none"
            )
        return _propose(problem, lambda part, aim: self.network(part, link_graph(part), aim), "max_min")


def _propose(problem: MaxMinSinrProblem, directions: Directions, objective: Objective, more_steps: int = 0) -> Proposal:
    """Powers of each part of the batch, in the problem's precision; directions are found in single precision."""
    with torch.no_grad():
        return in_parts(problem, _CHUNK, lambda part, _: Proposal(_answer(part, directions, objective, more_steps)))


def _answer(problem: MaxMinSinrProblem, directions: Directions, objective: Objective, more_steps: int) -> Tensor:
    """Plain powers; in unclear drops the best of these and those by UE beams, and of what more steps make of either.

    A drop is unclear where directions by UE beams can differ from plain ones, a sensing constraint is missed, or budgets or
    gains are unlike those of the training; in the last case more steps begin at the untrained directions, too.
    """
    plain, by_ue_beams = Aim(objective), Aim(objective, by_ue_beams=True)
    logits, power = _powers(problem, directions, plain)
    unlike = unlike_training(problem)
    doubtful = unlike
    if problem.num_constraints:
        doubtful = doubtful | (problem.violations(power).sensing > FEASIBILITY_TOLERANCE)
        doubtful = doubtful | (beam_efficiency(problem, logits) < by_ue_beams.least_net_gain).any(-1)
    unclear = doubtful.nonzero()[:, 0]
    if len(unclear):
        part, best = problem.select(unclear), power[unclear]
        other_logits, other = _powers(part, directions, by_ue_beams)
        best = _better(part, best, other, plain)
        if more_steps:
            for aim, start in ((plain, logits[unclear]), (by_ue_beams, other_logits)):
                _, found = _powers(part, _continued(start, more_steps), aim)
                best = _better(part, best, found, plain)
        power = power.index_copy(0, unclear, best)
    far = unlike.nonzero()[:, 0]
    if len(far) and more_steps:
        part = problem.select(far)
        _, found = _powers(part, _continued(start_logits(part, plain.start_spread), more_steps), plain)
        power = power.index_copy(0, far, _better(part, power[far], found, plain))
    return power


def unlike_training(problem: MaxMinSinrProblem) -> Bool[Tensor, " drop"]:
    """Drops far from those that the shipped network was trained on: budgets of APs with links that differ by more than 1 dB,
    or a UE whose serving gains lie more than 83 dB apart. The runtime improves the same networks (`deployment.card.REFINED`).
    """
    budget = problem.link_budget
    spread = budget.amax(-1) > _SEEN_BUDGETS * budget.amin(-1)
    gain = problem.link_gain[:, : problem.num_comm_links].reshape(problem.signal.shape)
    return spread | (gain.amax(-1) > _SEEN_GAINS * gain.amin(-1)).any(-1)


def _continued(start: Tensor, steps: int) -> Directions:
    """Ascent from the directions `start`."""
    return lambda problem, aim: ascend(DirectionsHill(problem, aim), start.to(problem.budget.dtype), steps, FirstOrder.length)


def _better(problem: MaxMinSinrProblem, one: Tensor, other: Tensor, aim: Aim) -> Tensor:
    """The better powers of two per drop: sensing constraints first."""
    return torch.where((strict_score(problem, other, aim) > strict_score(problem, one, aim))[:, None], other, one)


def _powers(problem: MaxMinSinrProblem, directions: Directions, aim: Aim) -> tuple[Tensor, Tensor]:
    """Directions and their powers; the untrained directions where a prediction is not finite."""
    single = problem.cast(torch.float32)
    found = directions(single, aim)
    logits = torch.where(found.isfinite().all(-1, keepdim=True), found, start_logits(single)).to(problem.budget.dtype)
    return logits, directed_power(problem, logits, aim)
