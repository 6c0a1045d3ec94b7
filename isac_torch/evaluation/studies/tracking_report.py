"""Tables and pictures of the tracking loop."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import torch

from isac_torch.allocators.registry import named_allocator
from isac_torch.evaluation.figures import COLOURS
from isac_torch.evaluation.studies.tracking_loop import Followed, Loop, Worlds, follow, make_worlds
from isac_torch.files import writable_folder, written_whole
from isac_torch.tracking.setup import SensingSetup

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from isac_torch.tracking.scenario import TrackingScenario


def report(
    output: str | Path,
    scenario: TrackingScenario,
    loop: Loop,
    allocators: Sequence[str],
    checkpoint: str | Path | None = None,
) -> dict[str, Any]:
    """Run the loop with every allocator; write tracking.csv, tracking.json and tracking.png and print a table.

    Args:
        output: folder; made if need be.
        scenario: the network.
        loop: what to simulate, the same for all.
        allocators: names, see `isac_torch.allocators.registry.KNOWN`.
        checkpoint: weights of gnn.

    Returns:
        The content of tracking.json: a summary of each allocator.
    """
    from tqdm import tqdm

    named = {name: named_allocator(name, checkpoint) for name in allocators}
    folder, worlds = writable_folder(output), make_worlds(scenario, loop)
    found = {name: follow(scenario, SensingSetup(), loop, allocator, worlds, label=name) for name, allocator in named.items()}
    summary = {name: summarise(loop, one) for name, one in found.items()}
    with written_whole(folder / "tracking.json") as partial:
        partial.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    _tabulate(folder / "tracking.csv", loop, found)
    _draw(folder / "tracking.png", loop, worlds, found)
    for name, row in summary.items():
        tqdm.write(f"{name:14s} " + "  ".join(f"{key} {value:.3g}" for key, value in row.items()))
    return summary


def summarise(loop: Loop, found: Followed) -> dict[str, float]:
    """Means over all worlds and the second half of the steps: GOSPA and error in m, rates in Mbit/s, power in W."""
    scores = [score for row in found.gospa[loop.num_steps // 2 :] for score in row]
    matched = sum(score.matched for score in scores)
    return {
        "gospa": sum(score.distance for score in scores) / len(scores),
        "rms_error": (sum(score.squared_error for score in scores) / max(matched, 1)) ** 0.5,
        "matched": matched / len(scores),
        "missed": sum(score.missed for score in scores) / len(scores),
        "false": sum(score.false for score in scores) / len(scores),
        "lost_tracks": float(found.lost),
        "consistency_median": float(torch.tensor(found.consistency).median()) if found.consistency else float("nan"),
        "min_rate_mbps": float(found.min_rate.mean()) / 1e6,
        "power": float(found.total_power.mean()),
    }


def _columns(found: Followed, step: int) -> tuple[float, float, float, float]:
    """Mean GOSPA (m), root mean square error (m), targets missed and false tracks of a step."""
    row = found.gospa[step]
    matched = sum(score.matched for score in row)
    error = (sum(score.squared_error for score in row) / matched) ** 0.5 if matched else float("nan")
    mean = [sum(getattr(score, name) for score in row) / len(row) for name in ("distance", "missed", "false")]
    return mean[0], error, mean[1], mean[2]


def _tabulate(path: Path, loop: Loop, found: dict[str, Followed]) -> None:
    with written_whole(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("allocator", "time_s", "gospa_m", "rms_error_m", "missed", "false", "min_rate_bps", "power_w"))
        for name, one in found.items():
            for step in range(loop.num_steps):
                values = (*_columns(one, step), float(one.min_rate[step].mean()), float(one.total_power[step].mean()))
                writer.writerow((name, f"{step * loop.step:g}", *(f"{value:.6g}" for value in values)))


def _draw(path: Path, loop: Loop, worlds: Worlds, found: dict[str, Followed]) -> None:
    """GOSPA and missed targets over time, and the first world as the first allocator saw it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14.0, 4.2), dpi=130, layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    time = [step * loop.step for step in range(loop.num_steps)]
    for i, (name, one) in enumerate(found.items()):
        rows = [_columns(one, step) for step in range(loop.num_steps)]
        look: dict[str, Any] = {"color": COLOURS[i % len(COLOURS)], "label": name}
        left.plot(time, [row[0] for row in rows], **look)
        middle.plot(time, [row[2] for row in rows], **look)
    left.set(xlabel="time (s)", ylabel=f"GOSPA (m), cutoff {loop.cutoff:g} m", ylim=(0.0, None))
    middle.set(xlabel="time (s)", ylabel="targets missed, of those there", ylim=(0.0, None))
    for axes in (left, middle):
        axes.grid(alpha=0.3, linewidth=0.5)
        axes.legend(fontsize=8)
    network = worlds.network.select(torch.tensor([0]))
    right.plot(*network.tx_position[0, :, :2].T.tolist(), "^", color="0.5", markersize=5, label="transmit AP")
    right.plot(*network.rx_position[0, :, :2].T.tolist(), "v", color="0.2", markersize=6, label="receive AP")
    for target in range(worlds.path.shape[2]):
        way = worlds.path[worlds.present[:, target], 0, target, :2]
        right.plot(*way.T.tolist(), "-", color=COLOURS[0], label="target" if target == 0 else None)
    name, first = next(iter(found.items()))
    points = torch.cat([row[0] for row in first.estimates])
    right.plot(*points[:, :2].T.tolist(), ".", color=COLOURS[1], markersize=4, label=f"confirmed tracks, {name}")
    right.set(xlabel="m", ylabel="m", aspect="equal", title="first world")
    right.legend(fontsize=7)
    with written_whole(path) as partial:
        figure.savefig(partial, metadata={"Software": None})
