"""Unit and axes of an array that is stored: what files say beside their numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """Unit and axis names of one array, in the order of NumPy; MATLAB shows the axes reversed. Indices count from 0.

    An optional array is missing in files of older versions, or where the scenario has no use for it.
    """

    unit: str
    axes: tuple[str, ...]
    optional: bool = False


def field(unit: str, axes: str, *, optional: bool = False) -> Field:
    """The field of an array of this unit over these axes, their names in one string."""
    return Field(unit, tuple(axes.split()), optional)


FORMER_NAMES = {"pilot": "downlink_pilots"}
"""Systems by the names that files written before version 0.2 give them."""

LABEL_FIELDS: dict[str, Field] = {
    "label/power": field("W", "drop link"),
    "label/status": field("0 optimal, 1 feasible, 2 violating, 3 infeasible, 4 failed", "drop"),
    "label/value": field("1", "drop"),
    "label/upper_bound": field("1", "drop"),
    "label/violation": field("1", "drop"),
    "label/best_quality": field("1", "drop"),
}
"""Of an allocation that serves as label, in either system."""
