"""Algorithm 1 of Liao et al. as printed: bisection on t over first-order expansions of H_k = t W_k Z_k - F_k (eqs. 29-34).

What the printed text leaves open, and what is chosen here: the start is full power, split equally (their section III-C); t
runs from 0 to the largest NMSE without downlink pilots ("computed based on the UL channel estimation"); the tolerance is
relative to that range; the solver is an interior-point one (Clarabel; CVX's solvers are, too), which returns a point well
inside the feasible set. Their result depends on each of these. The localisation constraint is their sufficient condition
(30), element by element. The error is their eq. 18 as printed. Brackets are never reset, so from the second pass on the inner
loop does nothing; `reset=True` restores the bracket for every pass, which is what successive approximation would need.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from torch import Tensor

from isac_torch.allocation import equal_split
from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
from isac_torch.solvers.downlink_pilots.cones import Programme
from isac_torch.solvers.downlink_pilots.model import Array, drop_arrays

_START_FLOOR = 1e-9
"""Smallest share at which the expansion is taken; the square root's slope is infinite at zero."""


def sequential_taylor(
    problem: MinMaxNmseProblem,
    *,
    tolerance: float = 1e-4,
    passes: int = 5,
    reset: bool = False,
    steps: list[Tensor] | None = None,
) -> Float[Tensor, "1 link"]:
    """Powers (W) of Algorithm 1 for one drop; full power, split equally, where it finds no feasible point.

    Args:
        problem: one drop.
        tolerance: eps of the bisection, relative to the first bracket.
        passes: I, outer iterations.
        reset: start every pass from the first lower end and the value reached.
        steps: takes the powers at the start and after each pass.
    """
    algorithm = _Taylor(problem)
    reached = full = np.full((problem.num_ues, problem.num_aps), 1.0 / problem.num_ues)
    top = algorithm.blind_loss()
    low, high = 0.0, top
    found = False
    if steps is not None:
        steps.append(equal_split(problem))
    for _ in range(passes):
        around = reached
        while high - low >= tolerance * top:
            middle = 0.5 * (low + high)
            share = algorithm.feasible(middle, around)
            if share is not None and algorithm.keeps(middle, share):
                high, reached, found = middle, share, True
            else:
                low = middle
        if steps is not None:
            steps.append(algorithm.drop.power(reached if found else full, problem.gain))
        if reset:
            low, high = 0.0, high * (1.0 + 2.0 * tolerance)
    return algorithm.drop.power(reached, problem.gain) if found else equal_split(problem)


class _Taylor:
    """F_k, W_k, Z_k of one drop and their expansion, in shares."""

    def __init__(self, problem: MinMaxNmseProblem) -> None:
        self.drop = drop_arrays(problem)
        self._amplitude = self.drop.root * np.sqrt(self.drop.scale)[:, None]
        self._fixed = self._constraints()

    def blind_loss(self) -> float:
        """Largest NMSE without downlink pilots, at full power: the upper end of the bracket."""
        share = np.full_like(self.drop.gain, 1.0 / self.drop.num_ues)
        spread = (self.drop.own * share).sum(1)
        return float((spread / self._parts(share)[2]).max())

    def _parts(self, share: Array) -> tuple[Array, Array, Array]:
        """F, W and Z of every UE, F and Z in units of the pilot's noise."""
        received = (self.drop.own * share).sum(1)
        observed = 1.0 + self.drop.squared_gram @ received
        mean = (self._amplitude * np.sqrt(np.maximum(share, 0.0))).sum(1)
        return received, observed, mean**2 + received

    def keeps(self, nmse: float, share: Array) -> bool:
        """The true ratio check: F_k <= t W_k Z_k for every UE."""
        received, observed, strength = self._parts(share)
        return bool((received <= nmse * observed * strength).all())

    def feasible(self, nmse: float, around: Array) -> Array | None:
        """Some shares that satisfy the expansion at `around` for t = `nmse`; None where the solver finds none."""
        drop = self.drop
        share = np.maximum(around, _START_FLOOR)
        received, observed, strength = self._parts(share)
        mean = (self._amplitude * np.sqrt(share)).sum(1)
        eye = np.eye(drop.num_ues)
        # dH_k/dx_jm: contamination through W, the UE's own power through Z and F.
        slope = nmse * (strength[:, None] * drop.squared_gram)[:, :, None] * drop.gain[None]
        own = nmse * observed[:, None] * (self._amplitude * mean[:, None] / np.sqrt(share) + drop.own) - drop.own
        slope = (slope + eye[:, :, None] * own[:, None, :]).reshape(drop.num_ues, -1)
        value = nmse * observed * strength - received - slope @ share.reshape(-1)
        size = np.abs(slope).max(1)
        programme = Programme(drop.num_links)
        programme.nonnegative(np.eye(drop.num_links), np.zeros(drop.num_links))
        programme.nonnegative(np.tile(-np.eye(drop.num_aps), drop.num_ues), np.ones(drop.num_aps))
        programme.nonnegative(*self._fixed)
        programme.nonnegative(slope / size[:, None], value / size)
        answer = programme.maximise(np.zeros(drop.num_links))
        if not answer.solved:
            return None
        clean = np.maximum(answer.point.reshape(drop.num_ues, -1), 0.0)
        return np.asarray(clean / np.maximum(clean.sum(0), 1.0))

    def _constraints(self) -> tuple[Array, Array]:
        """Their eq. 30: Gamma sum_j (ra_i rb_j - rc_i rc_j) p_j >= ra_i + rb_i for every AP i that serves, over ra_i + rb_i."""
        drop = self.drop
        rows = np.zeros((drop.num_ues, drop.num_aps, drop.num_ues, drop.num_aps))
        for k in range(drop.num_ues):
            xx, yy, xy = drop.information[:, k]
            rows[k, :, k] = (np.outer(xx, yy) - np.outer(xy, xy)) / np.where(drop.serves[k] > 0, xx + yy, 1.0)[:, None]
        flat = rows.reshape(drop.num_ues * drop.num_aps, drop.num_links)
        return flat, -(drop.serves * (drop.quality / 2.0)[:, None]).ravel()
