"""Time of one call for one road of the downlink-pilot system: the deployed network beside the engine, in turns.

    python benchmarks/road_latency.py --json road_latency.json          # from the root of the project

Every allocator answers the same roads, one per call, one after the other, so that whatever else the machine does meets all of
them. Times are processor time of this process, of one thread; the answer is the median over the roads.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from isac_torch import (
    BatchedMinMaxNmse,
    DownlinkPilotLearned,
    DownlinkPilotScenario,
    RoadAllocator,
    RoadSnapshot,
    power_problem,
)
from isac_torch.allocation import allocate
from isac_torch.allocators.downlink_pilots.learned import DownlinkPilotFirstOrder
from isac_torch.nn.checkpoint import load_network
from isac_torch.nn.downlink_pilots.network import DownlinkPilotNetwork
from isac_torch.weights import shipped_weights

_SEED = 940_000


def contenders() -> dict[str, Callable[[Any, RoadSnapshot], Any]]:
    """What answers one road, given as a problem of torch and as a snapshot."""
    trained, _ = load_network(shipped_weights("downlink_pilots"), DownlinkPilotNetwork)
    torch.manual_seed(1)
    untrained = DownlinkPilotNetwork()
    deployed, refined = RoadAllocator.load(), RoadAllocator.load(refine=True)
    by_numpy, refined_by_numpy = RoadAllocator.load(native=False), RoadAllocator.load(refine=True, native=False)
    return {
        "one_shot": lambda _, road: deployed(road),
        "one_shot_numpy": lambda _, road: by_numpy(road),
        "one_shot_refined": lambda _, road: refined(road),
        "one_shot_refined_numpy": lambda _, road: refined_by_numpy(road),
        "gnn": lambda problem, _: allocate(problem, DownlinkPilotLearned(trained)),
        "untrained": lambda problem, _: allocate(problem, DownlinkPilotLearned(untrained)),
        "first_order": lambda problem, _: allocate(problem, DownlinkPilotFirstOrder()),
        "nmse_uncertified": lambda problem, _: allocate(problem, BatchedMinMaxNmse(max_boxes=0)),
        "nmse_batched": lambda problem, _: allocate(problem, BatchedMinMaxNmse(gap=1e-3)),
    }


def measure(num_ues: int, roads: int) -> dict[str, Any]:
    """Median time (ms) of each contender over `roads` roads, and how the largest NMSE compares with the certified optimum's."""
    scenario = DownlinkPilotScenario(num_ues=num_ues)
    drop = scenario.sample(roads, generator=torch.Generator().manual_seed(_SEED))
    problem = power_problem(drop, scenario)
    known = contenders()
    spent: dict[str, list[float]] = {name: [] for name in known}
    ratio: dict[str, list[float]] = {name: [] for name in known}
    for index in range(-2, roads):  # two roads before the first warm up
        one, road = problem.select(torch.tensor([index % roads])), RoadSnapshot.from_drop(drop, index % roads, scenario)
        loss = {}
        for name, call in known.items():
            begin = time.process_time()
            answer = call(one, road)
            spent[name].append(1e3 * (time.process_time() - begin))
            loss[name] = float(answer.nmse.max()) if hasattr(answer, "nmse") else 1.0 / float(answer.value[0])
        for name, value in loss.items():
            ratio[name].append(value / loss["nmse_batched"])
    median = {name: statistics.median(times[2:]) for name, times in spent.items()}
    return {
        "num_ues": num_ues,
        "roads": roads,
        "milliseconds": median,
        "nmse_ratio_mean": {name: statistics.mean(values[2:]) for name, values in ratio.items()},
        "speedup_over_engine": median["nmse_batched"] / median["one_shot"],
        "speedup_over_engine_without_certificate": median["nmse_uncertified"] / median["one_shot"],
    }


def main() -> None:
    """Measure two and six UEs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--roads", type=int, default=40)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(num_ues, options.roads) for num_ues in (2, 6)]
    text = json.dumps(rows, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
