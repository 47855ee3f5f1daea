"""Inserting many rows at once, with as little work for each as the database allows.

SQLAlchemy spends more on the parameters of a row than SQLite on the row, so what is written for
each call goes to the driver as it is.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Column, Connection, Table

from .schema import Id

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
        arrays = tuple(
            [_uuid(value) for value in column] if isinstance(of.type, Id) else list(column)
            for of, column in zip(table.columns, zip(*rows, strict=True), strict=True)
        )
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
    sums = ", ".join(f"{name} = {table.name}.{name} + excluded.{name}" for name in added_up)
    return f" ON CONFLICT ({key}) DO UPDATE SET {sums}"


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


def _uuid(value: bytes | None) -> str | None:
    return None if value is None else str(uuid.UUID(bytes=value))
