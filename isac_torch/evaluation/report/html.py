"""Pieces of HTML of the report: tables and numbers. Texts are escaped here, unless a docstring says that they are HTML."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from isac_torch.evaluation.figures import allocator_styles

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Row = dict[str, Any]


def table(
    head: Sequence[str],
    body: Sequence[Sequence[str]],
    titles: Sequence[str] = (),
    marked: Sequence[bool] = (),
    *,
    sortable: bool = True,
) -> str:
    """A table in a box that scrolls sideways where the screen is narrow.

    Args:
        head: headings.
        body: lines of cells, each HTML already.
        titles: what each heading means, shown when pointed at; may be left out.
        marked: which lines stand out; may be left out.
        sortable: whether a click on a heading sorts.
    """
    names = [bool(body) and all(line[i].startswith('<span class="swatch"') for line in body) for i in range(len(head))]
    looks = [' class="left"' if left else "" for left in names]
    words = [f' title="{escape(title)}"' if title else "" for title in titles or [""] * len(head)]
    hints = [look + word for look, word in zip(looks, words, strict=True)]
    heads = "".join(f'<th scope="col"{hint}>{escape(name)}</th>' for name, hint in zip(head, hints, strict=True))
    classes = [" class=policy" if mark else "" for mark in marked or [False] * len(body)]
    cells = ["".join(f"<td>{cell}</td>" for cell in line) for line in body]
    lines = "".join(f"<tr{look}>{line}</tr>" for look, line in zip(classes, cells, strict=True))
    kind = " class=sortable" if sortable else ""
    return f'<div class="card scroll"><table{kind}><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>'


def fact_table(lines: Iterable[tuple[str, str]]) -> str:
    """Names and values, one pair a line."""
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in lines)
    return f'<table class="facts"><tbody>{rows}</tbody></table>'


def folded(summary: str, content: str) -> str:
    """Something that a click opens; `content` is HTML."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


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
        return escape(text) or "-"


def ink(allocator: str) -> str:
    """Colour of an allocator on the page: that of its figures, save for black, which follows the page's text."""
    colour = str(next(allocator_styles([allocator]))["color"])
    return "currentColor" if colour == "#000000" else colour


def swatch(allocator: str) -> str:
    """An allocator's name with its colour before it."""
    return f'<span class="swatch" style="--swatch:{ink(allocator)}"></span>{escape(allocator)}'
