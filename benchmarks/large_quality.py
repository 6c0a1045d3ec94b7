"""How tight the bounds of large networks are, what the fairness changes, and how far certified optima are away.

    python benchmarks/large_quality.py --json runs/large_quality.json          # five minutes on an idle core

Bounds are compared with the dense physics at 400x400x20 and, at 2,500 APs, with all pairs listed.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from isac_torch.allocation import Status, allocate
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.deployment.snapshot import Snapshot
from isac_torch.large.fairness import fair_powers
from isac_torch.large.fractional import fractional_powers
from isac_torch.large.gains import MeasuredGains, Shadowing
from isac_torch.large.metrics import local_minimum
from isac_torch.large.problem import Settings, large_problem
from isac_torch.large.sample import sample_network
from isac_torch.large.sets import local_pilots
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.scenario import TrackingScenario

SEED = 960_000_100
WHOLE = Settings(ue_radius=5e4, target_radius=5e4, ue_reach=4, target_reach=4)
"""Everything is near, so that nothing is bounded but the errors of the table (0.1 %)."""


def main() -> None:
    """All comparisons, one after the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--json", type=Path, required=True, help="file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    result = {"tightness_400x400x20": against_dense(), "tightness_2500": against_whole()}
    result |= {"fairness_1000": by_fairness(), "optimum": against_optimum()}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def scenario_of(aps: int) -> TrackingScenario:
    """The networks of large_network.py."""
    return TrackingScenario(num_aps=aps, num_ues=aps, num_targets=aps // 20, pilot_length=32, coherence_length=200)


def against_dense() -> dict[str, Any]:
    """Fair and random powers at 400x400x20, judged by the dense physics in torch."""
    scenario = scenario_of(400)
    drop = scenario.sample(1, generator=torch.Generator().manual_seed(SEED))
    drop = replace(drop, pilot=torch.as_tensor(local_pilots(drop.ue_position[0].numpy(), scenario.pilot_symbols))[None])
    net = replace(Snapshot.from_drop(drop, 0, scenario), serving_ap=None)
    problem = large_problem(net, MeasuredGains(net.ue_gain, scenario.shadowing_db))
    dense = power_problem(replace(drop, serving_ap=torch.as_tensor(problem.users.serving_ap)[None]), scenario)
    rows: dict[str, Any] = {}
    for name, power in (
        ("fair", fair_powers(problem)),
        ("equal", fractional_powers(problem)),
        ("random", np.random.default_rng(SEED).exponential(0.3, len(problem.link_ap))),
    ):
        sinr, sir = (law(torch.as_tensor(power)[None])[0].numpy() for law in (dense.sinr, dense.sir))
        rows[name] = tightness(problem.sinr(power), sinr, problem.sir(power), sir)
        rows[name]["dense_violation"] = float(dense.violations(torch.as_tensor(power)[None]).worst)
    return rows


def against_whole() -> dict[str, Any]:
    """Fair powers of 2,500 APs, judged with every pair listed."""
    scenario = scenario_of(2500)
    net = sample_network(scenario, SEED)
    net = replace(net, pilot=local_pilots(np.asarray(net.ue_position), scenario.pilot_symbols))
    gains = Shadowing(scenario.shadowing_db, SEED)
    problem, whole = large_problem(net, gains), large_problem(net, gains, WHOLE)
    power = fair_powers(problem)
    return tightness(problem.sinr(power), whole.sinr(power), problem.sir(power), whole.sir(power))


def tightness(
    sinr: NDArray[np.float64], true_sinr: NDArray[np.float64], sir: NDArray[np.float64], true_sir: NDArray[np.float64]
) -> dict[str, Any]:
    """Bound over truth, and what becomes of the rate's 5th percentile (bit/s/Hz) and of the rows."""
    least = 10.0 ** (-5.0 / 10.0)
    return {
        "sinr_ratio_0_5_50_100": np.percentile(sinr / true_sinr, [0, 5, 50, 100]).round(4).tolist(),
        "sir_ratio_0_5_50_100": np.percentile(sir / true_sir, [0, 5, 50, 100]).round(4).tolist(),
        "rate_p5_bound": float(np.percentile(np.log2(1 + sinr), 5)),
        "rate_p5_true": float(np.percentile(np.log2(1 + true_sinr), 5)),
        "missed_bound": int((sir < least).sum()),
        "missed_true": int((true_sir < least).sum()),
        "rows": len(sir),
    }


def by_fairness() -> dict[str, Any]:
    """Certain rates (Mbit/s) at 1,000 APs for several fairness parameters."""
    scenario = scenario_of(1000)
    net = sample_network(scenario, SEED)
    problem = large_problem(net, Shadowing(scenario.shadowing_db, SEED))
    rows = {}
    for fairness, steps in ((1.0, 30), (1.5, 30), (2.0, 30), (3.0, 30), (3.0, 120), (4.0, 60), (8.0, 200)):
        power = fair_powers(problem, fairness, steps)
        rate = scenario.data_share * scenario.bandwidth * np.log2(1.0 + problem.sinr(power)) / 1e6
        local = local_minimum(np.asarray(net.ue_position), rate)
        rows[f"{fairness:g} in {steps} steps"] = {
            "smallest": float(rate.min()),
            "rate_p5": float(np.percentile(rate, 5)),
            "local_minimum_mean": float(local.mean()),
            "rate_mean": float(rate.mean()),
            "missed": int((problem.sir(power) < net.sir_min).sum()),
        }
    return rows


def against_optimum() -> dict[str, Any]:
    """Smallest SINR over the certified max-min optimum's, by the dense physics, on drops whose sensing constraints are met."""
    rows = {}
    for size, count in (("16x16x4", 16), ("64x64x8", 4)):
        scenario = TrackingScenario.of_size(size)
        drop = scenario.sample(count, generator=torch.Generator().manual_seed(SEED))
        dense = power_problem(drop, scenario)
        best = allocate(dense, BatchedOptimal(gap=1e-3, tie="none"))
        feasible = [index for index in range(count) if best.status[index] != Status.INFEASIBLE]
        for fairness, steps in ((1.0, 30), (2.0, 30), (3.0, 30), (8.0, 200)):
            ratio, violation = [], []
            for index in feasible:
                one = dense.select(torch.tensor([index]))
                problem = large_problem(Snapshot.from_drop(drop, index, scenario), None, WHOLE)
                power = torch.as_tensor(fair_powers(problem, fairness, steps))[None]
                ratio.append(float(one.objective(power) / best.value[index]))
                violation.append(float(one.violations(power).worst))
            met = np.array(violation) <= 1e-6
            rows[f"{size}, fairness {fairness:g} in {steps} steps"] = {
                "mean_ratio": float(np.array(ratio)[met].mean()),
                "worst_ratio": float(np.array(ratio)[met].min()),
                "drops": len(feasible),
                "drops_with_missed_rows": int((~met).sum()),
            }
    return rows


if __name__ == "__main__":
    main()
