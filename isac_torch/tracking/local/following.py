"""How every AP goes ahead when a slot begins that follows another one: alone, before the first message of the slot.

In the new slot an AP knows the coefficients of its own links, new and old, and remembers what it heard in the last round. With
these it finds by how much worth over cost of each link has changed, and moves its powers by as much, eq. (114) of
docs/distributed.md. What the nodes measure then is already nearer to where the new slot's powers have to be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic

from jaxtyping import Float

from isac_torch.tensors import Array, namespace, within
from isac_torch.tracking.local.rounds import Measured, Neighbourhoods, logarithm, within_budgets, worth_and_cost
from isac_torch.tracking.problem import MaxMinSinrProblem

_MOST = 3.0
"""Nepers; largest change of a power."""


@dataclass(frozen=True)
class Heard(Generic[Array]):
    """What the APs heard of UEs and targets in the last round.

    Attributes:
        told: what the nodes measured.
        log_price: of each UE.
        price: of each sensing constraint, for the echo and for what disturbs it; None where there are none.
    """

    told: Measured[Array]
    log_price: Float[Array, "drop ue"]
    price: tuple[Float[Array, "drop constraint"], Float[Array, "drop constraint"]] | None


def gone_ahead(
    before: tuple[MaxMinSinrProblem[Array], Neighbourhoods[Array]],
    problem: MaxMinSinrProblem[Array],
    known: Neighbourhoods[Array],
    share: Float[Array, "drop link"],
    heard: Heard[Array],
) -> Float[Array, "drop link"]:
    """Log shares of the budgets after p_e <- p_e (n'_e / d'_e) / (n_e / d_e), eq. (114).

    Args:
        before: problem and neighbourhoods of the last slot.
        problem, known: of this slot.
        share: log shares of the budgets at the end of the last slot.
        heard: in its last round.
    """
    power = namespace(share).exp(share) * known.limit
    change = _worth_over_cost(problem, known, power, heard) - _worth_over_cost(*before, power, heard)
    return within_budgets(problem, share + within(change, -_MOST, _MOST))


def _worth_over_cost(
    problem: MaxMinSinrProblem[Array], known: Neighbourhoods[Array], power: Float[Array, "drop link"], heard: Heard[Array]
) -> Float[Array, "drop link"]:
    """log(n_e / d_e) of each link by what was heard."""
    worth, cost = worth_and_cost(problem, known, power, heard.told, heard.log_price, heard.price)
    return logarithm(worth) - logarithm(cost)
