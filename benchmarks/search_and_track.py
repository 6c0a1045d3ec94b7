"""A new target is searched while others are tracked: detections, errors and rates against the share of power for the search.

    python benchmarks/search_and_track.py --json search_and_track.json --picture docs/images/search_and_track.png

16 APs, 16 UEs, 4 tracked targets and a cell with a new one, all of them of 0 dBsm; pilots of 10 mW. Each of the APs that
illuminate the cell spends the share of its budget on the search. The drops and blocks are the same for all.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from isac_torch import TrackingScenario, named_allocator
from isac_torch.allocators.tracking.heuristics import Fractional
from isac_torch.evaluation.studies.search_and_track import Outcome, outcome, sample_slots
from isac_torch.files import written_whole
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.setup import SensingSetup

SHARES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7)
SCENARIO = TrackingScenario(pilot_power=1e-2, sensing=SensingSetup(rcs_variance_dbsm=0.0))
DESIGNS = {
    "uniform power": (Fractional(), SCENARIO),
    "fractional (0, 1)": (Fractional(0.0, 1.0), SCENARIO),
    "optimal, SIR at least -5 dB": (named_allocator("opc_batched_0.01"), SCENARIO),
    "optimal, tracks as uniform power": (
        named_allocator("opc_dominate"),
        replace(SCENARIO, requirement=Requirement("dominate")),
    ),
}


def row(found: Outcome) -> dict[str, float]:
    """Means over the drops and their standard errors; the error bound's median, m; rates in Mbit/s."""
    least = found.rate.amin(1) / 1e6
    size = len(least) ** 0.5
    return {
        "detection": float(found.detection.mean()),
        "detection_error": float(found.detection.std() / size),
        "kept": float(found.kept.mean()),
        "kept_error": float(found.kept.mean(1).std() / size),
        "position_median": float(found.error.median()),
        "position_mean": float(found.error.mean()),
        "position_mean_error": float(found.error.mean(1).std() / size),
        "smallest_rate": float(least.mean()),
        "smallest_rate_error": float(least.std() / size),
        "met": float(found.met.mean()),
    }


def draw(path: Path, rows: dict[str, dict[float, dict[str, float]]]) -> None:
    """Detections, errors and smallest rates against the share of the search; shaded: two standard errors."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(17, 4), dpi=110, layout="constrained")
    axes = figure.subplots(1, 4)
    panels = (
        ("detection", "detection probability of the new target"),
        ("kept", "detection probability of a tracked target"),
        ("position_mean", "mean bound of a tracked target's position error (m)"),
        ("smallest_rate", "smallest rate of a drop (Mbit/s)"),
    )
    for axis, (name, title) in zip(axes, panels, strict=True):
        for i, (design, of_share) in enumerate(rows.items()):
            shares = list(of_share)
            values = [value[name] for value in of_share.values()]
            errors = [2.0 * value[f"{name}_error"] for value in of_share.values()]
            axis.plot(shares, values, ".-", color=f"C{i}", label=design)
            band = [[value + side * error for value, error in zip(values, errors, strict=True)] for side in (-1, 1)]
            axis.fill_between(shares, *band, color=f"C{i}", alpha=0.15, linewidth=0)
        axis.set_xlabel("share of the budget for the search")
        axis.set_title(title, fontsize=9)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    with written_whole(path) as partial:
        figure.savefig(partial, metadata={"Software": None})


def main() -> None:
    """Measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drops", type=int, default=100)
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--seed", type=int, default=995_000)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    rows: dict[str, Any] = {name: {} for name in DESIGNS}
    for name, (allocator, scenario) in DESIGNS.items():
        slot = sample_slots(scenario, options.drops, options.seed)
        for share in SHARES:
            rows[name][share] = row(outcome(slot, allocator, share, options.blocks, options.seed + 2))
            print(name, share, {key: round(value, 4) for key, value in rows[name][share].items()}, flush=True)
    with written_whole(options.json) as partial:
        partial.write_text(json.dumps({"drops": options.drops, "designs": rows}, indent=1) + "\n", encoding="utf-8")
    if options.picture is not None:
        draw(options.picture, rows)


if __name__ == "__main__":
    main()
