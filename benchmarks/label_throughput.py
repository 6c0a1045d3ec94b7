"""Core-seconds per drop of every optimal allocator, from the canonical problem to powers that are re-checked and certified.

    python benchmarks/label_throughput.py --json throughput.json                    # within 20 minutes on an idle core
    python benchmarks/label_throughput.py --json quick.json --drops 8 --slow-drops 2 --sizes 16x16x4

    python benchmarks/label_throughput.py --json pilot.json --sizes                      # the downlink-pilot system alone: a
    minute

One thread, warm, the same drops and the same gap for all, infeasible drops included; first stage only (the second stage of the
labels is a row of its own). The downlink-pilot system's solvers are timed the same way at its two sizes. `core_seconds` is wall
time times threads, `cpu_seconds` the processor's own time for the same run: they agree on an idle machine. Speed-ups are ratios
of means over the drops of the first size, orthogonal pilots.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import time
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import torch  # noqa: E402

from isac_torch.allocation import Allocation, Allocator, Status, allocate  # noqa: E402
from isac_torch.allocators.downlink_pilots.batched import BatchedMinMaxNmse  # noqa: E402
from isac_torch.allocators.downlink_pilots.classical import MinMaxNmse, PaperSca  # noqa: E402
from isac_torch.allocators.downlink_pilots.learned import DownlinkPilotFirstOrder  # noqa: E402
from isac_torch.allocators.tracking.batched import BatchedOptimal  # noqa: E402
from isac_torch.allocators.tracking.conic import ConicOptimal  # noqa: E402
from isac_torch.allocators.tracking.drop_by_drop import GlobalOptimal, PaperOpc  # noqa: E402
from isac_torch.downlink_pilots.build import power_problem as pilot_power_problem  # noqa: E402
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario  # noqa: E402
from isac_torch.tracking.build import power_problem  # noqa: E402
from isac_torch.tracking.scenario import TrackingScenario  # noqa: E402

GAP = 1e-3
ROADS = {
    "8x2": DownlinkPilotScenario(num_ues=2, downlink_symbols=10, uplink_symbols=10),
    "8x6": DownlinkPilotScenario(num_ues=6, downlink_symbols=14, uplink_symbols=6, crb_max=0.7),
}
THREADS = 1
PARTS = {
    "newton_system": ("newton.py", "linearise"),
    "newton_steps": ("interior_point.py", "advance"),
    "certificate": ("certificate.py", "upper_bound"),
    "best_sir_of_infeasible": ("feasibility.py", "largest_sir"),
    "clarabel": ("cones.py", "dinkelbach"),
    "reference": ("reference.py", "solve_drop"),
}


def main() -> None:
    """Run what the options ask for and write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--json", type=Path, required=True, help="file to write")
    parser.add_argument("--sizes", nargs="*", default=["16x16x4", "64x64x8"], help="APs x UEs x targets; the first counts")
    parser.add_argument(
        "--roads", nargs="*", choices=list(ROADS), default=list(ROADS), help="APs x UEs of the downlink-pilot system"
    )
    parser.add_argument("--drops", type=int, default=64, help="drops a size")
    parser.add_argument("--slow-drops", type=int, default=4, help="drops for CVXPY and Moreau above the first size")
    parser.add_argument("--seed", type=int, default=2024)
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    sizes = {size: measure_size(size, options, headline=size == options.sizes[0]) for size in options.sizes}
    roads = {name: measure_road(name, options) for name in options.roads}
    facts = {"gap": GAP, "threads": THREADS, "seed": options.seed}
    headline = summary(sizes[options.sizes[0]]) if sizes else {}
    result = {**headline, **road_summary(roads), **facts, "sizes": sizes, "roads": roads}
    options.json.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps({key: value for key, value in result.items() if key not in ("sizes", "roads")}, indent=2))


def measure_size(size: str, options: argparse.Namespace, *, headline: bool) -> dict[str, Any]:
    """Every allocator on one size, with orthogonal and with reused pilots (half as many)."""
    ues = int(size.split("x")[1])
    result = {}
    for pilots, length in (("orthogonal", ues), ("reused", max(1, ues // 2))):
        scenario = TrackingScenario.of_size(size, pilot_length=length)
        drop = scenario.sample(options.drops, generator=torch.Generator().manual_seed(options.seed))
        problem = power_problem(drop, scenario)
        few = problem if headline else problem.select(torch.arange(min(options.slow_drops, options.drops)))
        engine = BatchedOptimal(gap=GAP, tie="none")
        optimum, rows = timed(engine, problem)
        rows = {"opc_batched": rows | {"time_share": time_shares(engine, problem)}}
        rows["opc_batched_with_second_stage"] = timed(BatchedOptimal(gap=GAP), problem)[1]
        rows["opc_clarabel"] = timed(ConicOptimal("clarabel", GAP), problem)[1]
        rows["opc_moreau"] = timed(ConicOptimal("moreau", GAP), few)[1]
        rows["opc_global"] = timed(GlobalOptimal(gap=GAP, tie="none"), few)[1]
        for start in ("nearest_uniform", "slack_lp"):
            found, rows[f"opc_paper_{start}"] = timed(PaperOpc(start=start), few)
            rows[f"opc_paper_{start}"]["ratio_to_optimum_mean"] = ratio(found, optimum)
        result[pilots] = rows
        print(
            f"{size} {pilots}: " + ", ".join(f"{name} {1e3 * row['core_seconds']:.2f} ms" for name, row in rows.items()),
            flush=True,
        )
    return result


def measure_road(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Every solver of the downlink-pilot system on one of its sizes."""
    scenario = ROADS[name]
    drop = scenario.sample(options.drops, generator=torch.Generator().manual_seed(options.seed))
    problem = pilot_power_problem(drop, scenario)
    optimum, rows = timed(BatchedMinMaxNmse(gap=GAP), problem)
    result = {"nmse_batched": rows, "nmse_batched_uncertified": timed(BatchedMinMaxNmse(gap=GAP, max_boxes=0), problem)[1]}
    others: dict[str, Allocator[Any]] = {
        "nmse_optimal": MinMaxNmse(gap=GAP),
        "nmse_optimal_uncertified": MinMaxNmse(gap=GAP, max_boxes=0),
        "sca_paper": PaperSca(),
        "first_order": DownlinkPilotFirstOrder(),
    }
    for key, one in others.items():
        found, result[key] = timed(one, problem)
        result[key]["ratio_to_optimum_mean"] = ratio(found, optimum)
    times = ", ".join(f"{key} {1e3 * row['core_seconds']:.2f} ms" for key, row in result.items())
    print(f"{scenario.name}: {times}", flush=True)
    return result


def road_summary(roads: dict[str, Any]) -> dict[str, dict[str, float]]:
    """How many times less processor time than the others the batched engine takes, certificate included."""

    def faster(rows: dict[str, Any], name: str) -> float:
        return float(rows[name]["cpu_seconds"] / rows["nmse_batched"]["cpu_seconds"])

    return {
        "pilot_speedup_vs_paper_cpu": {name: faster(rows, "sca_paper") for name, rows in roads.items()},
        "pilot_speedup_vs_reference_cpu": {name: faster(rows, "nmse_optimal") for name, rows in roads.items()},
        "pilot_certified_share": {name: rows["nmse_batched"]["certified_share"] for name, rows in roads.items()},
    }


def timed(allocator: Allocator[Any], problem: Any) -> tuple[Allocation, dict[str, Any]]:
    """One warm run: the allocation, and core-seconds per drop with what is known of the answers."""
    allocate(problem.select(torch.arange(1)), allocator)
    wall, cpu = time.perf_counter(), time.process_time()
    found = allocate(problem, allocator)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    infeasible = found.status == Status.INFEASIBLE
    feasible, gap = ~infeasible, found.gap[~infeasible]
    certified = infeasible | (found.gap <= GAP)
    return found, {
        "drops": problem.num_drops,
        "core_seconds": wall * THREADS / problem.num_drops,
        "cpu_seconds": cpu / problem.num_drops,
        "gap_mean": float(gap.mean()) if len(gap) else 0.0,
        "gap_p99": float(gap.quantile(0.99)) if len(gap) else 0.0,
        "gap_max": float(gap.max()) if len(gap) else 0.0,
        "certified_share": float(certified.double().mean()),
        "infeasible": int(infeasible.sum()),
        "max_violation": float(found.violation[feasible].max()) if bool(feasible.any()) else 0.0,
    }


def ratio(found: Allocation, optimum: Allocation) -> float:
    """Mean ratio of the smallest SINR to the certified optimum's, over feasible drops."""
    best = Allocation(
        **{name: value[: len(found.value)] if name != "seconds" else value for name, value in vars(optimum).items()}
    )
    feasible = best.status != Status.INFEASIBLE
    return float((found.value / best.value)[feasible].mean())


def time_shares(allocator: Allocator[Any], problem: Any) -> dict[str, float]:
    """Share of a profiled run that each part of the engine takes, its callees included."""
    profile = cProfile.Profile()
    profile.runcall(allocate, problem, allocator)
    stats = pstats.Stats(profile)
    total = max(row[3] for row in stats.stats.values())  # type: ignore[attr-defined]
    shares = dict.fromkeys(PARTS, 0.0)
    for (path, _, function), row in stats.stats.items():  # type: ignore[attr-defined]
        for part, place in PARTS.items():
            if (Path(path).name, function) == place:
                shares[part] += row[3] / total
    return {part: round(share, 3) for part, share in shares.items() if share > 0.0}


def summary(size: dict[str, Any]) -> dict[str, Any]:
    """The headline numbers, of the first size."""
    orthogonal, reused = size["orthogonal"], size["reused"]
    engine = orthogonal["opc_batched"]
    starts = {start: orthogonal[f"opc_paper_{start}"]["ratio_to_optimum_mean"] for start in ("nearest_uniform", "slack_lp")}

    def faster(name: str, clock: str) -> float:
        return float(orthogonal[name][clock] / engine[clock])

    return {
        "speedup_vs_paper": faster("opc_paper_nearest_uniform", "core_seconds"),
        "speedup_vs_reference": faster("opc_global", "core_seconds"),
        "speedup_vs_clarabel": faster("opc_clarabel", "core_seconds"),
        "speedup_vs_moreau": faster("opc_moreau", "core_seconds"),
        "speedup_vs_paper_cpu": faster("opc_paper_nearest_uniform", "cpu_seconds"),
        "speedup_vs_reference_cpu": faster("opc_global", "cpu_seconds"),
        "gap_p99": engine["gap_p99"],
        "gap_mean": reused["opc_batched"]["gap_mean"],
        "certified_share": engine["certified_share"],
        "max_violation": max(engine["max_violation"], reused["opc_batched"]["max_violation"]),
        "ratio_paper_to_optimum_mean": starts,
    }


if __name__ == "__main__":
    main()
