"""TensorBoard's curves of the power-control system: learned against optimal on one chart, histograms of the ratios."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from isac_torch.evaluation.tracking.policy_figures import strict_ratio
from isac_torch.tracking.communication import rate

if TYPE_CHECKING:
    from pathlib import Path

    from torch.utils.tensorboard import SummaryWriter

    from isac_torch.evaluation.tracking.view import TrackingBenchmark

CHART = "min_rate_mbps"
"""Tag, with the setting's name behind it, of each drop's minimum rate, in an allocator's own run: TensorBoard gives every run
a colour and a name, and every setting a chart. The step is the drop's rank by its optimum."""

RATIO = "ratio, 0 with a violation"
"""Tag of the histogram of each allocator's minimum rates over the optimum's."""

_BINS = [i / 500 for i in range(501)]


def write_curves(writer: SummaryWriter, folder: Path, found: TrackingBenchmark) -> None:
    """Write a chart with every allocator's smallest rates, and a histogram of each one's ratios.

    Args:
        writer: of `folder`.
        folder: TensorBoard's log directory for this setting; each allocator is a run of its own below it.
        found: the setting.
    """
    from torch.utils.tensorboard import SummaryWriter

    tag = chart_tag(found)
    chart = f"{found.name}: minimum rate per drop (Mbit/s)"
    writer.add_custom_scalars({"learned v optimal": {chart: ["Multiline", [f"^{re.escape(tag)}$"]]}})
    best, counted = rate(found.optimum.value, found.scenario), found.optimum.counted.tolist()
    drops = [i for i in best.nan_to_num(math.inf).argsort(stable=True).tolist() if counted[i]]
    lines = {"optimum": best, **{o.name: o.rate.amin(-1) for o in found.comparable}}
    ratios = {o.name: strict_ratio(o, found.optimum) for o in found.comparable}
    for name, line in lines.items():
        with SummaryWriter(str(folder / name)) as own:
            for rank, index in enumerate(drops):
                if index < line.shape[0]:
                    own.add_scalar(tag, float(line[index]) / 1e6, rank)
            if name in ratios and ratios[name].numel():
                own.add_histogram(RATIO, ratios[name].clamp(0.0, 1.0), bins=_BINS)


def chart_tag(found: TrackingBenchmark) -> str:
    """Tag of the minimum rates in the runs of this setting."""
    return f"{CHART}/{found.name}"
