"""Rows of the leaderboard: a run on the public test drops is checked and becomes a line of JSON per allocator."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from isac_torch.allocation import FEASIBILITY_TOLERANCE, Status, allocate
from isac_torch.errors import IsacError
from isac_torch.files import write_whole
from isac_torch.systems import TRACKING
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.variants import scenario_variant

PUBLIC = Path(__file__).parents[1] / "configs" / "evaluate" / "public.yaml"
"""What must be run."""
_CHECKED_DROPS = 10
"""Drops of every setting whose optimum is computed anew."""
_DIFFERENCE_DB = 0.02
"""Of an optimum from the one computed anew: four times the certified gap of both."""
_KEYS = (
    "min_rate_ratio_mean",
    "min_rate_ratio_p5",
    "min_rate_ratio_worst",
    "min_rate_ratio_valid_mean",
    "valid_drop_share",
    "ms_per_drop",
)
_COLUMNS = (("strict", 3), ("ratio", 0), ("5 %", 1), ("worst", 2))


@dataclass(frozen=True)
class PublicSetting:
    """One setting of the public test.

    Attributes:
        name: of its folder in the run.
        scenario: its network.
        num_drops: drops in it.
        seed: of the drops.
    """

    name: str
    scenario: TrackingScenario
    num_drops: int
    seed: int


def public_settings() -> list[PublicSetting]:
    """The settings of `PUBLIC`."""
    asked = yaml.safe_load(PUBLIC.read_text())
    base = scenario_variant(TrackingScenario(), asked["scenario"])
    return [
        PublicSetting(
            each["name"],
            scenario_variant(base, each.get("scenario", {})),
            each.get("num_drops", asked["num_drops"]),
            asked["seed"],
        )
        for each in asked["settings"]
    ]


def submitted(run: Path, author: str) -> list[dict[str, Any]]:
    """A row for each allocator of a run, after its checks.

    The run must hold every setting with the public scenario, seed and number of drops; its tables must follow from its drops;
    no allocator may contradict a certificate; and the optima of the first drops must be those computed here.

    Args:
        run: output folder of `isac-torch evaluate --config evaluate/public`.
        author: who submits it.

    Raises:
        IsacError: one line, where a file is missing or a check fails.
    """
    summaries, contexts = (_read(run / name).get("settings", {}) for name in ("summary.json", "provenance.json"))
    rows: dict[str, dict[str, Any]] = {}
    for setting in public_settings():
        if setting.name not in summaries or setting.name not in contexts:
            raise IsacError(f"{run}: setting {setting.name!r} is missing; run isac-torch evaluate --config evaluate/public")
        summary, context = summaries[setting.name], contexts[setting.name]
        _check_context(run, setting, summary, context)
        _check_drops(run / setting.name, setting, summary)
        for name, values in summary["allocators"].items():
            row = rows.setdefault(name, {"author": author, "allocator": name, "settings": {}})
            row |= {"version": context["version"], "weights": (context.get("weights") or {}).get("sha256")}
            row["settings"][setting.name] = {key: values[key] for key in _KEYS}
    return [row for row in rows.values() if len(row["settings"]) == len(public_settings())]


def submit(run: Path, board: Path, author: str) -> str:
    """Check a run, add its rows to the file `board` (JSON lines; a row of the same author and allocator is replaced)."""
    new = submitted(run, author)
    names = {(row["author"], row["allocator"]) for row in new}
    kept = [row for row in read_board(board) if (row["author"], row["allocator"]) not in names] if board.exists() else []
    write_whole(board, "".join(json.dumps(row, sort_keys=True) + "\n" for row in [*kept, *new]))
    return shown(board)


def read_board(board: Path) -> list[dict[str, Any]]:
    """Rows of a leaderboard. IsacError where the file is none."""
    try:
        rows = [json.loads(line) for line in board.read_text().splitlines() if line.strip()]
        _ = [row["settings"][setting.name]["min_rate_ratio_mean"] for row in rows for setting in public_settings()]
    except OSError as error:
        raise IsacError(f"{board}: cannot be read ({error.strerror}); write it with isac-torch leaderboard submit") from None
    except (ValueError, KeyError, TypeError):
        raise IsacError(f"{board}: holds a line that is no row of this leaderboard; write it with leaderboard submit") from None
    return rows


def shown(board: Path) -> str:
    """The leaderboard as a Markdown table, best strict mean over all settings first."""
    settings = [setting.name for setting in public_settings()]
    head = ["allocator", "author", *(f"{name}: {column}" for name in settings for column, _ in _COLUMNS)]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in sorted(read_board(board), key=_strict, reverse=True):
        values = [row["settings"][name].get(_KEYS[index]) for name in settings for _, index in _COLUMNS]
        cells = [row["allocator"], row["author"], *("-" if value is None else f"{value:.3f}" for value in values)]
        lines.append(f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |")
    return "\n".join(lines)


def _strict(row: dict[str, Any]) -> float:
    values = [setting["min_rate_ratio_valid_mean"] or 0.0 for setting in row["settings"].values()]
    return sum(values) / len(values)


def _check_context(run: Path, setting: PublicSetting, summary: dict[str, Any], context: dict[str, Any]) -> None:
    same = _same_scenario(context.get("scenario"), setting.scenario)
    if not same or context.get("seed") != setting.seed or summary.get("num_drops") != setting.num_drops:
        raise IsacError(f"{run}: {setting.name} is not the public setting; change nothing but allocators and checkpoint")
    wrong = [name for name, count in context.get("contradictions", {}).items() if count]
    if wrong:
        raise IsacError(f"{run}: {setting.name}: {wrong[0]} beats a certificate, so a number of it is wrong; report this run")


def _same_scenario(stored: Any, scenario: TrackingScenario) -> bool:
    """Fields that the version which ran did not have yet count as their defaults."""
    try:
        known = TrackingScenario.from_mapping(stored)
    except (IsacError, TypeError, AttributeError):
        return False
    return json.dumps(asdict(known)) == json.dumps(asdict(scenario))


def _check_drops(folder: Path, setting: PublicSetting, summary: dict[str, Any]) -> None:
    """The table follows from drops.csv, and the optima in there from the public drops."""
    try:
        lines = list(csv.DictReader((folder / "drops.csv").read_text().splitlines()))
    except OSError as error:
        raise IsacError(f"{folder}/drops.csv: {error.strerror}; keep the folders of the settings in the run") from None
    for name, row in summary["allocators"].items():
        ratios = [_ratio(line) for line in lines if line["allocator"] == name and line["kind"] == "feasible"]
        mean, stated = sum(ratios) / max(len(ratios), 1), row["min_rate_ratio_mean"]
        if stated is None or not math.isclose(mean, stated, rel_tol=1e-4, abs_tol=1e-4):
            raise IsacError(
                f"{folder}: mean ratio of {name} is {mean:.4f} by drops.csv, but {stated} in summary.json; run again"
            )
    first = {int(line["drop"]): line["optimal_min_sinr_db"] for line in lines}
    for drop, expected in enumerate(_optima(setting)):
        stored = first.get(drop)
        if stored and expected is not None and abs(float(stored) - expected) > _DIFFERENCE_DB:
            raise IsacError(
                f"{folder}: the optimum of drop {drop} is {expected:.3f} dB here, {stored} dB in the run; run it again"
            )


def _ratio(line: dict[str, str]) -> float:
    """The ratio as tables count it: at most 1 where a constraint is violated."""
    ratio = float(line["min_rate_ratio"])
    return ratio if float(line["violation"]) <= FEASIBILITY_TOLERANCE else min(ratio, 1.0)


def _optima(setting: PublicSetting) -> list[float | None]:
    """Smallest SINR, dB, of the certified optimum of the first drops; None where there is none."""
    drop = TRACKING.sample(setting.scenario, setting.num_drops, torch.Generator().manual_seed(setting.seed))
    problem = TRACKING.power_problem(drop.select(torch.arange(min(_CHECKED_DROPS, setting.num_drops))), setting.scenario)
    found = allocate(problem, TRACKING.labeller())
    return [
        10.0 * math.log10(value) if status == Status.OPTIMAL else None
        for value, status in zip(found.value.tolist(), found.status.tolist(), strict=True)
    ]


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        raise IsacError(f"{path}: not readable; give the output folder of isac-torch evaluate") from None
    return content if isinstance(content, dict) else {}
