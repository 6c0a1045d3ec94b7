"""One drop in NumPy and the constraints that every programme on it shares, in the units that keep a solver accurate.

Powers are shares x = p / P of their AP's budget, of order one (the paper's own coefficients reach 1e10). A UE's channel gain is
divided by the square of S_k = sum_m sqrt(estimate_km P_m), its Fisher information by the trace at all APs' full power.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
from isac_torch.solvers.downlink_pilots.cones import Programme
from isac_torch.solvers.downlink_pilots.cuts import Cuts, no_cuts

Array = NDArray[np.float64]


@dataclass(frozen=True)
class DropArrays:
    """One drop of a MinMaxNmseProblem. Attributes as there, for powers as shares of the budget and without a drop axis.

    Attributes:
        gain: beta energy over noise [k, m].
        root: sqrt of the estimates' energy over its sum S_k [k, m].
        scale: S_k^2.
        information: xx, yy, xy over the trace at full power [3, k, m].
        quality: 2 / (Gamma_k trace), the right-hand side of the localisation cone; 0 where no bound is asked for.
        squared_gram: |psi_k^H psi_j|^2.
        serves: 1 where the AP serves the UE, 0 where the link carries no power [k, m].
        budget: W.
        weight: of each UE's NMSE.
        pairs: UEs (i < j) that share an uplink pilot.
        cuts: further constraints cuts @ shares >= 1 [cut, ue, ap].
    """

    gain: Array
    root: Array
    scale: Array
    information: Array
    quality: Array
    squared_gram: Array
    serves: Array
    budget: Array
    weight: Array
    pairs: list[tuple[int, int]]
    cuts: Array

    @property
    def own(self) -> Array:
        """`gain` of the APs that serve the UE [k, m]."""
        return self.gain * self.serves

    @property
    def num_ues(self) -> int:
        """UEs of the drop."""
        return self.gain.shape[0]

    @property
    def num_aps(self) -> int:
        """APs of the drop."""
        return self.gain.shape[1]

    @property
    def num_links(self) -> int:
        """Links of the drop."""
        return self.gain.size

    def power(self, share: Array, like: Tensor) -> Tensor:
        """Powers (W) of shares, cleaned of a solver's tolerance: none negative or not served, no AP above its budget."""
        clean = np.maximum(share.reshape(self.num_ues, self.num_aps), 0.0) * self.serves
        clean = clean / np.maximum(clean.sum(0), 1.0) * self.budget
        return torch.as_tensor(clean.reshape(1, -1), dtype=like.dtype, device=like.device)

    def share(self, power: Tensor) -> Array:
        """Shares [k, m] of powers (W) of one drop."""
        return np.asarray(power.detach().double().cpu().numpy().reshape(self.num_ues, self.num_aps) / self.budget)


def drop_arrays(problem: MinMaxNmseProblem, cuts: Cuts | None = None) -> DropArrays:
    """The arrays of a problem of exactly one drop, and tangents of its localisation bounds."""

    def array(tensor: Tensor) -> Array:
        return np.asarray(tensor.detach()[0].double().cpu().numpy())

    budget = array(problem.budget)
    root = np.sqrt(array(problem.estimate) * budget)
    total = root.sum(1, keepdims=True)
    information = np.stack([array(p) for p in (problem.fisher_xx, problem.fisher_yy, problem.fisher_xy)]) * budget
    trace = information[:2].sum((0, 2))
    same = array(problem.same_pilot)
    return DropArrays(
        gain=array(problem.gain) * budget,
        root=root / total,
        scale=total[:, 0] ** 2,
        information=information / trace[:, None],
        quality=2.0 / (array(problem.crb_max) * trace),
        serves=np.ones_like(root) if problem.serves is None else array(problem.serves),
        squared_gram=array(problem.gram_real) ** 2 + array(problem.gram_imag) ** 2,
        budget=budget,
        weight=array(problem.weight),
        pairs=[(i, j) for i in range(len(same)) for j in range(i + 1, len(same)) if same[i, j] > 0],
        cuts=(no_cuts(problem) if cuts is None else cuts).rows,
    )


@dataclass(frozen=True)
class Layout:
    """Where each kind of variable lies: shares x, roots z, coherent gains s, extra ones of the objective, shared products y.

    With `shares_only` there are no z, s and y: enough for localisation.
    """

    drop: DropArrays
    num_extra: int
    shares_only: bool = False

    @property
    def shares(self) -> slice:
        """x[k, m], flattened."""
        return slice(0, self.drop.num_links)

    @property
    def roots(self) -> slice:
        """z[k, m] <= sqrt(x[k, m] s[k])."""
        return slice(self.drop.num_links, self.drop.num_links * (1 if self.shares_only else 2))

    @property
    def coherent(self) -> slice:
        """s[k] <= (sum_m root[k, m] sqrt(x[k, m]))^2."""
        return slice(self.roots.stop, self.roots.stop + (0 if self.shares_only else self.drop.num_ues))

    @property
    def extra(self) -> slice:
        """Variables of the objective."""
        return slice(self.coherent.stop, self.coherent.stop + self.num_extra)

    @property
    def products(self) -> slice:
        """y[pair, m] <= sqrt(x[i, m] x[j, m]), flattened."""
        count = 0 if self.shares_only else len(self.drop.pairs) * self.drop.num_aps
        return slice(self.extra.stop, self.extra.stop + count)

    @property
    def size(self) -> int:
        """Number of variables."""
        return self.products.stop


def common_constraints(drop: DropArrays, layout: Layout, quality: int | None = None) -> tuple[Programme, int]:
    """Budgets, signs, tangents, coherent gains and localisation cones; and the block of the first localisation cone.

    The tangents (`drop.cuts`) are the block before it. Where `quality` is the index of a variable q, each localisation bound is
    Gamma_k / q instead of Gamma_k.
    """
    programme = Programme(layout.size)
    identity = np.eye(layout.size)
    share = identity[layout.shares].reshape(drop.num_ues, drop.num_aps, -1)
    programme.nonnegative(identity[layout.shares], np.zeros(drop.num_links))
    programme.nonnegative(-share.sum(0), np.ones(drop.num_aps))
    programme.nonnegative(*_cut_rows(drop, layout, quality))
    first_cone = 3
    for k in range(drop.num_ues):
        _localise(programme, drop, share[k], k, quality)
    if not layout.shares_only:
        _cohere(programme, drop, layout, share)
    return programme, first_cone


def _cut_rows(drop: DropArrays, layout: Layout, quality: int | None) -> tuple[Array, Array]:
    """cuts @ shares - 1, or - q, as rows and offsets over the variables."""
    rows = np.zeros((len(drop.cuts), layout.size))
    rows[:, layout.shares] = drop.cuts.reshape(len(drop.cuts), drop.num_links)
    if quality is None:
        return rows, np.full(len(rows), -1.0)
    rows[:, quality] = -1.0
    return rows, np.zeros(len(rows))


def _localise(programme: Programme, drop: DropArrays, share: Array, ue: int, quality: int | None) -> None:
    """tr J^-1 <= Gamma as ||(J_xx - J_yy, 2 J_xy, 2 / Gamma)|| <= J_xx + J_yy - 2 / Gamma, eq. (P18)."""
    xx, yy, xy = drop.information[:, ue] @ share
    limit = drop.quality[ue]
    rows = np.stack([xx + yy, xx - yy, 2.0 * xy, np.zeros_like(xx)])
    offset = np.array([-limit, 0.0, 0.0, limit])
    if quality is not None:
        rows[:, quality] = offset
        offset = np.zeros(4)
    programme.second_order(rows, offset)


def _cohere(programme: Programme, drop: DropArrays, layout: Layout, share: Array) -> None:
    """s_k <= (sum_m root sqrt(x))^2 by one rotated cone per link, and y <= sqrt(x_i x_j) where uplink pilots are shared."""
    identity = np.eye(layout.size)
    root = identity[layout.roots].reshape(drop.num_ues, drop.num_aps, -1)
    coherent = identity[layout.coherent]
    programme.nonnegative(np.einsum("km,kmv->kv", drop.root, root) - coherent, np.zeros(drop.num_ues))
    for k in range(drop.num_ues):
        for m in range(drop.num_aps):
            x, z, s = share[k, m], root[k, m], coherent[k]
            programme.second_order(np.stack([x + s, x - s, 2.0 * z]), np.zeros(3))
    product = identity[layout.products].reshape(len(drop.pairs), drop.num_aps, layout.size)
    for number, (i, j) in enumerate(drop.pairs):
        for m in range(drop.num_aps):
            x, other, y = share[i, m], share[j, m], product[number, m]
            programme.second_order(np.stack([x + other, x - other, 2.0 * y]), np.zeros(3))


def strength_rows(drop: DropArrays, layout: Layout) -> Array:
    """E|a_k|^2 / S_k^2 as rows over the variables: s_k plus the spread of the channel."""
    identity = np.eye(layout.size)
    share = identity[layout.shares].reshape(drop.num_ues, drop.num_aps, -1)
    spread = np.einsum("km,kmv->kv", drop.own / drop.scale[:, None], share)
    return np.asarray(identity[layout.coherent] + spread)
