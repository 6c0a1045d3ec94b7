"""Tables and pictures of the tracking loop: means over worlds with their standard errors, differences in the same worlds."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isac_torch.errors import ScenarioError
from isac_torch.evaluation.figures import COLOURS
from isac_torch.evaluation.studies.tracking_run import run_worlds
from isac_torch.evaluation.studies.worlds import Contender, Loop, make_world
from isac_torch.evaluation.tables import write_json
from isac_torch.evaluation.tracking.policies import KEPT_ROLES, POLICIES
from isac_torch.files import writable_folder, written_whole
from isac_torch.roles.search import Search
from isac_torch.tracking.requirement import Requirement

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from isac_torch.evaluation.studies.tracking_loop import Followed
    from isac_torch.evaluation.studies.worlds import World
    from isac_torch.tracking.scenario import TrackingScenario

REFERENCE = "upc"
"""Whose worlds the differences are taken to."""
EQUAL = Requirement("dominate")
MORE = tuple(replace(EQUAL, sicnr=factor) for factor in (1.1, 1.05, 1.0))
"""A larger SICNR than uniform power has, as far as some powers reach it."""
COVERED = replace(EQUAL, enough_db=13.0)
"""While targets are searched: a scan cell that is heard 13 dB above the noise counts as covered."""
FOLLOWED = replace(COVERED, scan=0.5)
"""While every target is followed: half of uniform power's echo in scan cells."""
_QUICK = Search(looked=20, solved=6, rounds=1, finalists=2)
CONTENDERS = {
    **{name: Contender(policy.allocator, (EQUAL,)) for name, policy in POLICIES.items() if policy.variant in KEPT_ROLES},
    "opc_dominate_more": Contender("opc_dominate", MORE),
    "opc_dominate_mixed": Contender("opc_dominate", (EQUAL,), uniform=0.3),
    "opc_dominate_roles": Contender("opc_dominate", (EQUAL,), _QUICK),
    "opc_dominate_late_roles": Contender(
        "opc_dominate", (FOLLOWED,), _QUICK, uniform=0.15, searching=Contender("opc_dominate", (COVERED,), uniform=0.2)
    ),
    "opc_dominate_more_roles": Contender("opc_dominate", (replace(EQUAL, sicnr=1.5), EQUAL), replace(_QUICK, reach=1.0)),
}
"""Contenders with a requirement or roles of their own; any other name is that of an allocator under the scenario's own."""


def report(
    output: str | Path,
    scenario: TrackingScenario,
    loop: Loop,
    names: Sequence[str],
    checkpoint: Path | None = None,
    workers: int = 1,
) -> dict[str, Any]:
    """Run the loop with every contender; write tracking.csv, tracking.json and tracking.png and print a table.

    Args:
        output: folder; made if need be. Worlds that it holds already are not run again.
        scenario: the network.
        loop: what to simulate, the same for all.
        names: of `CONTENDERS`, or allocators of `isac-torch evaluate`.
        checkpoint: weights of learned allocators.
        workers: processes.

    Returns:
        The content of tracking.json: a summary of each contender.
    """
    from tqdm import tqdm

    if not names:
        raise ScenarioError("allocators=[] names nobody to follow targets with; list at least one, such as upc")
    contenders = {name: CONTENDERS.get(name, Contender(name)) for name in names}
    folder = writable_folder(output)
    found = run_worlds(scenario, loop, contenders, folder / "worlds", workers, checkpoint)
    rows = {name: [world_row(loop, one) for one in worlds] for name, worlds in found.items()}
    summary = {name: summarise(own, rows.get(REFERENCE)) for name, own in rows.items()}
    write_json(folder / "tracking.json", summary)
    _tabulate(folder / "tracking.csv", loop, found)
    _draw(folder / "tracking.png", loop, make_world(scenario, loop, 0), found)
    tqdm.write(f"{loop.num_worlds} worlds, second half of {loop.num_steps} steps; mean +- standard error over worlds")
    for name, row in summary.items():
        tqdm.write(f"{name:18s} " + "  ".join(_cell(row, key) for key in (*_SHOWN, "gospa_minus_upc", "rate_over_upc")))
    return summary


_SHOWN = ("gospa", "rms_error", "matched", "missed", "false", "lost_tracks", "min_rate_mbps", "power")


def _cell(row: Mapping[str, float | None], key: str) -> str:
    value, error = row.get(key), row.get(f"{key}_se")
    if value is None:
        return f"{key} -"
    return f"{key} {value:.3g}" + ("" if error is None else f" +- {error:.2g}")


def world_row(loop: Loop, found: Followed) -> dict[str, float]:
    """Means over the second half of one world's steps: GOSPA and error in m, rates in Mbit/s, power in W."""
    scores = found.gospa[loop.num_steps // 2 :]
    matched = sum(score.matched for score in scores)
    return {
        "gospa": sum(score.distance for score in scores) / len(scores),
        "squared_error": sum(score.squared_error for score in scores) / len(scores),
        "matched": matched / len(scores),
        "missed": sum(score.missed for score in scores) / len(scores),
        "false": sum(score.false for score in scores) / len(scores),
        "lost_tracks": float(found.lost),
        "min_rate_mbps": sum(found.min_rate) / len(found.min_rate) / 1e6,
        "power": sum(found.total_power) / len(found.total_power),
        "consistency": sorted(found.consistency)[len(found.consistency) // 2] if found.consistency else math.nan,
    }


def summarise(
    rows: Sequence[Mapping[str, float]], reference: Sequence[Mapping[str, float]] | None = None
) -> dict[str, float | None]:
    """Means over worlds with their standard errors (`_se`), and differences to the reference in the same worlds.

    Args:
        rows: `world_row` of every world.
        reference: those of uniform power in the same worlds.
    """
    summary: dict[str, float | None] = {"num_worlds": float(len(rows))}
    for key in ("gospa", "matched", "missed", "false", "lost_tracks", "min_rate_mbps", "power"):
        summary[key], summary[f"{key}_se"] = _mean([row[key] for row in rows])
    matched = sum(row["matched"] for row in rows)
    squares = sum(row["squared_error"] for row in rows)
    summary["rms_error"] = (squares / matched) ** 0.5 if matched else None
    summary["rms_error_se"] = _jackknife(rows)
    known = sorted(row["consistency"] for row in rows if math.isfinite(row["consistency"]))
    summary["consistency_median"] = known[len(known) // 2] if known else None
    if reference is not None:
        pairs = list(zip(rows, reference, strict=True))
        summary["gospa_minus_upc"], summary["gospa_minus_upc_se"] = _mean([own["gospa"] - u["gospa"] for own, u in pairs])
        summary["rate_over_upc"] = _ratio(pairs)
        without = [_ratio(pairs[:i] + pairs[i + 1 :]) for i in range(len(pairs))] if len(pairs) > 1 else []
        summary["rate_over_upc_se"] = _spread(without)
    return summary


def _mean(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and its standard error."""
    count, mean = len(values), sum(values) / len(values)
    if count < 2:
        return mean, None
    return mean, (sum((value - mean) ** 2 for value in values) / (count - 1) / count) ** 0.5


def _ratio(pairs: Sequence[tuple[Mapping[str, float], Mapping[str, float]]]) -> float:
    """Mean smallest rate over the reference's."""
    return sum(own["min_rate_mbps"] for own, _ in pairs) / sum(other["min_rate_mbps"] for _, other in pairs)


def _jackknife(rows: Sequence[Mapping[str, float]]) -> float | None:
    """Standard error of the root mean square error, by leaving out one world at a time."""
    values = []
    for i in range(len(rows)):
        rest = [row for j, row in enumerate(rows) if j != i]
        matched = sum(row["matched"] for row in rest)
        if not matched:
            return None
        values.append((sum(row["squared_error"] for row in rest) / matched) ** 0.5)
    return _spread(values)


def _spread(without: Sequence[float]) -> float | None:
    """Standard error from a statistic's values without one world each."""
    count = len(without)
    if count < 2:
        return None
    mean = sum(without) / count
    return ((count - 1) / count * sum((value - mean) ** 2 for value in without)) ** 0.5


def _columns(found: Sequence[Followed], step: int) -> tuple[float, float, float, float]:
    """Mean GOSPA (m), root mean square error (m), targets missed and false tracks of a step."""
    row = [one.gospa[step] for one in found]
    matched = sum(score.matched for score in row)
    error = (sum(score.squared_error for score in row) / matched) ** 0.5 if matched else math.nan
    mean = [sum(getattr(score, name) for score in row) / len(row) for name in ("distance", "missed", "false")]
    return mean[0], error, mean[1], mean[2]


def _tabulate(path: Path, loop: Loop, found: Mapping[str, Sequence[Followed]]) -> None:
    average: Callable[[list[float]], float] = lambda values: sum(values) / len(values)  # noqa: E731
    with written_whole(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("allocator", "time_s", "gospa_m", "rms_error_m", "missed", "false", "min_rate_bps", "power_w"))
        for name, worlds in found.items():
            for step in range(loop.num_steps):
                rates, powers = [one.min_rate[step] for one in worlds], [one.total_power[step] for one in worlds]
                values = (*_columns(worlds, step), average(rates), average(powers))
                writer.writerow((name, f"{step * loop.step:g}", *(f"{value:.6g}" for value in values)))


def _draw(path: Path, loop: Loop, world: World, found: Mapping[str, Sequence[Followed]]) -> None:
    """GOSPA and missed targets over time, and the first world as the first contender saw it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14.0, 4.2), dpi=130, layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    time = [step * loop.step for step in range(loop.num_steps)]
    for i, (name, worlds) in enumerate(found.items()):
        rows = [_columns(worlds, step) for step in range(loop.num_steps)]
        look: dict[str, Any] = {"color": COLOURS[i % len(COLOURS)], "label": name}
        left.plot(time, [row[0] for row in rows], **look)
        middle.plot(time, [row[2] for row in rows], **look)
    left.set(xlabel="time (s)", ylabel=f"GOSPA (m), cutoff {loop.cutoff:g} m", ylim=(0.0, None))
    middle.set(xlabel="time (s)", ylabel="targets missed, of those there", ylim=(0.0, None))
    for axes in (left, middle):
        axes.grid(alpha=0.3, linewidth=0.5)
        axes.legend(fontsize=8)
    network = world.network
    right.plot(*network.tx_position[0, :, :2].T.tolist(), "^", color="0.5", markersize=5, label="transmit AP")
    right.plot(*network.rx_position[0, :, :2].T.tolist(), "v", color="0.2", markersize=6, label="receive AP")
    for target in range(world.path.shape[1]):
        way = world.path[world.present[:, target], target, :2]
        right.plot(*way.T.tolist(), "-", color=COLOURS[0], label="target" if target == 0 else None)
    name, worlds = next(iter(found.items()))
    points = [point for step in worlds[0].estimates for point in step]
    if points:
        x, y = zip(*(point[:2] for point in points), strict=True)
        right.plot(x, y, ".", color=COLOURS[1], markersize=4, label=f"confirmed tracks, {name}")
    right.set(xlabel="m", ylabel="m", aspect="equal", title="first world")
    right.legend(fontsize=7)
    with written_whole(path) as partial:
        figure.savefig(partial, metadata={"Software": None})
