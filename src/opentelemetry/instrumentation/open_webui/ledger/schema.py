"""The tables, as they are now. How they came about is in ``migrations``.

Texts that repeat stand once, in tables of their own, under a number; a call refers to them. Sums of
the calls are kept by hour, day and month, and change in the same transaction as the calls. The view
``usage_ledger`` shows calls with all their texts, for people.
"""

from __future__ import annotations

import uuid
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
    literal_column,
    text,
)
from sqlalchemy.types import TypeDecorator, TypeEngine

EPOCH: Final = 1_577_836_800
"""Unix time of 2020-01-01 UTC. Times are seconds since then: 32 bits last until 2088."""
HOUR, DAY, MONTH = 0, 1, 2
"""The grains of sums."""
EVERYONE: Final = 0
"""The number of a membership that stands for all of them; it has no row of its own."""
VERSION_TABLE: Final = "usage_ledger_version"
VIEW: Final = "usage_ledger"

metadata: Final = MetaData()


class Id(TypeDecorator[bytes]):
    """16 bytes; a ``uuid`` in PostgreSQL."""

    impl = LargeBinary(16)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type of the database's own."""
        own: TypeEngine[Any] = Uuid() if dialect.name == "postgresql" else LargeBinary(16)
        return dialect.type_descriptor(own)

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> Any:
        """Return what the database takes."""
        return value if value is None or dialect.name != "postgresql" else uuid.UUID(bytes=value)

    def process_result_value(self, value: Any, dialect: Dialect) -> bytes | None:
        """Return what we take."""
        return value.bytes if isinstance(value, uuid.UUID) else value


def _number() -> Column[int]:
    return Column("no", Integer, primary_key=True)


def _digest() -> Column[bytes]:
    """What tells rows with the same texts apart, some of which may be missing."""
    return Column("digest", LargeBinary(16), nullable=False, unique=True)


def _table(name: str, *parts: Any, **options: Any) -> Table:
    return Table(f"usage_ledger_{name}", metadata, *parts, **options)


users: Final = _table(
    "user",
    _number(),
    Column("user_id", Text, nullable=False, unique=True),
)
"""Who has ever called a model; a forgotten user has a pseudonym."""

groups: Final = _table(
    "group",
    _number(),
    _digest(),
    Column("group_id", Text),
    Column("name", Text, nullable=False),
)
"""Groups by id and name; a renamed group has two rows. "(none)" is for users in no group."""

memberships: Final = _table(
    "membership",
    _number(),
    _digest(),
    Column("groups", Text, nullable=False),
)
"""All groups that somebody is in at a time. ``groups`` is a JSON array of their names."""

membership_groups: Final = _table(
    "membership_group",
    Column("membership_no", Integer, primary_key=True, autoincrement=False),
    Column("group_no", Integer, primary_key=True, autoincrement=False),
    Index("usage_ledger_membership_of_group", "group_no"),
    sqlite_with_rowid=False,
)

standings: Final = _table(
    "standing",
    _number(),
    _digest(),
    Column("user_no", Integer, nullable=False),
    Column("user_name", Text),
    Column("membership_no", Integer, nullable=False),
    Index("usage_ledger_standing_of_user", "user_no"),
)
"""A user's name and groups at a time."""

lines: Final = _table(
    "line",
    _number(),
    _digest(),
    Column("source", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("picked", Text, nullable=False),
    Column("imported", Boolean, nullable=False),
)
"""What sums are kept apart by: source, provider, model and the model picked in Open WebUI."""

kinds: Final = _table(
    "kind",
    _number(),
    _digest(),
    Column("line_no", Integer, nullable=False),
    Column("auth", Text, nullable=False),
    Column("route", Text),
    Column("task", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("price_source", Text),
    Column("error", Text),
    Column("estimated", SmallInteger, nullable=False),
    Column("unpriced", Boolean, nullable=False),
)
"""All that is told of a call by what repeats.

``estimated``: 1 for the input, 2 for the output, 3 for both.
"""

_FIVE_MINUTES: Final = 300

calls: Final = _table(
    "call",
    Column("cost", BigInteger),
    Column("id", Id, primary_key=True),
    Column("trace", Id),
    Column("parent", Id),
    Column("at", Integer, nullable=False),
    Column("user_no", Integer, nullable=False),
    Column("standing_no", Integer, nullable=False),
    Column("kind_no", Integer, nullable=False),
    Column("duration", Integer, nullable=False),
    Column("first_chunk", Integer),
    Column("input", Integer),
    Column("output", Integer),
    Column("cache_read", Integer),
    Column("cache_write", Integer),
    Column("reasoning", Integer),
    Column("chat", LargeBinary),
    Column("units", Text),
    Index("usage_ledger_call_by_user", "user_no", text(f"(at / {_FIVE_MINUTES})")),
)
"""One row for each call.

``at``: when it began, in seconds since :data:`EPOCH`; the id has the millisecond. ``duration`` and
``first_chunk``: milliseconds. ``cost``: nano-USD. ``units``: JSON of what was used beside tokens.
``chat``: see :mod:`.booking`. The columns stand in an order that leaves no gaps in PostgreSQL.
"""
FIVE_MINUTES: Final = literal_column(str(_FIVE_MINUTES), Integer())
call_time: Final[ColumnElement[int]] = calls.c.at // FIVE_MINUTES
"""The five minutes that a call began in, as the index of a user's calls has it.

Calls of the same time, such as an answer and its title, share an entry of the index in PostgreSQL,
which so is half as large.
"""

MEASURES: Final = (
    "calls",
    "answers",
    "errors",
    "unpriced",
    "estimated",
    "input",
    "output",
    "cache_read",
    "cache_write",
    "reasoning",
    "cost",
)
"""The columns of sums. ``answers`` are calls of the task ``chat``; ``cost`` is in nano-USD.

Nothing, which most of them are, is kept as ``NULL``: it takes no room.
"""
CALLS: Final = "calls"
COUNTS: Final = MEASURES[:5]
"""Those of which there are no more than calls."""


def _sums(owner: str) -> Table:
    return _table(
        f"{owner}_sum",
        Column(f"{owner}_no", Integer, primary_key=True, autoincrement=False),
        Column("grain", SmallInteger, primary_key=True, autoincrement=False),
        Column("bucket", Integer, primary_key=True, autoincrement=False),
        Column("line_no", Integer, primary_key=True, autoincrement=False),
        *(
            Column(measure, Integer if measure in COUNTS else BigInteger, nullable=measure != CALLS)
            for measure in MEASURES
        ),
        sqlite_with_rowid=False,
    )


user_sums: Final = _sums("standing")
"""Sums by standing. ``bucket``: hours or days since 1970, or months since the year 0, in UTC."""
membership_sums: Final = _sums("membership")
"""Sums by all groups that a user is in at a time, and of everyone.

Both lack hours that are longer ago than :data:`~.sums.HOURS_KEPT`; everyone does not.
"""

facts: Final = _table(
    "fact",
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    sqlite_with_rowid=False,
)
"""What the ledger knows of itself: see :mod:`.facts`."""

audits: Final = _table(
    "audit",
    _number(),
    Column("at", BigInteger, nullable=False),
    Column("action", Text, nullable=False),
    Column("detail", Text, nullable=False),
)
"""What was ever taken out or changed: Unix time, ``prune`` or ``forget``, and JSON of what."""

rules: Final = _table(
    "limit",
    _number(),
    Column("kind", Text, nullable=False),
    Column("spec", Text, nullable=False),
)
"""Limits and grants that were made by hand: ``limit`` or ``grant``, and JSON of what it says."""

since: Final = _table(
    "limit_since",
    Column("limit_id", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""When a limit was first seen (Unix time): by default, calls count in it from then on."""

holds: Final = _table(
    "limit_hold",
    Column("process", Text, primary_key=True),
    Column("account", Text, primary_key=True),
    Column("amount", BigInteger, nullable=False),
    Column("recalled", Boolean, nullable=False),
    Index("usage_ledger_limit_hold_of_account", "account"),
    sqlite_with_rowid=False,
)
"""What each process has taken of what is left of a limit; counts as long as the process lives.

``recalled``: another process asks to have it told anew.
"""

processes: Final = _table(
    "limit_process",
    Column("process", Text, primary_key=True),
    Column("seen", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""The processes that hold something, and when they last said so (Unix time)."""

door: Final = _table("door", Column("reason", Text, primary_key=True), sqlite_with_rowid=False)
"""Calls may be changed only while there is a row here: within one transaction of ours."""
