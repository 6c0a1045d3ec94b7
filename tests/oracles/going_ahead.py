"""How APs go ahead in a new slot, eqs. (82) and (114) of docs/distributed.md, in plain loops over one drop."""

import math
from typing import Any

import numpy as np

from tests.oracles.geometry import Array

TINY = 1e-20
"""1/W; least worth and cost: a link that brings nothing, now and before, answers to its cost alone."""


def worth_over_cost(tables: dict[str, Any], link_ue: list[int], power: Array, heard: dict[str, list[float]]) -> Array:
    """n_e / d_e of every link.

    Args:
        tables: `signal` a_e of serving links, `leakage` N[k, e], `echo` S[l, e], `cross_echo` I[l, e].
        link_ue: UE of each link, -1 for sensing links.
        power: W.
        heard: u, s, D of each UE; w, other_w, o, x of each sensing constraint.
    """
    found = []
    for link, ue in enumerate(link_ue):
        worth = heard["u"][ue] * tables["signal"][link] / (heard["s"][ue] * math.sqrt(power[link])) if ue >= 0 else 0.0
        cost = sum(heard["u"][k] * tables["leakage"][k][link] / heard["D"][k] for k in range(len(heard["u"])))
        for row in range(len(heard["w"])):
            worth += heard["w"][row] * tables["echo"][row][link] / heard["o"][row]
            cost += heard["other_w"][row] * tables["cross_echo"][row][link] / heard["x"][row]
        found.append(max(worth, TINY) / max(cost, TINY))
    return np.array(found)


def power_after(
    slots: tuple[dict[str, Any], dict[str, Any]],
    link_ue: list[int],
    link_ap: list[int],
    budget: list[float],
    power: Array,
    heard: dict[str, list[float]],
) -> Array:
    """W, of every link; changes are at most exp(3), and an AP that asks for more than its budget scales all of its links."""
    before, now = (worth_over_cost(tables, link_ue, power, heard) for tables in slots)
    asked = power * np.clip(now / before, math.exp(-3.0), math.exp(3.0))
    load = [sum(asked[link] for link in range(len(power)) if link_ap[link] == ap) for ap in range(len(budget))]
    return np.array([asked[link] / max(1.0, load[ap] / budget[ap]) for link, ap in enumerate(link_ap)])
