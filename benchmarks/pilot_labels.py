"""Processor time of labels for the pilot system: descent, certificate, least power, the paper's algorithm, plain ascent.

python benchmarks/pilot_labels.py --json runs/pilot_labels.json
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from isac_torch.allocation import Allocator, Status, allocate
from isac_torch.allocators.pilot import MinMaxNmse, PaperSca
from isac_torch.allocators.pilot_learned import PilotFirstOrder
from isac_torch.pilot.build import power_problem
from isac_torch.pilot.problem import MinMaxNmseProblem
from isac_torch.pilot.scenario import PilotScenario

ENGINES: dict[str, Allocator[MinMaxNmseProblem]] = {
    "optimum": MinMaxNmse(max_boxes=0),
    "certified_1e-3": MinMaxNmse(),
    "certified_1e-4": MinMaxNmse(gap=1e-4),
    "slack_5_percent": MinMaxNmse(max_boxes=0, slack=0.05),
    "sca_paper": PaperSca(),
    "first_order": PilotFirstOrder(),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--drops", type=int, default=50)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for ues, downlink in ((2, 4), (2, 10), (6, 10), (6, 14)):
        scenario = PilotScenario(num_ues=ues, downlink_symbols=downlink, uplink_symbols=20 - downlink)
        problem = power_problem(scenario.sample(options.drops, generator=torch.Generator().manual_seed(1)), scenario)
        for name, engine in ENGINES.items():
            engine.propose(problem.select(torch.arange(2)))
            start = time.process_time()
            allocation = allocate(problem, engine)
            cost = 1e3 * (time.process_time() - start) / options.drops
            optimal = float((allocation.status == Status.OPTIMAL).double().mean())
            rows.append({"scenario": scenario.name, "engine": name, "cpu_ms_per_drop": cost, "certified_share": optimal})
            print(f"{scenario.name:<22}{name:<18}{cost:>9.2f} ms{optimal:>8.0%} certified", flush=True)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
