"""Rates and echoes under MRT, zero-forcing and partial-MMSE beams, with uniform and with optimal power; JSON and a figure.

    python benchmarks/beams.py --json beams.json --picture docs/images/beams.png

The same drops for all beams, once with orthogonal pilots and once with two UEs on each. `opc_batched_0.01` is the max-min
optimum, certified to 1 %, under the scenario's SIR0; drops that are infeasible with any of the beams are left out. The SICNR of
a target is the expected one, eq. (52) of docs/sensing.md, with the clutter's filter at the very powers.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isac_torch import TrackingScenario, allocate, named_allocator
from isac_torch.allocation import Status
from isac_torch.files import written_whole
from isac_torch.tensors import to_db
from isac_torch.tracking.beam_setup import BeamSetup
from isac_torch.tracking.build import network_problem
from isac_torch.tracking.channel import channel_statistics
from isac_torch.tracking.communication import rate
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.requirements import require

BEAMS = {
    "MRT": BeamSetup(),
    "zero forcing": BeamSetup("zf"),
    "partial MMSE": BeamSetup("pmmse"),
}
POWERS = {"upc": "uniform power", "opc_batched_0.01": "optimal power"}
PART = 50
"""Drops that are worked off at a time."""


def of_beams(scenario: TrackingScenario, drops: int, seed: int) -> dict[str, dict[str, Tensor]]:
    """Rates (bit/s), SICNR (linear) and feasibility of every drop, for both kinds of power."""
    drop = scenario.sample(drops, generator=torch.Generator().manual_seed(seed))
    asked = replace(scenario, requirement=Requirement("sicnr"))
    found: dict[str, dict[str, list[Tensor]]] = {name: {"rate": [], "sicnr": [], "ok": []} for name in POWERS}
    for part in torch.arange(drops).split(PART):
        some = drop.select(part)
        statistics = channel_statistics(some, scenario)
        budget = scenario.ap_budgets(some)
        problem = network_problem(some, scenario, statistics, budget, torch.full_like(budget[:, 0], scenario.sir_min))
        for name, row in found.items():
            allocation = allocate(problem, named_allocator(name))
            row["rate"].append(rate(problem.sinr(allocation.power), scenario))
            sensed = require(problem, some, asked, reference=allocation.power, statistics=statistics)
            row["sicnr"].append(sensed.sir(allocation.power))
            row["ok"].append(allocation.status != Status.INFEASIBLE)
    return {name: {key: torch.cat(values) for key, values in row.items()} for name, row in found.items()}


def summary(found: dict[str, Tensor], mrt: dict[str, Tensor], kept: Tensor) -> dict[str, float]:
    """Numbers of the table: Mbit/s and dB, over the drops that are kept; the gain is what the smallest rate has over MRT's."""
    rates, sicnr = found["rate"][kept] / 1e6, to_db(found["sicnr"][kept])
    least = rates.amin(1)
    gain = least - mrt["rate"][kept].amin(1) / 1e6
    return {
        "rate_mean": float(rates.mean()),
        "rate_p10": float(rates.quantile(0.1)),
        "rate_least": float(least.mean()),
        "rate_least_error": float(least.std() / len(least) ** 0.5),
        "rate_least_gain": float(gain.mean()),
        "rate_least_gain_error": float(gain.std() / len(gain) ** 0.5),
        "sicnr_median_db": float(sicnr.median()),
        "sicnr_p10_db": float(sicnr.quantile(0.1)),
    }


def draw(path: Path, curves: dict[str, dict[str, dict[str, dict[str, Tensor]]]], kept: dict[str, Tensor]) -> None:
    """Distributions of the rate (left) and the SICNR (right) for both kinds of power; dashed: shared pilots."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7), dpi=110, layout="constrained")
    axes = figure.subplots(2, 2)
    for row, (power, title) in enumerate(POWERS.items()):
        for (pilots, by_beams), style in zip(curves.items(), ("-", "--"), strict=True):
            for i, (name, found) in enumerate(by_beams.items()):
                values = found[power]["rate"][kept[pilots]] / 1e6, to_db(found[power]["sicnr"][kept[pilots]])
                for axis, value in zip(axes[row], values, strict=True):
                    ordered = value.flatten().sort().values
                    share = torch.linspace(0.0, 1.0, len(ordered))
                    axis.plot(ordered, share, style, color=f"C{i}", label=f"{name}, {pilots}", linewidth=1.3)
        axes[row][0].set(title=f"{title}: rate of a UE", xlabel="Mbit/s", ylabel="share of UEs at or below", ylim=(0, 1))
        axes[row][1].set(title=f"{title}: SICNR of a target", xlabel="dB", ylabel="share of targets at or below", ylim=(0, 1))
        axes[row][0].set_xlim(0.0, 60.0)
    for axis in axes.flat:
        axis.grid(alpha=0.3)
    axes[0][0].legend(fontsize=8)
    with written_whole(path) as partial:
        figure.savefig(partial, format="png", metadata={"Software": None})


def main() -> None:
    """Write the JSON and the figure, print the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="8x8x2")
    parser.add_argument("--drops", type=int, default=100)
    parser.add_argument("--pilot-power", type=float, default=1e-2, help="of each UE, W")
    parser.add_argument("--seed", type=int, default=990_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    plain = TrackingScenario.of_size(given.size, pilot_power=given.pilot_power)
    pilots = {"own pilots": plain, "shared pilots": replace(plain, pilot_length=max(1, plain.num_ues // 2))}
    curves: dict[str, Any] = {}
    kept, table = {}, {}
    for label, scenario in pilots.items():
        curves[label] = {
            name: of_beams(replace(scenario, beams=beams), given.drops, given.seed) for name, beams in BEAMS.items()
        }
        kept[label] = torch.stack([found["opc_batched_0.01"]["ok"] for found in curves[label].values()]).all(0)
        table[label] = {"drops": int(kept[label].sum())} | {
            name: {power: summary(found[power], curves[label]["MRT"][power], kept[label]) for power in POWERS}
            for name, found in curves[label].items()
        }
    text = json.dumps({"pilot_power": given.pilot_power, "drops": given.drops, "beams": table}, indent=1)
    if given.json:
        with written_whole(given.json) as partial:
            partial.write_text(text + "\n")
    if given.picture:
        draw(given.picture, curves, kept)
    print(text)


if __name__ == "__main__":
    main()
