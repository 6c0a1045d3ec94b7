"""Constraints on the SIR and on the expected SICNR, judged by true echoes: a table, optionally as JSON and as a picture.

python benchmarks/sensing_constraints.py --num_drops 30 --json constraints.json --png constraints.png
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch

from isac_torch.allocation import Allocation, Status, allocate, equal_split
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.allocators.tracking.heuristics import Fractional
from isac_torch.files import written_whole
from isac_torch.sensing.glrt import Glrt
from isac_torch.sensing.quality import assess
from isac_torch.tensors import to_db
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.communication import rate
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.requirements import require
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.tracking.setup import SensingSetup

SIR_DB = (-20.0, -10.0, -5.0)
SICNR_DB = (-3.0, 0.0, 3.0, 6.0)
NONE = "none (uniform power)"
Row = dict[str, float | str]


def measure(num_drops: int, num_blocks: int, seed: int) -> list[Row]:
    scenario, setup = TrackingScenario(), SensingSetup()
    drop = scenario.sample(num_drops, generator=torch.Generator().manual_seed(seed))
    plain = power_problem(drop, scenario)

    def row(kind: str, required: float, passes: int, found: Allocation) -> Row:
        report = assess(drop, scenario, setup, found.power, Glrt("paper"), num_blocks=num_blocks, seed=seed + 1)
        ratio = to_db(report.quality.ratio.mean(1)).flatten()
        return {
            "constraint": kind,
            "required_db": required,
            "passes": passes,
            "infeasible": int((found.status == Status.INFEASIBLE).sum()),
            "sicnr_db_median": float(ratio.quantile(0.5)),
            "sicnr_db_p10": float(ratio.quantile(0.1)),
            "min_rate_mbps": float(rate(plain.objective(found.power), scenario).mean()) / 1e6,
            "power_w": float(found.power.sum(-1).mean()),
        }

    rows = [row(NONE, float("nan"), 1, allocate(plain, Fractional(0.0, 0.0)))]
    for level in SIR_DB:
        problem = power_problem(drop, replace(scenario, sir_min_db=level))
        rows.append(row("SIR", level, 1, allocate(problem, BatchedOptimal())))
    for passes in (1, 3):
        for level in SICNR_DB:
            asked = replace(scenario, requirement=Requirement("sicnr", sicnr_min_db=level))
            reference = equal_split(plain)
            for _ in range(passes):  # the clutter's filter follows half-way to the powers, pass by pass
                found = allocate(require(plain, drop, asked, reference=reference), BatchedOptimal())
                reference = 0.5 * (reference + found.power)
            rows.append(row("SICNR", level, passes, found))
    return rows


def draw(path: Path, rows: list[Row]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 3.6), dpi=130, layout="constrained")
    panels = (("sicnr_db_p10", "10th percentile"), ("sicnr_db_median", "median"))
    for axes, (column, name) in zip(figure.subplots(1, 2), panels, strict=True):
        for kind, passes, mark in ((NONE, 1, "ks"), ("SIR", 1, "o-"), ("SICNR", 1, "^-"), ("SICNR", 3, "v--")):
            chosen = [row for row in rows if row["constraint"] == kind and row["passes"] == passes]
            label = f"on the {kind}, {passes} passes" if passes > 1 else kind if kind == NONE else f"on the {kind}"
            axes.plot([row["min_rate_mbps"] for row in chosen], [row[column] for row in chosen], mark, label=label)
            for row in chosen if kind != NONE else []:
                axes.annotate(
                    f"{row['required_db']:g}",
                    (row["min_rate_mbps"], row[column]),
                    fontsize=7,
                    xytext=(3, 3),
                    textcoords="offset points",
                )
        axes.set(xlabel="smallest rate, mean over drops (Mbit/s)", ylabel=f"true SICNR, {name} (dB)")
        axes.grid(alpha=0.3, linewidth=0.5)
        axes.legend(fontsize=7)
    with written_whole(path) as partial:
        figure.savefig(partial, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_drops", type=int, default=30)
    parser.add_argument("--num_blocks", type=int, default=4)
    parser.add_argument("--seed", type=int, default=900_002)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--png", type=Path)
    options = parser.parse_args()
    rows = measure(options.num_drops, options.num_blocks, options.seed)
    for row in rows:
        print("  ".join(f"{value:8.2f}" if isinstance(value, float) else f"{value!s:>10}" for value in row.values()))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    if options.png:
        draw(options.png, rows)


if __name__ == "__main__":
    main()
