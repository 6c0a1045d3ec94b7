"""What a receive AP loses that knows of near transmit APs and near targets only: SCNR, SICNR and detections, as JSON.

    python benchmarks/near_aps.py --json near_aps.json --picture docs/images/near_aps.png

Footnote 4 of Liesegang et al. lets a receive AP ignore far targets; equations (92) and (93) of docs/sensing.md do so for far
transmit APs too. Uniform power at the paper's density: 16 APs with 9 cells and 4 targets, 32 APs with 8 targets, 64 APs with
36 cells and 16 targets. The drops and blocks are the same for every number of APs and targets kept; differences are paired.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from isac_torch import TrackingScenario, power_problem
from isac_torch.allocators.tracking.heuristics import Fractional
from isac_torch.files import written_whole
from isac_torch.sensing.conditions import Nearby
from isac_torch.sensing.detection import CellDrop, sample_cells
from isac_torch.sensing.glrt import Glrt
from isac_torch.sensing.quality import assess
from isac_torch.tensors import to_db

FORMS: dict[Literal["single", "paper", "joint"], str] = {
    "single": "search of a cell",
    "paper": "tracking, as printed",
    "joint": "tracking, joint test",
}
KEPT = {16: (1, 2, 3, 4, 6, 8, 12), 64: (2, 4, 8, 12, 24, 48)}
"""Transmit APs that a receive AP knows, by the size of the network."""
OTHERS = {16: (0, 1, 2, 3), 32: (0, 1, 2, 3, 5, 7)}
"""Other targets that a joint test knows, by the size of the network."""


@dataclass(frozen=True)
class World:
    """Networks with uniform power.

    Attributes:
        cells: of the networks, whose targets are cells or targets.
        power: of every link, W.
    """

    cells: CellDrop
    power: Tensor


def world_of(size: int, num_drops: int, form: Literal["single", "paper", "joint"]) -> World:
    """Networks of `size` APs at the paper's density."""
    scenario = TrackingScenario(
        num_aps=size, num_ues=size, num_targets=size // 4, pilot_length=16, coherence_length=50, receive_assignment="nearest"
    )
    generator = torch.Generator().manual_seed(1)
    if form == "single":
        cells = sample_cells(scenario, replace(scenario.sensing, num_regions=9 * size // 16), num_drops, generator=generator)
    else:
        drop = scenario.sample(num_drops, generator=generator)
        cells = CellDrop(scenario, drop, drop.target_position)
    return World(cells, Fractional().propose(power_problem(cells.drop, cells.scenario)).power)


def judged(world: World, test: Glrt, num_blocks: int) -> dict[str, Tensor]:
    """Mean ratio of every target over the blocks, dB, and its detection probability: [drop, target]."""
    cells = world.cells
    setup = cells.scenario.sensing
    report = assess(
        cells.drop,
        cells.scenario,
        setup,
        world.power,
        test,
        num_blocks=num_blocks,
        seed=2,
        truth=cells.truth,
        with_miss=True,
    )
    assert report.miss is not None
    return {"ratio_db": to_db(report.quality.ratio.mean(1)), "detection": 1.0 - report.miss.mean(1)}


def row(found: dict[str, Tensor], full: dict[str, Tensor]) -> dict[str, float]:
    """Median ratio, mean detection probability, and what they lose against the full test, with the standard errors."""
    lost = {name: full[name].mean(1) - found[name].mean(1) for name in found}
    errors = {f"{name}_lost_error": float(value.std() / len(value) ** 0.5) for name, value in lost.items()}
    means = {f"{name}_lost": float(value.mean()) for name, value in lost.items()}
    return {"ratio_db": float(found["ratio_db"].median()), "detection": float(found["detection"].mean())} | means | errors


def of_aps(size: int, drops: int, blocks: int) -> dict[str, dict[int, dict[str, float]]]:
    """Rows of every form against the transmit APs kept; the joint test, which has a column for each target too, in 16 APs."""
    rows: dict[str, dict[int, dict[str, float]]] = {}
    for form in FORMS if size == 16 else ("single", "paper"):
        world = world_of(size, drops, form)
        full = judged(world, Glrt(form), blocks)
        tests = {kept: Glrt(form, near=Nearby(kept)) for kept in KEPT[size]}
        rows[form] = {kept: row(judged(world, test, blocks), full) for kept, test in tests.items()}
    return rows


def of_targets(size: int, drops: int, blocks: int) -> dict[int, dict[str, float]]:
    """Rows of the joint test of the 12 nearest APs against the other targets kept."""
    world = world_of(size, drops, "joint")
    full = judged(world, Glrt("joint"), blocks)
    return {kept: row(judged(world, Glrt("joint", near=Nearby(12, kept)), blocks), full) for kept in OTHERS[size]}


def draw(path: Path, aps: dict[int, Any], targets: dict[int, Any]) -> None:
    """Detections and ratios against the transmit APs kept, detections against the other targets kept."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 4), dpi=110, layout="constrained")
    axes = figure.subplots(1, 3)
    for colour, (form, name) in zip(("C0", "C1", "C2"), FORMS.items(), strict=True):
        for line, (size, rows) in zip(("-", "--"), aps.items(), strict=False):
            for axis, value in ((axes[0], "detection"), (axes[1], "ratio_db")):
                if form in rows:
                    label = f"{name}, {size} APs ({size * 3 // 4} transmit)"
                    values = [one[value] for one in rows[form].values()]
                    axis.plot(list(rows[form]), values, line, color=colour, marker=".", label=label)
    for line, (size, rows) in zip(("-", "--"), targets.items(), strict=False):
        values = [one["detection"] for one in rows.values()]
        axes[2].plot(list(rows), values, line, color="C2", marker=".", label=f"tracking, joint test, {size} APs")
    for axis in axes[:2]:
        axis.set_xscale("log", base=2)
        axis.set_xticks([1, 2, 4, 8, 16, 32], labels=["1", "2", "4", "8", "16", "32"])
        axis.set_xlabel("transmit APs that a receive AP knows")
    axes[0].set_ylabel("mean detection probability")
    axes[1].set_ylabel("median SCNR or SICNR (dB)")
    axes[2].set_xlabel("other targets that the test knows")
    axes[2].set_ylabel("mean detection probability")
    axes[2].xaxis.get_major_locator().set_params(integer=True)
    for axis in axes:
        axis.grid(alpha=0.3)
    axes[2].legend(fontsize=8)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8)
    with written_whole(path) as partial:
        figure.savefig(partial, metadata={"Software": None})


def main() -> None:
    """Measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drops", type=int, nargs=2, default=[100, 20], help="networks of 16 APs, and of more")
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    drops = {size: options.drops[size > 16] for size in (*KEPT, *OTHERS)}
    aps: dict[int, Any] = {}
    targets: dict[int, Any] = {}
    for size in KEPT:
        aps[size] = of_aps(size, drops[size], options.blocks)
        for form, rows in aps[size].items():
            show(f"{size} APs, {form}, APs kept", rows)
    for size in OTHERS:
        targets[size] = of_targets(size, drops[size], options.blocks)
        show(f"{size} APs, joint, other targets kept", targets[size])
    with written_whole(options.json) as partial:
        partial.write_text(json.dumps({"aps": aps, "targets": targets}, indent=1) + "\n", encoding="utf-8")
    if options.picture is not None:
        draw(options.picture, aps, targets)


def show(name: str, rows: dict[int, dict[str, float]]) -> None:
    """Print rows."""
    for kept, values in rows.items():
        print(name, kept, {key: round(value, 4) for key, value in values.items()}, flush=True)


if __name__ == "__main__":
    main()
