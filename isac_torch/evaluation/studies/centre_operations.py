"""What a centre multiplies to control the powers of all APs, by formula: equations (96) to (100) of docs/reproduction.md.

K UEs have s serving links each; with the sensing links of the L targets there are E links, from P transmit APs. C sensing
constraints are linear in the powers (L, or 0 where one target is searched alone and no other one disturbs it). R = K + C + P
constraints and n = K + L nodes. All are multiplications with an addition, of one network; a triangular factor of size n counts
n^3/6 (Cholesky) or n^3/3 (LU).

Iterative methods repeat these an unknown number of times: the numbers of repetitions are arguments, and are measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from isac_torch.nn.tracking import merit

if TYPE_CHECKING:
    from isac_torch.nn.layers import MessageLayer
    from isac_torch.nn.tracking.network import AllocationNetwork
    from isac_torch.tracking.problem import MaxMinSinrProblem


@dataclass(frozen=True)
class Size:
    """Numbers of a power problem.

    Attributes:
        ues: K. serving: s. targets: L. constraints: C. aps: P. links: E.
    """

    ues: int
    serving: int
    targets: int
    constraints: int
    aps: int
    links: int

    @classmethod
    def of(cls, problem: MaxMinSinrProblem) -> Size:
        """Of one drop of a batch."""
        return cls(
            problem.num_ues,
            problem.serving,
            problem.num_targets,
            problem.num_constraints,
            problem.num_aps,
            problem.num_links,
        )

    @property
    def rows(self) -> int:
        """R: UEs, sensing constraints, budgets."""
        return self.ues + self.constraints + self.aps

    @property
    def nodes(self) -> int:
        """n: UEs and targets."""
        return self.ues + self.targets


def certified_optimum(size: Size, evaluations: int, steps: int) -> float:
    """The interior-point runs of the certified optimum, eq. (96), with orthogonal pilots.

    Args:
        size: of the problem.
        evaluations: Newton systems formed and factorised: one an iteration, and one at the end of each run.
        steps: iterations, each a predictor and a corrector from the same factors.

    Returns:
        Multiplications. The first term, of the matrix J W^-1 J^T, is nearly all.

    Example:
        >>> certified_optimum(Size(ues=16, serving=4, targets=4, constraints=4, aps=12, links=80), evaluations=1, steps=0)
        114389.33333333333
    """
    rows, links, ues, constraints = size.rows, size.links, size.ues, size.constraints
    residuals = (rows + constraints + size.aps + 2 * ues + 4 * constraints) * links
    evaluation = rows**2 * (links + ues + 1) + rows**3 / 6 + residuals
    step = 2 * (rows**2 + 2 * rows * links)
    start = (ues + 2 * constraints) * links
    return evaluations * evaluation + steps * step + (evaluations - steps) * start


def algorithm_1(size: Size, iterations: int, sharing: float = 1.0) -> float:
    """The factors that the cone solver of Algorithm 1 needs, eq. (97): a sparse one in every iteration.

    Each UE and each sensing constraint is a cone over all powers, each AP one over its own links; a cone adds two columns to
    the system. Eliminated in this order: rows of one power, powers, rows of a UE's amplitudes, those of the echoes, columns of
    cones. Solutions with the factor, which need fewer operations, are left out.

    Args:
        size: of the problem.
        iterations: of the solver, in all its cone programmes.
        sharing: UEs on one pilot.

    Example:
        >>> algorithm_1(Size(ues=16, serving=4, targets=4, constraints=4, aps=12, links=80), iterations=1)
        201505.33333333334
    """
    everywhere, echoes = size.ues + size.constraints, size.constraints
    power = 2 * (everywhere + 1) + echoes + 1 + sharing
    amplitude = 2 * (everywhere + size.serving) + echoes + sharing / 2
    powers = 6 * (everywhere + 1) * size.links + size.links * power * (power + 1) / 2
    amplitudes = (1 + sharing) * size.ues * amplitude * (amplitude + 1) / 2
    return iterations * (powers + amplitudes + (2 * size.rows + echoes) ** 3 / 6)


def network(size: Size, allocator: AllocationNetwork, ascents: int = 0) -> float:
    """The network and the balancing layer after it, eq. (98), with orthogonal pilots.

    Args:
        size: of the problem.
        allocator: the network.
        ascents: searches of plain ascent that an unclear drop gets (`allocators.tracking.learned`): 0, or 2, or 3 where budgets
            or gains are unlike those of the training.

    Returns:
        Multiplications.
    """
    once = _forward(size, allocator) + balancing(size, merit.FINAL_ITERATIONS, merit.FINAL_NEWTON)
    total = once + _sir(size)
    if ascents:
        total += once + 2 * _score(size) + ascents * _ascent(size)
    return total


def newton_steps(allocator: AllocationNetwork, ascents: int = 0) -> int:
    """Newton steps of the balancing layer in `network`: what the counter's factorisations say about `ascents`."""
    once = _gradients(allocator) + 1 + merit.FINAL_NEWTON
    return once + (once + ascents * (ASCENT_STEPS + 1 + merit.FINAL_NEWTON) if ascents else 0)


ASCENT_STEPS = 60
"""Of each search, `LearnedAllocator.more_steps`."""


def balancing(size: Size, iterations: int, newton: int, gradient: bool = False) -> float:
    """The balancing layer, eq. (99): fixed-point iterations, then Newton steps with an iteration between any two.

    With `gradient`, the one of its last Newton step as well.
    """
    nodes, order = size.nodes, size.nodes + 1
    fixed_point = nodes * (size.ues + 2 * size.targets + size.aps)
    step = nodes * (2 * nodes + size.aps) + order**3 / 3 + order**2
    backward = nodes**2 + order**2 if gradient else 0.0
    return nodes * size.aps + (iterations + newton - 1) * fixed_point + newton * step + backward


def _forward(size: Size, allocator: AllocationNetwork) -> float:
    """Message layers, corrections, learned steps."""
    tokens, refinements, hidden = size.links + size.nodes, len(allocator.refinements), allocator.shape["hidden"]
    total = float(size.ues**2 * size.serving)  # features of shared pilots
    total += _weights(allocator.encode_link) * size.links + _weights(allocator.encode_ue) * size.ues
    total += sum(message_layer(size, layer) for layer in (*allocator.layers, *allocator.refinements))
    total += (1 + refinements) * hidden * tokens
    total += _merit_gradient(size, merit.COLD_ITERATIONS) + refinements * _merit_gradient(size, 2 * merit.WARM_ITERATIONS)
    if allocator.stepper is None:
        return total
    stepper, warm = allocator.stepper, merit.WARM_ITERATIONS
    total += (_weights(stepper.inner) + stepper.steps * _weights(stepper.outer)) * tokens
    total += stepper.steps * (_merit_gradient(size, warm) + _score(size))
    return total + balancing(size, warm, 1) + _score(size)


def _gradients(allocator: AllocationNetwork) -> int:
    return 1 + len(allocator.refinements) + (allocator.stepper.steps if allocator.stepper is not None else 0)


def message_layer(size: Size, layer: MessageLayer) -> float:
    """Eq. (100): products of who disturbs and lights whom with the states, then the layer's weights."""
    hidden = layer.mix.out_features
    exchanged = 4.0 * size.links * size.nodes * hidden
    links = (_weights(layer.from_link) + _weights(layer.mix)) * size.links
    ues = (_weights(layer.to_ue) + 3 * hidden**2) * size.ues
    targets = (_weights(layer.to_target) + 3 * hidden**2) * size.targets
    return exchanged + links + ues + targets + (_weights(layer.to_ap) + _weights(layer.from_ap)) * size.aps


def _merit_gradient(size: Size, iterations: int) -> float:
    """Balanced powers, their merit, and its gradient."""
    return balancing(size, iterations, 1, gradient=True) + 2 * _sir(size)


def _score(size: Size) -> float:
    """SINRs and SIRs of given powers."""
    return size.ues * (size.links + size.ues * size.serving + size.serving) + _sir(size)


def _sir(size: Size) -> float:
    return 2.0 * size.constraints * size.links


def _ascent(size: Size) -> float:
    """One search of plain ascent, its powers and the comparison with those before."""
    slopes = _merit_gradient(size, merit.COLD_ITERATIONS) + ASCENT_STEPS * _merit_gradient(size, merit.WARM_ITERATIONS)
    slopes += (ASCENT_STEPS + 1) * _score(size)
    return slopes + balancing(size, merit.FINAL_ITERATIONS, merit.FINAL_NEWTON) + 2 * _score(size)


def _weights(layer: nn.Linear) -> int:
    return layer.weight.numel()
