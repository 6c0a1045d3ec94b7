"""Learned allocation under sensing constraints that ask for watts: shares of the budgets, then a guard without a solver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isac_torch.allocation import Proposal
from isac_torch.allocators.parts import in_parts
from isac_torch.deployment.radar_repair import met_by_steps
from isac_torch.nn.ascent import ascend
from isac_torch.nn.checkpoint import load_network
from isac_torch.nn.tracking.merit import Objective
from isac_torch.nn.tracking.share_network import ShareNetwork
from isac_torch.nn.tracking.shares import STEP_LENGTH, ShareHill, share_power, start_shares, strict_score
from isac_torch.tensors import map_tensors
from isac_torch.tracking.fractional import reference_power
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.restoration import restored
from isac_torch.tracking.share_problem import ShareProblem

_CHUNK = 256
"""Drops that go through at once: more only costs memory."""
_BEGIN, _LENGTH = 0.3, 0.2
"""Where plain ascent from a network's logits begins on its schedule, and the length of its first steps, nepers."""
_KEPT = 0.98
"""Share of a drop's smallest SINR that the guard must leave; where it takes more, Newton steps look for better powers."""

Logits = Callable[[ShareProblem], Float[Tensor, "drop logit"]]


@dataclass(frozen=True)
class NewtonSteps:
    """The Newton steps of the runtime from the reference powers, without network and certificate: what a network has to beat.

    Example:
        >>> NewtonSteps().name
        'newton_dominate'
    """

    name: str = field(default="newton_dominate", init=False)
    gap: float = field(default=0.0, init=False)

    def propose(self, problem: MaxMinSinrProblem) -> Proposal:
        """Powers (W) of every link."""
        return in_parts(problem, _CHUNK, lambda part, _: Proposal(newton_steps(part, reference_power(part))))


@dataclass(frozen=True)
class ShareAllocator:
    """A network for sensing constraints of any kind: expected SICNR, scan cells, position information, relative or absolute.

    Its powers keep every budget; what they miss of a constraint is restored by the smallest change, or by mixing them with the
    reference powers, so that under `dominate` with factors up to 1 the answer senses no worse than the reference. Drops that
    lose more than 2 % of their smallest SINR by that get the Newton steps of the runtime instead: 4 to 10 % of the drops.

    Attributes:
        network: predicts shares.
        more_steps: steps of plain ascent from there; 0 leaves the network's answer, the one-shot form.

    Example:
        >>> from isac_torch.nn.tracking.share_network import ShareNetwork
        >>> ShareAllocator(ShareNetwork(hidden=8, layers=1, steps=2)).name
        'gnn_dominate'
    """

    network: ShareNetwork
    more_steps: int = 60
    gap: float = field(default=0.0, init=False)

    @property
    def name(self) -> str:
        """gnn_dominate, or gnn_dominate_one_shot without steps of ascent."""
        return "gnn_dominate" if self.more_steps else "gnn_dominate_one_shot"

    @classmethod
    def load(cls, path: Path | str, more_steps: int = 60) -> ShareAllocator:
        """The network stored at `path`. CheckpointError where it is missing, corrupt, or not made for these features."""
        network, _ = load_network(Path(path), ShareNetwork)
        return cls(network, more_steps)

    def propose(self, problem: MaxMinSinrProblem) -> Proposal:
        """Powers (W) of every link."""
        self.network.eval()
        return propose_shares(problem, self._logits)

    def _logits(self, problem: ShareProblem) -> Float[Tensor, "drop logit"]:
        found = self.network(problem)
        if not self.more_steps:
            return found
        sound = torch.where(found.isfinite().all(-1, keepdim=True), found, start_shares(problem))
        return ascend(ShareHill(problem, part=(_BEGIN, 1.0)), sound, self.more_steps, _LENGTH)


def first_order_shares(objective: Objective, steps: int) -> Logits:
    """Plain ascent from the reference powers."""
    return lambda problem: ascend(ShareHill(problem, objective), start_shares(problem), steps, STEP_LENGTH)


def propose_shares(problem: MaxMinSinrProblem, logits: Logits, objective: Objective = "max_min") -> Proposal:
    """Guarded powers of each part of the batch, in the problem's precision; logits are found in single precision.

    Where the reference powers are better, they are the answer: under `dominate` no drop loses rate either.
    """
    with torch.no_grad():
        return in_parts(problem, _CHUNK, lambda part, _: Proposal(_answer(part, logits, objective)))


def _answer(problem: MaxMinSinrProblem, logits: Logits, objective: Objective) -> Float[Tensor, "drop link"]:
    single = ShareProblem.of(problem.cast(torch.float32))
    found = logits(single)
    found = torch.where(found.isfinite().all(-1, keepdim=True), found, start_shares(single))
    proposed = share_power(ShareProblem.of(problem), found.to(problem.budget.dtype))
    guarded, other = restored(problem, proposed), reference_power(problem)
    power = guarded.power
    if objective == "max_min":
        kept = problem.objective(power) >= _KEPT * problem.objective(proposed)
        power = _by_newton_steps(problem, power, ~guarded.met | guarded.mixed | ~kept)
    return _better(problem, power, other, objective)


def _by_newton_steps(problem: MaxMinSinrProblem, power: Tensor, unclear: Bool[Tensor, " drop"]) -> Float[Tensor, "drop link"]:
    """Better powers for the drops that are `unclear`, where Newton steps find any."""
    chosen = unclear.nonzero()[:, 0]
    if not len(chosen):
        return power
    part, before = problem.select(chosen), power[chosen]
    return power.index_copy(0, chosen, _better(part, before, newton_steps(part, before), "max_min"))


def newton_steps(problem: MaxMinSinrProblem, power: Float[Tensor, "drop link"]) -> Float[Tensor, "drop link"]:
    """Powers (W) after the Newton steps of the runtime, in numpy, from the given ones."""
    arrays: Any = map_tensors(problem, _numpy)
    found, _ = met_by_steps(arrays, _numpy(power).copy())
    return torch.from_numpy(found).to(power)


def _numpy(tensor: Tensor) -> Any:
    return tensor.detach().cpu().double().numpy() if tensor.is_floating_point() else tensor.cpu().numpy()


def _better(problem: MaxMinSinrProblem, one: Tensor, other: Tensor, objective: Objective) -> Tensor:
    """The better powers of two per drop: sensing constraints first."""
    worse = strict_score(problem, other, objective) > strict_score(problem, one, objective)
    return torch.where(worse[:, None], other, one)
