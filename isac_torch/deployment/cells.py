"""Tables as people save them: commas or semicolons, decimal points or commas, rows without content; and numbers in text.

A number is written in ASCII digits with a decimal point (or comma, where semicolons part the columns) and an exponent. What
else Python's `float` takes, such as `12_5` for 125 and the digits of other scripts, is a slip more often than a number.
"""

from __future__ import annotations

import csv
import io
import math
import re
from typing import Any

from isac_torch.errors import GeometryError

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d{1,4})?", re.ASCII)


def read_cells(text: str, name: str) -> tuple[list[tuple[int, list[str]]], bool]:
    r"""The rows of a CSV text that have content, each with the number of its line, and whether decimals have commas.

    Columns are parted by semicolons where the first row has one outside quotation marks, else by commas.

    Args:
        text: of the file, without a byte order mark.
        name: of the file, said in errors.

    Raises:
        GeometryError: in one line, where it is no CSV.

    Example:
        >>> read_cells("kind;x\ntx;100,5\n;\n", "a.csv")
        ([(1, ['kind', 'x']), (2, ['tx', '100,5'])], True)
    """
    first = next((line for line in text.splitlines() if line.strip()), "")
    semicolons = ";" in re.sub(r'"[^"]*"', "", first)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";" if semicolons else ",", strict=True, skipinitialspace=True)
    rows = []
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                rows.append((reader.line_num, stripped))
    except csv.Error as error:
        raise GeometryError(f"{name}: not CSV ({error}); save it with commas between the columns") from None
    return rows, semicolons


def parse_number(value: Any, *, decimal_comma: bool = False) -> float | None:
    """A number as it is, or as text; None for anything else, NaN and infinity included.

    Example:
        >>> parse_number("12.5"), parse_number("12_5"), parse_number("12,5", decimal_comma=True)
        (12.5, None, 12.5)
    """
    if isinstance(value, str):
        word = value.strip()
        if decimal_comma and _COMMA.fullmatch(word):
            word = word.replace(",", ".")
        if not _NUMBER.fullmatch(word):
            return None
        number = float(word)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            return None
    else:
        return None
    return number if math.isfinite(number) else None
