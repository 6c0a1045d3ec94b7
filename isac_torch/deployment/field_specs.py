"""What is known of each field of a snapshot: meaning, unit, axes, range. Checks, JSON schema and help text follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class FieldSpec:
    """One field.

    Attributes:
        says: what it is, with its unit.
        axes: names of its axes, or their lengths; empty for a single number.
        whole: integers instead of real numbers.
        least: smallest value in range.
        most: largest value in range; None where the range depends on the network, or for a word.
        unit: in words, for the error of a value out of range.
        words: the words that may be given; empty for numbers.
        members: of an object, the specification of each of its fields; empty for anything else.
    """

    says: str
    axes: tuple[str | int, ...] = ()
    whole: bool = False
    least: float | int = 0
    most: float | int | None = None
    unit: str = ""
    words: tuple[str, ...] = ()
    members: Mapping[str, FieldSpec] = field(default_factory=dict)


def reals(says: str, *axes: str | int, least: float, most: float, unit: str) -> Mapping[str, FieldSpec]:
    """Metadata of an array of real numbers, or of a single one where no axes are named."""
    return {"spec": FieldSpec(says, axes, False, least, most, unit)}


def wholes(says: str, *axes: str | int, least: int = 0, most: int | None = None, unit: str = "") -> Mapping[str, FieldSpec]:
    """Metadata of an array of integers, or of a single one where no axes are named."""
    return {"spec": FieldSpec(says, axes, True, least, most, unit)}


def words(says: str, *choices: str) -> Mapping[str, FieldSpec]:
    """Metadata of a choice of words."""
    return {"spec": FieldSpec(says, words=choices)}


def objects(says: str, members: Mapping[str, FieldSpec]) -> Mapping[str, FieldSpec]:
    """Metadata of an object with fields of its own."""
    return {"spec": FieldSpec(says, members=members)}


def specs_of(kind: type) -> dict[str, FieldSpec]:
    """The specification of each field of a dataclass whose fields all have one."""
    return {item.name: item.metadata["spec"] for item in fields(kind)}


def attributes_section(specs: Mapping[str, FieldSpec]) -> str:
    """The section `Attributes` of a docstring, one line a field: shape, then meaning and unit."""
    lines = ["    Attributes:"]
    for name, spec in specs.items():
        shape = f"[{', '.join(map(str, spec.axes))}] " if spec.axes else ""
        lines.append(f"        {name}: {shape}{spec.says}")
    return "\n".join(lines)


def json_schema(spec: FieldSpec) -> dict[str, Any]:
    """JSON schema of a field's value."""
    if spec.members:
        members = {name: json_schema(member) for name, member in spec.members.items()}
        return {"type": "object", "properties": members, "additionalProperties": False, "description": spec.says}
    if spec.words:
        return {"enum": list(spec.words), "description": spec.says}
    schema: dict[str, Any] = {"type": "integer" if spec.whole else "number", "minimum": spec.least}
    if spec.most is not None:
        schema["maximum"] = spec.most
    for axis in reversed(spec.axes):
        schema = {"type": "array", "items": schema} | ({"minItems": axis, "maxItems": axis} if isinstance(axis, int) else {})
    return schema | {"description": spec.says}
