"""Pictures by which a policy is judged against the optimum: losses, violations, every UE's SINR, every AP's power."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from isac_torch.evaluation import figures
from isac_torch.evaluation.tracking.figures import CERTIFIED, label, of_all_drops
from isac_torch.evaluation.tracking.metrics import capped_ratio, rate_ratio, sir_violation_rate
from isac_torch.tensors import to_db

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor

    from isac_torch.evaluation.optimum import Optimum
    from isac_torch.evaluation.tracking.metrics import Outcome
    from isac_torch.evaluation.tracking.view import TrackingBenchmark
    from isac_torch.tracking.problem import MaxMinSinrProblem

WIDE = (8.0, 4.0)
"""Width and height of a figure with two panels, inches."""

POWER_FLOOR_DB = -40.0
"""Darkest shade of a power relative to the AP's budget."""

SINR_FLOOR_DB = -40.0
"""Left and lower end of the SINR axes: what lies below is drawn there."""

RATIO_CLASSES = (
    ("breaks a constraint", figures.BROKEN, "white"),
    ("below 0.5", "#440154", "white"),
    ("0.5 to 0.8", "#414487", "white"),
    ("0.8 to 0.9", "#2A788E", "white"),
    ("0.9 to 0.95", "#22A884", "black"),
    ("0.95 to 0.99", "#7AD151", "black"),
    ("at least 0.99", "#FDE725", "black"),
)
"""Name, colour and colour of the figures on it of each class of ratios."""

_EDGES = (0.5, 0.8, 0.9, 0.95, 0.99)
_SMALLEST_LOSS = 1e-4


def policy_pictures(benchmark: TrackingBenchmark, outcomes: Sequence[Outcome], shown: Outcome) -> dict[str, Figure]:
    """Every picture that can be drawn of the policy `shown`, by name; those beside the optimum need its powers.

    Args:
        benchmark: what was found.
        outcomes: what is drawn.
        shown: the allocator to judge, one of them.
    """
    optimum, problem = benchmark.optimum, benchmark.problem
    judged = [outcome for outcome in outcomes if outcome.name not in CERTIFIED] or list(outcomes)
    pictures = {
        "ratio_histogram": ratio_histogram(judged, optimum),
        "loss": loss_distribution(judged, optimum),
        "violations": violation_bars(of_all_drops(outcomes, optimum), optimum),
    }
    best = max((o for o in outcomes if o.name in CERTIFIED), key=lambda o: o.num_drops, default=None)
    order = None if best is None else drops_by_ratio(shown, optimum, min(shown.num_drops, best.num_drops))
    if best is None or order is None or not order.numel():
        return pictures
    typical, worst = int(order[order.numel() // 2]), int(order[0])
    pictures["sinr_per_ue"] = sinr_per_ue(problem, shown, best, optimum)
    pictures["powers_typical"] = power_matrices(problem, shown, best, optimum, typical)
    pictures["powers_worst"] = power_matrices(problem, shown, best, optimum, worst)
    pictures["load_worst"] = load_maps(benchmark, shown, best, worst)
    return pictures


def strict_ratio(outcome: Outcome, optimum: Optimum) -> Tensor:
    """Minimum rate over the optimum's on each counted drop; 0 where a constraint is broken."""
    known = optimum.first(outcome.num_drops)
    ratio = rate_ratio(outcome.sinr_min, known.value)
    return torch.where(outcome.valid, ratio, torch.zeros_like(ratio))[known.counted]


def drops_by_ratio(outcome: Outcome, optimum: Optimum, count: int) -> Tensor:
    """Indices of the counted drops among the first `count`, the smallest ratio (capped where a constraint is broken) first."""
    known = optimum.first(count)
    ratio = capped_ratio(rate_ratio(outcome.sinr_min[:count], known.value), outcome.valid[:count])
    index = known.counted.nonzero().squeeze(-1)
    return index[ratio[index].argsort(stable=True)]


def ratio_histogram(outcomes: Sequence[Outcome], optimum: Optimum) -> Figure:
    """One bar an allocator: shares of the drops that break a constraint, or reach so much of the optimum."""
    figure, axes = figures.new_axes()
    axes.grid(visible=False)
    rows = range(len(outcomes))
    left = torch.zeros(len(outcomes), dtype=torch.float64)
    shares = torch.stack([_class_shares(outcome, optimum) for outcome in outcomes])
    for column, (name, colour, ink) in enumerate(RATIO_CLASSES):
        share = shares[:, column]
        bars = axes.barh(rows, share.numpy(), left=left.numpy(), height=0.75, color=colour, label=name)
        texts = [f"{value:.0f}" if value >= 5.0 else "" for value in share.tolist()]
        axes.bar_label(bars, texts, label_type="center", fontsize=7, color=ink)
        left += share
    axes.set_yticks(rows, [label(outcome, optimum) for outcome in outcomes], fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="per cent of the counted drops", xlim=(0.0, 100.0))
    axes.set_title("Minimum rate over the optimum's", fontsize=10)
    figure.legend(fontsize=7, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _class_shares(outcome: Outcome, optimum: Optimum) -> Tensor:
    """Per cent of the counted drops in each of `RATIO_CLASSES`."""
    valid = outcome.valid[optimum.first(outcome.num_drops).counted]
    ratio = strict_ratio(outcome, optimum)
    # An allocator that equals the optimum to rounding belongs to the last class.
    place = 1 + torch.bucketize(ratio, torch.tensor(_EDGES, dtype=ratio.dtype), right=True)
    counts = torch.where(valid, place, 0).bincount(minlength=len(RATIO_CLASSES)).double()
    return 100.0 * counts / max(1, valid.numel())


def loss_distribution(outcomes: Sequence[Outcome], optimum: Optimum) -> Figure:
    """Share of the drops that lose at most so much of the optimal minimum rate; a violation loses everything."""
    figure, axes = figures.new_axes()
    for outcome, style in zip(outcomes, figures.allocator_styles([o.name for o in outcomes]), strict=True):
        sample = (1.0 - strict_ratio(outcome, optimum)).clamp(_SMALLEST_LOSS, 1.0)
        if sample.numel():
            axes.ecdf(sample.numpy(), label=label(outcome, optimum), linewidth=1.5, **style)
    axes.set(xlabel="share of the optimum that is lost, 1 with a violation", ylabel="share of drops at or below")
    axes.set(xscale="log", xlim=(_SMALLEST_LOSS, 1.0), ylim=(0.0, 1.0))
    figures.finish(axes, "Loss against the optimum, feasible drops")
    return figure


def violation_bars(outcomes: Sequence[Outcome], optimum: Optimum) -> Figure:
    """Share of drops with any violation and share of targets missed by more than 0.1 dB, of the feasible drops."""
    figure, axes = figures.new_axes()
    feasible = ~optimum.infeasible
    drops, targets = [], []
    for outcome in outcomes:
        own = feasible[: outcome.num_drops]
        drops.append(100.0 * float((~outcome.valid[own]).double().mean()) if bool(own.any()) else 0.0)
        targets.append(100.0 * (sir_violation_rate(outcome.sir[own], outcome.sir_min[own]) or 0.0))
    place = torch.arange(len(outcomes), dtype=torch.float64)
    for shift, share, name, colour in ((-0.2, drops, "drops", figures.BROKEN), (0.2, targets, "targets", figures.COLOURS[4])):
        bars = axes.barh((place + shift).numpy(), share, height=0.38, color=colour, label=name)
        axes.bar_label(bars, fmt="%.2g", fontsize=7, padding=2)
    axes.set_yticks(place.numpy(), [label(outcome, optimum) for outcome in outcomes], fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="per cent of feasible drops, or of their targets", xlim=(0.0, 1.1 * max([1.0, *drops, *targets])))
    figures.finish(axes, "Broken constraints: drops, and targets below SIR0 - 0.1 dB")
    return figure


def sinr_per_ue(problem: MaxMinSinrProblem, shown: Outcome, best: Outcome, optimum: Optimum) -> Figure:
    """SINR of every UE of the counted drops, the policy's against the optimum's."""
    figure, axes = figures.new_axes()
    count = min(shown.num_drops, best.num_drops)
    counted = optimum.first(count).counted
    drops = problem.select(torch.arange(count))
    got, top = (to_db(drops.sinr(outcome.power[:count])).clamp_min(SINR_FLOOR_DB) for outcome in (shown, best))
    colour = next(figures.allocator_styles([shown.name]))["color"]
    groups = (
        ("drop without violation", shown.valid[:count] & counted, {"marker": "o", "color": colour}),
        ("drop breaks a constraint", ~shown.valid[:count] & counted, {"marker": "x", "color": figures.BROKEN}),
    )
    for name, mask, look in groups:
        if bool(mask.any()):
            axes.scatter(top[mask].numpy(), got[mask].numpy(), s=5, alpha=0.35, linewidths=0.6, **look)
            axes.plot([], [], linestyle="none", markersize=3, label=name, **look)  # the legend's, not faint
    both = torch.stack([top[counted], got[counted]])
    ends = (float(both.min()) - 1.0, float(both.max()) + 1.0)
    axes.plot(ends, ends, color="black", linewidth=0.8, label="equal")
    axes.set(xlim=ends, ylim=ends)
    axes.set(xlabel=f"{best.name}: SINR of a UE (dB)", ylabel=f"{shown.name}: SINR of the same UE (dB)")
    figures.finish(axes, f"{shown.name} against the optimum, one point a UE", place="upper left")
    return figure


def power_matrices(problem: MaxMinSinrProblem, shown: Outcome, best: Outcome, optimum: Optimum, index: int) -> Figure:
    """Power of every AP (rows) to every UE and at every target (columns) of one drop: the policy's and the optimum's.

    Each power is drawn relative to the AP's budget; the last columns are the AP's load.
    """
    from matplotlib.figure import Figure

    wide = -(-(problem.num_ues + problem.num_targets) // 12)  # room for the word below
    figure = Figure(figsize=WIDE, dpi=150, layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, outcome in zip(panels, (shown, best), strict=True):
        load = _load_share(problem, outcome.power[index], index).unsqueeze(1).expand(-1, wide)
        share = torch.cat([_power_share(problem, outcome.power[index], index), load], dim=1)
        shade = to_db(share).clamp_min(POWER_FLOOR_DB).numpy()
        image = axes.imshow(shade, aspect="auto", cmap="viridis", vmin=POWER_FLOOR_DB, vmax=0.0, interpolation="nearest")
        for edge in (problem.num_ues, problem.num_ues + problem.num_targets):
            axes.axvline(edge - 0.5, color="black", linewidth=1.2)
        _name_columns(axes, problem, wide)
        axes.set_title(_panel_title(outcome, optimum, index), fontsize=9)
    panels[0].set_ylabel("transmit AP")
    figure.suptitle(f"Powers on drop {index}", fontsize=10)
    bar = figure.colorbar(image, ax=panels, shrink=0.9, extend="min")
    bar.set_label("power over the AP's budget (dB)", fontsize=8)
    return figure


def _power_share(problem: MaxMinSinrProblem, power: Tensor, index: int) -> Tensor:
    """Power over the AP's budget [AP, UE then target]; NaN where there is no link."""
    links, ues, targets = problem.num_links, problem.num_ues, problem.num_targets
    sensing = (links - problem.num_comm_links) // targets if targets else 0
    node = torch.cat([
        torch.arange(ues).repeat_interleave(problem.serving), ues + torch.arange(targets).repeat_interleave(sensing),
    ])  # fmt: skip
    ap, budget = problem.link_ap[index], problem.budget[index]
    share = torch.full((problem.num_aps, ues + targets), torch.nan, dtype=power.dtype)
    share[ap, node] = power / budget[ap]
    return share


def _load_share(problem: MaxMinSinrProblem, power: Tensor, index: int) -> Tensor:
    """What each AP sends over its budget."""
    budget = problem.budget[index]
    return torch.zeros_like(budget).index_add(0, problem.link_ap[index], power) / budget


def _name_columns(axes: Axes, problem: MaxMinSinrProblem, wide: int) -> None:
    ues, targets = problem.num_ues, problem.num_targets
    names = [((ues - 1) / 2, "UEs"), (ues + (targets - 1) / 2, "targets"), (ues + targets + (wide - 1) / 2, "load")]
    shown = [(place, name) for place, name in names if name != "targets" or targets]
    axes.set_xticks([place for place, _ in shown], [name for _, name in shown], fontsize=8)
    axes.tick_params(axis="x", length=0)


def load_maps(benchmark: TrackingBenchmark, shown: Outcome, best: Outcome, index: int) -> Figure:
    """One drop from above, APs coloured by the share of their budget that they send: the policy's and the optimum's."""
    from matplotlib.figure import Figure

    drop, problem, side = benchmark.drop, benchmark.problem, benchmark.scenario.side
    figure = Figure(figsize=WIDE, dpi=150, layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    position = drop.tx_position[index]
    for axes, outcome in zip(panels, (shown, best), strict=True):
        load = 100.0 * _load_share(problem, outcome.power[index], index)
        marks: tuple[tuple[Tensor, str, dict[str, Any]], ...] = (
            (drop.ue_position[index], "UE", {"marker": "o", "s": 14, "c": "black"}),
            (drop.target_position[index], "target", {"marker": "*", "s": 60, "c": figures.BROKEN}),
            (drop.rx_position[index], "receive AP", {"marker": "v", "s": 30, "c": figures.COLOURS[7]}),
        )
        for place, name, look in marks:
            axes.scatter(place[:, 0].numpy(), place[:, 1].numpy(), label=name, edgecolors="white", linewidths=0.4, **look)
        image = axes.scatter(
            position[:, 0].numpy(), position[:, 1].numpy(), marker="^", s=90, c=load.numpy(), cmap="viridis", vmin=0.0,
            vmax=100.0, edgecolors="black", linewidths=0.5, label="transmit AP", zorder=3,
        )  # fmt: skip
        margin = 0.03 * side
        axes.set(xlim=(-margin, side + margin), ylim=(-margin, side + margin), xlabel="x (m)")
        axes.set_box_aspect(1.0)
        axes.set_title(_panel_title(outcome, benchmark.optimum, index), fontsize=9)
    panels[0].set_ylabel("y (m)")
    figure.suptitle(f"Loads on drop {index}", fontsize=10)
    figure.legend(*panels[0].get_legend_handles_labels(), fontsize=7, loc="outside lower center", ncols=4)
    bar = figure.colorbar(image, ax=panels, shrink=0.8)
    bar.set_label("load of the AP (% of its budget)", fontsize=8)
    return figure


def _panel_title(outcome: Outcome, optimum: Optimum, index: int) -> str:
    ratio = rate_ratio(outcome.sinr_min[index : index + 1], optimum.value[index : index + 1])
    capped = float(capped_ratio(ratio, outcome.valid[index : index + 1]))
    broken = "" if bool(outcome.valid[index]) else ", breaks a constraint"
    return f"{outcome.name}: {capped:.3f} of the optimum{broken}"
