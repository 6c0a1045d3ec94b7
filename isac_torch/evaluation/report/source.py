"""What a report is made of: an evaluation's files and a training's event files, read and checked."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from isac_torch.errors import CheckpointError, IsacError
from isac_torch.evaluation.card import weights_facts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_MOST_POINTS = 500
"""Points of a training curve that are drawn; TensorBoard's reader picks them evenly at random beyond that."""

_COUNTS = ("num_drops", "infeasible", "outage")


@dataclass(frozen=True)
class Setting:
    """One setting of an evaluation.

    Attributes:
        name: of the network and its SIR0.
        summary: its part of summary.json.
        context: provenance.json; empty where it is missing.
        lines: of drops.csv; empty where it is missing.
        pictures: PNG files by name.
    """

    name: str
    summary: dict[str, Any]
    context: dict[str, Any] = field(default_factory=dict)
    lines: tuple[dict[str, str], ...] = ()
    pictures: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Training:
    """One training run.

    Attributes:
        name: its folder, as seen from the report's.
        curves: (step, value) pairs by tag.
        config: its YAML file; empty where it is missing.
        weights: see `weights_facts`; None where the run has not ended, or its weights cannot be read any more.
    """

    name: str
    curves: dict[str, list[tuple[int, float]]]
    config: str
    weights: dict[str, Any] | None


@dataclass(frozen=True)
class Source:
    """Everything below one folder that can be reported."""

    settings: tuple[Setting, ...]
    trainings: tuple[Training, ...]


def read_run(folder: Path) -> Source:
    """What `folder` holds: an evaluation (summary.json), training runs in it or up to two folders below, or both.

    Raises:
        IsacError: one line, if it is no folder, holds neither, or a file of it is damaged.
    """
    if not folder.is_dir():
        raise IsacError(f"{folder}: no such folder; give the --output of isac-torch evaluate or of isac-torch train")
    settings = _settings(folder) if (folder / "summary.json").is_file() else ()
    trainings = tuple(_training(path, folder) for path in _training_folders(folder))
    if not settings and not trainings:
        raise IsacError(f"{folder}: holds no evaluation (summary.json) and no training (logs/); give the folder of a run")
    return Source(settings, trainings)


def _settings(folder: Path) -> tuple[Setting, ...]:
    summary = _json(folder / "summary.json")
    _check_system(folder, summary)
    if "settings" not in summary:
        context = _json(folder / "provenance.json", missing={})
        return (
            _setting(
                folder, str(context.get("setting", context.get("scenario_name", folder.resolve().name))), summary, context
            ),
        )
    several = summary["settings"]
    if not isinstance(several, dict) or not several:
        raise IsacError(f"{folder / 'summary.json'}: settings holds no setting; run isac-torch evaluate again")
    return tuple(
        _setting(place := _part(folder, name), name, part, _json(place / "provenance.json", missing={}))
        for name, part in several.items()
    )


def _part(folder: Path, name: str) -> Path:
    """The folder of a setting; a name that would lead out of `folder` is refused."""
    if not name or name in (".", "..") or set(name) & set("/\\"):
        raise IsacError(f"{folder / 'summary.json'}: setting {name!r:.40} names no folder; run isac-torch evaluate again")
    return folder / name


def _setting(folder: Path, name: str, summary: Any, context: dict[str, Any]) -> Setting:
    _check_summary(folder, name, summary)
    pictures = {path.stem: path.read_bytes() for path in sorted(folder.glob("*.png"))}
    return Setting(name, summary, context, _lines(folder / "drops.csv"), pictures)


def _check_system(folder: Path, summary: dict[str, Any]) -> None:
    """Refuse, in one line, what the downlink-pilot system's commands wrote."""
    settings = summary.get("settings")
    parts = settings.values() if isinstance(settings, dict) else [summary]
    if any(isinstance(part, dict) and "crb_max_m2" in part for part in parts):
        found, files = "an evaluation", "summary.json, drops.csv and the figures *.png"
    elif "frames" in summary:
        found, files = "frames", "summary.json, frames.csv and frames.png"
    else:
        return
    raise IsacError(f"{folder}: {found} of the downlink-pilot system, which report does not show; look at its {files}")


def _check_summary(folder: Path, name: str, summary: Any) -> None:
    """Refuse, in one line, a summary without its counts, or with something else than numbers."""
    rows = summary.get("allocators") if isinstance(summary, dict) else None
    if not isinstance(rows, dict) or not all(isinstance(summary.get(key), int) for key in _COUNTS):
        keys = ", ".join((*_COUNTS, "allocators"))
        raise IsacError(f"{folder}: summary.json of {name} must hold {keys}; run isac-torch evaluate again")
    for allocator, row in rows.items():
        for key, value in row.items() if isinstance(row, dict) else [("row", row)]:
            if not isinstance(value, int | float | None):
                wrong = f"{key} of {allocator} in summary.json is {value!r:.40}, not a number"
                raise IsacError(f"{folder}: {wrong}; run isac-torch evaluate again")


def _json(path: Path, missing: dict[str, Any] | None = None) -> dict[str, Any]:
    """A JSON object; `missing` in place of a file that is not there. NaN and infinities are read as nothing known."""
    if missing is not None and not path.is_file():
        return missing
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None)
    except ValueError as error:
        raise IsacError(f"{path}: no readable JSON ({error}); run isac-torch evaluate again") from None
    if not isinstance(content, dict):
        raise IsacError(f"{path}: must hold a JSON object; run isac-torch evaluate again")
    return content


def _lines(path: Path) -> tuple[dict[str, str], ...]:
    if not path.is_file():
        return ()
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        lines = tuple(csv.DictReader(file))
    wanted = {"drop", "kind", "allocator", "min_rate_ratio", "violation"}
    if lines and not wanted <= {key for key, value in lines[0].items() if value is not None}:
        raise IsacError(f"{path}: its columns must include {', '.join(sorted(wanted))}; run isac-torch evaluate again")
    return lines


def _training_folders(folder: Path) -> list[Path]:
    """Folders with Lightning's logs, `folder` itself or up to two below."""
    found = {path.parent.parent for depth in ("", "*/", "*/*/") for path in folder.glob(f"{depth}logs/events.out.tfevents.*")}
    return sorted(found)


def _points(events: Sequence[Any]) -> list[tuple[int, float]]:
    """Steps and values, without the 0 at step 0 by which some runs announce a metric to the HParams tab."""
    points = [(event.step, event.value) for event in events]
    return points[1:] if len(points) > 1 and points[0] == (0, 0.0) else points


def _training(path: Path, folder: Path) -> Training:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(path / "logs"), size_guidance={"scalars": _MOST_POINTS, "images": 1, "histograms": 1})
    events.Reload()
    curves = {tag: _points(events.Scalars(tag)) for tag in events.Tags()["scalars"]}
    config, model = path / "config.yaml", path / "model.pt"
    try:
        weights = weights_facts(model) if model.is_file() else None
    except CheckpointError:  # of another system, or of a version that has moved on: its curves still stand
        weights = None
    return Training(
        name=path.relative_to(folder).as_posix() if path != folder else path.resolve().name,
        curves=curves,
        config=config.read_text(encoding="utf-8", errors="replace") if config.is_file() else "",
        weights=weights,
    )
