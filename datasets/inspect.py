"""What a data set holds, and whether all of it is still true: `isac-torch dataset info|verify`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isac_torch.allocation import FEASIBILITY_TOLERANCE, Status
from isac_torch.datasets.manifest import MANIFEST, Manifest, read_manifest
from isac_torch.datasets.shards import Shard, read_shard
from isac_torch.errors import DatasetError
from isac_torch.systems import AnySystem
from isac_torch.tensors import tensor_fields
from isac_torch.variants import scenario_variant

_VALUE_TOLERANCE = 1e-9  # stored value against the recomputed one, relative: the same sums, perhaps on another processor


def info(path: str | Path) -> None:
    """Print `describe`. Raises DatasetError as it does."""
    sys.stdout.write(describe(path) + "\n")


def verify(path: str | Path) -> None:
    """Check everything and print one line. Raises DatasetError as `check_dataset` does."""
    sys.stdout.write(check_dataset(path) + "\n")


def describe(path: str | Path) -> str:
    """Counts, sizes, statuses, certified gaps and fields of a data set (or of a single shard), as text.

    Raises:
        DatasetError: one line, where the path holds no data set or one of its shards is damaged.
    """
    target = Path(path)
    if target.suffix == ".h5":
        shard = read_shard(target)
        config = json.loads(shard.header.config)
        if "scenario" not in config:
            raise DatasetError(f"{target}: its header names no scenario; generate it anew")
        title = f"{target}: shard {shard.header.index}, seed {shard.header.drop_seed}"
        return "\n".join([title, *_table([shard], {0: config["scenario"]}, [0]), "", *_field_lines(shard)])
    manifest = read_manifest(target)
    recipe = json.loads(manifest.recipe)
    names = sorted(manifest.shards)
    shards = [read_shard(target / name, digest=manifest.shards[name]["sha256"]) for name in names]
    drops = sum(shard.num_drops for shard in shards)
    last = recipe["seed"] + manifest.num_shards - 1
    lines = [
        f"{target}: {drops} drops in {len(names)} of {manifest.num_shards} shards, seeds {recipe['seed']}..{last}",
        f"labelled by {recipe['allocator']}",
        f"software {', '.join(f'{name} {version}' for name, version in recipe['software'].items())}",
    ]
    if manifest.num_missing:
        lines.append("unfinished: run the same `isac-torch generate` again")
    owners = [manifest.shards[name]["scenario"] for name in names]
    lines += ["", *_table(shards, dict(enumerate(recipe["scenarios"])), owners)]
    return "\n".join([*lines, "", *(_field_lines(shards[0]) if shards else [])])


def _table(shards: list[Shard], scenarios: dict[int, dict[str, Any]], owners: list[int]) -> list[str]:
    if not shards:
        return []
    system = shards[0].system
    heads = [
        "size class",
        "drops",
        *(status.name.lower() for status in Status),
        "gap mean",
        "gap p99",
        system.value_column[0],
        system.reach_column[0],
    ]
    rows = [heads]
    for place in sorted(set(owners)):
        mine = [shard for shard, owner in zip(shards, owners, strict=True) if owner == place]
        label = {name: torch.cat([shard.label[name] for shard in mine]) for name in mine[0].label}
        status = label["status"]
        shares = [f"{float((status == kind).double().mean()):.1%}" for kind in Status]
        name = _scenario_name(system, scenarios[place])
        rows.append([name, str(status.numel()), *shares, *_gap_cells(label, system), _reach_cell(label, system)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def _scenario_name(system: AnySystem, entries: dict[str, Any]) -> str:
    """Name of the scenario with these parameters, as a recipe stores them. ScenarioError where there is none such."""
    if "class_path" in entries:  # of a class outside the package
        return str(entries.get("name"))
    return str(scenario_variant(system.scenario(), entries).name)


def _gap_cells(label: dict[str, Tensor], system: AnySystem) -> list[str]:
    """Mean and 99th percentile of the certified relative gap, median objective; all over feasible drops."""
    feasible = label["status"] <= Status.FEASIBLE
    known = feasible & label["upper_bound"].isfinite()
    if not bool(feasible.any()):
        return ["-", "-", "-"]
    value = f"{float(system.value_column[1](label['value'][feasible].median())):.2f}"
    if not bool(known.any()):
        return ["-", "-", value]
    gap = ((label["upper_bound"] - label["value"]) / label["upper_bound"])[known]
    return [f"{float(gap.mean()):.1e}", f"{float(gap.quantile(0.99)):.1e}", value]


def _reach_cell(label: dict[str, Tensor], system: AnySystem) -> str:
    """Median of the best sensing that infeasible drops can reach."""
    best = label["best_quality"][label["status"] == Status.INFEASIBLE]
    best = best[best.isfinite()]
    return f"{float(system.reach_column[1](best.median())):.2f}" if best.numel() else "-"


def _field_lines(shard: Shard) -> list[str]:
    lines = []
    for group, tensors in (("drop", shard.drop), ("problem", tensor_fields(shard.problem)), ("label", shard.label)):
        for name, value in tensors.items():
            field = shard.system.fields[f"{group}/{name}"]
            kind = str(value.dtype).removeprefix("torch.")
            lines.append(f"{group + '/' + name:<23} {kind:<8} [{', '.join(field.axes)}]  {field.unit}")
    return lines


def check_dataset(path: str | Path) -> str:
    """Verify every checksum, field and label of a finished data set (or of a single shard).

    Labels are judged anew by the problem's own constraints and objective: a feasible one keeps them within 1e-6, its value
    is what the problem says, and no value exceeds its certified bound.

    Returns:
        One line saying what was checked.

    Raises:
        DatasetError: one line naming the shard, the finding and the remedy.
    """
    target = Path(path)
    if target.suffix == ".h5":
        shard = read_shard(target)
        _check_labels(shard, target)
        return f"{target}: {shard.num_drops} drops whole, labels feasible and within their bounds"
    manifest = read_manifest(target)
    manifest.check_finished(target)
    drops = 0
    for name in sorted(manifest.shards):
        shard = read_shard(target / name, digest=manifest.shards[name]["sha256"])
        _check_origin(shard, manifest, target / name)
        _check_labels(shard, target / name)
        drops += shard.num_drops
    strangers = sorted(file.name for file in target.glob("*.h5") if file.name not in manifest.shards)
    if strangers:
        raise DatasetError(f"{target / strangers[0]}: not in {MANIFEST}; move it away")
    return f"{target}: {drops} drops in {len(manifest.shards)} shards whole, labels feasible and within their bounds"


def _check_origin(shard: Shard, manifest: Manifest, path: Path) -> None:
    if shard.header.fingerprint != manifest.fingerprint:
        raise DatasetError(
            f"{path}: made by recipe {shard.header.fingerprint:.12}, its folder by {manifest.fingerprint:.12}; generate it anew"
        )
    if shard.num_drops != manifest.shards[path.name]["num_drops"]:
        raise DatasetError(f"{path}: holds {shard.num_drops} drops, not as many as {MANIFEST} says; generate it anew")


def _check_labels(shard: Shard, path: Path) -> None:
    problem, label = shard.problem, shard.label
    violation, value = problem.violations(label["power"]).worst, problem.objective(label["power"])
    feasible = label["status"] <= Status.FEASIBLE
    findings = {
        "breaks a constraint although its status says feasible": feasible & ~(violation <= FEASIBILITY_TOLERANCE),
        "has a value that its powers do not give": ~((value - label["value"]).abs() <= _VALUE_TOLERANCE * value.abs()),
        "exceeds its certified bound": feasible & (value > label["upper_bound"] * (1.0 + FEASIBILITY_TOLERANCE)),
        "has an unknown status": ~torch.isin(label["status"], torch.tensor(list(Status))),
    }
    for finding, where in findings.items():
        if bool(where.any()):
            raise DatasetError(f"{path}: the label of drop {int(where.nonzero()[0])} {finding}; generate the shard anew")
