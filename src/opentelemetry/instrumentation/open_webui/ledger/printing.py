"""Tables for people and for programs."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final, TextIO

from .booking import NANO

Cell = str | int | float | bool | Decimal | None
Record = Mapping[str, Cell]
"""One line: values by the names of columns."""

# What a spreadsheet takes for the beginning of a formula (OWASP, "CSV Injection").
# In some countries, cells end with a semicolon.
_FORMULA: Final = re.compile(r"(^|[;\t\r\n]\s*)([=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20])")
_LEAST: Final = 8
_GAP: Final = "  "
_BAR: Final = 30


def usd(nano: int | None) -> Decimal | None:
    """Return an amount of nano-USD in USD, exactly."""
    return None if nano is None else Decimal(nano) / NANO


def harmless(cell: Cell) -> object:
    """Return a cell of CSV that no spreadsheet takes for a formula."""
    if isinstance(cell, str):
        return _FORMULA.sub(r"\1'\2", cell)
    return f"{cell:f}" if isinstance(cell, Decimal) else cell


def as_csv(records: Iterable[Record], columns: Sequence[str], out: TextIO) -> None:
    """Write CSV (RFC 4180)."""
    writer = csv.writer(out)
    writer.writerow(columns)
    for record in records:
        writer.writerow([harmless(record[column]) for column in columns])


def as_json(records: Iterable[Record], columns: Sequence[str], out: TextIO) -> None:
    """Write one JSON object a line; amounts of money are texts, which lose nothing."""
    for record in records:
        values = {column: record[column] for column in columns}
        out.write(json.dumps(values, ensure_ascii=False, default=lambda value: f"{value:f}") + "\n")


def as_table(records: Iterable[Record], columns: Sequence[str], out: TextIO) -> None:
    """Write a table that fits the terminal."""
    lines = [[_shown(record[column]) for column in columns] for record in records]
    is_text = [not all(_is_number(line[place]) for line in lines) for place in range(len(columns))]
    widths = [
        max([_width(column), *(_width(line[place]) for line in lines)])
        for place, column in enumerate(columns)
    ]
    _fit(widths, is_text, shutil.get_terminal_size((100, 24)).columns)
    for line in ([*columns], ["─" * width for width in widths], *lines):
        cells = (
            _padded(cell, width, to_left)
            for cell, width, to_left in zip(line, widths, is_text, strict=True)
        )
        out.write(_GAP.join(cells).rstrip() + "\n")


FORMATS: Final[Mapping[str, Callable[[Iterable[Record], Sequence[str], TextIO], None]]] = {
    "table": as_table,
    "csv": as_csv,
    "json": as_json,
}


def _shown(cell: Cell) -> str:
    if isinstance(cell, bool) or cell is None:
        return {True: "yes", False: "no", None: ""}[cell]
    if isinstance(cell, int):
        return f"{cell:,}"
    return f"{cell:,.5f}" if isinstance(cell, Decimal) else str(cell)


def _is_number(cell: str) -> bool:
    return not cell or cell.replace(",", "").replace(".", "").isdecimal()


def _width(text: str) -> int:
    return sum(_width_of(character) for character in text)


def _width_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _fit(widths: list[int], is_text: Sequence[bool], most: int) -> None:
    """Make columns of texts narrower, the widest one first."""
    texts = [place for place, of_text in enumerate(is_text) if of_text]
    while sum(widths) + len(_GAP) * (len(widths) - 1) > most:
        widest = max(texts, key=lambda place: widths[place], default=None)
        if widest is None or widths[widest] <= _LEAST:
            return
        widths[widest] -= 1


def _padded(cell: str, width: int, to_left: bool) -> str:
    while _width(cell) > width:
        cell = cell.removesuffix("…")[:-1] + "…"
    space = " " * (width - _width(cell))
    return cell + space if to_left else space + cell


def bar(what: str) -> Callable[[int, int], None]:
    """Return what shows on the terminal how far some work has come; elsewhere it is silent."""

    def show(done: int, of: int) -> None:
        if sys.stderr.isatty():
            filled = _BAR * done // max(of, 1)
            end = "\n" if done >= of else ""
            line = f"\r{what} {'█' * filled}{'·' * (_BAR - filled)} {100 * done // max(of, 1):3} %"
            print(line, end=end, file=sys.stderr, flush=True)

    return show
