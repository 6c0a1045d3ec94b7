"""Settings of a training of the tracking system's networks, in groups: network, loss, optimiser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import yaml

from isac_torch.errors import IsacError


@dataclass(frozen=True)
class NetworkSettings:
    """Which network, and its sizes.

    Attributes:
        kind: `refined` has learned gradient steps; `one_shot`, for deployment, has none and knows only the smallest rate;
            `shares` is the one for sensing constraints that ask for watts, only unsupervised.
        hidden: width.
        layers: message layers before the first correction.
        refinements: further message layers, each with a correction.
        steps: learned gradient steps after them.
    """

    kind: Literal["refined", "one_shot", "shares"] = "refined"
    hidden: int = 48
    layers: int = 2
    refinements: int = 2
    steps: int = 8


@dataclass(frozen=True)
class LossSettings:
    """What is minimised.

    Attributes:
        objective: `unsupervised` raises the smallest rate under a multiplier on the sensing constraints; `supervised` imitates
            the label's shares; `hybrid` starts supervised and fades into unsupervised.
        supervised_steps: steps over which `hybrid` fades.
        early_weight: weight of the loss at the directions before the learned steps.
        sensing_weight: first value of the multiplier of the sensing constraints, nepers of rate per neper of SIR.
        sensing_weight_step: log-step of the multiplier by (violated share - sensing_violations); 0 keeps it constant.
        sensing_violations: share of violated sensing constraints that the multiplier aims at.
        fair_every: each so-many-th step trains for proportional fairness instead of the smallest rate; 0 for none.
    """

    objective: Literal["supervised", "unsupervised", "hybrid"] = "unsupervised"
    supervised_steps: int = 100
    early_weight: float = 0.3
    sensing_weight: float = 3.0
    sensing_weight_step: float = 0.0
    sensing_violations: float = 0.005
    fair_every: int = 0


@dataclass(frozen=True)
class OptimiserSettings:
    """AdamW, its learning rate over the run, and the running average of the weights.

    Attributes:
        learning_rate: at its highest; falls to 2 % of it on a cosine.
        weight_decay: of AdamW.
        warmup_steps: steps over which the learning rate rises.
        average_decay: of the running average of the weights that is validated and stored.
    """

    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    warmup_steps: int = 20
    average_decay: float = 0.99


NETWORK, LOSS, OPTIMISER = NetworkSettings(), LossSettings(), OptimiserSettings()
"""The defaults."""
_GROUPS: dict[str, type] = {"network": NetworkSettings, "loss": LossSettings, "optimiser": OptimiserSettings}
_RENAMED = {
    "network": "network.kind",
    "row_weight": "loss.sensing_weight",
    "row_weight_step": "loss.sensing_weight_step",
    "row_violations": "loss.sensing_violations",
}
_MOVED = {item.name: f"{group}.{item.name}" for group, kind in _GROUPS.items() for item in fields(kind)} | _RENAMED
"""Where each option of the former flat list is now."""


def refuse_flat(argv: Sequence[str]) -> None:
    """Refuse the former options of a training, which were one flat list, on the command line and in the files of --config.

    Args:
        argv: options of the command.

    Raises:
        IsacError: naming the option and its new place.
    """
    for before, word in pairwise(["", *argv, ""]):
        option, _, value = word.partition("=")
        parts = option.split(".")
        if parts[0] == "--model" and len(parts) == 2 and parts[1] in _MOVED:
            raise _moved(option, parts[1], "--")
        file = word if before == "--config" else value if option == "--config" else ""
        model = _stored(Path(file)) if file else {}
        for name in model:
            if name in _MOVED and not isinstance(model[name], dict):
                raise _moved(f"{file}: model.{name}", name, "")


def _moved(given: str, name: str, dashes: str) -> IsacError:
    return IsacError(f"{given} is {dashes}model.{_MOVED[name]} now; write it like that")


def _stored(path: Path) -> dict[str, Any]:
    """What a configuration says of the model; nothing where it cannot be read, which the parser has said already."""
    try:
        model = yaml.safe_load(path.read_text(encoding="utf-8"))["model"]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return {}
    return model if isinstance(model, dict) else {}
