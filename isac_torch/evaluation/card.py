"""The card of a benchmark: where its numbers and its weights come from, for provenance.json, TensorBoard and the report."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any


def weights_facts(path: str | Path) -> dict[str, Any]:
    """What identifies trained weights: checksum, size, shape, and the facts that the training stored with them.

    Raises:
        CheckpointError: one line, if the file is missing, corrupt or of another system or feature version.
    """
    from isac_torch.nn.checkpoint import stored_facts

    path = Path(path)
    found = stored_facts(path)
    content = path.read_bytes()
    return {"file": path.name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), **found}


def facts(context: dict[str, Any]) -> list[tuple[str, str]]:
    """Name and value, as text, of each fact of provenance.json that a reader of the numbers needs."""
    wrong = {name: count for name, count in context.get("contradictions", {}).items() if count}
    lines = [
        ("setting", _text(context.get("setting", context.get("scenario_name")))),
        ("seed of the drops", _text(context.get("seed"))),
        ("optimum from", ", ".join(context.get("optimum_from", [])) or "unknown"),
        ("taken from an earlier run, times included", ", ".join(context.get("from_store", [])) or "none"),
        ("largest certified gap, SINR", _text(context.get("optimum_gap_max"), ".2e")),
        ("mean certified gap, SINR", _text(context.get("optimum_gap_mean"), ".2e")),
        ("drops certified to 1e-3", _text(context.get("certified_share"), ".1%")),
        ("answers that contradict a certificate", ", ".join(f"{name}: {count}" for name, count in wrong.items()) or "none"),
        ("isac-torch", _text(context.get("version"))),
        ("PyTorch", _text(context.get("torch"))),
        ("torch threads", _text(context.get("threads"))),
        ("machine", _text(context.get("machine"))),
    ]
    below = context.get("sir_below_best_db")
    if below is not None:
        lines.insert(1, ("required SIR", f"the largest that each drop reaches, less {below:g} dB"))
    return lines + weights_lines(context.get("weights"))


def weights_lines(weights: dict[str, Any] | None) -> list[tuple[str, str]]:
    """Name and value, as text, of each fact of `weights_facts`; nothing without weights."""
    if not weights:
        return []
    training = weights.get("training", {})
    return [
        ("weights", f"{weights['file']}, {weights['bytes'] / 1e6:.2f} MB, {weights['parameters']:,} parameters"),
        ("SHA-256 of the weights", weights["sha256"]),
        ("network", _pairs(weights["network"])),
        ("training steps", _text(training.get("steps"))),
        ("training, hyper-parameters", _pairs(training.get("hyperparameters", {}))),
        ("training, last validation", _pairs(training.get("metrics", {}))),
    ]


def markdown_card(context: dict[str, Any]) -> str:
    """The facts as a Markdown table, for TensorBoard's text tab."""
    lines = [f"| {name} | {value.replace('|', '/')} |" for name, value in facts(context)]
    return "\n".join(["| fact | value |", "|---|---|", *lines])


def _text(value: object, form: str = "") -> str:
    return "unknown" if value is None else format(value, form)


def _pairs(values: dict[str, Any]) -> str:
    shown = {name: f"{value:.5g}" if isinstance(value, float) else str(value) for name, value in values.items()}
    return ", ".join(f"{name} {value}" for name, value in sorted(shown.items())) or "unknown"
