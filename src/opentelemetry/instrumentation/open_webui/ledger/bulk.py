"""Inserting many rows at once, with as little work for each as the database allows.

SQLAlchemy spends more on the parameters of a row than SQLite on the row, so what is written for
each call goes to the driver as it is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Column, Connection, Table

Row = tuple[Any, ...]
"""The values of all columns of a table, in their order."""


def insert_many(
    connection: Connection, table: Table, rows: Sequence[Row], added_up: Sequence[str] = ()
) -> None:
    """Insert rows.

    Args:
        connection: In a transaction.
        table: Where to.
        rows: At least one.
        added_up: Columns that are added to those of the row that has the same key already.
    """
    if connection.dialect.name == "postgresql":
        columns = zip(_arrays_of(table), zip(*rows, strict=True), strict=True)
        arrays = tuple(array(values) for array, values in columns)
        connection.exec_driver_sql(_with_arrays(table, tuple(added_up)), arrays)
    else:
        connection.exec_driver_sql(_with_rows(table, tuple(added_up)), list(rows))


@functools.cache
def _with_rows(table: Table, added_up: tuple[str, ...]) -> str:
    marks = ", ".join("?" for _ in table.columns)
    return f"{_into(table)} VALUES ({marks}){_on_conflict(table, added_up)}"


@functools.cache
def _with_arrays(table: Table, added_up: tuple[str, ...]) -> str:
    arrays = ", ".join(f"%s::{_TYPES[_kind(column)]}[]" for column in table.columns)
    return f"{_into(table)} SELECT * FROM unnest({arrays}){_on_conflict(table, added_up)}"


def _into(table: Table) -> str:
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    return f"INSERT INTO {table.name} ({names})"


def _on_conflict(table: Table, added_up: tuple[str, ...]) -> str:
    if not added_up:
        return ""
    key = ", ".join(table.primary_key.columns.keys())
    sums = ", ".join(f"{name} = {_sum(table, table.c[name])}" for name in added_up)
    return f" ON CONFLICT ({key}) DO UPDATE SET {sums}"


def _sum(table: Table, column: Column[Any]) -> str:
    both = (f"{table.name}.{column.name}", f"excluded.{column.name}")
    if not column.nullable:
        return " + ".join(both)
    # What adds up to nothing is kept as what has none.
    return f"nullif({' + '.join(f'coalesce({one}, 0)' for one in both)}, 0)"


_TYPES: Final = {
    "Id": "uuid",
    "Integer": "integer",
    "BigInteger": "bigint",
    "SmallInteger": "smallint",
    "Boolean": "boolean",
    "Text": "text",
    "LargeBinary": "bytea",
}


def _kind(column: Column[Any]) -> str:
    return type(column.type).__name__


def _array(values: Iterable[int | None]) -> str:
    """Return an array as PostgreSQL writes it, of numbers and the like.

    A driver takes longer to do the same of a list, and so does a loop.
    """
    return f"{{{str(list(values))[1:-1].replace('None', 'NULL')}}}"


def _array_of_ids(values: Iterable[bytes | None]) -> str:
    return f"{{{','.join('NULL' if value is None else value.hex() for value in values)}}}"


_ARRAYS: Final[Mapping[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(_TYPES, _array),
    "Id": _array_of_ids,
    "Text": list,
    "LargeBinary": list,
}


@functools.cache
def _arrays_of(table: Table) -> tuple[Callable[[Any], Any], ...]:
    return tuple(_ARRAYS[_kind(column)] for column in table.columns)
