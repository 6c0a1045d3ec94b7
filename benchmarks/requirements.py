"""Kinds of requirements against uniform power: rates, true SICNR, misses and position error of the same drops, as a table.

python benchmarks/requirements.py --num_drops 48 --json requirements.json
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from isac_torch.allocation import Status, allocate, equal_split
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.sensing.glrt import Glrt
from isac_torch.sensing.quality import assess
from isac_torch.tensors import to_db
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.communication import rate
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.requirements import require
from isac_torch.tracking.scenario import TrackingScenario

REQUIREMENTS = {
    "none": Requirement("none"),
    "sir, -5 dB": Requirement("sir"),
    "sicnr, 3 dB": Requirement("sicnr", sicnr_min_db=3.0),
    "detection, miss 0.2": Requirement("detection", miss=0.2),
    "position, 10 m": Requirement("position"),
    "dominate, R2 alone": Requirement("dominate", scan=0.0, position=0.0),
    "dominate, R1 and R2": Requirement("dominate", position=0.0),
    "dominate, 0.9": Requirement("dominate", scan=0.9, sicnr=0.9, position=0.9),
    "dominate, 1": Requirement("dominate"),
    "dominate, R2 1.1": Requirement("dominate", sicnr=1.1),
    "dominate, 1.1": Requirement("dominate", scan=1.1, sicnr=1.1, position=1.1),
}
Row = dict[str, float | str]


def mean(values: Tensor) -> tuple[float, float]:
    """Mean over drops and its standard error."""
    return float(values.mean()), float(values.std() / len(values) ** 0.5)


def measure(num_drops: int, num_blocks: int, seed: int, size: str) -> list[Row]:
    scenario = TrackingScenario.of_size(size, listening_aps=2)
    drop = scenario.sample(num_drops, generator=torch.Generator().manual_seed(seed))
    plain = power_problem(drop, scenario)

    def sense(power: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of every target: true SICNR in dB, miss probability, squared position error bound at these powers in m2."""
        report = assess(
            drop, scenario, scenario.sensing, power, Glrt("paper"), num_blocks=num_blocks, seed=seed + 1, with_miss=True
        )
        asked = replace(scenario, requirement=Requirement("position"))
        here = require(plain, drop, asked, reference=power).position
        assert report.miss is not None
        assert here is not None
        return to_db(report.quality.ratio.mean(1)), report.miss.mean(1), 1.0 / here.h(power)

    uniform = equal_split(plain)
    base, base_rate = sense(uniform), rate(plain.objective(uniform), scenario)
    rows: list[Row] = []

    def row(name: str, power: Tensor, infeasible: int, gap: float, seconds: float) -> Row:
        found = sense(power)
        smallest, every = rate(plain.objective(power), scenario), rate(plain.sinr(power), scenario).mean(-1)
        ratio, ratio_error = mean(smallest / base_rate.mean())
        sicnr, sicnr_error = mean((found[0] - base[0]).mean(-1))
        miss, miss_error = mean((found[1] - base[1]).mean(-1))
        place, place_error = mean((found[2].sqrt() - base[2].sqrt()).mean(-1))
        return {
            "requirement": name,
            "infeasible": infeasible,
            "min_rate_over_upc": ratio,
            "min_rate_over_upc_se": ratio_error,
            "mean_rate_over_upc": float(every.mean() / rate(plain.sinr(uniform), scenario).mean()),
            "sicnr_minus_upc_db": sicnr,
            "sicnr_minus_upc_db_se": sicnr_error,
            "sicnr_p10_db": float(found[0].flatten().quantile(0.1)),
            "miss_minus_upc": miss,
            "miss_minus_upc_se": miss_error,
            "position_error_minus_upc_m": place,
            "position_error_minus_upc_m_se": place_error,
            "power_w": float(power.sum(-1).mean()),
            "gap_p99": gap,
            "ms_per_drop": 1e3 * seconds / num_drops,
        }

    rows.append(row("uniform power", uniform, 0, 0.0, 0.0))
    print(json.dumps({"base_rate_mbps": float(base_rate.mean()) / 1e6, "base_miss": float(base[1].mean())}), flush=True)
    for name, requirement in REQUIREMENTS.items():
        problem = power_problem(drop, replace(scenario, requirement=requirement))
        start = time.process_time()
        found = allocate(problem, BatchedOptimal(tie="none" if requirement.kind == "dominate" else "least_power"))
        seconds = time.process_time() - start
        infeasible = int((found.status == Status.INFEASIBLE).sum())
        rows.append(row(name, found.power, infeasible, float(found.gap.quantile(0.99)), seconds))
        print(json.dumps(rows[-1]), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_drops", type=int, default=48)
    parser.add_argument("--num_blocks", type=int, default=4)
    parser.add_argument("--seed", type=int, default=970_000)
    parser.add_argument("--size", default="16x16x4")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = measure(options.num_drops, options.num_blocks, options.seed, options.size)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
