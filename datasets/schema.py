"""What each field of a shard means: unit and axes, written beside the numbers so that a file explains itself."""

from __future__ import annotations

from dataclasses import dataclass

SHARD_FORMAT = "isac-torch shard"
DATASET_FORMAT = "isac-torch data set"
FORMAT_VERSION = 1
"""Raised whenever a field changes its meaning; readers refuse every other version."""


@dataclass(frozen=True)
class Field:
    """Unit and axis names of one array, in the order of NumPy; MATLAB shows the axes reversed. Indices count from 0."""

    unit: str
    axes: tuple[str, ...]


def _field(unit: str, axes: str) -> Field:
    return Field(unit, tuple(axes.split()))


_LABEL_FIELDS = {
    "label/power": _field("W", "drop link"),
    "label/status": _field("0 optimal, 1 feasible, 2 violating, 3 infeasible, 4 failed", "drop"),
    "label/value": _field("1", "drop"),
    "label/upper_bound": _field("1", "drop"),
    "label/violation": _field("1", "drop"),
    "label/best_quality": _field("1", "drop"),
}

FIELDS: dict[str, Field] = {
    "drop/tx_position": _field("m", "drop ap xyz"),
    "drop/tx_orientation": _field("rad", "drop ap"),
    "drop/rx_position": _field("m", "drop rx xyz"),
    "drop/rx_orientation": _field("rad", "drop rx"),
    "drop/ue_position": _field("m", "drop ue xyz"),
    "drop/target_position": _field("m", "drop target xyz"),
    "drop/ue_gain": _field("1", "drop ue ap"),
    "drop/pilot_power": _field("W", "drop ue"),
    "drop/pilot": _field("index of pilot", "drop ue"),
    "drop/serving_ap": _field("index of ap", "drop ue serving"),
    "drop/sensing_ap": _field("index of ap", "drop target sensing"),
    "drop/listening_ap": _field("index of rx", "drop target listening"),
    "problem/signal": _field("1/sqrt(W)", "drop ue serving"),
    "problem/leakage": _field("1/W", "drop ue link"),
    "problem/coherent": _field("1/sqrt(W)", "drop ue ue serving"),
    "problem/echo": _field("1/W, any scale per row", "drop row link"),
    "problem/cross_echo": _field("1/W, scale of echo", "drop row link"),
    "problem/echo_noise": _field("1, scale of echo times W", "drop row"),  # only where rows have noise
    "problem/sir_min": _field("1", "drop row"),
    "problem/budget": _field("W", "drop ap"),
    "problem/link_ap": _field("index of ap", "drop link"),
    "problem/link_gain": _field("1", "drop link"),
    **_LABEL_FIELDS,
}
"""Of the tracking system."""

PILOT_FIELDS: dict[str, Field] = {
    "drop/ap_position": _field("m", "drop ap xy"),
    "drop/ue_position": _field("m", "drop ue xy"),
    "drop/gain": _field("1", "drop ue ap"),
    "drop/pilot": _field("index of pilot", "drop ue"),
    "drop/gram_real": _field("1", "drop ue ue"),
    "drop/gram_imag": _field("1", "drop ue ue"),
    "problem/gain": _field("1/W", "drop ue ap"),
    "problem/estimate": _field("1/W", "drop ue ap"),
    "problem/gram_real": _field("1", "drop ue ue"),
    "problem/gram_imag": _field("1", "drop ue ue"),
    "problem/same_pilot": _field("1 where shared", "drop ue ue"),
    "problem/fisher_xx": _field("1/(m2 W)", "drop ue ap"),
    "problem/fisher_yy": _field("1/(m2 W)", "drop ue ap"),
    "problem/fisher_xy": _field("1/(m2 W)", "drop ue ap"),
    "problem/crb_max": _field("m2", "drop ue"),
    "problem/weight": _field("1", "drop ue"),
    "problem/budget": _field("W", "drop ap"),
    "problem/link_ap": _field("index of ap", "drop link"),
    "problem/link_gain": _field("1", "drop link"),
    **_LABEL_FIELDS,
    "label/best_quality": _field("1/m2", "drop"),
}
"""Of the pilot system."""

LABELS = ("power", "status", "value", "upper_bound", "violation", "best_quality")
"""Attributes of an Allocation that a shard keeps; its seconds go to the log, since they differ from run to run."""

MAY_BE_INFINITE = frozenset({"label/upper_bound", "label/best_quality"})
"""Where `inf` or NaN means 'not known' rather than a damaged file."""
