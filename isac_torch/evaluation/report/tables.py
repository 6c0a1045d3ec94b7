"""Tables and numbers of the report, as what its template writes. Nothing here is HTML: the template escapes every text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from isac_torch.evaluation.figures import allocator_styles

Row = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """A cell that is more than its text.

    Attributes:
        text: what it says.
        colour: of the square before it; empty for none.
        anchor: where on the page it leads; empty for nowhere.
    """

    text: str
    colour: str = ""
    anchor: str = ""


@dataclass(frozen=True)
class Table:
    """A table in a box that scrolls sideways where the screen is narrow.

    Attributes:
        head: headings.
        body: lines of cells.
        titles: what each heading means, shown when pointed at; may be left out.
        marked: which lines stand out; may be left out.
    """

    head: Sequence[str]
    body: Sequence[Sequence[str | Cell]]
    titles: Sequence[str] = ()
    marked: Sequence[bool] = ()

    def is_left(self, column: int) -> bool:
        """Whether a column holds names, which stand at the left."""
        cells = [line[column] for line in self.body]
        return bool(cells) and all(isinstance(cell, Cell) and cell.colour for cell in cells)


def number(row: Row, key: str, form: str = "{:.3f}") -> str:
    """An entry of a row, a dash where there is nothing to count."""
    value = row.get(key)
    return "-" if value is None else form.format(value)


def percent(row: Row, key: str, *, missing: bool = False) -> str:
    """A share of a row in per cent, or with `missing` what it lacks to 100 %."""
    value = row.get(key)
    return "-" if value is None else f"{1.0 - value if missing else value:.2%}"


def short(text: str) -> str:
    """A number of a CSV file to four digits; other text as it is, a dash for none."""
    try:
        return text if text.isdigit() else f"{float(text):.4g}"
    except ValueError:
        return text or "-"


def ink(allocator: str) -> str:
    """Colour of an allocator on the page: that of its figures, save for black, which follows the page's text."""
    colour = str(next(allocator_styles([allocator]))["color"])
    return "currentColor" if colour == "#000000" else colour


def swatch(allocator: str) -> Cell:
    """An allocator's name with its colour before it."""
    return Cell(allocator, ink(allocator))
