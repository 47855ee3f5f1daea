"""Answers as CSV: the rows of an answer, one a line, harmless in a spreadsheet."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ...ledger.printing import Cell, as_csv
from . import amounts, shapes

COLUMNS: Final[Mapping[str, Sequence[str]]] = {
    "overview": ("begin", *amounts.COLUMNS),
    "users": ("user_id", "user", "email", *amounts.COLUMNS),
    "groups": ("group", *amounts.COLUMNS),
    "models": ("model", "users", *amounts.COLUMNS),
    "calls": tuple(shapes.OfCall.__annotations__),
    "chargeback": ("group", *amounts.COLUMNS),
    "leaderboard": tuple(shapes.Ranked.__annotations__),
}
"""The columns of each kind of answer."""


def as_text(kind: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return CSV (RFC 4180).

    Args:
        kind: One of :data:`COLUMNS`.
        rows: The ``data`` of an answer.
    """
    out = io.StringIO()
    records = [{name: _cell(row[name]) for name in COLUMNS[kind]} for row in rows]
    as_csv(records, COLUMNS[kind], out)
    return out.getvalue()


def _cell(value: Any) -> Cell:
    if isinstance(value, list):
        return "; ".join(value)
    if isinstance(value, dict):
        return "; ".join(f"{name}: {amount:g}" for name, amount in value.items())
    cell: Cell = value
    return cell
