"""The primal-dual interior-point method of every engine: one driver, to which each brings its own Newton system.

    maximise t   subject to   g_i(x, t) >= 0,   x >= 0

Positive quantities come in pairs whose products go to zero together: the dual variable y_i of each constraint with its slack
s_i, each variable x_e with the dual variable z_e of x_e >= 0. `lead` are all y and x, `partner` all s and z. Newton's method on
the perturbed optimality conditions, with Mehrotra's predictor and corrector: the predictor aims at products of zero, how far it
gets says what the corrector aims at, and the predictor's own second-order error is taken into account. Steps are relative to
what they change, so that nothing is divided by a vanishing quantity. Batches of tensors or numpy arrays; a drop that is done
leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, runtime_checkable

from isac_torch.tensors import Array, at_least, at_most, counting, namespace


@dataclass(frozen=True)
class Iterate(Generic[Array]):
    """Where the method stands.

    Attributes:
        lead: [drop, pair], dual variables of the constraints, then the variables x; positive.
        partner: [drop, pair], slacks of the constraints, then the dual variables of x >= 0; positive.
        epigraph: [drop], the epigraph variable t.
    """

    lead: Array
    partner: Array
    epigraph: Array

    def select(self, index: Array) -> Iterate[Array]:
        """The drops at `index`."""
        return Iterate(self.lead[index], self.partner[index], self.epigraph[index])


@runtime_checkable
class Newton(Protocol[Array]):
    """Newton's equations at an iterate, factorised."""

    @property
    def product(self) -> Array:
        """[drop, pair], lead times partner."""
        ...

    @property
    def residual(self) -> Array:
        """[drop], what the optimality conditions still lack, in units of the sum of the products."""
        ...

    def select(self, index: Array) -> Newton[Array]:
        """The drops at `index`."""
        ...

    def direction(self, wanted: Array | None) -> tuple[Array, Array]:
        """Relative change of `lead`, and change of t, that ask each product for `wanted` times what it is.

        None asks them for zero. To first order; the change of `partner` follows from both.
        """
        ...


@runtime_checkable
class Program(Protocol[Array]):
    """A batch of problems."""

    def select(self, index: Array) -> Program[Array]:
        """The drops at `index`."""
        ...

    def newton(self, point: Iterate[Array]) -> Newton[Array]:
        """Newton's equations at a point."""
        ...


@dataclass(frozen=True)
class Rule:
    """How steps are taken.

    Attributes:
        boundary: share of the way to the nearest bound that a step may go; smaller is slower and steadier.
        residual: share of the residual that the products are kept at, so that complementarity does not run ahead of the other
            conditions and the iterates do not stick to the boundary.
        most: share of the mean product up to which they are kept so.
        cuts: how often a step is shortened, to 4/5, while some product would fall below a thousandth of the mean.
    """

    boundary: float = 0.95
    residual: float = 1.0
    most: float = 0.1
    cuts: int = 6


_CENTRALITY = 1e-3
"""Smallest product relative to the mean one that a step may leave, as far as cuts can tell."""
_CUT = 0.8


def solve(
    program: Program[Array],
    point: Iterate[Array],
    steps: int,
    leaves: Callable[[Array, int, Any, Iterate[Array], Any], Array],
    rule: Rule,
) -> Iterate[Array]:
    """The iterates at which the drops left, or after `steps` steps.

    Args:
        program: the problems.
        point: where to start; positive.
        steps: most steps.
        leaves: asked at every iterate, with the indices of the drops that are left, the number of steps, their program, iterate
            and Newton's equations: which of them are done.
        rule: how steps are taken.
    """
    alive = counting(len(point.epigraph), point.epigraph)
    lead, partner, epigraph = (namespace(part).asarray(part, copy=True) for part in (point.lead, point.partner, point.epigraph))
    for step in range(steps + 1):
        newton = program.newton(point)
        out = leaves(alive, step, program, point, newton)
        if step == steps or bool(out.any()):
            lead[alive], partner[alive], epigraph[alive] = point.lead, point.partner, point.epigraph
            if step == steps or bool(out.all()):
                break
            keep = namespace(out).nonzero(~out)[0]
            alive, program, point, newton = alive[keep], program.select(keep), point.select(keep), newton.select(keep)
        point = advance(point, newton, rule)
    return Iterate(lead, partner, epigraph)


def advance(point: Iterate[Array], newton: Newton[Array], rule: Rule) -> Iterate[Array]:
    """One predictor-corrector step; all pairs stay positive and roughly central."""
    xp = namespace(point.lead)
    product = newton.product
    total, count = product.sum(-1), product.shape[1]
    lead, _ = newton.direction(None)
    partner = -1.0 - lead
    length = at_most(_longest(lead, partner), 1.0)[:, None]
    ahead = (product * (1.0 + length * lead) * (1.0 + length * partner)).sum(-1) / total
    share = xp.maximum(at_most(ahead, 1.0) ** 3, at_most(rule.residual * newton.residual / total, rule.most))
    wanted = (share * total / count)[:, None] / product - lead * partner
    lead, epigraph = newton.direction(wanted)
    partner = wanted - 1.0 - lead
    length = at_most(rule.boundary * _longest(lead, partner), 1.0)[:, None]
    for _ in range(rule.cuts):
        moved = product * (1.0 + length * lead) * (1.0 + length * partner)
        central = (moved >= _CENTRALITY * moved.sum(-1)[:, None] / count).all(-1)[:, None]
        if bool(central.all()):
            break
        length = xp.where(central, length, _CUT * length)
    return Iterate(
        point.lead * (1.0 + length * lead), point.partner * (1.0 + length * partner), point.epigraph + length[:, 0] * epigraph
    )


def _longest(lead: Array, partner: Array) -> Array:
    """Longest step along which everything positive stays so."""
    xp = namespace(lead)
    return 1.0 / at_least(-xp.min(xp.minimum(lead, partner), axis=-1), 1e-12)
