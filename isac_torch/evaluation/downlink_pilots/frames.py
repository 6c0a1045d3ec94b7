"""Frames that are chosen per drop against fixed splits into pilots and data: CSV, summary, picture."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from isac_torch.allocators.downlink_pilots.frame import best_frame, fixed_frame
from isac_torch.allocators.downlink_pilots.frame_policy import policy_frame
from isac_torch.errors import ScenarioError
from isac_torch.evaluation import figures
from isac_torch.evaluation.suite import check_run
from isac_torch.evaluation.tables import aligned, write_csv, write_json
from isac_torch.files import writable_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from isac_torch.allocators.downlink_pilots.frame import FramePlan
    from isac_torch.allocators.downlink_pilots.frame_goals import Objective
    from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario

CHOSEN = "chosen"
"""Row of the frames that are chosen per drop."""
POLICY = "policy"
"""Row of the frames whose lengths a network chooses, for the objective "rate"."""
_VALUES = {
    "downlink_symbols": "downlink",
    "uplink_symbols": "uplink",
    "payload_power_w": "payload",
    "net_rate_bit_s": "rate",
    "energy_j": "energy",
    "nmse": "nmse",
    "tried": "tried",
}
"""Column of the CSV file and field of the plan."""


def default_splits(scenario: DownlinkPilotScenario) -> list[list[int]]:
    """The paper's 4:16, 10:10 and 16:4, each length at least one symbol per UE, those that fit the frame."""
    least = scenario.num_ues
    pairs = [[max(downlink, least), max(uplink, least)] for downlink, uplink in ((4, 16), (10, 10), (16, 4))]
    return [pair for pair in pairs if sum(pair) < scenario.frame_symbols]


def compare_frames(
    scenario: DownlinkPilotScenario,
    *,
    num_drops: int,
    seed: int,
    output: str | Path,
    splits: Sequence[Sequence[int]],
    objective: Objective = "rate",
    rate_min: float | None = None,
    weight: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Write frames.csv, summary.json and frames.png.

    Args:
        scenario: everything but the lengths of the pilots.
        num_drops: fresh drops, the same for every row.
        seed: of the drops.
        output: folder of the results.
        splits: downlink and uplink pilot symbols of each fixed frame.
        objective, rate_min, weight: as in `best_frame`; fixed frames get the powers of the same objective.

    Returns:
        The content of summary.json.

    Raises:
        IsacError: one line, before any work, on bad input.
    """
    from tqdm import tqdm

    check_run([CHOSEN], num_drops, seed)
    scenarios = {":".join(map(str, split)): _of_split(scenario, split) for split in splits}
    folder = writable_folder(output)
    drop = replace(scenario, downlink_symbols=scenario.num_ues, uplink_symbols=scenario.num_ues).sample(
        num_drops, generator=torch.Generator().manual_seed(seed)
    )
    asked: dict[str, Any] = {"objective": objective, "rate_min": rate_min, "weight": weight}
    plans: dict[str, FramePlan] = {}
    bar = tqdm([*scenarios, *([POLICY] if objective == "rate" else []), CHOSEN], unit="frame", leave=False)
    for name in bar:
        bar.set_description(name)
        if name == POLICY:
            plans[name] = policy_frame(drop, scenario)
        else:
            plans[name] = best_frame(drop, scenario, **asked) if name == CHOSEN else fixed_frame(drop, scenarios[name], **asked)
    summary = {
        "scenario": scenario.name,
        "frame_symbols": scenario.frame_symbols,
        "objective": objective,
        "rate_min_bit_s": rate_min,
        "num_drops": num_drops,
        "seed": seed,
        "frames": {name: _row(plan, plans[CHOSEN]) for name, plan in plans.items()},
    }
    write_csv(
        folder / "frames.csv",
        ["frame", "drop", *_VALUES],
        (line for name, plan in plans.items() for line in _lines(name, plan)),
    )
    write_json(folder / "summary.json", summary)
    _draw(plans, objective, folder / "frames.png")
    tqdm.write(_table(summary) + f"\nlook at {folder}/frames.csv, summary.json and frames.png")
    return summary


def _of_split(scenario: DownlinkPilotScenario, split: Sequence[int]) -> DownlinkPilotScenario:
    if len(split) != 2:
        raise ScenarioError(f"split {list(split)} must be two numbers: downlink and uplink pilot symbols, such as [10, 10]")
    if min(split) < scenario.num_ues:
        raise ScenarioError(
            f"split {list(split)} gives not every UE pilots of its own; take at least {scenario.num_ues} symbols"
        )
    return replace(scenario, downlink_symbols=split[0], uplink_symbols=split[1])


def _row(plan: FramePlan, chosen: FramePlan) -> dict[str, Any]:
    """Averages over the drops; a drop without a frame has a rate of 0, and no part in the other numbers."""
    met = plan.feasible
    both = met & chosen.feasible
    mean = plan.rate.mean()
    ratio = chosen.rate[both] / plan.rate[both]
    return {
        "without_frame": float((~met).double().mean()),
        "net_rate_mean": float(mean),
        "net_rate_p5": float(plan.rate.quantile(0.05)),
        "net_rate_worst": float(plan.rate.min()),
        "chosen_over_this_mean": float(chosen.rate.mean() / mean) if mean > 0 else None,
        "chosen_over_this_least": float(ratio.min()) if len(ratio) else None,
        **{
            f"{name}_mean": float(value[met].double().mean()) if met.any() else None
            for name, value in {
                "energy": plan.energy,
                "nmse": plan.nmse,
                "downlink_symbols": plan.downlink,
                "uplink_symbols": plan.uplink,
                "tried": plan.tried,
            }.items()
        },
    }


def _lines(name: str, plan: FramePlan) -> list[dict[str, object]]:
    columns = {column: getattr(plan, field).tolist() for column, field in _VALUES.items()}
    return [
        {"frame": name, "drop": index, **{column: f"{values[index]:.9g}" for column, values in columns.items()}}
        for index in range(len(plan.rate))
    ]


def _table(summary: dict[str, Any]) -> str:
    rows = [["frame", "without", "rate mean", "p5", "worst, Mbit/s", "energy, nJ", "NMSE", "DL", "UL"]]
    for name, row in summary["frames"].items():
        rates = (f"{row[key] / 1e6:.1f}" for key in ("net_rate_mean", "net_rate_p5", "net_rate_worst"))
        energy, nmse = row["energy_mean"], row["nmse_mean"]
        lengths = (row["downlink_symbols_mean"], row["uplink_symbols_mean"])
        rest = ["-"] * 4 if nmse is None else [f"{1e9 * energy:.0f}", f"{nmse:.2e}", *(f"{length:.1f}" for length in lengths)]
        rows.append([name, f"{100 * row['without_frame']:.0f} %", *rates, *rest])
    return aligned(rows)


def _draw(plans: dict[str, FramePlan], objective: Objective, path: Path) -> None:
    """Distribution over the drops of what the objective is about."""
    if objective == "energy":
        quantity, parts = "energy of a frame (nJ)", {name: 1e9 * plan.energy[plan.feasible] for name, plan in plans.items()}
    elif objective in ("nmse", "sum_nmse"):
        text = "weighted sum of NMSE" if objective == "sum_nmse" else "largest weighted NMSE"
        quantity, parts = f"{text} (dB)", {name: 10 * plan.nmse[plan.feasible].log10() for name, plan in plans.items()}
    else:
        quantity, parts = "smallest net rate (Mbit/s)", {name: plan.rate / 1e6 for name, plan in plans.items()}
    figure, axes = figures.new_axes()
    for (name, sample), style in zip(parts.items(), figures.styles(len(parts)), strict=True):
        if len(sample):
            label = {CHOSEN: "chosen per drop", POLICY: "chosen by the network"}.get(name, f"fixed {name}")
            axes.ecdf(sample.numpy(), label=label, linewidth=2.2 if name == CHOSEN else 1.5, **style)
    axes.set(xlabel=quantity, ylabel="share of drops at or below", ylim=(0.0, 1.0))
    figures.finish(axes, "pilot lengths (downlink:uplink) and powers of a frame")
    figures.save(figure, path)
