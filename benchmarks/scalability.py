"""Operations and fronthaul numbers per AP and at the centre against the size of the network; growth exponents as JSON.

    python benchmarks/scalability.py --json scalability.json --picture docs/images/scalability.png

The density is that of the paper: K = M UEs and L = M / 4 targets, M / 4 receive APs. `slope` is the exponent e of "cost ~ M^e"
from the second size on: the first one has too few APs for its sets. Power control is counted by the operations of
the products that torch runs (`torch.utils.flop_counter`), where the sizes allow; its fronthaul by the ledger of
the policies at the APs (`isac_torch/nn/tracking/local_traffic.py`).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from isac_torch import TrackingScenario, named_allocator, power_problem
from isac_torch.evaluation.studies.liesegang_cases import Association
from isac_torch.evaluation.studies.network_load import Load, counted_load, expected_load, network_scenario, slope
from isac_torch.files import written_whole
from isac_torch.nn.checkpoint import load_network
from isac_torch.nn.tracking.local_network import DistributedNetwork
from isac_torch.nn.tracking.local_traffic import traffic
from isac_torch.propagation.geometry import distance
from isac_torch.tracking.drop import TrackingDrop
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.weights import shipped_weights

NEAR = 12
"""Transmit APs that a receive AP takes into account; the baseline of the paper has 12 in all."""
HEARS = 500.0
"""m; farther UEs are ignored by the policy at the APs."""
KINDS: tuple[tuple[str, Association, int | None], ...] = (
    ("utc", "utc", NEAR),
    ("utc_all", "utc", None),
    ("uc", "uc", None),
    ("tc", "tc", None),
    ("cf", "cf", None),
)
"""Name, association, and how many transmit APs a receive AP knows the signals of."""


def scenario_of(size: int) -> TrackingScenario:
    """The paper's density and numbers of links, pilots for 16 UEs."""
    return TrackingScenario(
        num_aps=size, num_ues=size, num_targets=size // 4, pilot_length=16, coherence_length=50, receive_assignment="balanced"
    )


def means(load: Load) -> dict[str, float]:
    """Mean and busiest AP of each kind, and the centre."""
    found = {"centre_operations": float(load.centre_operations.mean())}
    for name in ("transmit_operations", "transmit_fronthaul", "receive_operations", "receive_fronthaul"):
        value = getattr(load, name)
        found |= {name: float(value.mean()), f"{name}_busiest": float(value.amax(-1).mean())}
    return found


def of_associations(sizes: list[int], drops: int) -> dict[str, Any]:
    """Counted and expected loads of the four associations; `all` receive APs know every transmit AP's signal."""
    rows: dict[str, Any] = {}
    for kind, association, near in KINDS:
        counted, formula = [], []
        for size in sizes:
            scenario = network_scenario(scenario_of(size), association)
            drop = scenario.sample(drops, generator=torch.Generator().manual_seed(size))
            counted.append(means(counted_load(drop, scenario, association, near)))
            formula.append(means(expected_load(scenario, association, near)))
        names = [name for name in counted[0] if name != "centre_operations"]
        rows[kind] = {
            "counted": counted,
            "formula": formula,
            "slope": {name: slope(sizes[1:], [row[name] for row in counted[1:]]) for name in names},
        }
    return rows


def problem_of(size: int) -> tuple[TrackingDrop, MaxMinSinrProblem]:
    """One network of the paper's density and its power problem."""
    scenario = scenario_of(size)
    drop = scenario.sample(1, generator=torch.Generator().manual_seed(size))
    return drop, power_problem(drop, scenario)


def control_operations(sizes: list[int]) -> dict[str, Any]:
    """Operations of one drop's powers, per AP; fractional power control has two per link, and no product that is counted."""
    rows: dict[str, Any] = {}
    for name in ("opc_batched", "gnn"):
        values = []
        for size in sizes:
            problem, allocator = problem_of(size)[1], named_allocator(name)
            with FlopCounterMode(display=False) as counter:
                allocator.propose(problem)
            values.append(counter.get_total_flops() / size)
        rows[name] = {"counted": values, "slope": slope(sizes[1:], values[1:])}
    return rows


def control_fronthaul(sizes: list[int]) -> dict[str, Any]:
    """Numbers on an AP's link for one drop's powers: a centre that gets all coefficients, or four rounds at the APs."""
    policy = load_network(shipped_weights("distributed"), DistributedNetwork)[0]
    counted: dict[str, list[float]] = {name: [] for name in ("centre", "distributed_r4", "distributed_r4_500m")}
    for size in sizes:
        drop, problem = problem_of(size)
        everyone = traffic(policy, problem)
        here = traffic(policy, problem, distance(drop.ue_position, drop.tx_position) <= HEARS)
        counted["centre"].append(float(everyone.upload.mean()))
        for name, found in (("distributed_r4", everyone), ("distributed_r4_500m", here)):
            counted[name].append(float((found.once + 4.0 * found.each_round).mean()))
    return {name: {"counted": values, "slope": slope(sizes[1:], values[1:])} for name, values in counted.items()}


def draw(path: Path, sizes: list[int], rows: dict[str, Any], operations_sizes: list[int], control: dict[str, Any]) -> None:
    """Five panels: operations and fronthaul of the APs, and of power control; grey: the formulas."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(17, 3.6), dpi=110, layout="constrained")
    axes = figure.subplots(1, 5)
    panels = {
        "transmit_operations": "operations of a transmit AP",
        "receive_operations": "operations of a receive AP",
        "transmit_fronthaul": "numbers on a transmit AP's link",
    }
    for axis, (name, title) in zip(axes, panels.items(), strict=False):
        for kind, row in rows.items():
            axis.loglog(
                sizes, [value[name] for value in row["counted"]], marker=".", label=f"{kind} ({row['slope'][name]:.2f})"
            )
            axis.loglog(sizes, [value[name] for value in row["formula"]], ":", color="grey", linewidth=0.8)
        axis.set_title(title, fontsize=9)
    for axis, part, title in (
        (axes[3], "operations", "power control: operations per AP"),
        (axes[4], "fronthaul", "its numbers on a link"),
    ):
        where = operations_sizes if part == "operations" else sizes
        for name, row in control[part].items():
            axis.loglog(where, row["counted"], marker=".", label=f"{name} ({row['slope']:.2f})")
        axis.set_title(title, fontsize=9)
    for axis in axes:
        axis.set_xlabel("APs")
        marks = operations_sizes if axis is axes[3] else sizes
        axis.set_xticks(marks, labels=[str(size) for size in marks])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend(fontsize=6)
    with written_whole(path) as partial:
        figure.savefig(partial, metadata={"Software": None})


def main() -> None:
    """Count, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 64, 128, 256])
    parser.add_argument("--control-sizes", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--drops", type=int, default=4)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    rows = of_associations(options.sizes, options.drops)
    control = {"operations": control_operations(options.control_sizes), "fronthaul": control_fronthaul(options.sizes)}
    found = {"sizes": options.sizes, "associations": rows, "control_sizes": options.control_sizes, "power_control": control}
    with written_whole(options.json) as partial:
        partial.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if options.picture is not None:
        draw(options.picture, options.sizes, rows, options.control_sizes, control)
    for kind, row in rows.items():
        print(kind, {name: round(value, 3) for name, value in row["slope"].items()})
    for part, some in control.items():
        print(part, {name: round(row["slope"], 3) for name, row in some.items()})


if __name__ == "__main__":
    main()
