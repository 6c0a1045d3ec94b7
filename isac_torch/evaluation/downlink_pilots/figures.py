"""Pictures of the downlink-pilot system's benchmark, with a panel for each setting."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from isac_torch.evaluation import figures
from isac_torch.evaluation.downlink_pilots.metrics import active_drops, feasible_drops, reference
from isac_torch.tensors import to_db

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from isac_torch.evaluation.downlink_pilots.metrics import PilotBenchmark

_LEARNED = ("gnn", "gnn_raw", "first_order")


def _panels(count: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each setting, three in a row."""
    from matplotlib.figure import Figure

    columns = min(3, count)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(3.4 * columns + 0.6, height * rows + 0.4), dpi=120, layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for unused in panels[count:]:
        unused.set_visible(False)
    return figure, panels[:count]


def ratio_distributions(settings: Sequence[PilotBenchmark]) -> Figure:
    """Of every allocator, the share of drops by how much its largest NMSE exceeds the optimum's; dotted: 5 %."""
    figure, panels = _panels(len(settings), 2.6)
    for setting, axes in zip(settings, panels, strict=True):
        best, feasible = reference(setting), feasible_drops(setting)
        shown = [outcome for outcome in setting.outcomes if outcome.name not in setting.plain.certified]
        for outcome, style in zip(shown, figures.allocator_styles([one.name for one in shown]), strict=True):
            ratio = (best.value / outcome.value)[feasible]
            axes.ecdf((ratio - 1.0).clamp_min(1e-4).numpy(), label=outcome.name, linewidth=1.4, **style)
        axes.axvline(0.05, color="black", linewidth=0.8, linestyle=":")
        axes.set(xscale="log", xlim=(1e-4, 10.0), ylim=(0.0, 1.0))
        axes.set_title(setting.scenario.name, fontsize=9)
        axes.grid(alpha=0.3, linewidth=0.5)
        axes.tick_params(labelsize=7)
    if panels[0].get_legend_handles_labels()[0]:
        panels[0].legend(fontsize=7, loc="upper left")
    figure.supxlabel("largest NMSE over the optimum's, less 1", fontsize=9)
    figure.supylabel("share of feasible drops at or below", fontsize=9)
    return figure


def learned_v_optimal(settings: Sequence[PilotBenchmark]) -> Figure:
    """One point a feasible drop: largest NMSE of the network (or of the last allocator) against the least possible."""
    figure, panels = _panels(len(settings), 2.8)
    for setting, axes in zip(settings, panels, strict=True):
        drawn = {outcome.name: outcome for outcome in setting.outcomes}
        outcome = drawn[next((name for name in _LEARNED if name in drawn), list(drawn)[-1])]
        feasible, active = feasible_drops(setting), active_drops(setting)
        least, reached = (-to_db(value) for value in (reference(setting).value, outcome.value))
        broken = outcome.broken & feasible
        kinds = (
            ("localisation slack", feasible & ~active & ~broken, figures.COLOURS[0], "o"),
            ("localisation active", active & ~broken, figures.COLOURS[2], "o"),
            ("bound missed", broken, figures.BROKEN, "x"),
        )
        for label, chosen, colour, marker in kinds:
            size = 20 if marker == "x" else 5
            axes.scatter(least[chosen], reached[chosen], s=size, c=colour, marker=marker, label=label, linewidths=1.0)
        ends = [float(least[feasible].min()), float(least[feasible].max())]
        axes.plot(ends, ends, color="black", linewidth=0.8)
        axes.set_title(f"{setting.scenario.name}: {outcome.name}", fontsize=9)
        axes.grid(alpha=0.3, linewidth=0.5)
        axes.tick_params(labelsize=7)
    panels[0].legend(fontsize=7, loc="upper left")
    figure.supxlabel("least largest NMSE of the drop, certified (dB)", fontsize=9)
    figure.supylabel("largest NMSE reached (dB)", fontsize=9)
    return figure
