"""Operations and fronthaul numbers per AP, per processing unit and at the centre against the network's size, as JSON.

    python benchmarks/scalability.py --json scalability.json --picture docs/images/scalability.png

The density is that of the paper: K = M UEs and L = M / 4 targets, M / 4 receive APs. `slope` is the exponent e of "cost ~ M^e"
from the second size on: the first one has too few APs for its sets. Power control at a centre is counted while it is computed,
where the sizes allow, and by formula (`isac_torch/evaluation/studies/centre_operations.py`), for all four associations; the
policies at the APs by their ledgers (`isac_torch/nn/tracking/local_operations.py` and `local_traffic.py`). A processing unit
has the 16 APs of its square.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import torch

from isac_torch import TrackingScenario, power_problem
from isac_torch.evaluation.studies.centre_counts import CENTRAL, count
from isac_torch.evaluation.studies.liesegang_cases import Association
from isac_torch.evaluation.studies.network_load import Load, counted_load, expected_load, network_scenario, slope
from isac_torch.evaluation.studies.network_units import counted_units, expected_units, shared_sides
from isac_torch.files import written_whole
from isac_torch.nn.checkpoint import load_network
from isac_torch.nn.tracking.local_network import DistributedNetwork
from isac_torch.nn.tracking.local_operations import drawn_sets, expected_sets, operations
from isac_torch.nn.tracking.local_traffic import traffic
from isac_torch.propagation.geometry import distance
from isac_torch.weights import shipped_weights

NEAR = 12
"""Transmit APs that a receive AP takes into account; the baseline of the paper has 12 in all."""
HEARS = 500.0
"""m; farther UEs are ignored by the policy at the APs."""
KINDS: tuple[tuple[str, str, Association, int | None], ...] = (
    ("utc", f"user- and target-centric, {NEAR} near APs known", "utc", NEAR),
    ("utc_all", "user- and target-centric, all APs known", "utc", None),
    ("uc", "user-centric", "uc", None),
    ("tc", "target-centric", "tc", None),
    ("cf", "cell-free: all APs serve and sense", "cf", None),
)
"""Name, words, association, and how many transmit APs a receive AP's test knows."""
CONTROL = {
    "fractional": "fractional power control",
    "opc_paper": "Algorithm 1, at a centre",
    "opc_batched": "certified optimum, at a centre",
    "gnn": "network, at a centre",
    "centre": "all coefficients to a centre",
    "distributed_r4": "policy at the APs, 4 rounds",
    "distributed_r4_500m": "policy at the APs, 4 rounds, UEs within 500 m",
}
"""Words for the kinds of power control."""
ASSOCIATIONS: tuple[Association, ...] = ("utc", "uc", "tc", "cf")
UNIT = 16
"""APs of a processing unit."""


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
    for kind, _, association, near in KINDS:
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


def of_units(sizes: list[int], drops: int) -> dict[str, Any]:
    """Counted and expected numbers of processing units, and what they send to others over each side that they share."""
    rows: dict[str, Any] = {}
    for kind, _, association, near in KINDS:
        counted: list[dict[str, float]] = []
        formula: list[dict[str, float]] = []
        for size in sizes:
            scenario, per_side = network_scenario(scenario_of(size), association), round((size / UNIT) ** 0.5)
            drop = scenario.sample(drops, generator=torch.Generator().manual_seed(size))
            sides = max(shared_sides(per_side), 1.0)
            for values, load in (
                (counted, counted_units(drop, scenario, association, per_side, near)),
                (formula, expected_units(scenario, association, per_side, near)),
            ):
                value = {name: float(getattr(load, name).mean()) for name in ("to_aps", "to_units", "operations")}
                values.append(value | {"over_each_side": value["to_units"] / sides})
        slopes = {name: slope(sizes[1:], [row[name] for row in counted[1:]]) for name in counted[0]}
        rows[kind] = {"counted": counted, "formula": formula, "slope": slopes}
    return rows


def curve(sizes: list[int], counted: list[float], formula: list[float] | None = None) -> dict[str, Any]:
    """A row of the JSON file."""
    return {"sizes": sizes, "counted": counted, "formula": formula, "slope": slope(sizes[1:], counted[1:])}


def of_centre(sizes: dict[str, list[int]]) -> dict[str, dict[str, Any]]:
    """Operations of one network's powers at a centre over the number of APs, per allocator and association."""
    rows: dict[str, dict[str, Any]] = {}
    for name in CENTRAL:
        rows[name] = {}
        for association in ASSOCIATIONS:
            found = [count(name, scenario_of(size), association, size) for size in sizes[name]]
            per_ap = [
                [one / size for one, size in zip(values, sizes[name], strict=True)]
                for values in ([one.counted for one in found], [one.formula for one in found])
            ]
            growth = slope(sizes[name], per_ap[0])
            iterations = [one.iterations for one in found]
            rows[name][association] = {
                "sizes": sizes[name],
                "counted": per_ap[0],
                "formula": per_ap[1],
                "iterations": iterations,
                "slope": growth,
            }
            print(name, association, rows[name][association], flush=True)
    return rows


def control(sizes: list[int], drops: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Operations of an AP, and numbers on its link, of fractional power control and of four rounds of the policy at the APs."""
    policy = load_network(shipped_weights("distributed"), DistributedNetwork)[0]
    work: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in CONTROL}
    sent: dict[str, list[float]] = {name: [] for name in ("centre", "distributed_r4", "distributed_r4_500m")}
    for size in sizes:
        scenario = scenario_of(size)
        found: dict[str, list[float]] = {name: [] for name in CONTROL}
        upload: dict[str, list[float]] = {name: [] for name in sent}
        for seed in range(drops):
            drop = scenario.sample(1, generator=torch.Generator().manual_seed(size + seed))
            problem = power_problem(drop, scenario)
            hears = distance(drop.ue_position, drop.tx_position) <= HEARS
            for name, pairs in (("distributed_r4", None), ("distributed_r4_500m", hears)):
                sets, numbers = drawn_sets(problem, pairs), traffic(policy, problem, pairs)
                found[name].append(float(operations(policy, sets).of_rounds(4).mean()))
                upload[name].append(float((numbers.once + 4.0 * numbers.each_round).mean()))
            found["fractional"].append(2.0 * problem.num_links / problem.num_aps)
            upload["centre"].append(float(numbers.upload.mean()))
        counts = (scenario.transmit_aps, scenario.num_ues, scenario.num_targets)
        links = (scenario.serving_links, scenario.sensing_links)
        for name, share in (("distributed_r4", 1.0), ("distributed_r4_500m", near_share(HEARS / scenario.side))):
            sets = expected_sets(counts, links, share, float(scenario.num_targets))
            work[name][1].append(float(operations(policy, sets).of_rounds(4)))
        work["fractional"][1].append(2.0 * (counts[1] * links[0] + counts[2] * links[1]) / counts[0])
        for name in found:
            work[name][0].extend([sum(found[name]) / drops] if found[name] else [])
        for name, values in upload.items():
            sent[name].append(sum(values) / drops)
    done = {name: curve(sizes, *values) for name, values in work.items() if values[0]}
    return done, {name: curve(sizes, values) for name, values in sent.items()}


def near_share(radius: float) -> float:
    """Share of pairs of random points in a square of side 1 that are at most `radius` apart; all of them beyond its side."""
    return math.pi * radius**2 - 8.0 / 3.0 * radius**3 + radius**4 / 2.0 if radius < 1.0 else 1.0


def draw(path: Path, sizes: list[int], found: dict[str, Any]) -> None:
    """Above: costs of the APs; below: power control and processing units. Dotted: the formulas."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    figure = Figure(figsize=(18, 8.5), dpi=100, layout="constrained")
    axes = figure.subplots(2, 4)
    panels = (
        (axes[0, 0], "associations", "transmit_operations", "operations of a transmit AP"),
        (axes[0, 1], "associations", "receive_operations", "operations of a receive AP"),
        (axes[0, 2], "associations", "transmit_fronthaul", "numbers on a transmit AP's link"),
        (axes[0, 3], "associations", "receive_fronthaul", "numbers on a receive AP's link"),
        (axes[1, 2], "units", "to_aps", f"numbers between a processing unit and its {UNIT} APs"),
        (axes[1, 3], "units", "over_each_side", "numbers between two neighbouring units"),
    )
    words = {kind: text for kind, text, *_ in KINDS}
    for axis, part, name, title in panels:
        for i, (kind, row) in enumerate(found[part].items()):
            first = 1 if name == "over_each_side" else 0  # one unit has no neighbour
            for key, line in (("counted", ".-"), ("formula", ":")):
                label = f"{words[kind]}: {row['slope'][name]:.2f}" if key == "counted" else None
                axis.loglog(sizes[first:], [value[name] for value in row[key][first:]], line, color=f"C{i}", label=label)
        axis.set_title(title, fontsize=10)
    for axis, part, title in (
        (axes[1, 0], "operations", "power control: operations per AP"),
        (axes[1, 1], "fronthaul", "power control: numbers on an AP's link"),
    ):
        for i, (name, row) in enumerate(found["power_control"][part].items()):
            axis.loglog(row["sizes"], row["counted"], ".-", color=f"C{i}", label=f"{CONTROL[name]}: {row['slope']:.2f}")
            if row["formula"] is not None:
                axis.loglog(row["sizes"], row["formula"], ":", color=f"C{i}")
        axis.set_title(title, fontsize=10)
    for axis in axes.flat:
        low, high = axis.get_ylim()
        axis.set_ylim(low, high * (high / low) ** 0.45)  # room for the legend
        axis.set_xlabel("APs")
        axis.set_xticks(sizes, labels=[str(size) for size in sizes])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7, loc="upper left", title="growth exponent", title_fontsize=7)
    with written_whole(path) as partial:
        figure.savefig(partial, metadata={"Software": None})


def main() -> None:
    """Count, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 64, 144, 256])
    parser.add_argument("--control-sizes", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--paper-sizes", type=int, nargs="+", default=[16, 24], help="of Algorithm 1, whose cones take minutes")
    parser.add_argument("--drops", type=int, default=4)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    work, sent = control(options.sizes, options.drops)
    centre = of_centre(dict.fromkeys(CENTRAL, options.control_sizes) | {"opc_paper": options.paper_sizes})
    found: dict[str, Any] = {
        "sizes": options.sizes,
        "associations": of_associations(options.sizes, options.drops),
        "units": of_units(options.sizes, options.drops),
        "power_control": {"operations": work | {name: row["utc"] for name, row in centre.items()}, "fronthaul": sent},
        "centre": centre,
    }
    with written_whole(options.json) as partial:
        partial.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if options.picture is not None:
        draw(options.picture, options.sizes, found)
    for part in ("associations", "units"):
        for kind, row in found[part].items():
            print(part, kind, {name: round(value, 3) for name, value in row["slope"].items()})
    for part, some in found["power_control"].items():
        print("power control,", part, {name: round(row["slope"], 3) for name, row in some.items()})


if __name__ == "__main__":
    main()
