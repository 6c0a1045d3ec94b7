"""Operations of a network's powers at a centre, counted while they are computed and by the formulas of `centre_operations`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Generator

from isac_torch.allocators.registry import named_allocator
from isac_torch.allocators.tracking.learned import LearnedAllocator
from isac_torch.evaluation.studies import centre_operations as formula
from isac_torch.evaluation.studies.network_load import network_scenario
from isac_torch.evaluation.studies.operation_counter import OperationCounter
from isac_torch.solvers.tracking import papers
from isac_torch.solvers.tracking.common_factor import largest_factor
from isac_torch.solvers.tracking.feasibility import best_effort
from isac_torch.solvers.tracking.scaling import scaled
from isac_torch.tracking.build import power_problem

if TYPE_CHECKING:
    from isac_torch.evaluation.studies.liesegang_cases import Association
    from isac_torch.tracking.problem import MaxMinSinrProblem
    from isac_torch.tracking.scenario import TrackingScenario

CENTRAL = ("opc_paper", "opc_batched", "gnn")
"""Power control at a centre, by its names."""
_ASCENTS = (0, 2, 3)


@dataclass(frozen=True)
class Count:
    """Multiplications with an addition of the powers of one network in one coherence block.

    Attributes:
        counted: while the powers are computed.
        formula: of the same iterations.
        iterations: Newton steps, of a solver or of the balancing layer, or iterations of the cone solver.
    """

    counted: float
    formula: float
    iterations: int

    def times(self, rounds: int) -> Count:
        """Of so many such problems."""
        return Count(rounds * self.counted, rounds * self.formula, rounds * self.iterations)


def count(name: str, scenario: TrackingScenario, association: Association, seed: int) -> Count:
    """Of one drawn network.

    Args:
        name: one of `CENTRAL`.
        scenario: of user- and target-centric sets.
        association: with `uc` and `cf` all APs light one target after the other: the count is that of a round over all targets,
            taken as so many times that of one.
        seed: of the network.
    """
    sets = centre_scenario(scenario, association)
    rounds = scenario.num_targets // sets.num_targets
    problem = power_problem(sets.sample(1, generator=Generator().manual_seed(seed)), sets)
    return _COUNTERS[name](problem).times(rounds)


def centre_scenario(scenario: TrackingScenario, association: Association) -> TrackingScenario:
    """The sets of the association; with `uc` and `cf` those of a block, in which all APs light one target."""
    sets = network_scenario(scenario, association)
    if association in ("utc", "tc"):
        return sets
    return replace(sets, num_targets=1, sensing_aps=sets.transmit_aps)


def count_optimum(problem: MaxMinSinrProblem) -> Count:
    """Of the certified optimum."""
    with OperationCounter() as counter:
        named_allocator("opc_batched").propose(problem)
    steps = (counter.solved - counter.factorised) // 2
    return Count(counter.total, formula.certified_optimum(formula.Size.of(problem), counter.factorised, steps), steps)


def count_network(problem: MaxMinSinrProblem) -> Count:
    """Of the shipped network, with the searches that it adds in an unclear drop."""
    allocator: Any = named_allocator("gnn")
    network = allocator.network
    with OperationCounter() as counter:
        LearnedAllocator(network).propose(problem)
    ascents = next(some for some in _ASCENTS if formula.newton_steps(network, some) == counter.factorised)
    return Count(counter.total, formula.network(formula.Size.of(problem), network, ascents), counter.factorised)


def count_algorithm_1(problem: MaxMinSinrProblem) -> Count:
    """Of the paper's algorithm: the solver's iterations, times the operations of a factor of the first cone programme."""
    units = scaled(problem).problem
    limit = largest_factor(units)
    drop, iterations = best_effort(units, limit), list[int]()
    start = papers.start_point(drop, limit.power)
    papers.algorithm_1(drop, start, iterations=iterations)
    total, size = sum(iterations), formula.Size.of(drop)
    sharing = float((drop.coherent != 0).any(-1).sum()) / size.ues + 1.0
    return Count(total * factor_operations(*papers.cone_matrix(drop, start)), formula.algorithm_1(size, total, sharing), total)


def factor_operations(matrix: Any, cones: list[int]) -> float:
    """Multiplications of the sparse factor of a cone solver's system, eliminated in the order of (97), column by column.

    Args:
        matrix: [row, variable], sparse; the last rows are those of the cones.
        cones: rows of each. Those of more than four are a diagonal with two further columns, as in Clarabel.
    """
    from scipy import sparse
    from scipy.sparse.linalg import splu

    rows, columns = matrix.shape
    sizes, first = np.array(cones), rows - sum(cones)
    starts, wide = first + np.cumsum(sizes) - sizes, sizes > 4
    member = np.concatenate([np.arange(start, start + size) for start, size in zip(starts[wide], sizes[wide], strict=True)])
    cone = np.repeat(np.arange(wide.sum()), sizes[wide])
    place = (np.tile(member, 2), np.concatenate([2 * cone, 2 * cone + 1]))
    of_cones = sparse.csc_matrix((np.ones(len(place[0])), place), shape=(rows, 2 * int(wide.sum())))
    pattern = sparse.csc_matrix((np.ones(matrix.nnz), matrix.indices, matrix.indptr), shape=matrix.shape)
    blocks: Any = [[None, pattern.T, None], [pattern, None, of_cones], [None, of_cones.T, None]]
    system: Any = sparse.bmat(blocks, format="csr")
    system.data[:] = np.random.default_rng(0).uniform(0.5, 1.0, system.nnz) / system.shape[0]
    system = (system + system.T + sparse.identity(system.shape[0])).tocsr()  # diagonally dominant: no pivoting
    entries = np.diff(pattern.tocsr().indptr) + np.diff(of_cones.tocsr().indptr)
    row, short = columns + entries.argsort(kind="stable"), int((entries <= 3).sum())
    order = np.concatenate([row[:short], np.arange(columns), row[short:], np.arange(columns + rows, system.shape[0])])
    factor = splu(system[order][:, order].tocsc(), "NATURAL", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    below = np.diff(factor.L.tocsc().indptr) - 1.0
    return float((below * (below + 1.0) / 2.0).sum())


_COUNTERS = {"opc_paper": count_algorithm_1, "opc_batched": count_optimum, "gnn": count_network}
