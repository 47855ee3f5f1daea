"""The only ways by which calls leave the ledger or change in it; each leaves a line in the audit.

The tables refuse UPDATE and DELETE of calls but while the door is open, which is within one
transaction of ours.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Table, delete, func, insert, select, update

from .. import ids
from . import facts
from .bulk import insert_many
from .database import Database
from .reading import ends
from .schema import (
    DAY,
    EVERYONE,
    HOUR,
    MEASURES,
    MONTH,
    audits,
    calls,
    door,
    membership_sums,
    standings,
    user_sums,
    users,
)
from .store import Store
from .sums import DAY_SECONDS, HOUR_SECONDS, HOURS_KEPT, month_of, start_of_month

FORGOTTEN: Final = "forgotten-"
_PATIENCE: Final = 600.0
_HOURS: Final = 24
_EVERY: Final = 3600.0


class Pruned(NamedTuple):
    """What was taken out."""

    calls: int
    cost: int
    """Nano-USD."""


Progress = Callable[[int, int], None]
"""Hears how much of how much is done."""


def _silent(_done: int, _all: int) -> None:
    pass


@contextmanager
def _opened(connection: Connection, action: str) -> Iterator[dict[str, Any]]:
    """Open the door, and write to the audit what was done; the caller says what that was."""
    detail: dict[str, Any] = {}
    connection.execute(insert(door).values(reason=action))
    yield detail
    connection.execute(delete(door))
    line = {"at": int(time.time()), "action": action, "detail": json.dumps(detail)}
    connection.execute(insert(audits).values(line))


def prune(database: Database, before: int, progress: Progress = _silent) -> Pruned:
    """Take out all calls of the days (UTC) that ended before a moment, and their sums.

    Args:
        database: The ledger's, opened.
        before: Unix time in seconds.
        progress: Hears how many of the days are done.
    """
    with database.reading() as connection:
        known = ends(connection)
    end = before // DAY_SECONDS
    start = end if known is None else known[0] // DAY_SECONDS
    taken, day = Pruned(0, 0), start
    while day < end:
        until = min(end, _end_of_month(day))
        with database.writing(_PATIENCE) as connection:
            part = _prune_days(connection, day, until)
        taken = Pruned(taken.calls + part.calls, taken.cost + part.cost)
        day = until
        progress(day - start, end - start)
    return taken


def _end_of_month(day: int) -> int:
    return start_of_month(month_of(day * DAY_SECONDS) + 1) // DAY_SECONDS


def _prune_days(connection: Connection, first: int, end: int) -> Pruned:
    """Take out days of one month."""
    with _opened(connection, "prune") as detail:
        # Not before: others may have waited with us for the door to be free.
        taken = Pruned(*map(int, connection.execute(_sum_of_days(first, end)).one()))
        gone = connection.execute(delete(calls).where(*_of_days(first, end)))
        for table in (user_sums, membership_sums):
            _prune_sums(connection, table, first, end)
        facts.write(connection, facts.COMPLETE_SINCE, end * DAY_SECONDS)
        detail.update(
            start=first * DAY_SECONDS, end=end * DAY_SECONDS, calls=gone.rowcount, cost=taken.cost
        )
    return Pruned(gone.rowcount, taken.cost)


def _of_days(first: int, end: int) -> tuple[Any, ...]:
    return (
        calls.c.id >= ids.first_of(first * DAY_SECONDS * 1000),
        calls.c.id < ids.first_of(end * DAY_SECONDS * 1000),
    )


def _sum_of_days(first: int, end: int) -> Any:
    sums = membership_sums.c
    return select(
        func.coalesce(func.sum(sums.calls), 0), func.coalesce(func.sum(sums.cost), 0)
    ).where(
        sums.membership_no == EVERYONE, sums.grain == DAY, sums.bucket >= first, sums.bucket < end
    )


def _prune_sums(connection: Connection, table: Table, first: int, end: int) -> None:
    owner, columns = table.primary_key.columns.keys()[0], table.c
    month = month_of(first * DAY_SECONDS)
    less = (
        select(columns[owner], columns.line_no, *(-func.sum(columns[name]) for name in MEASURES))
        .where(columns.grain == DAY, columns.bucket >= first, columns.bucket < end)
        .group_by(columns[owner], columns.line_no)
    )
    rows = [
        (row[0], MONTH, month, row[1], *map(_whole, row[2:])) for row in connection.execute(less)
    ]
    if rows:
        insert_many(connection, table, rows, MEASURES)
    for grain, of, to in (
        (HOUR, first * _HOURS, end * _HOURS),
        (DAY, first, end),
    ):
        gone = delete(table).where(
            columns.grain == grain, columns.bucket >= of, columns.bucket < to
        )
        connection.execute(gone)
    empty = (columns.grain == MONTH, columns.bucket == month, columns.calls == 0)
    connection.execute(delete(table).where(*empty))


def _whole(amount: Any) -> int | None:
    """Return a sum as a number that is none of PostgreSQL's decimals."""
    return None if amount is None else int(amount)


class Forgotten(NamedTuple):
    """Who a user has become."""

    pseudonym: str
    calls: int


def forget(database: Database, user_id: str) -> Forgotten | None:
    """Put a pseudonym in the place of a user, and take out what leads to them: name, chats, traces.

    What they used stays in all sums. Calls that they make later are another user's.

    Args:
        database: The ledger's, opened.
        user_id: Who.

    Returns:
        ``None`` if the ledger does not know them.
    """
    pseudonym = FORGOTTEN + uuid.uuid4().hex[:16]
    with database.writing(_PATIENCE) as connection:
        found = select(users.c.no).where(users.c.user_id == user_id)
        user_no = connection.execute(found).scalar()
        if user_no is None:
            return None
        with _opened(connection, "forget") as detail:
            connection.execute(update(users).where(users.c.no == user_no).values(user_id=pseudonym))
            connection.execute(
                update(standings).where(standings.c.user_no == user_no).values(user_name=None)
            )
            changed = connection.execute(
                update(calls).where(calls.c.user_no == user_no).values(chat=None, trace=None)
            )
            facts.begin_epoch(connection)
            detail.update(user=pseudonym, calls=changed.rowcount)
        return Forgotten(pseudonym, changed.rowcount)


def thin_out(database: Database, before: int) -> None:
    """Take out the sums of users and groups by hour that ended before a moment.

    From then on the calls themselves are added up where a period cuts through a day.

    Args:
        database: The ledger's, opened.
        before: Unix time in seconds.
    """
    hour = before // HOUR_SECONDS
    with database.writing(_PATIENCE) as connection:
        # A clock that was ahead may have taken out more.
        end = max(hour, facts.number(connection, facts.HOURS_FROM))
        for table in (user_sums, membership_sums):
            owner = table.primary_key.columns.values()[0]
            old = (table.c.grain == HOUR, table.c.bucket < end, owner != EVERYONE)
            connection.execute(delete(table).where(*old))
        facts.write(connection, facts.HOURS_FROM, end)


class Thinning:
    """Takes out, day by day, the sums by hour that are hardly asked for any more."""

    def step(self, store: Store) -> float:
        """Do it if no other process has lately; return the seconds until it is due again."""
        kept = HOURS_KEPT[store.database.engine.dialect.name]
        before = int(time.time()) - kept * DAY_SECONDS
        with store.database.reading() as connection:
            done = facts.number(connection, facts.HOURS_FROM)
        if done < before // HOUR_SECONDS - _HOURS:
            thin_out(store.database, before)
        return _EVERY


class Retention:
    """Takes out, day by day, what is older than it may be.

    Args:
        days: How old that is.
    """

    def __init__(self, days: int) -> None:
        self._days = days

    def step(self, store: Store) -> float:
        """Do it if no other process has lately; return the seconds until it is due again."""
        now = int(time.time())
        with store.database.writing() as connection:
            last = facts.number(connection, facts.PRUNED)
            # A clock that was wrong may have left a time that is yet to come.
            is_due = not 0 <= now - last < _EVERY
            if is_due:
                facts.write(connection, facts.PRUNED, now)
        if is_due:
            prune(store.database, now - self._days * DAY_SECONDS)
        return _EVERY
