"""Pictures of a benchmark: distributions of rate and SIR, learned against optimal, one network with its powers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from isac_torch.allocators.registry import TRACKING
from isac_torch.evaluation.figures import BROKEN, COLOURS, allocator_styles, distribution, finish, new_axes
from isac_torch.tensors import to_db

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure
    from torch import Tensor

    from isac_torch.evaluation.optimum import Optimum
    from isac_torch.evaluation.tracking.metrics import Outcome
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.problem import MaxMinSinrProblem

CERTIFIED = TRACKING.certified
"""Allocators that are drawn as the optimum."""

SIR_FLOOR_DB = -30.0
"""Left end of the SIR axis: what lies below is drawn there."""

_MOST_LINES = 8
"""Required SIRs that are drawn as lines of their own."""


def of_all_drops(outcomes: Sequence[Outcome], optimum: Optimum) -> list[Outcome]:
    """`outcomes` without certified optima of a few drops where another one of all drops is there: they would look different."""
    count = optimum.value.shape[0]
    known = any(outcome.name in CERTIFIED and outcome.num_drops == count for outcome in outcomes)
    return [o for o in outcomes if not known or o.num_drops == count or o.name not in CERTIFIED]


def rate_distribution(outcomes: Sequence[Outcome], optimum: Optimum) -> Figure:
    """Distribution of the rates of all UEs over the counted drops."""
    drawn = of_all_drops(outcomes, optimum)
    curves = {o.name: (label(o, optimum), o.rate[optimum.first(o.num_drops).counted] / 1e6) for o in drawn}
    return distribution(curves, "rate of a UE (Mbit/s)", "Rate of every UE, feasible drops")


def min_rate_distribution(outcomes: Sequence[Outcome], optimum: Optimum) -> Figure:
    """Distribution of the smallest rate of each counted drop."""
    drawn = of_all_drops(outcomes, optimum)
    curves = {o.name: (label(o, optimum), o.rate[optimum.first(o.num_drops).counted].amin(-1) / 1e6) for o in drawn}
    return distribution(curves, "smallest rate of a drop (Mbit/s)", "Minimum rate, feasible drops")


def sir_distribution(outcomes: Sequence[Outcome], optimum: Optimum) -> Figure:
    """Distribution of the targets' sensing SIR over the feasible drops, with the required SIR.

    Where every drop has a requirement of its own, the distribution of SIR over requirement.
    """
    required = outcomes[0].sir_min.unique()
    alike = required.numel() <= _MOST_LINES
    curves = {}
    for outcome in of_all_drops(outcomes, optimum):
        feasible = ~optimum.infeasible[: outcome.num_drops]
        sir = outcome.sir[feasible] if alike else outcome.sir[feasible] / outcome.sir_min[feasible]
        curves[outcome.name] = (label(outcome, optimum), to_db(sir).clamp_min(SIR_FLOOR_DB))
    quantity = "sensing SIR of a target (dB)" if alike else "sensing SIR of a target over the required one (dB)"
    figure = distribution(curves, quantity, "Sensing SIR of every target, feasible drops")
    axes = figure.axes[0]
    axes.set_xlim(left=max(SIR_FLOOR_DB, axes.get_xlim()[0]))
    lines = to_db(required).tolist() if alike else [0.0]
    for value in lines:
        axes.axvline(value, color="black", linewidth=0.8)
    if lines:
        axes.text(lines[-1], 0.03, " required", fontsize=7, transform=axes.get_xaxis_transform())
    return figure


def learned_v_optimal(outcome: Outcome, optimum: Optimum, optimal_rate: Tensor) -> Figure:
    """Minimum rate of an allocator against the certified optimum, one point per counted drop.

    Args:
        outcome: what the allocator did.
        optimum: the certified optimum.
        optimal_rate: minimum rate at the optimum, bit/s, of each drop.
    """
    figure, axes = new_axes()
    counted = optimum.first(outcome.num_drops).counted
    best, got = optimal_rate[: outcome.num_drops] / 1e6, outcome.rate.amin(-1) / 1e6
    groups: tuple[tuple[str, Tensor, dict[str, Any]], ...] = (
        ("no violation", outcome.valid & counted, {"marker": "o", "color": next(allocator_styles([outcome.name]))["color"]}),
        ("breaks a constraint", ~outcome.valid & counted, {"marker": "x", "color": BROKEN}),
    )
    for kind, mask, look in groups:
        if bool(mask.any()):
            name = f"{kind} ({int(mask.sum())})"
            axes.scatter(best[mask].numpy(), got[mask].numpy(), s=14, alpha=0.7, label=name, linewidths=0.8, **look)
    top = 1.05 * max([1e-9, *best[counted].tolist(), *got[counted].tolist()])
    axes.plot([0, top], [0, top], color="black", linewidth=0.8, label="equal")
    axes.plot([0, top], [0, 0.9 * top], color="black", linewidth=0.8, linestyle=":", label="90 % of the optimum")
    axes.set(xlabel="certified optimum: minimum rate (Mbit/s)", ylabel=f"{outcome.name}: minimum rate (Mbit/s)")
    axes.set(xlim=(0, top), ylim=(0, top))
    finish(axes, f"{outcome.name} against the optimum, one point per drop", place="upper left")
    return figure


def network_map(drop: TrackingDrop, problem: MaxMinSinrProblem, outcome: Outcome, index: int, side: float) -> Figure:
    """One network from above: nodes, and every link with a width that grows with its power.

    Args:
        drop: the networks.
        problem: their power problems (for the links' numbering).
        outcome: whose powers to draw.
        index: which drop.
        side: of the square area, m.
    """
    from matplotlib.collections import LineCollection

    figure, axes = new_axes()
    tx, ue, target = drop.tx_position[index], drop.ue_position[index], drop.target_position[index]
    power, ap, comm = outcome.power[index], problem.link_ap[index], problem.num_comm_links
    node = torch.cat([_repeat(ue, drop.serving_ap.shape[2]), _repeat(target, drop.sensing_ap.shape[2])])
    segment = torch.stack([tx[ap], node], dim=1)[..., :2].numpy()
    width = (6.0 * (power / problem.budget[index].max()).clamp_min(0.0).sqrt()).numpy()
    for part, colour in ((slice(0, comm), COLOURS[5]), (slice(comm, None), COLOURS[4])):
        axes.add_collection(LineCollection(list(segment[part]), linewidths=width[part], colors=colour, zorder=1))
    nodes = (
        (tx, "transmit AP", "^", COLOURS[0]),
        (drop.rx_position[index], "receive AP", "v", COLOURS[2]),
        (ue, "UE", "o", COLOURS[6]),
        (target, "target", "*", COLOURS[1]),
    )
    for position, kind, marker, colour in nodes:
        x, y = position[:, 0].numpy(), position[:, 1].numpy()
        size = 70 if marker == "*" else 36
        axes.scatter(x, y, s=size, marker=marker, c=colour, label=kind, edgecolors="white", linewidths=0.5, zorder=3)
    for colour, share in ((COLOURS[5], 1.0), (COLOURS[5], 0.1), (COLOURS[4], 0.1)):
        kind = "to a UE" if colour == COLOURS[5] else "at a target"
        watt = share * float(problem.budget[index].max())
        axes.plot([], [], color=colour, linewidth=6.0 * share**0.5, label=f"{watt:g} W {kind}")
    margin = 0.02 * side
    axes.set(xlim=(-margin, side + margin), ylim=(-margin, side + margin), xlabel="x (m)", ylabel="y (m)")
    axes.set_box_aspect(1.0)
    axes.set_title(f"Powers of {outcome.name}, drop {index}", fontsize=10)
    axes.legend(fontsize=6, loc="upper left", bbox_to_anchor=(1.01, 1.0), labelspacing=1.0, handlelength=1.4)
    return figure


def label(outcome: Outcome, optimum: Optimum) -> str:
    """The allocator's name, with the number of drops where it did not get all of them."""
    partial = outcome.num_drops < optimum.value.shape[0]
    return f"{outcome.name} (first {outcome.num_drops} drops)" if partial else outcome.name


def _repeat(position: Tensor, count: int) -> Tensor:
    return position.repeat_interleave(count, dim=0)
