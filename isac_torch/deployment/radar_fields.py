"""What a network asks of its radar, as objects inside a snapshot: `requirement` and `sensing`, their fields and ranges."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from isac_torch.deployment.bounded_json import parse_json
from isac_torch.deployment.field_specs import FieldSpec, reals, wholes, words
from isac_torch.deployment.numbers import as_number, within
from isac_torch.errors import DropError, ScenarioError
from isac_torch.tracking.requirement import KINDS, PLAIN, RANGES, Requirement
from isac_torch.tracking.scan import cell_count
from isac_torch.tracking.setup import SensingSetup

if TYPE_CHECKING:
    from isac_torch.deployment.snapshot import Snapshot

MOST_CELLS = 2500
"""Scan cells of one network, at most: what is kept of each grows with its links."""


def _number(name: str, meaning: str, unit: str) -> Mapping[str, FieldSpec]:
    """A number of a requirement, in the range that `Requirement` itself keeps to."""
    least, most = RANGES[name]
    if name == "blocks":
        return wholes(meaning, least=int(least), most=int(most), unit=unit)
    return reals(meaning, least=least, most=most, unit=unit)


_REQUIREMENT: dict[str, Mapping[str, FieldSpec]] = {
    "kind": words("what is asked for, docs/requirements.md", *KINDS),
    **{
        name: _number(name, meaning, unit)
        for name, meaning, unit in (
            ("sicnr_min_db", "of `sicnr`: SICNR of every target, dB", "dB"),
            ("miss", "of `detection`: largest miss probability", "a probability"),
            ("position_error", "of `position`: largest error bound, m", "metres"),
            ("scan", "of `dominate`: factor of the scan cells", "a factor"),
            ("sicnr", "of `dominate`: factor of the SICNR", "a factor"),
            ("position", "of `dominate`: factor of the position information", "a factor"),
            ("margin", "of `dominate`: raises the SICNR where detection is uncertain", "a factor"),
            ("comm_exponent", "of `dominate`: exponent of UEs of the fractional power control it compares with", "an exponent"),
            ("sensing_exponent", "of `dominate`: exponent of targets of the same", "an exponent"),
            ("enough_db", "of `dominate`: echo over noise at which a cell is heard well, dB", "dB"),
            ("cell", "distance between scan cells, m", "metres"),
            ("blocks", "coherence blocks of one look", "blocks"),
            ("prior_horizontal", "what is known of a horizontal coordinate before the look, m", "metres"),
            ("prior_vertical", "the same of the height, m", "metres"),
        )
    },
}
_SENSING: dict[str, Mapping[str, FieldSpec]] = {
    "rcs_variance_dbsm": reals("variance of the reflectivity, dB over 1 m2", least=-100.0, most=100.0, unit="dB over 1 m2"),
    "rcs_correlation_deg": reals("angle over which reflectivities decorrelate", least=0.0, most=360.0, unit="degrees"),
    "clutter_factor": reals("share of the clutter that is left", least=0.0, most=1e3, unit="a share of the clutter"),
    "clutter_path": words("path gain of the clutter", "nlos", "los"),
    "sensing_samples": wholes("samples of a test; default the coherence block", least=1, most=100_000, unit="samples"),
    "num_regions": wholes("sensing regions of the detection phase", least=1, most=10_000, unit="regions"),
    "cell_size": reals("side of the cube that is searched, m", least=0.0, most=1e6, unit="metres"),
    "false_alarm": reals("probability of false alarm", least=1e-6, most=0.5, unit="a probability"),
}


@dataclass(frozen=True)
class NestedSpec:
    """A field that is an object: its class and the specification of each of its fields.

    Attributes:
        kind: a frozen dataclass whose fields all have defaults.
        specs: of each field.
    """

    kind: type[Requirement | SensingSetup]
    specs: Mapping[str, FieldSpec]

    def of(self, name: str, given: Any) -> Any:
        """The object from a mapping, its JSON text, or one made already. Raises DropError in one line."""
        if isinstance(given, str):
            given = self._parsed(name, given)
        if isinstance(given, self.kind):
            given = {item.name: getattr(given, item.name) for item in fields(given)}
        if not isinstance(given, Mapping):
            raise DropError(f"{name} is a {type(given).__name__} where an object with {', '.join(self.specs)} should be")
        try:
            return self.kind(**{str(inner): self._value(name, inner, value) for inner, value in given.items()})
        except ScenarioError as error:
            raise DropError(str(error)) from None

    def _parsed(self, name: str, text: str) -> Any:
        """A JSON object; one word stands for the kind."""
        if text.lstrip().startswith("{"):
            try:
                return parse_json(text.encode())
            except DropError as error:
                raise DropError(f"{name}={text[:40]!r}: {error}") from None
        if "kind" not in self.specs:
            raise DropError(f"{name}={text[:40]!r} must be a JSON object with {', '.join(self.specs)}")
        return {"kind": text}

    def _value(self, name: str, inner: object, value: Any) -> Any:
        full = f"{name}.{str(inner)[:40]}"
        spec = self.specs.get(str(inner))
        if spec is None:
            near = difflib.get_close_matches(str(inner)[:40], self.specs, n=1)
            raise DropError(f"{full} is no field of {name}; " + (f"call it {near[0]}" if near else "leave it out"))
        if value is None and getattr(self.kind, str(inner)) is None:
            return None
        if spec.words:
            if not isinstance(value, str) or value not in spec.words:
                raise DropError(f"{full}={str(value)[:40]!r} must be {' or '.join(map(repr, spec.words))}")
            return value
        number = as_number(full, value, whole=spec.whole)
        if spec.most is not None:
            within(full, number, spec.least, spec.most, spec.unit)
        return number


NESTED = {
    "requirement": NestedSpec(Requirement, {name: item["spec"] for name, item in _REQUIREMENT.items()}),
    "sensing": NestedSpec(SensingSetup, {name: item["spec"] for name, item in _SENSING.items()}),
}
"""Fields of a snapshot that are objects."""


def check_radar(snapshot: Snapshot) -> None:
    """Raise DropError, in one line, where the requirement needs what the snapshot does not hold."""
    asked = snapshot.requirement
    if asked.kind in PLAIN:
        return
    if snapshot.rx_orientation is None and len(snapshot.rx_position):
        raise DropError(
            f"rx_orientation is missing; requirement.kind={asked.kind!r} needs the broadside of the arrays that listen, in rad"
        )
    try:
        snapshot.sensing.samples(snapshot)
    except ScenarioError as error:
        raise DropError(str(error)) from None
    if asked.kind != "dominate":
        return
    if not len(snapshot.rx_position) and snapshot.receive_selection == "given":
        raise DropError("requirement.kind='dominate' needs a receive AP that listens; give rx_position at least one row")
    west, south, east, north = snapshot.scanned_area
    if not (west <= east and south <= north):
        raise DropError(f"scan_area=[{west:g}, {south:g}, {east:g}, {north:g}] must be x and y of one corner, then larger ones")
    if (count := scan_cells(snapshot)) > MOST_CELLS:
        raise DropError(
            f"the scan area has {count} cells of requirement.cell={asked.cell:g} m, at most {MOST_CELLS} are kept; "
            "raise requirement.cell or give a smaller scan_area"
        )


def scan_cells(snapshot: Snapshot) -> int:
    """Cells of the scan grid that the requirement asks for."""
    asked = snapshot.requirement
    if asked.kind != "dominate" or asked.scan == 0.0:
        return 0
    west, south, east, north = snapshot.scanned_area
    return cell_count(west, east, asked.cell) * cell_count(south, north, asked.cell)
