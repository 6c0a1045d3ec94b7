"""How long a deployed allocator takes, beside fractional power control, the optimal allocators and the paper's algorithm.

    python benchmarks/latency.py --model runs/bundle --json runs/latency.json                # ten minutes on two idle cores
    python benchmarks/latency.py --model runs/bundle --json quick.json --sizes 16x16x4 --calls 100 --slow-drops 2 --no-large

The deployed times run from a `Snapshot` (positions, gains, sets) to guarded powers: validation, channel statistics, network,
balancing, guard. Those of the others run from the finished power problem to re-checked powers, which favours them.
Everything is warm, each call is of another drop, the methods take turns in eight rounds, and the median of each method's
quietest round counts, of wall time and of the processor's own; the median of all rounds stands beside it.
`drops_per_second` is of batches of 256 in two threads; `load_seconds` of a fresh process that imports, checks and opens the
bundle.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402
import torch  # noqa: E402

from isac_torch.allocation import Allocation, Allocator, Status, allocate  # noqa: E402
from isac_torch.allocators.tracking.batched import BatchedOptimal  # noqa: E402
from isac_torch.allocators.tracking.drop_by_drop import GlobalOptimal, PaperOpc  # noqa: E402
from isac_torch.deployment.allocated import Allocated  # noqa: E402
from isac_torch.deployment.allocator import DeployedAllocator  # noqa: E402
from isac_torch.deployment.snapshot import Snapshot  # noqa: E402
from isac_torch.deployment.statistics import coefficients  # noqa: E402
from isac_torch.tracking.build import power_problem  # noqa: E402
from isac_torch.tracking.fractional import fractional_power  # noqa: E402
from isac_torch.tracking.problem import MaxMinSinrProblem  # noqa: E402
from isac_torch.tracking.scenario import TrackingScenario  # noqa: E402
from isac_torch.weights import shipped_bundle  # noqa: E402

BATCH, ROUNDS = 256, 8
SEED = 960_000_000
LOAD = "import sys, time; t = time.perf_counter(); from isac_torch.deployment.allocator import DeployedAllocator; "
LOAD += "DeployedAllocator.load(sys.argv[1]); print(time.perf_counter() - t)"


def main() -> None:
    """Run what the options ask for and write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--json", type=Path, required=True, help="file to write")
    parser.add_argument("--model", type=Path, default=shipped_bundle(), help="bundle that `isac-torch export` wrote")
    parser.add_argument("--sizes", nargs="+", default=["16x16x4", "64x64x8", "400x400x20"], help="the first one counts")
    parser.add_argument("--calls", type=int, default=500, help="single calls at the first size; fewer at larger ones")
    parser.add_argument("--slow-drops", type=int, default=32, help="drops for the algorithms that take seconds")
    parser.add_argument("--quality-drops", type=int, default=400, help="drops whose powers are judged by the optimum")
    parser.add_argument("--no-large", action="store_true", help="leave the 10,000-AP network out")
    options = parser.parse_args()
    torch.set_num_threads(1)
    deployed = DeployedAllocator.load(options.model)
    result: dict[str, Any] = {"load_seconds": load_seconds(options.model)}
    sizes = {}
    for index, size in enumerate(options.sizes):
        sizes[size] = measure_size(deployed, size, options, first=index == 0)
        print(f"{size}: {json.dumps(sizes[size], indent=2)}", flush=True)
        options.json.write_text(
            json.dumps(result | {"sizes": sizes}, indent=2) + "\n"
        )  # what there is, should a later size fail
    result |= summary(sizes[options.sizes[0]]) | {
        "computes_by": deployed.computes_by,
        "sizes": sizes,
        "card": deployed.card["versions"],
    }
    if not options.no_large:
        sys.path.insert(0, str(Path(__file__).parent))
        from large_network import measure  # the file beside this one

        result |= measure()
    options.json.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps({key: value for key, value in result.items() if not isinstance(value, dict)}, indent=2))


def load_seconds(bundle: Path) -> float:
    """Median of three fresh processes, from the first import to an open bundle."""
    runs = [
        subprocess.run([sys.executable, "-c", LOAD, str(bundle)], capture_output=True, text=True, check=True) for _ in range(3)
    ]
    return float(np.median([float(run.stdout) for run in runs]))


def measure_size(deployed: DeployedAllocator, size: str, options: argparse.Namespace, *, first: bool) -> dict[str, Any]:
    """DeployedAllocator and other allocators on one size."""
    aps, ues, _ = map(int, size.split("x"))
    # A block has 200 symbols: large networks share pilots.
    scenario = TrackingScenario.of_size(size, pilot_length=min(ues, 100))
    count = BATCH if first else max(2, BATCH * 16 // aps**2 * 4) if aps <= 64 else 2
    drops = scenario.sample(count, generator=torch.Generator().manual_seed(SEED))
    snapshots = [Snapshot.from_drop(drops, index, scenario) for index in range(count)]
    calls = options.calls if first else max(10, options.calls // 10) if aps <= 64 else 5
    rows: dict[str, Any] = {}
    refined = DeployedAllocator.load(options.model, refine=True)
    by_numpy = DeployedAllocator.load(options.model, native=False)
    methods: dict[str, Callable[[int], Any]] = {
        "deployed": lambda index: deployed(snapshots[index]),
        "deployed_numpy": lambda index: by_numpy(snapshots[index]),
        "fpc_from_snapshot": lambda index: fractional_power(coefficients([snapshots[index]]), 0.0, 1.0),
        "deployed_refined": lambda index: refined(snapshots[index]),
    }
    wanted = [calls, calls, calls, calls // 5]
    if aps <= 64:
        problem = power_problem(drops, scenario)
        slow: dict[str, Allocator[MaxMinSinrProblem]] = {
            "opc_batched_single": BatchedOptimal(gap=1e-3, tie="none"),
            "opc_global": GlobalOptimal(gap=1e-3, tie="none"),
            "opc_paper": PaperOpc(),
        }
        for name, allocator in slow.items():
            methods[name] = alone(allocator, problem)
            wanted.append(options.slow_drops if first else 2)
    rows |= side_by_side(methods, [-(-number // ROUNDS) for number in wanted], count)
    rows["deployed"]["parts_ms"] = parts(deployed, snapshots[:20])
    if aps <= 64:
        rows["opc_batched_in_batch"] = timed(BatchedOptimal(gap=1e-3, tie="none"), problem)
    if first:
        rows["deployed"] |= throughput(deployed, snapshots)
        rows["deployed_numpy"] |= throughput(by_numpy, snapshots)
        rows["deployed_refined"] |= throughput(refined, snapshots)
        rows["quality"] = quality(deployed, scenario, options.quality_drops)
        rows["quality_refined"] = quality(refined, scenario, options.quality_drops)
    return rows


def alone(allocator: Allocator[MaxMinSinrProblem], problem: MaxMinSinrProblem) -> Callable[[int], Allocation]:
    """A call of an allocator for one drop of a batch."""
    single = [problem.select(torch.tensor([index])) for index in range(problem.num_drops)]
    return lambda index: allocate(single[index], allocator)


def side_by_side(methods: dict[str, Callable[[int], Any]], calls: Sequence[int], count: int) -> dict[str, dict[str, Any]]:
    """Milliseconds of `calls` single calls per round of each method, each of the next of `count` drops.

    All methods take turns in every round; where a method has several calls in a turn, one before them, which finds the
    processor's cache full of another method, is not counted. `ms_p50` is the median of the round that was the quietest for the
    method, `ms_p50_all_rounds` that of all its calls: on a machine shared with others they may be a factor of two apart.
    """
    wall: dict[str, list[list[float]]] = {name: [] for name in methods}
    cpu: dict[str, list[list[float]]] = {name: [] for name in methods}
    for turn in range(ROUNDS):
        for (name, call), times in zip(methods.items(), calls, strict=True):
            indices = [index % count for index in range(turn * times, (turn + 1) * times)]
            if times > 1:
                call(indices[0])
            clocks, begins = [time.process_time()], [time.perf_counter()]
            for index in indices:
                call(index)
                begins.append(time.perf_counter())
                clocks.append(time.process_time())
            wall[name].append(list(1e3 * np.diff(begins)))
            cpu[name].append(list(1e3 * np.diff(clocks)))
    return {
        name: {
            "calls": sum(map(len, wall[name])),
            "ms_p50": min(float(np.median(turn)) for turn in wall[name]),
            "ms_p50_all_rounds": float(np.median(np.concatenate(wall[name]))),
            "ms_p99": float(np.quantile(np.concatenate(wall[name]), 0.99)),
            "ms_least": min(map(min, wall[name])),
            "cpu_ms_p50": min(float(np.median(turn)) for turn in cpu[name]),
        }
        for name in methods
    }


def parts(deployed: DeployedAllocator, snapshots: Sequence[Snapshot]) -> dict[str, float]:
    """Median milliseconds of the stages of a call."""
    times: dict[str, list[float]] = {"check": [], "statistics": [], "network_and_balance": []}
    for snapshot in snapshots:
        begin = time.perf_counter()
        snapshot.check()
        checked = time.perf_counter()
        problem = coefficients([snapshot])
        known = time.perf_counter()
        deployed.powers(problem)
        times["check"].append(checked - begin)
        times["statistics"].append(known - checked)
        times["network_and_balance"].append(time.perf_counter() - known)
    return {name: 1e3 * float(np.median(values)) for name, values in times.items()}


def throughput(deployed: DeployedAllocator, snapshots: Sequence[Snapshot]) -> dict[str, float]:
    """Drops a second of whole batches: in one thread, and halves in two threads."""
    half = len(snapshots) // 2

    def both(pool: ThreadPoolExecutor) -> list[list[Allocated]]:
        return list(pool.map(deployed.many, [snapshots[:half], snapshots[half:]]))

    deployed.many(snapshots)
    wall, cpu, two = [], [], []
    with ThreadPoolExecutor(2) as pool:
        both(pool)
        for _ in range(5):
            clock, begin = time.process_time(), time.perf_counter()
            deployed.many(snapshots)
            wall.append(time.perf_counter() - begin)
            cpu.append(time.process_time() - clock)
            begin = time.perf_counter()
            both(pool)
            two.append(time.perf_counter() - begin)
    return {
        "drops_per_second_one_thread": len(snapshots) / float(np.median(wall)),
        "drops_per_cpu_second": len(snapshots) / float(np.median(cpu)),
        "drops_per_second": len(snapshots) / float(np.median(two)),
    }


def timed(allocator: Allocator[MaxMinSinrProblem], problem: MaxMinSinrProblem) -> dict[str, float]:
    """Milliseconds per drop of a whole batch."""
    allocate(problem.select(torch.arange(1)), allocator)
    clock, begin = time.process_time(), time.perf_counter()
    allocate(problem, allocator)
    wall, cpu = time.perf_counter() - begin, time.process_time() - clock
    return {"drops": problem.num_drops, "ms_mean": 1e3 * wall / problem.num_drops, "cpu_ms_mean": 1e3 * cpu / problem.num_drops}


def quality(deployed: DeployedAllocator, scenario: TrackingScenario, count: int) -> dict[str, Any]:
    """Smallest rates over those of the certified optimum, and the paths taken, on drops that are not proven infeasible."""
    drops = scenario.sample(count, generator=torch.Generator().manual_seed(SEED + 1))
    best = allocate(power_problem(drops, scenario), BatchedOptimal(gap=1e-3, tie="none"))
    answers = deployed.many([Snapshot.from_drop(drops, index, scenario) for index in range(count)])
    return judged(best, answers)


def judged(best: Allocation, answers: Sequence[Allocated]) -> dict[str, Any]:
    """Ratio of the smallest rates (capped at 1), per drop; strict counts a drop with a missed constraint as 0."""
    feasible = (best.status != Status.INFEASIBLE).numpy()
    rate = np.log2(1.0 + np.array([answer.sinr.min() for answer in answers]))
    ratio = np.minimum(rate / np.log2(1.0 + best.value.numpy()), 1.0)[feasible]
    missed = np.array([answer.path == "best_effort" for answer in answers])[feasible]
    paths = Counter(answer.path for answer, counts in zip(answers, feasible, strict=True) if counts)
    return {
        "drops": int(feasible.sum()),
        "ratio_mean": float(ratio.mean()),
        "ratio_p5": float(np.quantile(ratio, 0.05)),
        "ratio_worst": float(ratio.min()),
        "ratio_strict": float((ratio * ~missed).mean()),
        "missed_rows": int(missed.sum()),
        "paths": dict(paths),
    }


def summary(first: dict[str, Any]) -> dict[str, Any]:
    """The headline numbers, of the first size."""
    deployed = first["deployed"]
    return {
        "ms_p50_16": deployed["ms_p50"],
        "ms_p50_all_rounds_16": deployed["ms_p50_all_rounds"],
        "ms_p99_16": deployed["ms_p99"],
        "cpu_ms_p50_16": deployed["cpu_ms_p50"],
        "speedup_native": first["deployed_numpy"]["ms_p50_all_rounds"] / deployed["ms_p50_all_rounds"],
        "batch_speedup_native": deployed["drops_per_second"] / first["deployed_numpy"]["drops_per_second"],
        "speedup_vs_paper_16": first["opc_paper"]["ms_p50"] / deployed["ms_p50"],
        "speedup_vs_paper_all_rounds_16": first["opc_paper"]["ms_p50_all_rounds"] / deployed["ms_p50_all_rounds"],
        "speedup_vs_paper_16_cpu": first["opc_paper"]["cpu_ms_p50"] / deployed["cpu_ms_p50"],
        "drops_per_second_16": deployed["drops_per_second"],
        "ratio_16": first["quality"]["ratio_mean"],
        "ratio_p5_16": first["quality"]["ratio_p5"],
        "ratio_strict_16": first["quality"]["ratio_strict"],
        "ms_p50_refined_16": first["deployed_refined"]["ms_p50"],
        "ratio_refined_16": first["quality_refined"]["ratio_mean"],
        "ratio_p5_refined_16": first["quality_refined"]["ratio_p5"],
    }


if __name__ == "__main__":
    main()
