"""Time and worth of the allocation of large networks, from positions to judged powers, against the number of APs.

    python benchmarks/large_network.py --json runs/large.json                        # ten minutes on an idle core
    python benchmarks/large_network.py --json runs/large.json --plot docs/images/large_network.png
    python benchmarks/large_network.py --json runs/quick.json --sizes 400 1000 --repeats 1

As many UEs as APs, a twentieth as many targets, the paper's density, 32 pilots in blocks of 200 symbols, 4 dB of shadowing.
One thread; the least of `repeats` wall times and processor times for the same work, warm (imports and the first use of
every function are not counted). `seconds_10k` is the wall time at 10,000 APs, `slope_per_ap` the slope of log time against
log APs; the same of the processor's time, which other work on the machine disturbs less, stands beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from isac_torch.large.allocator import LargeAllocated, LargeAllocator, judged  # noqa: E402
from isac_torch.large.fractional import fractional_powers  # noqa: E402
from isac_torch.large.gains import Shadowing  # noqa: E402
from isac_torch.large.metrics import local_minimum  # noqa: E402
from isac_torch.large.problem import large_problem  # noqa: E402
from isac_torch.large.sample import sample_network  # noqa: E402
from isac_torch.tracking.scenario import TrackingScenario  # noqa: E402

SIZES = (400, 1000, 2500, 5000, 10_000)
SEED = 960_000_100
FRACTIONAL = ((0.0, 0.0), (0.2, 0.2), (0.5, 0.5), (-0.2, 0.0))


def main() -> None:
    """Run what the options ask for and write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--json", type=Path, required=True, help="file to write")
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES), help="numbers of APs")
    parser.add_argument("--repeats", type=int, default=3, help="runs a size, the fastest counts")
    parser.add_argument("--plot", type=Path, help="PNG to draw")
    options = parser.parse_args()
    result = measure(options.sizes, options.repeats)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=2) + "\n")
    if options.plot:
        draw(result["large"], options.plot)
    print(json.dumps({key: value for key, value in result.items() if not isinstance(value, dict)}, indent=2))


def measure(sizes: Sequence[int] = SIZES, repeats: int = 3) -> dict[str, Any]:
    """Times and worth of every size, the time at the largest, and the slopes."""
    allocator = LargeAllocator()
    allocator(sample_network(scenario_of(100), SEED), Shadowing(4.0, SEED))
    rows = {}
    for aps in sizes:
        rows[str(aps)] = measure_size(allocator, aps, repeats)
        print(f"{aps} APs: {json.dumps(rows[str(aps)])}", flush=True)
    name = "seconds_10k" if max(sizes) == 10_000 else f"seconds_{max(sizes)}"
    result: dict[str, Any] = {name: rows[str(max(sizes))]["wall_seconds"], f"cpu_{name}": rows[str(max(sizes))]["cpu_seconds"]}
    if len(sizes) > 1:
        for key, clock in (("slope_per_ap", "wall_seconds"), ("slope_per_ap_cpu", "cpu_seconds")):
            times = [rows[str(aps)][clock] for aps in sizes]
            result[key] = float(np.polyfit(np.log(sizes), np.log(times), 1)[0])
    return result | {"large": rows}


def scenario_of(aps: int) -> TrackingScenario:
    """The paper's density and chain with shared pilots."""
    return TrackingScenario(
        num_aps=aps, num_ues=aps, num_targets=max(aps // 20, 2), pilot_length=32, coherence_length=200, shadowing_db=4.0
    )


def measure_size(allocator: LargeAllocator, aps: int, repeats: int) -> dict[str, Any]:
    """One network: times, worth of the fair powers and of fractional power control."""
    scenario = scenario_of(aps)
    network, gains = sample_network(scenario, SEED + aps), Shadowing(scenario.shadowing_db, SEED)
    position = np.asarray(network.ue_position)
    wall, cpu = [], []
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        found = allocator(network, gains)
        wall.append(time.perf_counter() - start[0])
        cpu.append(time.process_time() - start[1])
    row: dict[str, Any] = {"wall_seconds": min(wall), "cpu_seconds": min(cpu), "wall_seconds_median": float(np.median(wall))}
    row |= {"ues": scenario.num_ues, "targets": scenario.num_targets, "fair": worth(found, position, scenario)}
    problem = large_problem(network, gains, allocator.settings)
    for exponents in FRACTIONAL:
        power = fractional_powers(problem, *exponents)
        row[f"fpc_{exponents[0]:g}_{exponents[1]:g}"] = worth(
            judged(problem, power, "fallback_fpc", time.perf_counter()), position, scenario
        )
    return row


def worth(found: LargeAllocated, position: NDArray[np.float64], scenario: TrackingScenario) -> dict[str, float]:
    """Rates (Mbit/s) that are certain, and targets that are not certain to reach SIR0."""
    rate = scenario.data_share * scenario.bandwidth * np.log2(1.0 + found.sinr) / 1e6
    load = np.bincount(found.link_ap, found.power, scenario.transmit_aps)
    return {
        "rate_p5": float(np.percentile(rate, 5)),
        "rate_median": float(np.median(rate)),
        "rate_mean": float(rate.mean()),
        "local_minimum_mean": float(local_minimum(position, rate).mean()),
        "missed_share": float(found.missed.mean()),
        "worst_sir_db": float(10.0 * np.log10(found.sir.min())),
        "largest_load": float((load / scenario.ap_power).max()),
        "mean_load": float((load / scenario.ap_power).mean()),
    }


def draw(rows: dict[str, Any], path: Path) -> None:
    """Time against APs, and the certain rates beside fractional power control."""
    import matplotlib.pyplot as plt

    aps = np.array([int(name) for name in rows])
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for clock, label, style in (("wall_seconds", "wall time", "o-"), ("cpu_seconds", "processor time", "s--")):
        left.loglog(aps, [row[clock] for row in rows.values()], style, label=label)
    last = rows[str(aps[-1])]["cpu_seconds"]
    left.loglog(aps, last * aps / aps[-1], ":", color="grey", label="proportional to APs")
    left.set(xlabel="APs (as many UEs, a twentieth as many targets)", ylabel="s, from positions to powers")
    left.set_xticks(aps, [f"{n:,}" for n in aps])
    left.minorticks_off()
    left.legend()
    names = {"fair": "fair powers", "fpc_0_0": "equal split", "fpc_0.5_0.5": "fractional, 0.5 and 0.5"}
    for (key, label), marker in zip(names.items(), "os^", strict=True):
        right.semilogx(aps, [row[key]["rate_p5"] for row in rows.values()], marker + "-", label=label)
    right.set(xlabel="APs", ylabel="5th percentile of the certain rate, Mbit/s", ylim=(0, 6.5))
    right.set_xticks(aps, [f"{n:,}" for n in aps])
    right.minorticks_off()
    right.legend(loc="upper left")
    for axes in (left, right):
        axes.grid(visible=True, which="major", alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
