"""UEs out of everybody's reach: recognised, left out of the largest common SINR, and served with what costs the others least.

With every budget on its own links and no interference at all, UE k reaches the SINR (sum_s a_ks sqrt(P_m(s)))^2, a bound that
no powers exceed. Where it stays below OUTAGE_SINR, the largest common SINR of all UEs would be that of UE k, and the powers of
all others would follow it down without helping it. So the others are allocated as if UE k were not there, and its links then
take what their APs do not use, as far as the others' smallest SINR keeps all but _COST and every sensing constraint holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from jaxtyping import Bool, Float, Int

from isac_torch.tensors import Array, at_least, at_rows, counting, namespace, sum_at

OUTAGE_SINR = 1e-3
"""A UE whose SINR cannot exceed this (-30 dB, linear) is in outage."""
_COST = 0.01
"""Share of the others' smallest SINR that serving the UEs in outage may cost."""
_ROOM = 2e-7
"""Share of each budget kept free for them; less than the tolerance of any constraint."""
_SHORTFALL = 5e-7
"""Relative shortfall of a sensing constraint below the tolerance of 1e-6, so that rounding cannot exceed that."""
_HALVINGS = 60


@runtime_checkable
class ServesUes(Protocol):
    """A power problem whose objective is the smallest SINR of its UEs; see `tracking.problem.MaxMinSinrProblem`."""

    @property
    def num_drops(self) -> int:
        """Drops in the batch."""
        ...

    @property
    def num_ues(self) -> int:
        """UEs in each drop."""
        ...

    def best_sinr(self) -> Float[Any, "drop ue"]:
        """Bound on the SINR of each UE, linear, that no powers exceed."""
        ...


ProblemT = TypeVar("ProblemT", bound=Any)


@dataclass(frozen=True)
class Covered(Generic[Array]):
    """Drops of a batch with equally many UEs in outage.

    Attributes:
        index: which drops of the batch.
        outage: UEs in outage of these drops.
        whole: the problem of these drops, all UEs.
        problem: the same without the UEs in outage and their links; None where all UEs are in outage, so that leaving them out
            would leave nothing, and where none is: `whole` is to be solved then.
        link: links of `problem` among those of `whole`.
    """

    index: Int[Array, " chosen"]
    outage: Bool[Array, "chosen ue"]
    whole: Any
    problem: Any | None
    link: Int[Array, "chosen link"] | None

    def with_outage(self, power: Float[Array, "chosen link"]) -> Float[Array, "chosen alllink"]:
        """Powers (W) of all links from those of `problem`: UEs in outage get what costs the others least."""
        full = namespace(power).zeros_like(self.whole.leakage[:, 0])
        full[counting(len(full), full)[:, None], self.link] = power
        return _with_outage(self.whole, full, self.outage)


def outage_ues(problem: ServesUes) -> Bool[Any, "drop ue"]:
    """UEs whose SINR stays below OUTAGE_SINR at any powers.

    Args:
        problem: coefficients in 1/W, as tensors or numpy arrays.
    """
    return problem.best_sinr() < OUTAGE_SINR


def any_outage(problem: Any) -> Bool[Any, "drop ue"] | None:
    """`outage_ues` where some UE is in outage; None where none is, and for problems whose objective is another one."""
    if not isinstance(problem, ServesUes) or not problem.num_drops:
        return None
    outage = outage_ues(problem)
    return outage if bool(outage.any()) else None


def by_coverage(problem: ProblemT, outage: Bool[Array, "drop ue"]) -> Iterator[Covered[Array]]:
    """The drops of a batch, those with equally many UEs in outage together."""
    count = outage.sum(-1)
    xp = namespace(outage)
    for number in sorted(set(count.tolist())):
        index = xp.nonzero(count == number)[0]
        whole, mask = problem.select(index), outage[index]
        if number in (0, problem.num_ues):
            yield Covered(index, mask, whole, None, None)
            continue
        order = xp.argsort(xp.astype(mask, xp.int64), axis=-1, stable=True)  # those in coverage first, in their order
        kept = order[:, : problem.num_ues - number]
        yield Covered(index, mask, whole, whole.of_ues(kept), whole.links_of(kept))


def _with_outage(problem: Any, power: Array, outage: Array) -> Array:
    xp = namespace(power)
    of_outage = xp.zeros_like(power)
    count = problem.num_comm_links
    of_outage[:, :count] = xp.astype(xp.repeat(outage, problem.serving, axis=-1), power.dtype)
    kept = power * (1.0 - _ROOM)
    spare = at_least(problem.budget - problem.ap_load(kept), 0.0)
    sharing = at_least(sum_at(of_outage, problem.link_ap, problem.num_aps), 1.0)
    extra = of_outage * at_rows(spare / sharing, problem.link_ap)

    def smallest(sent: Array) -> Array:
        return xp.min(xp.where(outage, xp.inf, problem.sinr(sent)), axis=-1)

    enough = (1.0 - _COST) * smallest(power)
    most = at_least(problem.violations(power).sensing, _SHORTFALL)
    size = xp.ones_like(power[:, :1])
    for _ in range(_HALVINGS):
        sent = kept + size * extra
        costly = (smallest(sent) < enough) | (problem.violations(sent).sensing > most)
        if not bool(costly.any()):
            break
        size = xp.where(costly[:, None], 0.5 * size, size)
    return kept + size * extra
