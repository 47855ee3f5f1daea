"""The numbers that texts have in a ledger."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Select, Table, bindparam, select
from sqlalchemy.sql.dml import ReturningInsert

from ..names import NO_GROUP
from .booking import Booking
from .facts import insert_of
from .schema import groups, kinds, lines, membership_groups, memberships, standings, users

# Beyond it all are looked up anew: memory must not follow every user and model there ever was.
_MOST_KNOWN: Final = 50_000
# Any number: who gives numbers in PostgreSQL holds it.
_LOCK: Final = 0x6E_75_6D_62_65_72

Key = tuple[Any, ...]


class Standing(NamedTuple):
    """The numbers of a user as they are at a time."""

    user_no: int
    no: int
    membership_no: int


class Kind(NamedTuple):
    """The numbers of what is told of a call by texts that repeat."""

    no: int
    line_no: int


class Numbers:
    """Numbers that are known; those found in a transaction count once that is committed."""

    def __init__(self, group_id: Callable[[str], str | None]) -> None:
        self._group_id = group_id
        self.group_ids: dict[str, str] = {}
        """Ids of groups that were learned from elsewhere, by name."""
        self._known: dict[Key, Any] = {}
        self._found: dict[Key, Any] = {}

    def kept(self) -> None:
        """Take it that the transaction was committed."""
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        self._known.update(self._found)
        self._found.clear()

    def dropped(self) -> None:
        """Take it that the transaction was taken back."""
        self._found.clear()

    def forget(self) -> None:
        """Look all up anew."""
        self._known.clear()
        self._found.clear()

    def standing(self, connection: Connection, booking: Booking) -> Standing:
        """Return the numbers of the user."""
        key = (booking.user_id, booking.user_name, booking.groups)
        known: Standing | None = self._known.get(key) or self._found.get(key)
        if known is None:
            known = self._found[key] = self._new_standing(connection, booking)
        return known

    def kind(self, connection: Connection, booking: Booking) -> Kind:
        """Return the numbers of what the call was."""
        key = (
            *(booking.source, booking.provider, booking.model, booking.picked, booking.imported),
            *(booking.auth, booking.route, booking.task, booking.operation),
            *(booking.price_source, booking.error, booking.estimated, booking.unpriced),
        )
        known: Kind | None = self._known.get(key) or self._found.get(key)
        if known is None:
            known = self._found[key] = _new_kind(connection, booking)
        return known

    def _new_standing(self, connection: Connection, booking: Booking) -> Standing:
        user_no, _ = _number(connection, users, {"user_id": booking.user_id}, "user_id")
        membership_no = self._membership(connection, booking.groups)
        values = {
            "user_no": user_no,
            "user_name": booking.user_name,
            "membership_no": membership_no,
        }
        return Standing(user_no, _number(connection, standings, values)[0], membership_no)

    def _membership(self, connection: Connection, names: tuple[str, ...]) -> int:
        """Return the number of some groups, taken together."""
        told = [(self._group_id(name) or self.group_ids.get(name), name) for name in names]
        group_nos = sorted(
            _number(connection, groups, {"group_id": group_id, "name": name})[0]
            for group_id, name in told or [(None, NO_GROUP)]
        )
        values = {"groups": json.dumps(names, ensure_ascii=False)}
        no, is_new = _number(connection, memberships, values, also=group_nos)
        if is_new:
            connection.execute(
                insert_of(connection.dialect.name)(membership_groups).on_conflict_do_nothing(),
                [{"membership_no": no, "group_no": group_no} for group_no in set(group_nos)],
            )
        return no


def _new_kind(connection: Connection, booking: Booking) -> Kind:
    line_no, _ = _number(connection, lines, _named(booking, lines))
    values = {"line_no": line_no, **_named(booking, kinds)}
    return Kind(_number(connection, kinds, values)[0], line_no)


def _named(booking: Booking, table: Table) -> dict[str, Any]:
    fields = booking._asdict()
    names = table.columns.keys()
    return {name: fields[name] for name in names if name in fields}


def _number(
    connection: Connection,
    table: Table,
    values: Mapping[str, Any],
    key: str = "digest",
    also: object = None,
) -> tuple[int, bool]:
    """Return the number of a row, and whether it was made for this.

    Args:
        connection: In a transaction.
        table: Where it is.
        values: What it holds.
        key: The column that tells rows apart.
        also: What tells them apart beside their values.
    """
    row = values if key in values else {**values, key: _digest(values, also)}
    query, wanted = _looked_up(table, key), {"key": row[key]}
    found: int | None = connection.execute(query, wanted).scalar()
    if found is not None:
        return found, False
    _take_turns(connection)
    made = connection.execute(_made(table, connection.dialect.name), row).scalar()
    if made is not None:
        return made, True
    # Another process has made it just now.
    return connection.execute(query, wanted).scalar_one(), False


# Made once, which takes longer than what they do.


@functools.cache
def _looked_up(table: Table, key: str) -> Select[tuple[int]]:
    return select(table.c.no).where(table.c[key] == bindparam("key", type_=table.c[key].type))


@functools.cache
def _made(table: Table, dialect: str) -> ReturningInsert[tuple[int]]:
    return insert_of(dialect)(table).on_conflict_do_nothing().returning(table.c.no)


def _take_turns(connection: Connection) -> None:
    """Let no two transactions give numbers at once: each might wait for the other."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")


def _digest(values: Mapping[str, Any], also: object) -> bytes:
    told = json.dumps([values, also], sort_keys=True)
    return hashlib.blake2b(told.encode(), digest_size=16).digest()
